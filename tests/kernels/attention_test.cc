#include "engine/kernels/attention.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "tests/kernels/exact_attention.h"

namespace weft::kernels {
namespace {

struct Shape {
  int64_t heads, kv_heads, head_dim;
};

/// As a KV cache gives them: views of a slab that has room for more.
at::Tensor Slab(int64_t batch, const Shape& shape, int64_t keys, c10::ScalarType type) {
  return at::randn({batch, shape.kv_heads, keys + 9, shape.head_dim}).to(type).narrow(2, 0, keys);
}

NewToken Random(int64_t batch, const Shape& shape, int64_t keys, c10::ScalarType type) {
  return {at::randn({batch, shape.heads, 1, shape.head_dim}).to(type),
          Slab(batch, shape, keys, type),
          Slab(batch, shape, keys, type),
          {}};
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).abs().max().item<double>();
}

using AttentionShapes = std::tuple<c10::ScalarType, std::tuple<int, int, int>>;

Shape ShapeOf(const AttentionShapes& parameter) {
  const auto& [heads, kv_heads, head_dim] = std::get<1>(parameter);
  return {heads, kv_heads, head_dim};
}

class AttentionKernelTest : public testing::TestWithParam<AttentionShapes> {
 protected:
  static c10::ScalarType type() { return std::get<0>(GetParam()); }
  static Shape shape() { return ShapeOf(GetParam()); }
  static double bound() { return type() == at::kFloat ? 5e-5 : type() == at::kHalf ? 2e-3 : 2e-2; }
  const c10::InferenceMode inference_;
};

TEST_P(AttentionKernelTest, IsAttentionInDoublePrecision) {
  for (const int64_t keys : {1, 2, 7, 8, 9, 33, 200}) {
    for (const double scale : {0.125, 1.0, 3.0}) {
      const NewToken token = Random(2, shape(), keys, type());
      ASSERT_TRUE(CanAttend(token));
      const at::Tensor z = Attend({&token, 1}, scale);
      ASSERT_EQ(z.scalar_type(), type());
      EXPECT_LT(Distance(z, Exact(token, scale)), bound()) << keys << " keys, scale " << scale;
    }
  }
}

TEST_P(AttentionKernelTest, LooksAtWhatIsSeenAlone) {
  NewToken token = Random(3, shape(), 20, type());
  token.seen = at::rand({3, 20}).gt(0.5);
  token.seen.select(1, 4).fill_(true);
  EXPECT_LT(Distance(Attend({&token, 1}, 1), Exact(token, 1)), bound());
  token.seen = token.seen.narrow(0, 0, 1).clone();
  EXPECT_LT(Distance(Attend({&token, 1}, 1), Exact(token, 1)), bound());
}

TEST_P(AttentionKernelTest, ARowHasTheSameBitsAloneAndInCompany) {
  const std::vector<NewToken> tokens = {
      Random(1, shape(), 40, type()), Random(5, shape(), 9, type()), Random(1, shape(), 1, type())};
  const at::Tensor together = Attend(tokens, 0.3);
  int64_t at = 0;
  for (const NewToken& token : tokens) {
    for (int64_t row = 0; row < token.q.size(0); ++row) {
      const auto one = [row](const at::Tensor& x) { return x.narrow(0, row, 1); };
      const NewToken alone = {one(token.q), one(token.k), one(token.v), {}};
      EXPECT_TRUE(at::equal(Attend({&alone, 1}, 0.3), together.narrow(1, at++, 1)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionKernelTest,
    testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                     testing::Values(std::tuple(4, 4, 64), std::tuple(6, 2, 80),
                                     std::tuple(5, 1, 13), std::tuple(8, 1, 128))),
    [](const testing::TestParamInfo<AttentionShapes>& info) {
      const Shape shape = ShapeOf(info.param);
      return std::string(c10::toString(std::get<0>(info.param))) + "_" +
             std::to_string(shape.heads) + "_" + std::to_string(shape.kv_heads) + "_" +
             std::to_string(shape.head_dim);
    });

TEST(NewTokenTest, GreatScoresDoNotOverflow) {
  const c10::InferenceMode inference;
  const NewToken token = {at::full({1, 1, 1, 8}, 1e4),
                          at::randn({1, 1, 30, 8}).mul_(100),
                          at::randn({1, 1, 30, 8}),
                          {}};
  const at::Tensor z = Attend({&token, 1}, 1);
  EXPECT_TRUE(z.isfinite().all().item<bool>());
  EXPECT_LT(Distance(z, Exact(token, 1)), 1e-5);
}

TEST(NewTokenTest, NaNsStayInTheirRow) {
  const c10::InferenceMode inference;
  NewToken token = Random(2, {2, 2, 16}, 10, at::kFloat);
  token.k[0].select(1, 3).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor z = Attend({&token, 1}, 1);
  EXPECT_TRUE(z[0][0].isnan().all().item<bool>());
  EXPECT_FALSE(z[0][1].isnan().any().item<bool>());
}

TEST(NewTokenTest, DoesNotTakeWhatItCannot) {
  const c10::InferenceMode inference;
  const NewToken fits = Random(2, {4, 2, 16}, 10, at::kFloat);
  ASSERT_TRUE(CanAttend(fits));
  NewToken token = fits;
  token.k = at::randn({2, 2, 16, 10}).transpose(2, 3);
  EXPECT_FALSE(CanAttend(token));
  token = fits;
  token.q = fits.q.to(at::kDouble);
  EXPECT_FALSE(CanAttend(token));
  token = fits;
  token.v = fits.v.narrow(2, 0, 9);
  EXPECT_FALSE(CanAttend(token));
}

TEST(NewTokenTest, LeavesGradientsToATen) {
  EXPECT_FALSE(CanAttend(Random(2, {4, 2, 16}, 10, at::kFloat)));
}

}  // namespace
}  // namespace weft::kernels
