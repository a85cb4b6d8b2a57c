#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/operators.h"
#include "engine/plan/plan.h"

namespace weft::plan {

/// The (meta) result of calling a module out of band on `input`, a value of an invoke of `rows`
/// (`all_rows`: of `invoke { }`). kInvalidArgument if the module does not take such a value.
absl::StatusOr<c10::IValue> ModuleResult(const ModelSpec& model, int module,
                                         const c10::IValue& input, RowCount rows, bool all_rows);

/// The (meta) value at a site inside such a call, whose input has these dimensions in front of the
/// module's own.
c10::IValue ValueInside(const ModelSpec& model, int site, at::IntArrayRef leading);
/// Those dimensions.
std::vector<int64_t> LeadingOf(const ModelSpec& model, int module, at::IntArrayRef input);

/// What such a call takes.
CallCost CostOfModule(const ModelSpec& model, int module, const at::Tensor& input, RowCount rows);

/// How many tensors there are in a value of this pattern.
int CountTensors(const graph::Pattern& pattern);

}  // namespace weft::plan
