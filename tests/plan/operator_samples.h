#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "engine/plan/operators.h"

namespace weft::plan {

struct SampleOptions {
  at::ScalarType dtype = at::kFloat;  // of the first tensor and those that go with it
  bool transposed = false;            // tensors of two dimensions or more are not contiguous
};

/// Calls that an overload must accept, with real tensors: one or more lists of arguments. Written
/// by hand where an operator's shapes are its own, else made from its schema.
std::vector<std::vector<CallArgument>> SamplesOf(const OperatorRow& row,
                                                 const SampleOptions& options);

/// Calls with odd shapes (no dimensions, no elements, one element) and integers (0, -1), most of
/// which torch refuses.
std::vector<std::vector<CallArgument>> OddSamplesOf(const OperatorRow& row, at::ScalarType dtype);

}  // namespace weft::plan
