#include "engine/plan/index_check.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weft::plan {
namespace {

/// The least and the greatest of an integer tensor that has elements.
template <typename T>
std::pair<int64_t, int64_t> Extremes(const at::Tensor& tensor) {
  const T* data = tensor.const_data_ptr<T>();
  T least = data[0];
  T greatest = data[0];
  for (int64_t i = 1, n = tensor.numel(); i < n; ++i) {
    least = std::min(least, data[i]);
    greatest = std::max(greatest, data[i]);
  }
  return {least, greatest};
}

std::pair<int64_t, int64_t> ExtremesOf(const at::Tensor& tensor) {
  if (tensor.is_cpu() && tensor.is_contiguous()) {
    if (tensor.scalar_type() == at::kLong) return Extremes<int64_t>(tensor);
    if (tensor.scalar_type() == at::kInt) return Extremes<int32_t>(tensor);
  }
  // One transfer from a device instead of two.
  const auto [least, greatest] = tensor.to(at::kLong).aminmax();
  const at::Tensor both = at::stack({least, greatest}).cpu();
  return {both.const_data_ptr<int64_t>()[0], both.const_data_ptr<int64_t>()[1]};
}

int64_t SizeOf(const IndexRange& range, const c10::Stack& stack, int place) {
  const c10::IValue& source = stack[range.source_argument];
  if (source.isInt()) return source.toInt();
  const at::Tensor& tensor = source.toTensor();
  int64_t dimension = range.dimension;
  if (range.dimension_argument >= 0) {
    const c10::IValue& named = stack[range.dimension_argument];
    if (named.isNone()) return tensor.numel();
    dimension = named.toInt();
    if (dimension < 0) dimension += tensor.dim();
  } else if (dimension == IndexRange::kFlattened) {
    return tensor.numel();
  } else if (dimension == IndexRange::kByPlace) {
    dimension = place;
  }
  if (tensor.dim() == 0) return 1;
  // A dimension that does not exist is for the kernel to complain about.
  return tensor.size(std::clamp<int64_t>(dimension, 0, tensor.dim() - 1));
}

absl::Status CheckOne(const OperatorRow& row, const IndexRange& range, const c10::Stack& stack,
                      at::Tensor index, int place) {
  if (!c10::isIntegralType(index.scalar_type(), /*includeBool=*/false) || index.numel() == 0) {
    return absl::OkStatus();
  }
  if (range.ignore_argument >= 0) {
    index = index.masked_fill(index == stack[range.ignore_argument].toInt(), 0);
  }
  const int64_t size = SizeOf(range, stack, place);
  const auto [least, greatest] = ExtremesOf(index);
  const int64_t lowest = range.negative ? -size : 0;
  if (least >= lowest && greatest < size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      row.name, ": `", row.schema().arguments()[range.index_argument].name(), "` holds ",
      least < lowest ? least : greatest, ", but it must lie in [", lowest, ", ", size, ")"));
}

}  // namespace

absl::Status CheckIndexRanges(const OperatorRow& row, const c10::Stack& stack) {
  for (const IndexRange& range : row.index_ranges) {
    const c10::IValue& index = stack[range.index_argument];
    if (index.isTensor()) {
      absl::Status status = CheckOne(row, range, stack, index.toTensor(), 0);
      if (!status.ok()) return status;
    } else if (index.isList()) {
      int place = 0;
      for (const c10::IValue& item : index.toListRef()) {
        int dimensions = 1;  // that it indexes
        if (item.isTensor() && item.toTensor().defined()) {
          const at::Tensor& tensor = item.toTensor();
          absl::Status status = CheckOne(row, range, stack, tensor, place);
          if (!status.ok()) return status;
          const c10::ScalarType type = tensor.scalar_type();
          if (type == at::kBool || type == at::kByte) dimensions = static_cast<int>(tensor.dim());
        }
        place += dimensions;
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace weft::plan
