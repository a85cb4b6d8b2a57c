#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "weft/tensor.h"

namespace weft {

/// The tensors of a safetensors file by name, such as the weights of an AttachedModule. Each
/// has memory of its own. kNotFound, kPermissionDenied; kInvalidArgument or kDataLoss for a file
/// that is no such one, kUnimplemented for a dtype that programs do not have.
absl::StatusOr<std::map<std::string, Tensor>> LoadTensors(const std::string& path);

}  // namespace weft
