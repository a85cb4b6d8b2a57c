#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/weights/model_config.h"
#include "engine/weights/weight_loader.h"

namespace weft::weights {

/// Return the dtype called `name`; nothing for `auto`. kInvalidArgument, listing what
/// there is, for a name that is none of kHostingDtypes.
absl::StatusOr<std::optional<at::ScalarType>> ParseHostingDtype(const std::string& name);

/// Return the name of a dtype: `float32`.
std::string HostingDtypeName(at::ScalarType dtype);

/// Return what `auto` stands for: `dtype` of the configuration, or `torch_dtype`, as it was called;
/// else the dtype of the checkpoint's first floating-point tensor, where there is one; else
/// float32. kUnimplemented for one that cannot be hosted, such as float64.
absl::StatusOr<at::ScalarType> DtypeOfCheckpoint(const ModelConfig& config,
                                                 const Checkpoint* checkpoint);

}  // namespace weft::weights
