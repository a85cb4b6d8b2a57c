#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/weights/safetensors.h"

namespace weft::weights {

/// Return LibTorch's type for a dtype of safetensors ("F32"), or nothing where it has none.
std::optional<at::ScalarType> ScalarTypeFromDtype(const std::string& dtype);

/// Return the dtype of safetensors for `type`, or nothing where the format has none.
std::optional<std::string> DtypeFromScalarType(at::ScalarType type);

/// `file: tensor "name"`, for errors.
std::string DescribeEntry(const SafetensorsFile& file, const TensorEntry& entry);

/// `[2, 3]`.
std::string ShapeText(at::IntArrayRef shape);

/// Return the type of a tensor of a file; kUnimplemented if LibTorch has none.
absl::StatusOr<at::ScalarType> TypeOfEntry(const SafetensorsFile& file, const TensorEntry& entry);

/// Return a new tensor, which is never an inference tensor; kResourceExhausted.
absl::StatusOr<at::Tensor> MakeEmpty(at::IntArrayRef shape, at::ScalarType type,
                                     at::Device device = at::kCPU);

/// What is copied of a file's tensor: along one dimension as much as the destination has, from
/// `begin` on; or, with a negative `dim`, the whole.
struct Cut {
  int64_t dim = -1;
  int64_t begin = 0;
};

/// Copy a tensor of a file, or a cut of it, into `to`, which has its shape, on any device, with any
/// strides and floating-point type. What was copied is out of the mapping's memory then. `progress`
/// is called for every few megabytes with how many bytes of the file were copied; its error ends
/// it.
absl::Status CopyTensor(const SafetensorsFile& file, const TensorEntry& entry, const Cut& cut,
                        const at::Tensor& to,
                        const std::function<absl::Status(uint64_t bytes)>& progress);

}  // namespace weft::weights
