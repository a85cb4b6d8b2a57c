#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"

namespace weft::plan {

/// Schedule a program that passed graph::Check. `rows` has an entry per invoke in written order
/// (those of `invoke { }` are ignored). Resolves versions, sites, overloads and shapes without
/// running the model. Every error names its statement: kInvalidArgument, kNotFound,
/// kPermissionDenied (an operator that is not for programs), kUnimplemented.
///
/// `points_per_pass` says of each sweep in written order how many of its points share a pass; all
/// of them where there is none. `every_token`: generations go on to their end, whatever the program
/// needs of them.
absl::StatusOr<Plan> MakePlan(const graph::Program& program, const ModelSpec& model,
                              absl::Span<const RowCount> rows,
                              absl::Span<const int64_t> points_per_pass = {},
                              bool every_token = false);

/// Bounds that CheckPlan enforces; 0 means no bound.
struct PlanLimits {
  uint64_t value_elements = 0;
  uint64_t result_bytes = 0;
  uint64_t peak_bytes = 0;
  /// Of what programs bring from one trace to the next, which nobody knows before they are planned.
  uint64_t pass_tokens = 0;
};

/// What a plan means for given token counts.
struct PlanCheck {
  /// As Plan::saves; all dimensions constant. Of a list, its items'.
  std::vector<graph::Pattern> saves;
  uint64_t result_bytes = 0;
  uint64_t peak_bytes = 0;
  double operations = 0;  // of the program's own, in the pass that has most of them
  uint64_t rows = 0;      // of all passes, pads included
};

/// Walk the plan on meta tensors: shapes, dtypes, bytes and cost of everything that the program
/// computes. kInvalidArgument naming the statement that cannot work, kResourceExhausted naming the
/// limit and the statement.
absl::StatusOr<PlanCheck> CheckPlan(const Plan& plan, const graph::Program& program,
                                    const ModelSpec& model, absl::Span<const RowCount> rows,
                                    const PlanLimits& limits);

/// The key under which a plan may be reused: everything of a program but the payloads of tensor
/// constants, top-level floats, prompts and token ids, names of values and sources.
std::string SignatureOf(const graph::Program& program);

/// Fill in a call's stack from the program's literals and a frame. `frame(slot)` gives the value.
template <typename Frame>
c10::Stack BindCall(const BoundCall& call, const graph::Program& program, const Frame& frame);

/// Make a list, tuple or dict from a frame's values.
template <typename Frame>
c10::IValue MakeStructureOf(const MakeStructure& make, const Frame& frame);

/// The meta value of a pattern at given counts, with `past` tokens before these.
c10::IValue MetaOf(const graph::Pattern& pattern, RowCount rows, int64_t past = 0);
/// The pattern of a (meta or real) value; dimensions are constants.
graph::Pattern PatternOf(const c10::IValue& value);

/// The value with its floating-point tensors as `dtype`, where there is one.
c10::IValue ConvertFloats(const c10::IValue& value, std::optional<graph::DType> dtype);
/// Apply `change` to every tensor of a value.
c10::IValue MapTensors(const c10::IValue& value,
                       absl::FunctionRef<at::Tensor(const at::Tensor&)> change);

/// The rows of an invoke that begins with a value of this shape: token ids, or activations for the
/// root whose input is `first_site`.
RowCount BroughtRows(const ModelSpec& model, int first_site, bool ids, at::IntArrayRef shape);

/// Whether a mask of this shape selects elements of a tensor: its dimensions are the tensor's
/// first.
absl::Status MaskFits(at::IntArrayRef mask, at::IntArrayRef tensor);

/// Take an item of a tuple, list or dict.
absl::StatusOr<c10::IValue> TakeItemOf(const c10::IValue& value,
                                       const std::variant<int64_t, std::string>& item);

graph::DType FromScalarType(c10::ScalarType type);
c10::ScalarType ToScalarType(graph::DType dtype);

// ---------------------------------------------------------------------------------------------

template <typename Frame>
c10::IValue MakeStructureOf(const MakeStructure& make, const Frame& frame) {
  if (make.kind == graph::Structure::Kind::kDict) {
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    for (size_t i = 0; i < make.items.size(); ++i) dict.insert(make.keys[i], frame(make.items[i]));
    return dict;
  }
  if (make.kind == graph::Structure::Kind::kTuple) {
    std::vector<c10::IValue> items;
    for (Slot slot : make.items) items.push_back(frame(slot));
    return c10::ivalue::Tuple::create(std::move(items));
  }
  c10::impl::GenericList list(c10::AnyType::get());
  for (Slot slot : make.items) list.push_back(frame(slot));
  return list;
}

template <typename Frame>
c10::Stack BindCall(const BoundCall& call, const graph::Program& program, const Frame& frame) {
  c10::Stack stack = call.stack;
  for (const BoundCall::Fill& fill : call.fills) {
    if (const Slot* slot = std::get_if<Slot>(&fill.from)) {
      const c10::IValue& value = frame(*slot);
      // A list that the program made holds values of any kind, an operator's is of tensors; a
      // number may stand for a float.
      stack[fill.argument] = value.isTensor()
                                 ? value
                                 : ConvertTo(value, call.row->schema().arguments()[fill.argument]);
      continue;
    }
    const auto& slots = std::get<std::vector<Slot>>(fill.from);
    if (call.row->schema().arguments()[fill.argument].type()->isSubtypeOf(
            *c10::ListType::ofTensors())) {
      c10::List<at::Tensor> list;
      list.reserve(slots.size());
      for (Slot slot : slots) list.push_back(frame(slot).toTensor());
      stack[fill.argument] = std::move(list);
    } else {
      c10::List<std::optional<at::Tensor>> list;
      list.reserve(slots.size());
      for (Slot slot : slots) {
        list.push_back(slot == kNoSlot ? std::optional<at::Tensor>() : frame(slot).toTensor());
      }
      stack[fill.argument] = std::move(list);
    }
  }
  for (const BoundCall::Float& number : call.floats) {
    const auto& op = std::get<graph::Operator>(program.at(call.node).kind);
    stack[number.argument] = ConvertTo(std::get<double>(op.arguments[number.literal].value),
                                       call.row->schema().arguments()[number.argument]);
  }
  return stack;
}

}  // namespace weft::plan
