#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <sstream>
#include <string>

#include "tests/client/family_backend.h"
#include "tests/support/status_matchers.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

class TreeTest : public ::testing::Test {
 protected:
  LanguageModel Open(const std::string& name) {
    return Client(backend_).OpenLanguageModel(name).value();
  }
  static std::vector<std::string> Paths(const std::vector<Module>& modules) {
    std::vector<std::string> paths;
    for (const Module& module : modules) paths.push_back(module.path());
    return paths;
  }

  std::shared_ptr<FamilyBackend> backend_ = std::make_shared<FamilyBackend>();
  LanguageModel toy_ = Open("toy");
  LanguageModel gpt2_ = Open("gpt2");
};

TEST_F(TreeTest, KnowsTheWidthAndTheHeadsThatTheConfigurationNames) {
  EXPECT_EQ(gpt2_.hidden_size(), 8);
  EXPECT_EQ(gpt2_.heads(), 2);
  EXPECT_EQ(toy_.hidden_size(), 0);
  EXPECT_EQ(toy_.heads(), 0);
}

TEST_F(TreeTest, FindsModulesByPathNameAndIndex) {
  EXPECT_EQ(toy_["h"][1]["mlp"].path(), "h.1.mlp");
  EXPECT_EQ(toy_["h.1.mlp"].path(), "h.1.mlp");
  EXPECT_EQ(toy_["h"][-1].path(), "h.1");
  EXPECT_EQ(toy_["h"].size(), 2);
  EXPECT_EQ(toy_.size(), 2);
  EXPECT_EQ(toy_["h"][0]["mlp"].size(), 0);
  EXPECT_TRUE(toy_["h"][0]["mlp"].empty());
}

TEST_F(TreeTest, SlicesAListAsPythonDoes) {
  const Module h = gpt2_["transformer.h"];
  EXPECT_THAT(Paths(h[Slice(1, 3)]), ElementsAre("transformer.h.1", "transformer.h.2"));
  EXPECT_THAT(Paths(h[Slice(-1)]), ElementsAre("transformer.h.3"));
  EXPECT_THAT(Paths(h[Slice(None, None, -2)]), ElementsAre("transformer.h.3", "transformer.h.1"));
  EXPECT_THAT(Paths(h[Slice(7, 9)]), ElementsAre());
  EXPECT_EQ(h[Slice()].size(), 4);
}

TEST_F(TreeTest, GoesThroughChildrenInTheModelsOrder) {
  std::vector<std::string> paths;
  for (const Module& layer : gpt2_["transformer.h"]) paths.push_back(layer.path());
  EXPECT_THAT(paths, ElementsAre("transformer.h.0", "transformer.h.1", "transformer.h.2",
                                 "transformer.h.3"));
  EXPECT_THAT(gpt2_["transformer"].names(), ElementsAre("wte", "h", "ln_f"));
}

TEST_F(TreeTest, KnowsWhereAModuleStandsAndWhatItIs) {
  const Module proj = gpt2_["transformer.h.0.attn.c_proj"];
  EXPECT_EQ(proj.name(), "c_proj");
  EXPECT_EQ(proj.type(), "Conv1D");
  EXPECT_EQ(proj.detail(), "nf=4, nx=4");
  EXPECT_EQ(proj.parent()->path(), "transformer.h.0.attn");
  EXPECT_EQ(proj.root().path(), "");
  EXPECT_EQ(proj.root().parent(), std::nullopt);
  EXPECT_THAT(gpt2_.config_json(), HasSubstr(R"("model_type": "gpt2")"));
}

TEST_F(TreeTest, TellsParametersDtypesAndTheDevice) {
  const Module attention = gpt2_["transformer.h.0.attn"];
  ASSERT_EQ(attention.parameters().size(), 2);
  EXPECT_EQ(attention.parameters()[0].path, "transformer.h.0.attn.c_proj.weight");
  EXPECT_EQ(attention.parameters()[0].shape, (Shape{4, 4}));
  EXPECT_EQ(gpt2_.parameters().size(), 4);
  EXPECT_EQ(attention.dtype(), kFloat32);
  EXPECT_EQ(gpt2_["lm_head"].dtype(), kBFloat16);
  EXPECT_EQ(gpt2_["transformer.h.2"].dtype(), kBFloat16) << "the model's";
  EXPECT_EQ(gpt2_.device(), "cpu");
}

TEST_F(TreeTest, ListsModulesEachAfterItsChildren) {
  EXPECT_THAT(Paths(toy_.modules()),
              ElementsAre("h.0.mlp", "h.0", "h.1.mlp", "h.1", "h", "lm_head", ""));
  const auto mlps =
      toy_["h"].named_modules([](const Module& module) { return module.type() == "MLP"; });
  ASSERT_EQ(mlps.size(), 2);
  EXPECT_EQ(mlps[1].first, "h.1.mlp");
  EXPECT_EQ(mlps[1].second.path(), "h.1.mlp");
}

TEST_F(TreeTest, GetsAModuleOrSaysWhatThereIs) {
  EXPECT_EQ(toy_.get("h.0.mlp")->path(), "h.0.mlp");
  EXPECT_EQ(toy_["h"].get("1.mlp")->path(), "h.1.mlp");
  EXPECT_THAT(toy_.get("h.0.mpl"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("the closest are h.0.mlp")));
  EXPECT_THAT(toy_.get("h.0.mlp.output"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("site(\"h.0.mlp.output\")")));
}

TEST_F(TreeTest, ReadsAndWritesSitesByTheirWholeNames) {
  absl::StatusOr<Program> program = gpt2_.Record("hi", [&] {
    Var h = gpt2_.site("layers.0.mlp.output");
    gpt2_["layers"][1].site("mlp.input") = h;
    gpt2_.site("result").save("logits");
  });
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(program->text(),
              AllOf(HasSubstr("read transformer.h.0.mlp.output"),
                    HasSubstr("write transformer.h.1.mlp.input ="), HasSubstr("read result")));
  EXPECT_THAT(gpt2_.Record("hi", [&] { gpt2_.site("layers.0.mlp").save(); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("such as `.output`")));
}

TEST_F(TreeTest, PrintsAsPyTorchDoes) {
  EXPECT_EQ(toy_.tree(),
            "Toy(\n"
            "  (h): ModuleList(\n"
            "    (0-1): 2 x Block(\n"
            "      (mlp): MLP(in_features=4)\n"
            "    )\n"
            "  )\n"
            "  (lm_head): Linear(in_features=4, out_features=9)\n"
            ")\n");
  EXPECT_EQ(toy_["h"][1].tree(),
            "Block(\n"
            "  (mlp): MLP(in_features=4)\n"
            ")\n");
  std::ostringstream out;
  out << toy_["lm_head"];
  EXPECT_EQ(out.str(), "Linear(in_features=4, out_features=9)\n");
}

TEST_F(TreeTest, PrintsGivenNamesBesideTheModels) {
  const LanguageModel model =
      Client(backend_)
          .OpenLanguageModel(
              "toy", {.rename = {{"h.1", "last"}, {"MLP", {"ffn", "ff"}}, {"lm_head", "unembed"}}})
          .value();
  EXPECT_EQ(model.tree(),
            "Toy(\n"
            "  (last/h.1): Block\n"
            "  (h): ModuleList(\n"
            "    (0-1): 2 x Block(\n"
            "      (ffn/ff/mlp): MLP(in_features=4)\n"
            "    )\n"
            "  )\n"
            "  (unembed/lm_head): Linear(in_features=4, out_features=9)\n"
            ")\n");
}

}  // namespace
}  // namespace weft::client_test
