#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/plan/operators.h"

namespace weft::exported {

/// Arithmetic on sizes, which a graph has beside its tensors.
enum class SizeOperator : uint8_t {
  kSize,  // of a dimension of a tensor
  kNumel,
  kAdd,
  kSubtract,
  kMultiply,
  kFloorDivide,
  kModulo,
  kNegate,
  kMaximum,
  kMinimum,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kNot,
  kAnd,
  kOr,
};

/// What a node of a graph may call: a row of the operator table, one of the few operators that
/// graphs need beside it, or arithmetic on sizes.
struct GraphOperator {
  std::string name;  // `aten::linear`
  const plan::OperatorRow* row = nullptr;
  std::optional<c10::OperatorHandle> handle;  // of operators on tensors
  std::optional<SizeOperator> size;
  /// An assertion that torch.export leaves behind: nothing is run.
  bool nothing = false;
  /// An argument that must be false: what it turns on is random, or changes the model.
  const char* must_be_false = nullptr;
  /// Its result is its first argument.
  bool identity = false;
};

/// By a node's target, `torch.ops.aten.linear.default`. kUnimplemented, with the way out, for what
/// is in none of the lists.
absl::StatusOr<GraphOperator> FindOperator(const std::string& target);

/// Torch's kernels keep sets of dimensions in 64 bits.
inline constexpr int64_t kMostDimensions = 64;

/// What must hold of an operator's arguments before its kernel runs: what the operator table says,
/// and what the kernel takes for granted. Throws as kernels do.
void CheckArguments(const GraphOperator& op, const c10::Stack& stack);
/// And of its results: plain tensors.
void CheckResults(const GraphOperator& op, const c10::Stack& results);

/// kInvalidArgument where it overflows or divides by zero.
absl::StatusOr<c10::IValue> ComputeSize(SizeOperator op, const c10::Stack& arguments);

}  // namespace weft::exported
