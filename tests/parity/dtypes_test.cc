// GPT-2 hosted in bfloat16 and float16, against transformers in the same dtype.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/program.h"
#include "engine/plan/operators.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using testing::ExpectClose;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
constexpr double kTolerance = 2e-2;

constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";
constexpr char kSites[] = R"(
  save wte = read transformer.wte.output
  save h0 = read transformer.h.0.output
  %attn = read transformer.h.1.attn.output
  save attn1 = %attn[0]
  save mlp1 = read transformer.h.1.mlp.output
  save h2 = read transformer.h.2.output
  save ln_f = read transformer.ln_f.output
  save logits = read lm_head.output
)";

class DtypeParityTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  static LocalModel& Model() {
    static auto* const kModels = new std::map<at::ScalarType, LocalModel*>();
    LocalModel*& model = (*kModels)[GetParam()];
    if (model == nullptr) model = new LocalModel(kTiny, true, {.dtype = GetParam()});
    return *model;
  }
  static std::string Key() { return GetParam() == at::kHalf ? "float16" : "bfloat16"; }
  static at::Tensor Golden(const std::string& name) {
    static const auto* const kGolden = new std::map<std::string, at::Tensor>(
        testing::LoadGolden(absl::StrCat(kTiny, "/dtypes.safetensors")));
    return kGolden->at(absl::StrCat(Key(), ".", name));
  }
};

TEST_P(DtypeParityTest, ModulesOfALeftPaddedBatchEqualTransformers) {
  const LocalResult result = Model().Run(absl::StrCat("invoke ", kBatch, " {", kSites, "}"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result.saved.size(), 7u);
  at::Tensor mask = at::zeros({3, 8}, at::kLong);
  const int64_t lengths[] = {8, 3, 5};
  for (int64_t i = 0; i < 3; ++i) mask[i].slice(0, 8 - lengths[i]).fill_(1);
  for (const auto& [name, value] : result.saved) {
    const at::Tensor golden = Golden("batch." + name);
    EXPECT_EQ(value.scalar_type(), GetParam()) << name;
    ASSERT_EQ(value.sizes(), golden.sizes()) << name;
    ExpectClose(AtRealTokens(value, mask), AtRealTokens(golden, mask), kTolerance, name);
  }
}

TEST_P(DtypeParityTest, ASharedPassEqualsSolo) {
  const std::vector<std::string> programs = {
      absl::StrCat("invoke ", kSingle, " {", kSites, "}"),
      absl::StrCat("invoke ", kBatch, " {", kSites, "}"),
      absl::StrCat("invoke [64, 65, 66] {\n  %h = read transformer.h.0.output\n"
                   "  write transformer.h.0.output[:, -1] = aten::mul(%h[:, -1], 3.0)\n",
                   kSites, "}")};
  const std::vector<LocalResult> together = Model().RunTogether(programs);
  for (size_t i = 0; i < programs.size(); ++i) {
    const LocalResult solo = Model().Run(programs[i]);
    ASSERT_THAT(solo.status, IsOk());
    ASSERT_THAT(together[i].status, IsOk());
    for (const auto& [name, value] : solo.saved) {
      ExpectClose(together[i][name], value, kTolerance, absl::StrCat(i, " ", name));
    }
  }
}

TEST_P(DtypeParityTest, GradientsEqualTransformers) {
  const LocalResult result = Model().Run(absl::StrCat("invoke ", kSingle, R"( {
  %wte = read transformer.wte.output
  %h0 = read transformer.h.0.output
  %mlp1 = read transformer.h.1.mlp.output
  %ln_f = read transformer.ln_f.output
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save wte = grad %wte
    save h0 = grad %h0
    save mlp1 = grad %mlp1
    save ln_f = grad %ln_f
  }
})"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result.saved.size(), 4u);
  for (const auto& [name, value] : result.saved) {
    EXPECT_EQ(value.scalar_type(), GetParam()) << name;
    // In bfloat16 transformers' own two attentions differ by up to 6e-2 of scale here.
    const double tolerance = GetParam() == at::kBFloat16 ? 2 * kTolerance : kTolerance;
    ExpectClose(value, Golden("gradient." + name), tolerance, name);
  }
}

TEST_P(DtypeParityTest, AGreedyGenerationEqualsTransformersGenerate) {
  const at::Tensor prompt = Golden("prompt");
  const std::vector<int64_t> ids(prompt.const_data_ptr<int64_t>(),
                                 prompt.const_data_ptr<int64_t>() + prompt.numel());
  const LocalResult result = Model().Run(absl::StrCat(
      "generate max_new_tokens=6\ninvoke [", absl::StrJoin(ids, ", "),
      "] {\n  save ids = read result\n  steps [:] { save logits = read lm_head.output }\n}"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["ids"], Golden("generated"))) << result["ids"];
  for (int64_t step = 0; step < 6; ++step) {
    const at::Tensor logits = result[absl::StrCat("logits/", step)];
    EXPECT_EQ(logits.scalar_type(), GetParam());
    ExpectClose(logits.to(at::kFloat), Golden("step_logits").narrow(1, step, 1).to(at::kFloat),
                kTolerance, absl::StrCat("step ", step));
  }
}

TEST_P(DtypeParityTest, ParametersAndSitesHaveTheDtype) {
  const plan::ModelSpec& spec = Model().spec();
  for (const auto& [name, parameter] : spec.parameters()) {
    EXPECT_EQ(plan::ToScalarType(parameter.dtype), GetParam()) << name;
  }
  const int time = spec.FindSite(spec.FindModule("transformer.h.1"), graph::Point::kOutput, 0);
  EXPECT_EQ(graph::ToString(spec.sites()[time].pattern), Key() + "[B, T, 32]");
  EXPECT_EQ(Model().hosted().network().dtype, GetParam());
  // Keys and values of a token take half of what they take in float32.
  EXPECT_EQ(spec.cache_bytes() * 2, LocalModel::Tiny().spec().cache_bytes());
  // The same operations can be seen inside modules.
  EXPECT_EQ(spec.operations().size(), LocalModel::Tiny().spec().operations().size());
  EXPECT_EQ(spec.sites().size(), LocalModel::Tiny().spec().sites().size());
}

TEST_P(DtypeParityTest, PointsInsideAttentionCanBeReadAndReplaced) {
  const std::string points = R"(
  save scores = read transformer.h.1.attn.scores
  %p = read transformer.h.1.attn.probs
  save probs = %p
  write transformer.h.1.attn.probs = %p
  save logits = read result
)";
  const LocalResult result = Model().Run(absl::StrCat("invoke ", kSingle, " {", points, "}"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["probs"].scalar_type(), GetParam());
  const LocalResult fused =
      Model().Run(absl::StrCat("invoke ", kSingle, " { save logits = read result }"));
  ExpectClose(result["logits"], fused["logits"], kTolerance);
}

TEST_P(DtypeParityTest, WritesAndModuleCallsConvertFromFloat32) {
  const LocalResult result = Model().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h = read transformer.h.0.output
  %wide = aten::to(%h, float32)
  write transformer.h.0.output = aten::add(%wide, 1.0)
  save h = read transformer.h.0.output
  %n = call transformer.ln_f(%h)
  save n = %n
})"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["h"].scalar_type(), GetParam());
  EXPECT_EQ(result["n"].scalar_type(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(, DtypeParityTest, ::testing::Values(at::kBFloat16, at::kHalf),
                         [](const auto& info) {
                           return info.param == at::kHalf ? "Float16" : "BFloat16";
                         });

TEST(DtypeTest, AutoIsWhatTheConfigurationSays) {
  EXPECT_EQ(LocalModel::Tiny().hosted().network().dtype, at::kFloat);
}

}  // namespace
}  // namespace weft
