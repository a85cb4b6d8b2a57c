#pragma once

#include "absl/status/status.h"
#include "engine/plan/operators.h"

namespace weft::plan {

/// Whether the values of a call's index arguments lie in the row's index_ranges: kInvalidArgument
/// naming the argument, the value and the range.
absl::Status CheckIndexRanges(const OperatorRow& row, const c10::Stack& stack);

}  // namespace weft::plan
