// The inside of attention against transformers' eager attention: points, what comes of writing
// them, and their gradients.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using testing::ExpectClose;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using Tensors = std::map<std::string, at::Tensor>;

const std::map<std::string, std::string>& Prompts() {
  static const auto* const kPrompts = new std::map<std::string, std::string>{
      {"single", "[39, 72, 94, 86, 68, 69, 83]"},
      {"batch", "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]"}};
  return *kPrompts;
}

Tensors GoldenFile(const std::string& name) {
  return LoadGolden(
      absl::StrCat(WEFT_SOURCE_DIR, "/tests/parity/gpt2-tiny/", name, ".safetensors"));
}

/// Rows of real tokens of `[B, heads, T, ...]`; of probabilities, what real tokens look at.
at::Tensor Real(const at::Tensor& by_head, const at::Tensor& mask, bool square) {
  at::Tensor value = by_head;
  if (square) value = value * mask.view({mask.size(0), 1, 1, mask.size(1)});
  return AtRealTokens(value.transpose(1, 2), mask);
}

class AttentionTest : public ::testing::TestWithParam<const char*> {
 protected:
  LocalResult Run(const std::string& body) {
    return LocalModel::Tiny().Run(
        absl::StrCat("invoke ", Prompts().at(GetParam()), " {\n", body, "\n}"));
  }
  /// The logits after a change are those of transformers after the same, by a hook.
  void ExpectLogits(const std::string& name, const std::string& body) {
    const LocalResult result = Run(absl::StrCat(body, "\n save p = read result"));
    ASSERT_THAT(result.status, IsOk());
    const at::Tensor expected = golden_.at(absl::StrCat(name, ".", std::string(GetParam()), ".p"));
    ExpectClose(AtRealTokens(result["p"], mask_), AtRealTokens(expected, mask_), 1e-5, name);
    const at::Tensor unchanged = sites_.at("/output/logits");
    EXPECT_GT((expected - unchanged).abs().max().item<float>(), 1e-2) << "nothing was changed";
  }

  const Tensors sites_ = GoldenFile(GetParam());
  const Tensors golden_ = GoldenFile("attention");
  const at::Tensor mask_ = sites_.at("attention_mask");
};

TEST_P(AttentionTest, PointsAreThoseOfEagerAttention) {
  std::string body;
  const std::vector<std::string> points = {"q", "k", "v", "scores", "probs", "z"};
  for (int layer = 0; layer < 3; ++layer) {
    for (const std::string& point : points) {
      absl::StrAppend(&body, "save ", point, layer, " = read transformer.h.", layer, ".attn.",
                      point, "\n");
    }
  }
  const LocalResult result = Run(body);
  ASSERT_THAT(result.status, IsOk());
  const int64_t tokens = mask_.size(1);
  const at::Tensor causal = at::ones({tokens, tokens}, at::kBool).tril();
  for (int layer = 0; layer < 3; ++layer) {
    for (const std::string& point : points) {
      const std::string name = absl::StrCat("transformer.h.", layer, ".attn/", point);
      at::Tensor value = result[absl::StrCat(point, layer)], expected = sites_.at(name);
      ASSERT_EQ(value.sizes(), expected.sizes()) << name;
      const bool square = point == "scores" || point == "probs";
      if (point == "scores") {
        // The golden ones are not masked yet.
        const at::Tensor seen =
            at::logical_and(causal, mask_.to(at::kBool).view({mask_.size(0), 1, 1, tokens}));
        const at::Tensor hidden =
            AtRealTokens(value.masked_fill(seen, -1e30).transpose(1, 2), mask_);
        EXPECT_LT(hidden.max().item<float>(), -1e29);
        value = value.masked_fill(at::logical_not(seen), 0);
        expected = expected.masked_fill(at::logical_not(seen), 0);
      }
      ExpectClose(Real(value, mask_, square), Real(expected, mask_, square), 1e-5, name);
    }
  }
}

TEST_P(AttentionTest, ReadingPointsDoesNotChangeTheLogits) {
  const LocalResult result =
      Run("save probs = read transformer.h.1.attn.probs  save q = read transformer.h.2.attn.q\n"
          "save p = read result");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(AtRealTokens(result["p"], mask_), AtRealTokens(sites_.at("/output/logits"), mask_));
}

TEST_P(AttentionTest, AHeadIsAblatedByItsProbabilities) {
  ExpectLogits("probs", "write transformer.h.1.attn.probs[:, 3] = tensor(float32, [], [0])");
}

TEST_P(AttentionTest, AHeadIsAblatedByItsResult) {
  ExpectLogits("z", "write transformer.h.1.attn.z[:, 2] = tensor(float32, [], [0])");
}

TEST_P(AttentionTest, TheOperationsOutputIsTheHeadsResult) {
  ExpectLogits("z",
               "write transformer.h.1.attn.op(scaled_dot_product_attention_0).output[:, 2] = "
               "tensor(float32, [], [0])");
}

TEST_P(AttentionTest, QueriesOfAHeadAreScaled) {
  ExpectLogits("q", "%q = read transformer.h.1.attn.q  aten::mul_(%q[:, 1], 0.5)");
}

TEST_P(AttentionTest, ScoresAreLinearInQueries) {
  ExpectLogits("q", "%s = read transformer.h.1.attn.scores  aten::mul_(%s[:, 1], 0.5)");
}

TEST_P(AttentionTest, KeysAndValuesOfAHeadAreWritten) {
  ExpectLogits("k", "write transformer.h.1.attn.k[:, 0] = tensor(float32, [], [0])");
  ExpectLogits("v", "write transformer.h.1.attn.v[:, 0] = tensor(float32, [], [0])");
  // The operation's third argument is the same value.
  ExpectLogits("v",
               "write transformer.h.1.attn.op(scaled_dot_product_attention_0).inputs[0][2][:, 0] = "
               "tensor(float32, [], [0])");
}

TEST_P(AttentionTest, GradientsAreThoseOfAutograd) {
  const LocalResult result = Run(R"(
  %q = read transformer.h.1.attn.q
  %k = read transformer.h.1.attn.k
  %v = read transformer.h.1.attn.v
  %probs = read transformer.h.1.attn.probs
  %z = read transformer.h.1.attn.z
  %add = read transformer.h.1.op(add_0).output
  %act = read transformer.h.1.mlp.act.op(gelu_0).output
  %logits = read result
  %loss = aten::sum(%logits[:, -1, 5])
  backward %loss {
    save z = grad %z
    save q = grad %q
    save k = grad %k
    save v = grad %v
    save probs = grad %probs
    save add = grad %add
    save act = grad %act
  })");
  ASSERT_THAT(result.status, IsOk());
  int compared = 0;
  const std::string prefix = absl::StrCat("gradients.", std::string(GetParam()), ".");
  for (const auto& [name, expected] : golden_) {
    if (!absl::StartsWith(name, prefix)) continue;
    const std::string point = name.substr(prefix.size());
    ++compared;
    if (point == "add" || point == "act") {
      ExpectClose(AtRealTokens(result[point], mask_), AtRealTokens(expected, mask_), 1e-5, name);
    } else {
      ExpectClose(Real(result[point], mask_, point == "probs"),
                  Real(expected, mask_, point == "probs"), 1e-5, name);
    }
  }
  EXPECT_EQ(compared, 7);
}

INSTANTIATE_TEST_SUITE_P(Prompts, AttentionTest, ::testing::Values("single", "batch"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace weft
