#include "engine/kernels/gpu.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "engine/devices/devices.h"
#include "tests/kernels/exact_attention.h"

namespace weft::kernels::gpu {
namespace {

// Before any test asks LibTorch for a generator, and so whether there are GPUs.
const bool loaded = (devices::LoadAccelerators(), true);

/// These need a GPU; the suites of tests/parity run whole models through the same kernels there.
class GpuTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!loaded || !devices::ParseDevice("cuda:0").ok()) GTEST_SKIP() << "there is no GPU here";
  }
  at::Tensor Random(at::IntArrayRef shape) const { return at::randn(shape).to(kGpu, GetParam()); }
  static at::Tensor Exactly(const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); }
  /// Of numbers about 1.
  static double Bound() {
    return GetParam() == at::kFloat ? 2e-5 : GetParam() == at::kHalf ? 4e-3 : 3e-2;
  }
  static double Distance(const at::Tensor& actual, const at::Tensor& exact) {
    return (Exactly(actual) - exact).abs().max().item<double>();
  }

  const c10::InferenceMode inference_;
  const at::Device kGpu{at::kCUDA, 0};
};

TEST_P(GpuTest, AttendsAndPutsWhatIsNewIntoTheCache) {
  for (const auto& [heads, kv_heads, head_dim] :
       {std::tuple(12, 12, 64), {4, 2, 12}, {8, 1, 128}, {2, 2, 256}}) {
    for (const int64_t keys : {1, 2, 17, 63, 64, 65, 700}) {
      const at::Tensor slab = Random({2, 3, kv_heads, keys + 5, head_dim});
      const at::Tensor before = slab.clone();
      NewToken token{.q = Random({3, heads, 1, head_dim}),
                     .k = slab[0].narrow(2, 0, keys),
                     .v = slab[1].narrow(2, 0, keys)};
      token.seen = at::rand({3, keys}).gt(0.4);
      token.seen.select(1, keys / 2).fill_(true);
      token.seen = token.seen.to(kGpu);
      const bool put = keys % 2 == 1;
      if (put) {
        token.new_k = Random({3, kv_heads, 1, head_dim});
        token.new_v = Random({3, kv_heads, 1, head_dim});
      }
      ASSERT_TRUE(kernels::CanAttend(token));
      const at::Tensor z = kernels::Attend({&token, 1}, 0.3);
      const at::Tensor expected = before.clone();
      if (put) {
        expected[0].narrow(2, keys - 1, 1).copy_(token.new_k);
        expected[1].narrow(2, keys - 1, 1).copy_(token.new_v);
      }
      EXPECT_TRUE(at::equal(slab, expected)) << keys;
      const NewToken held{.q = Exactly(token.q),
                          .k = Exactly(expected[0].narrow(2, 0, keys)),
                          .v = Exactly(expected[1].narrow(2, 0, keys)),
                          .seen = token.seen.cpu()};
      const at::Tensor exact = Exact(held, 0.3);
      EXPECT_LT(Distance(z, exact), Bound()) << heads << " heads, " << keys << " keys";
    }
  }
}

TEST_P(GpuTest, ARowHasTheSameBitsAloneAndAmongMoreSegmentsThanOneLaunchTakes) {
  std::vector<NewToken> tokens;
  for (int i = 0; i < 70; ++i) {
    const int64_t rows = 1 + i % 3, keys = 1 + 13 * i;
    tokens.push_back({.q = Random({rows, 6, 1, 80}),
                      .k = Random({rows, 2, keys, 80}),
                      .v = Random({rows, 2, keys, 80})});
  }
  const at::Tensor together = kernels::Attend(tokens, 0.1);
  int64_t at = 0;
  for (const NewToken& token : tokens) {
    const int64_t rows = token.q.size(0);
    EXPECT_TRUE(at::equal(kernels::Attend({&token, 1}, 0.1), together.narrow(1, at, rows)));
    at += rows;
  }
}

TEST_P(GpuTest, NumbersThatAreNoneStayInTheirRow) {
  const at::Tensor k = Random({2, 2, 9, 64}), v = Random({2, 2, 9, 64});
  NewToken token{.q = Random({2, 2, 1, 64}), .k = k, .v = v};
  token.q[0][1].fill_(std::numeric_limits<double>::quiet_NaN());
  const at::Tensor z = kernels::Attend({&token, 1}, 1).cpu().to(at::kFloat).view({2, 2, 64});
  EXPECT_TRUE(z[0][1].isnan().all().item<bool>());
  EXPECT_TRUE(z[0][0].isfinite().all().item<bool>());
  EXPECT_TRUE(z[1].isfinite().all().item<bool>());
}

TEST_P(GpuTest, NormsRows) {
  for (const int64_t width : {1, 12, 64, 100, 768, 5000}) {
    for (const bool centred : {false, true}) {
      const at::Tensor x = Random({1, 7, 3, width}), weight = Random({3, width});
      at::Tensor exact = Exactly(x);
      if (centred) exact = exact - exact.mean(-1, /*keepdim=*/true);
      exact = exact * (exact.pow(2).mean(-1, /*keepdim=*/true) + 1e-5).rsqrt();
      const at::Tensor by = Exactly(weight);
      const double bound = 6 * Bound();  // weights and what is normed go up to 5
      EXPECT_LT(Distance(Norm(x, weight, 1e-5, NormKind::kWeigh, centred), exact * by), bound);
      EXPECT_LT(Distance(Norm(x, weight, 1e-5, NormKind::kRoundThenWeigh, centred), exact * by),
                bound);
      EXPECT_LT(Distance(Norm(x, weight, 1e-5, NormKind::kWeighBy1Plus, centred), exact * (by + 1)),
                bound);
    }
  }
}

TEST_P(GpuTest, TurnsHeads) {
  for (const bool neighbours : {false, true}) {
    for (const int64_t turned : {64, 24}) {
      for (const at::ScalarType table : {GetParam(), at::kFloat}) {
        const at::Tensor x = Random({1, 9, 4 * 64}).unflatten(2, {4, 64});
        const at::Tensor angles = at::randn({1, 9, 1, turned});
        const at::Tensor cos = angles.cos().to(kGpu, table), sin = angles.sin().to(kGpu, table);
        const at::Tensor from = Exactly(x).narrow(3, 0, turned);
        const at::Tensor other =
            neighbours
                ? at::stack(
                      {-from.slice(-1, 1, std::nullopt, 2), from.slice(-1, 0, std::nullopt, 2)}, -1)
                      .flatten(-2)
                : at::cat({-from.slice(-1, turned / 2), from.slice(-1, 0, turned / 2)}, -1);
        const at::Tensor exact = at::cat(
            {from * Exactly(cos) + other * Exactly(sin), Exactly(x).narrow(3, turned, 64 - turned)},
            -1);
        EXPECT_LT(Distance(Turn(x, cos, sin, neighbours), exact), 3 * Bound());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GpuTest, ::testing::Values(at::kFloat, at::kHalf, at::kBFloat16),
                         [](const ::testing::TestParamInfo<at::ScalarType>& info) {
                           return std::string(c10::toString(info.param));
                         });

}  // namespace
}  // namespace weft::kernels::gpu
