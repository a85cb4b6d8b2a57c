// What kernels take for granted is looked at before they run.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/exported/operators.h"
#include "engine/plan/operators.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

absl::Status Check(const std::string& op, c10::Stack stack) {
  const auto found = exported::FindOperator("torch.ops.aten." + op);
  if (!found.ok()) return found.status();
  // What is left out is as the schema has it.
  const auto& arguments = found->handle->schema().arguments();
  while (stack.size() < arguments.size()) {
    stack.push_back(arguments[stack.size()].default_value().value_or(c10::IValue()));
  }
  return plan::CatchTorch([&] {
    exported::CheckArguments(*found, stack);
    return absl::OkStatus();
  });
}

#define EXPECT_REFUSED(status, says) \
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(says)))

at::Tensor Ones(at::IntArrayRef sizes) { return at::ones(sizes); }

absl::Status Recurrent(const std::string& op, int64_t gates, int64_t wide,
                       const std::vector<at::Tensor>& hidden) {
  const std::vector<at::Tensor> weights = {Ones({gates * 4, wide}), Ones({gates * 4, 4}),
                                           Ones({gates * 4}), Ones({gates * 4})};
  const c10::IValue states = hidden.size() == 1 ? c10::IValue(hidden[0]) : c10::IValue(hidden);
  return Check(op, {Ones({5, 2, 3}), states, weights, true, 1, 0.0, false, false, false});
}

TEST(GuardsTest, WeightsOfRecurrentNetworksHaveTheSizesOfTheirStates) {
  const at::Tensor state = Ones({1, 2, 4});
  EXPECT_THAT(Recurrent("lstm.input", 4, 3, {state, state}), IsOk());
  EXPECT_THAT(Recurrent("gru.input", 3, 3, {state}), IsOk());
  EXPECT_THAT(Recurrent("rnn_tanh.input", 1, 3, {state}), IsOk());
  EXPECT_REFUSED(Recurrent("lstm.input", 4, 2, {state, state}), "weight 0 is of shape [16, 2]");
  EXPECT_REFUSED(Recurrent("gru.input", 4, 3, {state}), "weight 0 is of shape [16, 3]");
  EXPECT_REFUSED(Recurrent("lstm.input", 4, 3, {state, Ones({1, 2, 5})}), "`hx` does not fit");
  EXPECT_REFUSED(Recurrent("lstm.input", 4, 3, {Ones({1, 9, 4}), Ones({1, 9, 4})}),
                 "`hx` does not fit");
  EXPECT_REFUSED(Recurrent("lstm.input", 4, 3, {state}), "another number of tensors");
}

TEST(GuardsTest, StatisticsHaveANumberForEachChannel) {
  const at::Tensor x = Ones({2, 4, 3}), four = Ones({4}), one = Ones({1});
  const c10::IValue none;
  EXPECT_THAT(Check("batch_norm.default", {x, four, none, four, four, false, 0.1, 1e-5, false}),
              IsOk());
  EXPECT_REFUSED(Check("batch_norm.default", {x, four, none, one, four, false, 0.1, 1e-5, false}),
                 "`running_mean`");
  EXPECT_REFUSED(
      Check("batch_norm.default", {Ones({4}), none, none, one, one, false, 0.1, 1e-5, false}),
      "no channels");
  EXPECT_THAT(Check("instance_norm.default", {x, none, none, four, four, false, 0.1, 1e-5, false}),
              IsOk());
  EXPECT_REFUSED(
      Check("instance_norm.default", {x, none, none, four, four, true, 0.1, 1e-5, false}),
      "change the model's running statistics");
}

TEST(GuardsTest, ScalesOfAPictureAreThoseOfItsSizes) {
  const at::Tensor x = Ones({1, 1, 4, 4});
  const std::vector<int64_t> twice = {8, 8};
  EXPECT_THAT(Check("upsample_nearest2d.default", {x, twice, 2.0, 2.0}), IsOk());
  EXPECT_THAT(Check("upsample_nearest2d.default", {x, twice}), IsOk());
  EXPECT_REFUSED(Check("upsample_nearest2d.default", {x, twice, 1e-300, 2.0}), "a scale");
  EXPECT_REFUSED(Check("upsample_bilinear2d.default", {x, twice, false, 2.0, 4.0}), "a scale");
  EXPECT_REFUSED(
      Check("upsample_nearest2d.vec", {x, c10::IValue(), std::vector<double>{2.0, 1e300}}),
      "out of all measure");
}

TEST(GuardsTest, FactorsThatOverflowAreRefused) {
  EXPECT_THAT(Check("pixel_shuffle.default", {Ones({1, 4, 2, 2}), 2}), IsOk());
  EXPECT_REFUSED(Check("pixel_shuffle.default", {Ones({1, 4, 2, 2}), int64_t{1} << 32}), "at most");
}

TEST(GuardsTest, AMaskOfAttentionFitsItsScores) {
  const at::Tensor q = Ones({1, 2, 5, 8}), k = Ones({1, 2, 7, 8});
  EXPECT_THAT(Check("scaled_dot_product_attention.default", {q, k, k, Ones({5, 7})}), IsOk());
  EXPECT_REFUSED(Check("scaled_dot_product_attention.default", {q, k, k, Ones({5, 8})}),
                 "`attn_mask`");
  EXPECT_REFUSED(Check("scaled_dot_product_attention.default", {q, k, q}), "must be alike");
}

}  // namespace
}  // namespace weft::testing
