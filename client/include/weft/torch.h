#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "weft/tensor.h"

// For programs that have LibTorch themselves: weft::Tensor as at::Tensor and back, without a copy.
// Header only, so that the client library needs no LibTorch.

namespace weft {

/// torch's dtype.
inline at::ScalarType ToTorch(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kUInt8:
      return at::kByte;
    case DType::kInt8:
      return at::kChar;
    case DType::kInt16:
      return at::kShort;
    case DType::kInt32:
      return at::kInt;
    case DType::kInt64:
      return at::kLong;
    case DType::kFloat16:
      return at::kHalf;
    case DType::kBFloat16:
      return at::kBFloat16;
    case DType::kFloat32:
      return at::kFloat;
    case DType::kFloat64:
      return at::kDouble;
    case DType::kComplex64:
      return at::kComplexFloat;
    case DType::kComplex128:
      return at::kComplexDouble;
  }
  return at::ScalarType::Undefined;
}

/// An at::Tensor on the same bytes, which live as long as it does. The bytes are shared with every
/// copy of `tensor`: clone() before writing.
inline at::Tensor ToTorch(const Tensor& tensor) {
  const at::TensorOptions options = at::TensorOptions().dtype(ToTorch(tensor.dtype()));
  const std::vector<int64_t>& shape = tensor.shape();
  if (tensor.numel() == 0) return at::empty(shape, options);
  return at::from_blob(
      const_cast<void*>(tensor.data()), shape, [owner = tensor.owner()](void*) {}, options);
}

/// A Tensor on the same bytes if `tensor` is dense and on the CPU, else on a copy. Do not write to
/// `tensor` afterwards. kInvalidArgument for a dtype that does not travel.
inline absl::StatusOr<Tensor> FromTorch(const at::Tensor& tensor) {
  for (int number = 1; number <= static_cast<int>(DType::kComplex128); ++number) {
    const auto dtype = static_cast<DType>(number);
    if (ToTorch(dtype) != tensor.scalar_type()) continue;
    auto dense = std::make_shared<at::Tensor>(
        tensor.detach().to(at::kCPU).contiguous().resolve_conj().resolve_neg());
    const void* data = dense->const_data_ptr();
    const size_t bytes = dense->nbytes();
    Shape shape(dense->sizes().vec());
    return Tensor::Wrap(dtype, std::move(shape), std::move(dense), data, bytes);
  }
  return absl::InvalidArgumentError("tensors of this dtype do not travel");
}

}  // namespace weft
