#include "engine/kernels/row_wise.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

namespace weft::kernels {
namespace {

at::Tensor Silu(const at::Tensor& x) { return at::silu(x); }

class RowWiseTest : public ::testing::TestWithParam<std::tuple<at::ScalarType, int64_t>> {
 protected:
  void SetUp() override {
    at::manual_seed(0);
    at::set_num_threads(7);  // which shares numbers out in odd pieces
  }
  void TearDown() override { at::set_num_threads(threads_); }
  at::ScalarType type() const { return std::get<0>(GetParam()); }
  int64_t width() const { return std::get<1>(GetParam()); }

  const c10::InferenceMode inference_;
  const int threads_ = at::get_num_threads();
};

TEST_P(RowWiseTest, IsTheFunction) {
  const at::Tensor x = at::randn({1, 20, width()}).to(type());
  const at::Tensor y = RowWise(Silu, x), exact = at::silu(x.to(at::kDouble));
  ASSERT_EQ(y.sizes(), x.sizes());
  ASSERT_EQ(y.scalar_type(), type());
  const double bound = type() == at::kFloat ? 1e-6 : 1e-2;
  EXPECT_TRUE(at::allclose(y.to(at::kDouble), exact, bound, bound));
}

TEST_P(RowWiseTest, ARowHasTheSameBitsAloneAndInCompany) {
  const at::Tensor x = at::randn({1, 43, width()}).to(type());
  const at::Tensor all = RowWise(Silu, x);
  for (const int64_t rows : {1, 2, 3, 5, 11, 13}) {
    for (const int64_t first : {0, 1, 30}) {
      EXPECT_TRUE(at::equal(RowWise(Silu, x.narrow(1, first, rows)), all.narrow(1, first, rows)))
          << rows << " from " << first;
    }
  }
}

TEST_P(RowWiseTest, WhereGradientsAreWantedThereIsAnOperator) {
  const c10::InferenceMode off(false);
  const at::Tensor x = at::randn({2, width()}).to(type()).requires_grad_();
  EXPECT_TRUE(RowWise(Silu, x).requires_grad());
}

INSTANTIATE_TEST_SUITE_P(Shapes, RowWiseTest,
                         ::testing::Combine(::testing::Values(at::kFloat, at::kBFloat16),
                                            ::testing::Values(1, 12, 48, 100, 3072, 5000)),
                         [](const ::testing::TestParamInfo<RowWiseTest::ParamType>& info) {
                           return std::string(c10::toString(std::get<0>(info.param))) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace weft::kernels
