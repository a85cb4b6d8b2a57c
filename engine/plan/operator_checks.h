#pragma once

#include <ATen/core/stack.h>

#include "absl/status/status.h"

// What must hold of an operator's arguments beyond what torch checks, or checks only where it is
// too late: on a device, or after the plan was made. See OperatorRow::check and check_values.

namespace weft::plan {

// Of what is known before running.

/// Lists of results of a bounded length, by what says how many there are.
absl::Status CheckUnbind(const c10::Stack& stack);
absl::Status CheckSplit(const c10::Stack& stack);
absl::Status CheckSections(const c10::Stack& stack);
absl::Status CheckListOfSizes(const c10::Stack& stack);
/// Sizes may not hang on what a cached plan leaves out of its key.
absl::Status CheckNoFloats(const c10::Stack& stack);
absl::Status CheckClasses(const c10::Stack& stack);
absl::Status CheckPadMode(const c10::Stack& stack);
/// Sizes, strides and dilations that cannot overflow.
absl::Status CheckWindows(const c10::Stack& stack);
/// What is done `n` times over.
absl::Status CheckFewTimes(const c10::Stack& stack);
/// Tensors of indices, and no mask.
absl::Status CheckIndexKinds(const c10::Stack& stack);
absl::Status CheckIndexPut(const c10::Stack& stack);
absl::Status CheckIndexFill(const c10::Stack& stack);
absl::Status CheckMaskedFill(const c10::Stack& stack);
absl::Status CheckMaskedScatter(const c10::Stack& stack);
/// Integers to draw from.
absl::Status CheckRange(const c10::Stack& stack);
absl::Status CheckBernoulli(const c10::Stack& stack);
absl::Status CheckSameShape(const c10::Stack& stack);
absl::Status CheckPut(const c10::Stack& stack);
absl::Status CheckAddmm(const c10::Stack& stack);
absl::Status CheckAddr(const c10::Stack& stack);
absl::Status CheckBits(const c10::Stack& stack);
absl::Status CheckTarget(const c10::Stack& stack);
absl::Status CheckTargetOrProbabilities(const c10::Stack& stack);
/// Matrices that are factorised in bounded time.
absl::Status CheckFactors(const c10::Stack& stack);
absl::Status CheckMatrixPower(const c10::Stack& stack);
absl::Status CheckNorm(const c10::Stack& stack);
absl::Status CheckLeastSquares(const c10::Stack& stack);

// Of values, when running.

/// Truncating division of integers is one machine instruction, which traps on the one quotient
/// that does not exist.
absl::Status CheckQuotient(const c10::Stack& stack);
/// What iterates until it converges does not on these.
absl::Status CheckFinite(const c10::Stack& stack);
absl::Status CheckProbabilities(const c10::Stack& stack);
absl::Status CheckProbabilitiesAndTarget(const c10::Stack& stack);
absl::Status CheckOtherProbabilities(const c10::Stack& stack);
/// Rows to sample from.
absl::Status CheckChances(const c10::Stack& stack);
absl::Status CheckEnoughToScatter(const c10::Stack& stack);

}  // namespace weft::plan
