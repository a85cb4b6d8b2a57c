#include "engine/kernels/norm.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <tuple>

namespace weft::kernels {
namespace {

constexpr double kEps = 1e-5;

class NormTest : public ::testing::TestWithParam<std::tuple<at::ScalarType, int64_t>> {
 protected:
  void SetUp() override {
    if (FindInstructions() == nullptr) GTEST_SKIP() << "on this processor norms are operators";
    at::manual_seed(0);
    at::set_num_threads(7);  // which shares rows out in odd pieces
  }
  void TearDown() override { at::set_num_threads(threads_); }
  at::ScalarType type() const { return std::get<0>(GetParam()); }
  int64_t width() const { return std::get<1>(GetParam()); }
  at::Tensor Random(at::IntArrayRef shape) const { return at::randn(shape).to(type()); }
  /// What rounding to the dtype makes of numbers of about 1.
  double Bound() const { return type() == at::kFloat ? 1e-6 : type() == at::kHalf ? 1e-3 : 8e-3; }

  const c10::InferenceMode inference_;
  const int threads_ = at::get_num_threads();
};

TEST_P(NormTest, IsTheNormInDoublePrecision) {
  const at::Tensor x = at::add(Random({1, 43, 3, width()}), 0.5), weight = Random({3, width()});
  ASSERT_TRUE(CanNorm(x, weight));
  for (const bool centred : {false, true}) {
    at::Tensor exact = x.to(at::kDouble);
    if (centred) exact = at::sub(exact, exact.mean(-1, /*keepdim=*/true));
    exact = at::mul(exact, (exact.pow(2).mean(-1, /*keepdim=*/true) + kEps).rsqrt());
    const at::Tensor by = weight.to(at::kDouble);
    const auto expect = [&](NormKind kind, const at::Tensor& expected) {
      const at::Tensor y = Norm(x, weight, kEps, kind, centred);
      ASSERT_EQ(y.sizes(), x.sizes());
      ASSERT_EQ(y.scalar_type(), type());
      // A row of one number is 0 without its mean, and what rounding leaves of it is made large.
      if (centred && width() == 1) return;
      const double rtol = 3 * Bound();
      EXPECT_TRUE(at::allclose(y.to(at::kDouble), expected, rtol, rtol))
          << static_cast<int>(kind) << centred << ": "
          << at::sub(y.to(at::kDouble), expected).abs().max().item<double>();
    };
    expect(NormKind::kWeigh, at::mul(exact, by));
    expect(NormKind::kRoundThenWeigh, at::mul(exact, by));
    expect(NormKind::kWeighBy1Plus, at::mul(exact, at::add(by, 1)));
  }
}

TEST_P(NormTest, ARowHasTheSameBitsAloneAndInCompany) {
  const at::Tensor x = Random({1, 400, width()}), weight = Random({width()});
  const at::Tensor all = Norm(x, weight, kEps, NormKind::kWeigh, true);
  for (const int64_t rows : {1, 2, 3, 13}) {
    for (const int64_t first : {0, 1, 380}) {
      EXPECT_TRUE(at::equal(Norm(x.narrow(1, first, rows), weight, kEps, NormKind::kWeigh, true),
                            all.narrow(1, first, rows)))
          << rows << " from " << first;
    }
  }
}

TEST_P(NormTest, TakesRowsThatDoNotLieTogether) {
  const at::Tensor x = Random({1, 5, 2 * width()}).narrow(2, 0, width()),
                   weight = Random({width()});
  EXPECT_TRUE(at::equal(Norm(x, weight, kEps, NormKind::kRoundThenWeigh, false),
                        Norm(x.contiguous(), weight, kEps, NormKind::kRoundThenWeigh, false)));
}

TEST_P(NormTest, NumbersThatAreNoneStayInTheirRow) {
  at::Tensor x = Random({1, 3, width()});
  x[0][1][width() / 2] = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor y =
      Norm(x, Random({width()}), kEps, NormKind::kRoundThenWeigh, false).to(at::kFloat);
  EXPECT_TRUE(y[0][1].isnan().all().item<bool>());
  EXPECT_TRUE(y[0][0].isfinite().all().item<bool>());
  EXPECT_TRUE(y[0][2].isfinite().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormTest,
                         ::testing::Combine(::testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                                            ::testing::Values(1, 7, 12, 64, 100, 768, 5000)),
                         [](const ::testing::TestParamInfo<NormTest::ParamType>& info) {
                           return std::string(c10::toString(std::get<0>(info.param))) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(NormKernelTest, DoesNotTakeWhatItCannot) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({1, 4, 16});
  EXPECT_FALSE(CanNorm(x, at::randn({8})));
  EXPECT_FALSE(CanNorm(x, at::scalar_tensor(1.0)));
  EXPECT_FALSE(CanNorm(x, at::randn({16}).to(at::kBFloat16)));
  EXPECT_FALSE(CanNorm(x, at::randn({1}).expand({16})));
  EXPECT_FALSE(CanNorm(x.to(at::kDouble), at::randn({16}).to(at::kDouble)));
  EXPECT_FALSE(CanNorm(x.narrow(1, 0, 0), at::randn({16})));
  const c10::InferenceMode off(false);
  EXPECT_FALSE(CanNorm(at::randn({1, 4, 16}), at::randn({16}))) << "gradients may be wanted";
}

}  // namespace
}  // namespace weft::kernels
