#include "engine/kernels/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>

#include "engine/kernels/instructions.h"

namespace weft::kernels {
namespace {

at::Tensor Random(at::IntArrayRef shape, c10::ScalarType type) { return at::randn(shape).to(type); }

/// What products of `in` numbers about 1 add up to: a single one may come out near 0.
double Scale(const at::Tensor& x, int64_t in) {
  return std::max(x.abs().max().item<double>(), std::sqrt(static_cast<double>(in)));
}

class LinearTest : public testing::TestWithParam<std::tuple<c10::ScalarType, int64_t, int64_t>> {
 protected:
  LinearTest() : weight_(Random({out(), in()}, type())), bias_(Random({out()}, type())) {}
  static c10::ScalarType type() { return std::get<0>(GetParam()); }
  static int64_t in() { return std::get<1>(GetParam()); }
  static int64_t out() { return std::get<2>(GetParam()); }

  const c10::InferenceMode inference_;
  const at::Tensor weight_, bias_;
};

TEST_P(LinearTest, IsTheProductInDoublePrecision) {
  for (const int64_t rows : {1, 2, 3, 5, 6, 7, 13, 25, 64}) {
    const at::Tensor x = Random({1, rows, in()}, type());
    const at::Tensor exact =
        at::linear(x.to(at::kDouble), weight_.to(at::kDouble), bias_.to(at::kDouble));
    const double bound = type() == at::kFloat ? 2e-6 : type() == at::kHalf ? 1e-3 : 5e-3;
    for (const Rows kind : {Rows::kOfSteps, Rows::kOfPrompts}) {
      const at::Tensor y = Linear(x, weight_, bias_, kind);
      ASSERT_EQ(y.sizes(), exact.sizes());
      ASSERT_EQ(y.scalar_type(), type());
      EXPECT_LT((y.to(at::kDouble) - exact).abs().max().item<double>(), bound * Scale(exact, in()))
          << rows;
    }
  }
}

TEST_P(LinearTest, ARowHasTheSameBitsAloneAndInCompany) {
  const Instructions* const instructions = FindInstructions();
  if (instructions == nullptr) GTEST_SKIP() << "on this processor products are ATen's";
  const int64_t most = std::min<int64_t>(
      64, type() == at::kFloat ? instructions->most_rows : instructions->most_half_rows);
  const at::Tensor x = Random({most, in()}, type());
  const at::Tensor all = Linear(x, weight_, bias_);
  for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 34}) {
    for (const int64_t first : {0, 1, 30}) {
      if (first + rows > most) continue;
      const at::Tensor some = Linear(x.narrow(0, first, rows), weight_, bias_);
      EXPECT_TRUE(at::equal(some, all.narrow(0, first, rows))) << rows << " from " << first;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                                          testing::Values(1, 7, 16, 45, 768, 1024, 2061),
                                          testing::Values(1, 5, 130)),
                         [](const testing::TestParamInfo<LinearTest::ParamType>& info) {
                           return std::string(c10::toString(std::get<0>(info.param))) + "_" +
                                  std::to_string(std::get<1>(info.param)) + "_" +
                                  std::to_string(std::get<2>(info.param));
                         });

TEST(LinearKernelTest, TakesRowsThatDoNotLieTogether) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({8, 5}).t(), weight = at::randn({6, 8});
  EXPECT_TRUE(at::allclose(Linear(x, weight, {}), at::matmul(x, weight.t()), 1e-5, 1e-5));
}

TEST(LinearKernelTest, NoRowsGiveNoRows) {
  const c10::InferenceMode inference;
  EXPECT_EQ(Linear(at::ones({1, 0, 8}), at::ones({6, 8}), {}).sizes(), at::IntArrayRef({1, 0, 6}));
}

TEST(LinearKernelTest, NaNsStayInTheirRow) {
  const c10::InferenceMode inference;
  at::Tensor x = at::ones({4, 32});
  x[1].fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor y = Linear(x, at::ones({6, 32}), {});
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_EQ(y.isnan().sum().item<int64_t>(), 6);
}

TEST(LinearKernelTest, GradientsGoThroughIt) {
  const at::Tensor x = at::ones({2, 8}).requires_grad_(true);
  const at::Tensor weight = at::full({3, 8}, 2.0);
  Linear(x, weight, {}).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::full({2, 8}, 6.0)));
}

TEST(LinearKernelTest, ShapesThatDoNotFitAreRefusedAsATenRefusesThem) {
  const c10::InferenceMode inference;
  EXPECT_THROW(Linear(at::ones({2, 7}), at::ones({6, 8}), {}), c10::Error);
}

}  // namespace
}  // namespace weft::kernels
