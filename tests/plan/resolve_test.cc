#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/plan/operators.h"

namespace weft::plan {
namespace {

using ::testing::HasSubstr;

at::Tensor Meta(std::vector<int64_t> shape, at::ScalarType dtype = at::kFloat) {
  return at::empty(shape, at::device(at::kMeta).dtype(dtype));
}

TEST(ResolveTest, TakesANumberForAScalar) {
  auto call = ResolveCall("aten::mul", {{"", Meta({2, 3}, at::kLong)}, {"", 3.0}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->row->qualified(), "aten::mul.Scalar");
  auto result = RunMeta(*call->row, call->stack);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->toTensor().scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace weft::plan
