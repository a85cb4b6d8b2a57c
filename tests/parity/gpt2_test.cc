// GPT-2 against transformers: every module's input and output, in its order and structure.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/program.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using ::testing::ElementsAreArray;
using testing::ExpectClose;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/";
constexpr char kVariants[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-variants/";

const nlohmann::json& Facts() {
  static const auto* const kFacts =
      new nlohmann::json(nlohmann::json::parse(std::ifstream(absl::StrCat(kTiny, "golden.json"))));
  return *kFacts;
}

/// `[[64, 65], [87]]`, the prompts of a case without pads.
std::string Prompts(const std::string& name) { return Facts()["cases"][name]["ids"].dump(); }

std::string PointName(const graph::Site& site) {
  return site.point == graph::Point::kInput ? "input" : "output";
}

/// What golden files call a site.
std::string GoldenName(const graph::Site& site) {
  return absl::StrCat(site.module, "/", PointName(site));
}

/// A program that saves all sites of one invoke, the n-th as `sN`.
std::string SaveAllSites(const plan::ModelSpec& spec, const std::string& input) {
  std::string text = absl::StrCat("invoke ", input, " {\n");
  for (size_t i = 0; i < spec.sites().size(); ++i) {
    if (!spec.sites()[i].OfModule()) continue;
    absl::StrAppend(&text, "  save s", i, " = read ", graph::ToString(spec.sites()[i].site), "\n");
  }
  return text + "}\n";
}

/// Compare all that was saved with a golden file, at real tokens.
void ExpectEqualsGolden(const plan::ModelSpec& spec, const LocalResult& result,
                        const Tensors& golden) {
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor mask = golden.at("attention_mask");
  std::set<std::string> compared;
  for (const auto& [name, value] : result.saved) {
    // `s5/logits` is the leaf `logits` of site 5.
    const size_t slash = name.find('/');
    const auto& site = spec.sites()[std::stoul(name.substr(1, slash - 1))].site;
    const std::string leaf = slash == std::string::npos ? "" : name.substr(slash);
    const std::string path = GoldenName(site) + leaf;
    ASSERT_TRUE(golden.contains(path)) << path << " is not in the golden file";
    ASSERT_EQ(value.sizes(), golden.at(path).sizes()) << path;
    ExpectClose(AtRealTokens(value, mask), AtRealTokens(golden.at(path), mask), 1e-5, path);
    compared.insert(path);
  }
  for (const auto& [path, unused] : golden) {
    if (absl::StrContains(path, "/input") || absl::StrContains(path, "/output")) {
      EXPECT_TRUE(compared.contains(path)) << path << " was not compared";
    }
  }
}

TEST(GPT2ParityTest, EveryModulesInputAndOutputEqualTransformersForAPrompt) {
  LocalModel& model = LocalModel::Tiny();
  ExpectEqualsGolden(model.spec(), model.Run(SaveAllSites(model.spec(), Prompts("single"))),
                     LoadGolden(absl::StrCat(kTiny, "single.safetensors")));
}

TEST(GPT2ParityTest, EveryModulesInputAndOutputEqualTransformersForALeftPaddedBatch) {
  LocalModel& model = LocalModel::Tiny();
  ExpectEqualsGolden(model.spec(), model.Run(SaveAllSites(model.spec(), Prompts("batch"))),
                     LoadGolden(absl::StrCat(kTiny, "batch.safetensors")));
}

TEST(GPT2ParityTest, EveryRowOfAPaddedBatchEqualsItsPromptAlone) {
  LocalModel& model = LocalModel::Tiny();
  for (const std::string name : {"solo_0", "solo_1", "solo_2"}) {
    const Tensors golden = LoadGolden(absl::StrCat(kTiny, name, ".safetensors"));
    const LocalResult result = model.Run(
        absl::StrCat("invoke ", Prompts(name),
                     " { save h = read transformer.h.2.output  save logits = read result }"));
    ExpectClose(result["h"], golden.at("transformer.h.2/output"), 1e-5, name);
    ExpectClose(result["logits"], golden.at("/output/logits"), 1e-5, name);
  }
}

TEST(GPT2ParityTest, ARightPaddedBatchEqualsItsPromptsAlone) {
  // Positions then start at the first token, and pads come after all that may look at them.
  LocalModel model(WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny", /*pad_left=*/false);
  const LocalResult result =
      model.Run(absl::StrCat("invoke ", Prompts("batch"), " { save logits = read result }"));
  ASSERT_THAT(result.status, IsOk());
  for (int i = 0; i < 3; ++i) {
    const at::Tensor alone =
        LoadGolden(absl::StrCat(kTiny, "solo_", i, ".safetensors")).at("/output/logits");
    ExpectClose(result["logits"].narrow(0, i, 1).narrow(1, 0, alone.size(1)), alone, 1e-5,
                absl::StrCat("prompt ", i));
  }
}

TEST(GPT2ParityTest, SitesAreInTheOrderInWhichTransformersEntersAndLeavesModules) {
  std::vector<std::string> expected, actual;
  for (const auto& step : Facts()["order"]) {
    expected.push_back(absl::StrCat(step[1].get<std::string>(),
                                    step[0].get<std::string>() == "enter" ? "/input" : "/output"));
  }
  for (const plan::SiteSpec& site : LocalModel::Tiny().spec().sites()) {
    if (!site.OfModule()) continue;
    actual.push_back(GoldenName(site.site));
  }
  EXPECT_THAT(actual, ElementsAreArray(expected));
}

TEST(GPT2ParityTest, ModulesThatAreNeverCalledAreInTheTreeWithoutSites) {
  const plan::ModelSpec& spec = LocalModel::Tiny().spec();
  for (const auto& path : Facts()["not_called"]) {
    const int module = spec.FindModule(path.get<std::string>());
    ASSERT_GE(module, 0) << path;
    EXPECT_LT(spec.FindSite(module, graph::Point::kInput, 0), 0) << path;
    EXPECT_LT(spec.FindSite(module, graph::Point::kOutput, 0), 0) << path;
  }
}

TEST(GPT2ParityTest, ReadingAModuleThatIsNeverCalledIsRefused) {
  EXPECT_THAT(LocalModel::Tiny().Plan(
                  "invoke [1] { save x = read transformer.h.0.attn.attn_dropout.output }"),
              testing::StatusIs(absl::StatusCode::kNotFound,
                                ::testing::HasSubstr("the model never calls this module")));
}

TEST(GPT2ParityTest, StructuresAreThoseOfTransformers) {
  const plan::ModelSpec& spec = LocalModel::Tiny().spec();
  for (const auto& [path, structure] : Facts()["structure"].items()) {
    const int time = spec.FindSite(spec.FindModule(path), graph::Point::kOutput, 0);
    ASSERT_GE(time, 0) << path;
    const graph::Pattern& pattern = spec.sites()[time].pattern;
    if (structure == "tensor") {
      EXPECT_TRUE(std::holds_alternative<graph::Pattern::Tensor>(pattern.value)) << path;
    } else if (structure.contains("tuple")) {
      const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value);
      ASSERT_NE(tuple, nullptr) << path;
      ASSERT_EQ(tuple->items.size(), structure["tuple"].size()) << path;
      for (size_t i = 0; i < tuple->items.size(); ++i) {
        EXPECT_EQ(std::holds_alternative<std::monostate>(tuple->items[i].value),
                  structure["tuple"][i].is_null());
      }
    } else {
      const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value);
      ASSERT_NE(dict, nullptr) << path;
      std::vector<std::string> fields, expected;
      for (const auto& [key, unused] : dict->entries) fields.push_back(key);
      for (const auto& [key, unused] : structure["model_output"].items()) expected.push_back(key);
      EXPECT_EQ(fields, expected) << path;
    }
  }
}

class GPT2VariantTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GPT2VariantTest, LogitsEqualTransformers) {
  const std::string folder = absl::StrCat(kVariants, GetParam());
  LocalModel model(folder);
  const Tensors golden = LoadGolden(folder + "/golden.safetensors");
  const at::Tensor ids = golden.at("input_ids");
  ASSERT_EQ(ids.size(0), 1);
  ASSERT_TRUE(golden.at("attention_mask").all().item<bool>());
  const auto* first = ids.const_data_ptr<int64_t>();
  const std::string row = absl::StrJoin(first, first + ids.numel(), ", ");
  const LocalResult result = model.Run(absl::StrCat("invoke [", row, "] { save x = read result }"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["x"], golden.at("logits"));
}

INSTANTIATE_TEST_SUITE_P(All, GPT2VariantTest,
                         ::testing::Values("act-gelu", "act-gelu_new", "act-gelu_pytorch_tanh",
                                           "act-quick_gelu", "act-relu", "act-silu", "act-tanh",
                                           "inner", "layer-norm-epsilon", "no-attention-scale",
                                           "no-attention-scale-but-inverse-layer", "openai-names",
                                           "reorder-and-upcast", "scale-by-inverse-layer",
                                           "sharded", "untied"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace weft
