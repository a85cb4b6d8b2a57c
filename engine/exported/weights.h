#pragma once

#include <ATen/ATen.h>

#include "absl/status/status.h"
#include "engine/exported/archive.h"
#include "engine/exported/graph.h"

namespace weft::exported {

/// Copy a graph's weights, buffers and constants out of the archive into memory of our own.
/// kInvalidArgument, naming weight and entry, where sizes, strides or dtypes do not fit the bytes
/// that are there, or the graph.
absl::Status LoadWeights(const Archive& archive, Graph& graph);

}  // namespace weft::exported
