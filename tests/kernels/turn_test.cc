#include "engine/kernels/turn.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <tuple>

#include "engine/kernels/instructions.h"

namespace weft::kernels {
namespace {

/// The operators of transformers' apply_rotary_pos_emb.
at::Tensor ByOperators(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       bool neighbours) {
  const int64_t turned = cos.size(3);
  const at::Tensor from = x.narrow(3, 0, turned).to(cos.scalar_type());
  const at::Tensor other =
      neighbours
          ? at::stack(
                {at::neg(from.slice(-1, 1, std::nullopt, 2)), from.slice(-1, 0, std::nullopt, 2)},
                -1)
                .flatten(-2)
          : at::cat({at::neg(from.slice(-1, turned / 2)), from.slice(-1, 0, turned / 2)}, -1);
  const at::Tensor result = at::add(at::mul(from, cos), at::mul(other, sin));
  return at::cat({result.to(x.scalar_type()), x.narrow(3, turned, x.size(3) - turned)}, -1);
}

class TurnTest : public ::testing::TestWithParam<std::tuple<at::ScalarType, int64_t, bool>> {
 protected:
  void SetUp() override {
    if (FindInstructions() == nullptr) GTEST_SKIP() << "on this processor heads turn by operators";
    at::manual_seed(0);
    at::set_num_threads(7);
  }
  void TearDown() override { at::set_num_threads(threads_); }
  at::ScalarType type() const { return std::get<0>(GetParam()); }
  int64_t turned() const { return std::get<1>(GetParam()); }
  bool neighbours() const { return std::get<2>(GetParam()); }

  const c10::InferenceMode inference_;
  const int threads_ = at::get_num_threads();
};

TEST_P(TurnTest, HasTheBitsOfTheOperators) {
  for (const int64_t rows : {1, 5, 400}) {
    for (const int64_t rest : {0, 5}) {
      for (const at::ScalarType table : {type(), at::kFloat}) {
        // Heads as they lie in one product of queries, keys and values.
        const int64_t head_dim = turned() + rest;
        const at::Tensor x = at::randn({1, rows, 9 * head_dim})
                                 .to(type())
                                 .narrow(2, head_dim, 3 * head_dim)
                                 .unflatten(2, {3, head_dim});
        const at::Tensor angles = at::randn({1, rows, 1, turned()});
        const at::Tensor cos = angles.cos().to(table), sin = angles.sin().to(table);
        ASSERT_TRUE(CanTurn(x, cos, sin));
        const at::Tensor y = Turn(x, cos, sin, neighbours());
        ASSERT_EQ(y.scalar_type(), type());
        EXPECT_TRUE(at::equal(y, ByOperators(x, cos, sin, neighbours())))
            << rows << " rows, " << rest << " behind, tables of " << table;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TurnTest,
                         ::testing::Combine(::testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                                            ::testing::Values(2, 6, 24, 64, 128),
                                            ::testing::Bool()),
                         [](const ::testing::TestParamInfo<TurnTest::ParamType>& info) {
                           return std::string(c10::toString(std::get<0>(info.param))) + "_" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_neighbours" : "_halves");
                         });

TEST(TurnKernelTest, DoesNotTakeWhatItCannot) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({1, 4, 2, 8}), table = at::randn({1, 4, 1, 8});
  EXPECT_FALSE(CanTurn(x, at::randn({1, 3, 1, 8}), at::randn({1, 3, 1, 8})));
  EXPECT_FALSE(CanTurn(x, at::randn({1, 4, 1, 10}), at::randn({1, 4, 1, 10})));
  EXPECT_FALSE(CanTurn(x, table.to(at::kHalf), table.to(at::kHalf)));
  EXPECT_FALSE(CanTurn(x, table, table.to(at::kHalf)));
  EXPECT_FALSE(CanTurn(x.transpose(2, 3), table.narrow(3, 0, 2), table.narrow(3, 0, 2)));
  EXPECT_FALSE(CanTurn(at::cat({x, x}), table, table));
  const c10::InferenceMode off(false);
  EXPECT_FALSE(CanTurn(at::randn({1, 4, 2, 8}), at::randn({1, 4, 1, 8}), at::randn({1, 4, 1, 8})))
      << "gradients may be wanted";
}

}  // namespace
}  // namespace weft::kernels
