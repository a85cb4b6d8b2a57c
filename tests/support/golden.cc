#include "tests/support/golden.h"

#include <cmath>
#include <sstream>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/weights/weight_loader.h"

namespace weft::testing {
namespace {

/// Return the multi-dimensional index of element `flat`, for a message.
std::string IndexText(int64_t flat, at::IntArrayRef shape) {
  std::string text;
  for (size_t i = shape.size(); i-- > 0;) {
    text = std::to_string(flat % shape[i]) + (text.empty() ? "" : ", ") + text;
    flat /= shape[i];
  }
  return "[" + text + "]";
}

}  // namespace

std::map<std::string, at::Tensor> LoadGolden(const std::string& path) {
  absl::StatusOr<std::map<std::string, at::Tensor>> tensors = weights::LoadTensors(path);
  if (tensors.ok()) return *std::move(tensors);
  ADD_FAILURE() << tensors.status();
  return {};
}

::testing::AssertionResult CloseOfScale(const at::Tensor& actual, const at::Tensor& expected,
                                        double tolerance_of_scale) {
  std::ostringstream failure;
  if (!actual.defined()) return ::testing::AssertionFailure() << "the tensor is undefined";
  if (actual.sizes() != expected.sizes()) {
    failure << "shape " << actual.sizes() << " instead of " << expected.sizes();
    return ::testing::AssertionFailure() << failure.str();
  }
  if (actual.scalar_type() != expected.scalar_type()) {
    failure << "dtype " << actual.scalar_type() << " instead of " << expected.scalar_type();
    return ::testing::AssertionFailure() << failure.str();
  }
  if (expected.numel() == 0) return ::testing::AssertionSuccess();

  // In double, so that the comparison itself adds no rounding; infinities subtract to NaN, so
  // equal elements are taken first.
  at::Tensor want = expected.detach().to(at::kDouble).flatten();
  at::Tensor have = actual.detach().to(at::kDouble).flatten();
  double scale = at::where(want.isfinite(), want.abs(), 0.0).max().item<double>();
  bool exact = !expected.is_floating_point();
  double bound = exact ? 0.0 : tolerance_of_scale * scale;
  at::Tensor error = at::where(have == want, 0.0, (have - want).abs());
  at::Tensor bad = (error <= bound).logical_not();
  int64_t bad_count = bad.sum().item<int64_t>();
  if (bad_count == 0) return ::testing::AssertionSuccess();

  int64_t worst = at::where(error.isnan(), HUGE_VAL, error).argmax().item<int64_t>();
  double worst_error = error[worst].item<double>();
  failure << bad_count << " of " << want.numel() << " values differ; at "
          << IndexText(worst, expected.sizes()) << " it is " << have[worst].item<double>()
          << " instead of " << want[worst].item<double>();
  if (!exact) {
    failure << ", off by " << worst_error / scale << " of the scale " << scale << ", more than "
            << tolerance_of_scale;
  }
  return ::testing::AssertionFailure() << failure.str();
}

void ExpectClose(const at::Tensor& actual, const at::Tensor& expected, double tolerance_of_scale,
                 const std::string& what) {
  EXPECT_TRUE(CloseOfScale(actual, expected, tolerance_of_scale)) << what;
}

at::Tensor AtRealTokens(const at::Tensor& tensor, const at::Tensor& mask) {
  at::Tensor rows = tensor.flatten(0, 1);
  return rows.index_select(0, mask.flatten().nonzero().flatten());
}

}  // namespace weft::testing
