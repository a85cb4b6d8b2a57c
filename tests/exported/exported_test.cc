// Exported programs against PyTorch, which made archives/*.safetensors with hooks: every module's
// input and output, every operation, what comes of changing them, and gradients.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "engine/graph/program.h"
#include "tests/exported/exported_program.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// `fc1@0.output/key`, as the goldens name it, and its site as text.
struct Place {
  std::string site;  // `fc1.output`
  std::string rest;  // `/key`
};
std::optional<Place> PlaceOf(const std::string& key, const std::string& point) {
  const size_t at = key.find('@'), dot = key.find("." + point, at);
  if (at == std::string::npos || dot == std::string::npos) return std::nullopt;
  const std::string visit = key.substr(at + 1, dot - at - 1);
  const size_t end = dot + 1 + point.size();
  return Place{
      absl::StrCat(key.substr(0, at), visit == "0" ? "" : absl::StrCat("@", visit), ".", point),
      key.substr(end)};
}

/// What each operation is called, in the order of execution: `fc1.op(linear_0)`.
std::vector<std::string> Operations(const ModelInfo& info) {
  std::vector<std::string> names;
  for (const SiteInfo& operation : info.operations) {
    if (operation.site.point != graph::Point::kOutput) continue;
    const std::string text = graph::ToString(operation.site);
    names.push_back(text.substr(0, text.size() - std::string(".output").size()));
  }
  return names;
}

class ExportedTest : public ::testing::TestWithParam<const char*> {
 protected:
  Exported& model_ = Exported::Of(GetParam());
};

/// Modules whose values PyTorch shows, and the export does not say what they were.
const std::map<std::string, std::vector<std::string>>& WithoutSites() {
  static const auto* const kNone = new std::map<std::string, std::vector<std::string>>{
      {"structures", {"lost.output"}},
  };
  return *kNone;
}

TEST_P(ExportedTest, ModulesTakeAndGiveWhatTheyDoInPyTorch) {
  std::string body;
  std::map<std::string, std::string> expected;  // golden by what is saved
  std::set<std::string> missing, seen;
  int saves = 0;
  for (const auto& [key, tensor] : model_.golden) {
    for (const char* point : {"input", "output"}) {
      const std::optional<Place> place = PlaceOf(key, point);
      if (!place || absl::StartsWith(key, "op/")) continue;
      if (!model_.Has(place->site)) {
        missing.insert(place->site);
        continue;
      }
      static std::map<std::string, std::string> names;
      if (seen.insert(place->site).second) {
        names[place->site] = absl::StrCat("s", saves++);
        absl::StrAppend(&body, "save ", names[place->site], " = read ", place->site, "\n");
      }
      expected[absl::StrCat(names[place->site], place->rest)] = key;
    }
  }
  const ArchiveEngine::Result result = model_.Run(body);
  ASSERT_THAT(result.status, IsOk());
  for (const auto& [name, key] : expected) {
    // Attention returns (tensor, None), and an export does not tell of the None.
    const bool lone = absl::EndsWith(key, "self_attn@0.output/0");
    ExpectClose(result[lone ? name.substr(0, name.find('/')) : name], model_.golden.at(key), 1e-5,
                key);
  }
  const auto none = WithoutSites().find(GetParam());
  const std::vector<std::string> allowed =
      none == WithoutSites().end() ? std::vector<std::string>() : none->second;
  for (const std::string& site : missing) {
    EXPECT_TRUE(std::count(allowed.begin(), allowed.end(), site) == 1) << site << " is no site";
  }
}

TEST_P(ExportedTest, OperationsGiveWhatTheyDoInPyTorch) {
  const std::vector<std::string> operations = Operations(model_.engine.info());
  std::string body;
  for (size_t i = 0; i < operations.size(); ++i) {
    absl::StrAppend(&body, "save o", i, " = read ", operations[i], ".output\n");
  }
  const ArchiveEngine::Result result = model_.Run(body);
  ASSERT_THAT(result.status, IsOk());
  std::set<std::string> numbers;
  for (const auto& [key, tensor] : model_.golden) {
    const size_t dot = key.find(".output");
    if (!absl::StartsWith(key, "op/") || dot == std::string::npos) continue;
    const std::string number = key.substr(3, dot - 3);
    numbers.insert(number);
    ExpectClose(result[absl::StrCat("o", number, key.substr(dot + 7))], tensor, 1e-5, key);
  }
  EXPECT_EQ(numbers.size(), operations.size());
}

TEST_P(ExportedTest, WhatIsWrittenAtAModuleGoesOnAsInPyTorch) {
  int changed = 0;
  for (const auto& [key, expected] : model_.golden) {
    if (absl::StartsWith(key, "op/")) continue;
    const std::optional<Place> place = PlaceOf(key, "half");
    if (!place) continue;
    const std::string site = absl::StrReplaceAll(place->site, {{".half", ".output"}});
    if (!model_.Has(site)) continue;
    const ArchiveEngine::Result result = model_.Run(absl::StrCat(
        "%h = read ", site, "\n write ", site, " = aten::mul(%h, 0.5)\n save r = read result"));
    // A module that returns a structure is left as it is there.
    if (!result.status.ok()) {
      EXPECT_EQ(std::string(GetParam()), "structures") << result.status;
      continue;
    }
    ExpectClose(result["r"], expected, 1e-5, key);
    ++changed;
  }
  EXPECT_GT(changed, 0);
}

TEST_P(ExportedTest, WhatIsWrittenAtAnOperationGoesOnAsInPyTorch) {
  // There PyTorch's own views would come apart.
  if (std::string(GetParam()) == "assign") return;
  const std::vector<std::string> operations = Operations(model_.engine.info());
  int changed = 0;
  for (const auto& [key, expected] : model_.golden) {
    if (!absl::StartsWith(key, "op/") || !absl::EndsWith(key, ".half")) continue;
    int number = 0;
    ASSERT_TRUE(absl::SimpleAtoi(key.substr(3, key.size() - 8), &number));
    const std::string site = absl::StrCat(operations.at(number), ".output");
    const ArchiveEngine::Result result = model_.Run(absl::StrCat(
        "%h = read ", site, "\n write ", site, " = aten::mul(%h, 0.5)\n save r = read result"));
    ASSERT_THAT(result.status, IsOk()) << site;
    ExpectClose(result["r"], expected, 1e-5, absl::StrCat(key, " ", site));
    ++changed;
  }
  EXPECT_GT(changed, 0);
}

TEST_P(ExportedTest, GradientsAreThoseOfPyTorch) {
  std::string reads, grads;
  std::map<std::string, std::string> expected;
  int number = 0;
  for (const auto& [key, tensor] : model_.golden) {
    if (!absl::EndsWith(key, ".grad")) continue;
    std::string site = key.substr(0, key.size() - 5);
    if (absl::EndsWith(site, "@0")) site = site.substr(0, site.size() - 2);
    absl::StrAppend(&site, ".output");
    if (!model_.Has(site)) continue;
    const std::string name = absl::StrCat("g", number++);
    absl::StrAppend(&reads, "%", name, " = read ", site, "\n");
    absl::StrAppend(&grads, "save ", name, " = grad %", name, "\n");
    expected[name] = key;
  }
  ASSERT_FALSE(expected.empty());
  const ArchiveEngine::Result result = model_.Run(absl::StrCat(
      reads, "%r = read result\n%l = aten::sum(aten::square(%r))\nbackward %l {\n", grads, "}"));
  ASSERT_THAT(result.status, IsOk());
  for (const auto& [name, key] : expected) {
    ExpectClose(result[name], model_.golden.at(key), 1e-5, key);
  }
}

INSTANTIATE_TEST_SUITE_P(Archives, ExportedTest,
                         ::testing::Values("mlp", "fixed", "vision", "decomposed", "twice",
                                           "structures", "transformer", "attend", "assign", "mixes",
                                           "several", "regions"),
                         [](const auto& info) { return std::string(info.param); });

// --- the tree -----------------------------------------------------------------------------------

std::string Tree(const ModelInfo& info) {
  std::string tree;
  for (const ModuleInfo& module : info.modules) {
    absl::StrAppend(&tree, module.path, ":", module.type, " ");
  }
  return tree;
}

TEST(ExportedTreeTest, ModulesHaveThePathsAndTypesOfThePythonModel) {
  EXPECT_EQ(Tree(Exported::Of("mlp").engine.info()), ":Mlp fc1:Linear act:ReLU fc2:Linear ");
  EXPECT_THAT(Tree(Exported::Of("vision").engine.info()),
              AllOf(HasSubstr(":Vision stem:Sequential stem.0:Conv2d"),
                    HasSubstr("blocks:ModuleList blocks.0:Block blocks.0.conv:Conv2d")));
  EXPECT_THAT(Tree(Exported::Of("twice").engine.info()), HasSubstr("unused:Module"));
}

TEST(ExportedTreeTest, ParametersAreThoseOfTheStateDict) {
  const ArchiveEngine::Result result =
      Exported::Of("vision").Run("save w = param stem.1.running_var");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_THAT(result["w"].sizes(), ElementsAre(6));
}

TEST(ExportedTreeTest, SaysWhyAModuleHasNoSites) {
  EXPECT_THAT(Exported::Of("structures").Run("save x = read lost.output").status,
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("`lost.output` is no site"), HasSubstr("2 tensors"),
                             HasSubstr("preserve_module_call_signature"))));
  EXPECT_THAT(Exported::Of("twice").Run("save x = read unused.output").status,
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no operation of it")));
}

TEST(ExportedTreeTest, AnOperationHasItsLineOfPython) {
  const ModelInfo& info = Exported::Of("twice").engine.info();
  const auto found = std::find_if(
      info.operations.begin(), info.operations.end(),
      [](const SiteInfo& site) { return graph::ToString(site.site) == "enc.op(tanh_0).output"; });
  ASSERT_NE(found, info.operations.end());
  EXPECT_THAT(found->source, AllOf(HasSubstr("make_exported.py:"),
                                   HasSubstr("self.norm(torch.tanh(self.fc(x)) + x)")));
}

// --- structures, skips, calls -------------------------------------------------------------------

TEST(ExportedSitesTest, AStructuresPartsAreReadAndWritten) {
  Exported& model = Exported::Of("structures");
  const ArchiveEngine::Result result = model.Run(R"(
    %k = read kept.output
    write kept.output["left"][:, 0] = 0.0
    save left = %k["left"]
    save now = read kept.output
    save r = read .output)");
  ASSERT_THAT(result.status, IsOk());
  const Tensors& golden = model.golden;
  at::Tensor left = golden.at("kept@0.output/left").clone();
  ExpectClose(result["left"], left);
  left.select(1, 0).zero_();
  ExpectClose(result["now/left"], left);
  ExpectClose(result["now/right"], golden.at("kept@0.output/right"));
  ExpectClose(result["r/0"], left * golden.at("lost@0.output/right"));
}

TEST(ExportedSitesTest, ASkippedModuleIsNotRun) {
  Exported& model = Exported::Of("mlp");
  const ArchiveEngine::Result result = model.Run(R"(
    %in = read act.input
    skip act = aten::neg(%in)
    save r = read fc2.input)");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["r"], -model.golden.at("act@0.input"));
}

TEST(ExportedSitesTest, AnInputThatIsReplacedIsSoInsideTheModuleAlone) {
  Exported& model = Exported::Of("twice");
  const ArchiveEngine::Result inner = model.Run(R"(
    %i = read enc.fc@1.input
    write enc.fc@1.input = aten::mul(%i, 0.0)
    save fc = read enc.fc@1.output
    save in = read enc@1.input
    save add = read enc@1.op(add_0).inputs)");
  ASSERT_THAT(inner.status, IsOk());
  ExpectClose(inner["add/0/1"], model.golden.at("enc@1.input"));
  ExpectClose(inner["in"], model.golden.at("enc@1.input"));
}

TEST(ExportedSitesTest, AModuleIsCalledByItself) {
  Exported& model = Exported::Of("mlp");
  const ArchiveEngine::Result called =
      model.Run("%h = read fc1.output\n save y = call act(%h)\n save z = read act.output");
  ASSERT_THAT(called.status, IsOk());
  ExpectClose(called["y"], called["z"]);
  const at::Tensor h = model.golden.at("act@0.output");
  const ArchiveEngine::Result rooted = model.engine.Run(absl::StrCat(
      "trace root=fc2\n", ConstantText("h", h), "invoke (%h) { save y = read result }"));
  ASSERT_THAT(rooted.status, IsOk());
  ExpectClose(rooted["y"], model.golden.at("fc2@0.output"));
}

TEST(ExportedSitesTest, ARunEndsWhereNobodyNeedsMore) {
  ArchiveEngine& engine = Exported::Of("vision").engine;
  const uint64_t before = engine.engine().CountModuleCalls("exported").value();
  ASSERT_THAT(Exported::Of("vision").Run("save x = read stem.0.output").status, IsOk());
  // The root, the stem, and its first layer.
  EXPECT_EQ(engine.engine().CountModuleCalls("exported").value() - before, 3);
}

}  // namespace
}  // namespace weft::testing
