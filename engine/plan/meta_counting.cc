#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <tuple>

#include "engine/plan/meta_registrar.h"
#include "engine/plan/selected.h"

namespace weft::plan {
namespace {

using at::Tensor;

thread_local Selected selected_now = Selected::kAll;

/// Where the true elements of a mask are: how many there will be is what AsIfSelected says.
Tensor Nonzero(const Tensor& self) {
  int64_t count = self.numel();
  if (selected_now == Selected::kOneMore) ++count;
  if (selected_now == Selected::kNone) count = 0;
  return at::empty({count, self.dim()}, self.options().dtype(at::kLong));
}

Tensor Histc(const Tensor& self, int64_t bins, const at::Scalar& /*min*/,
             const at::Scalar& /*max*/) {
  TORCH_CHECK(bins > 0, "histc: bins must be > 0, but got ", bins);
  return at::empty({bins}, self.options());
}

at::ScalarType PlaceType(bool out_int32) { return out_int32 ? at::kInt : at::kLong; }

Tensor SearchSorted(const Tensor& sorted_sequence, const Tensor& self, bool out_int32, bool right,
                    std::optional<std::string_view> side, const std::optional<Tensor>& /*sorter*/) {
  TORCH_CHECK(!side.has_value() || *side == "left" || *side == "right",
              "searchsorted: side can only be 'left' or 'right'");
  TORCH_CHECK(!side.has_value() || !right || *side == "right",
              "searchsorted: side and right can't be set to opposites");
  TORCH_CHECK(self.dim() > 0 || sorted_sequence.dim() == 1,
              "searchsorted: input value can be a scalar only when boundaries tensor dimension is "
              "1");
  TORCH_CHECK(sorted_sequence.dim() > 0,
              "searchsorted: boundaries tensor should have positive dimension");
  if (sorted_sequence.dim() > 1) {
    TORCH_CHECK(
        sorted_sequence.dim() == self.dim() && sorted_sequence.sizes().slice(0, self.dim() - 1) ==
                                                   self.sizes().slice(0, self.dim() - 1),
        "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of "
        "boundaries tensor and input value tensor must match, but we got boundaries tensor ",
        sorted_sequence.sizes(), " and input value tensor ", self.sizes());
  }
  return at::empty(self.sizes(), self.options().dtype(PlaceType(out_int32)));
}

Tensor SearchSortedNumber(const Tensor& sorted_sequence, const at::Scalar& /*self*/, bool out_int32,
                          bool right, std::optional<std::string_view> side,
                          const std::optional<Tensor>& sorter) {
  const Tensor number = at::empty({}, sorted_sequence.options());
  return SearchSorted(sorted_sequence, number, out_int32, right, side, sorter);
}

Tensor Bucketize(const Tensor& self, const Tensor& boundaries, bool out_int32, bool /*right*/) {
  TORCH_CHECK(boundaries.dim() == 1,
              "bucketize: boundaries tensor must be 1 dimension, but got dim(", boundaries.dim(),
              ")");
  return at::empty(self.sizes(), self.options().dtype(PlaceType(out_int32)));
}

Tensor BucketizeNumber(const at::Scalar& /*self*/, const Tensor& boundaries, bool out_int32,
                       bool right) {
  return Bucketize(at::empty({}, boundaries.options()), boundaries, out_int32, right);
}

Tensor NonzeroStatic(const Tensor& self, int64_t size, int64_t /*fill_value*/) {
  TORCH_CHECK(size >= 0, "nonzero_static: `size` must not be negative, but is ", size);
  return at::empty({size, self.dim()}, self.options().dtype(at::kLong));
}

Tensor BinaryCrossEntropy(const Tensor& self, const Tensor& target,
                          const std::optional<Tensor>& weight, int64_t reduction) {
  TORCH_CHECK(reduction >= 0 && reduction <= 2, "`reduction` must be 0, 1 or 2, not ", reduction);
  if (weight.has_value() && weight->defined()) {
    TORCH_CHECK(at::is_expandable_to(weight->sizes(), self.sizes()), "weight of shape ",
                weight->sizes(), " does not broadcast to ", self.sizes());
  }
  return at::mse_loss(self, target, reduction);
}

std::tuple<Tensor&, Tensor&> FrexpOut(const Tensor& self, Tensor& mantissa, Tensor& exponent) {
  mantissa.resize_(self.sizes());
  exponent.resize_(self.sizes());
  return {mantissa, exponent};
}

/// `cov` asks this of what it made itself, for a warning.
bool Equal(const Tensor& /*self*/, const Tensor& /*other*/) { return false; }

/// How many pairs (row, column) with column - row <= offset there are.
int64_t TrilSize(int64_t row, int64_t col, int64_t offset) {
  if (row == 0 || col == 0) return 0;
  const int64_t first = offset > 0 ? std::min(col, 1 + offset) : (row + offset > 0 ? 1 : 0);
  const int64_t last = std::max<int64_t>(0, std::min(col, row + offset));
  const int64_t rows = std::max<int64_t>(0, std::min(row, row + offset));
  const int64_t trapezoid = last - first + 1;
  const int64_t size = (first + last) * trapezoid / 2;
  return size + std::max<int64_t>(0, rows - trapezoid) * col;
}

void CheckTrilSizes(int64_t row, int64_t col) {
  TORCH_CHECK(row >= 0, "row must be non-negative, got", row);
  TORCH_CHECK(col >= 0, "col must be non-negative, got", col);
}

Tensor TrilIndices(int64_t row, int64_t col, int64_t offset, std::optional<at::ScalarType> dtype,
                   std::optional<at::Layout> /*layout*/, std::optional<at::Device> /*device*/,
                   std::optional<bool> /*pin_memory*/) {
  CheckTrilSizes(row, col);
  return at::empty({2, TrilSize(row, col, offset)},
                   at::device(at::kMeta).dtype(dtype.value_or(at::kLong)));
}

Tensor TriuIndices(int64_t row, int64_t col, int64_t offset, std::optional<at::ScalarType> dtype,
                   std::optional<at::Layout> /*layout*/, std::optional<at::Device> /*device*/,
                   std::optional<bool> /*pin_memory*/) {
  CheckTrilSizes(row, col);
  return at::empty({2, row * col - TrilSize(row, col, offset - 1)},
                   at::device(at::kMeta).dtype(dtype.value_or(at::kLong)));
}

Tensor Multinomial(const Tensor& self, int64_t num_samples, bool replacement,
                   std::optional<at::Generator> /*generator*/) {
  TORCH_CHECK(self.dim() == 1 || self.dim() == 2, "prob_dist must be 1 or 2 dim, but got ",
              self.dim());
  TORCH_CHECK(num_samples > 0, "cannot sample n_sample <= 0 samples");
  TORCH_CHECK(replacement || num_samples <= self.size(-1),
              "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  constexpr int64_t kMostCategories = int64_t{1} << 24;
  TORCH_CHECK(self.size(-1) <= kMostCategories, "number of categories cannot exceed 2^24");
  at::DimVector shape(self.sizes());
  shape.back() = num_samples;
  return at::empty(shape, self.options().dtype(at::kLong));
}

Tensor& RandpermOut(int64_t n, std::optional<at::Generator> /*generator*/, Tensor& out) {
  TORCH_CHECK(n >= 0, "n must be non-negative, got ", n);
  // A permutation whose numbers run together is none.
  TORCH_CHECK(n == 0 || !c10::isFloatingType(out.scalar_type()) || n <= (1 << 8) ||
                  (n <= (1 << 11) && out.scalar_type() == at::kHalf) ||
                  (n <= (1 << 24) && out.scalar_type() == at::kFloat) ||
                  out.scalar_type() == at::kDouble,
              "n cannot be ", n, " with dtype ", out.scalar_type());
  out.resize_({n});
  return out;
}

}  // namespace

AsIfSelected::AsIfSelected(Selected selected) : before_(selected_now) { selected_now = selected; }
AsIfSelected::~AsIfSelected() { selected_now = before_; }

void RegisterCountingKernels(Registrar& registrar) {
  registrar.Add("histc", "", &Histc);
  registrar.Add("searchsorted", "Tensor", &SearchSorted);
  registrar.Add("searchsorted", "Scalar", &SearchSortedNumber);
  registrar.Add("bucketize", "Tensor", &Bucketize);
  registrar.Add("bucketize", "Scalar", &BucketizeNumber);
  registrar.Add("equal", "", &Equal);
  registrar.Add("tril_indices", "", &TrilIndices);
  registrar.Add("triu_indices", "", &TriuIndices);
  registrar.Add("nonzero", "", &Nonzero);
  registrar.Add("nonzero_static", "", &NonzeroStatic);
  registrar.Add("binary_cross_entropy", "", &BinaryCrossEntropy);
  registrar.Add("frexp", "Tensor_out", &FrexpOut);
  registrar.Add("multinomial", "", &Multinomial);
  registrar.Add("randperm", "generator_out", &RandpermOut);
}

}  // namespace weft::plan
