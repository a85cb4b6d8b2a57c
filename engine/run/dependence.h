#pragma once

#include <vector>

#include "absl/types/span.h"
#include "engine/plan/plan.h"

namespace weft::run {

/// What a run has done so far in a stage: which of its instructions have run. The others change
/// nothing.
struct Done {
  const plan::Plan& plan;
  const plan::PlannedTrace& trace;
  const plan::Stage& stage;
  const std::vector<bool>& ran;
};

// Autograd knows less than these: rows of several invokes lie in one tensor, so what is computed of
// the rows of one has a graph to what the rows of all were made of. They err on the side of a
// dependence where rows are read behind a place that they have passed by another way, as values in
// attention have passed by the queries.

/// Of each instruction, whether what it made depends on one of `points`.
std::vector<bool> DependingOn(absl::Span<const plan::Slot> points, const Done& done);

/// Of each instruction, whether one of `values` depends on what it made.
std::vector<bool> NeededFor(absl::Span<const plan::Slot> values, const Done& done);

}  // namespace weft::run
