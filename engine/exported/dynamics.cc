#include "engine/exported/dynamics.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"

namespace weft::exported {

std::optional<graph::Dimension> SizeForm(const Graph& graph, const Dynamics& dynamics,
                                         const Size& size) {
  if (!size.dynamic) return graph::Dimension{.constant = size.value};
  const TensorMeta& first = *graph.program.values[graph.user_inputs[0]].meta;
  if (dynamics.batch && size.symbol == first.sizes[0].symbol) return graph::Dimension{.batch = 1};
  if (dynamics.tokens && size.symbol == first.sizes[1].symbol) {
    return graph::Dimension{.tokens = 1};
  }
  return std::nullopt;
}

namespace {

absl::Status CheckSizes(const Value& input) {
  if (!input.meta) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input `", Shown(input.name), "` has no shape"));
  }
  int64_t elements = 1;
  for (const Size& size : input.meta->sizes) {
    if (size.value < 1 || __builtin_mul_overflow(elements, size.value, &elements) ||
        elements > kMostElements) {
      return absl::InvalidArgumentError(absl::StrCat("the shape of the input `", Shown(input.name),
                                                     "` has no or too many elements"));
    }
  }
  return absl::OkStatus();
}

Range RangeOf(const Program& program, const Size& size) {
  if (!size.dynamic) return {size.value, size.value};
  const Range* given = program.FindRange(size.symbol);
  Range range{1, std::numeric_limits<int32_t>::max()};
  if (given != nullptr) {
    range.least = std::max<int64_t>(1, given->least);
    range.most = std::min(range.most, given->most);
  }
  return range;
}

}  // namespace

absl::StatusOr<Dynamics> FindDynamics(const Graph& graph) {
  const Program& program = graph.program;
  if (graph.user_inputs.empty()) {
    return absl::UnimplementedError(
        "the program is called with no tensor; export a module whose forward takes one");
  }
  constexpr size_t kMostInputs = 64;
  if (graph.user_inputs.size() > kMostInputs) {
    return absl::UnimplementedError(absl::StrCat("the program is called with ",
                                                 graph.user_inputs.size(), " tensors; at most ",
                                                 kMostInputs, " are given"));
  }
  for (const ValueId input : graph.user_inputs) {
    if (absl::Status status = CheckSizes(program.values[input]); !status.ok()) return status;
  }
  const Value& first = program.values[graph.user_inputs[0]];
  const std::vector<Size>& sizes = first.meta->sizes;
  if (sizes.empty()) {
    return absl::UnimplementedError(
        "the program is called with a lone number; export it with a tensor of at least one "
        "dimension, and that one first");
  }
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (!sizes[d].dynamic) continue;
    if (d > 1 || sizes[d].symbol.empty() || (d == 1 && sizes[1].symbol == sizes[0].symbol)) {
      return absl::UnimplementedError(absl::StrCat(
          "dimension ", d, " of the input `", Shown(first.name), "` is dynamic",
          d > 1 ? "" : " in a way of its own",
          "; the first (batch) and the second (tokens) may be, each by a Dim of its own: export it "
          "with a size there"));
    }
  }
  Dynamics dynamics;
  dynamics.batch = sizes[0].dynamic;
  dynamics.batches = RangeOf(program, sizes[0]);
  dynamics.tokens = sizes.size() > 1 && sizes[1].dynamic;
  dynamics.lengths = sizes.size() > 1 ? RangeOf(program, sizes[1]) : Range{1, 1};
  if (dynamics.batches.least > dynamics.batches.most ||
      dynamics.lengths.least > dynamics.lengths.most || dynamics.batches.least > (1 << 20) ||
      dynamics.lengths.least > (1 << 20)) {
    return absl::InvalidArgumentError("the range of a dynamic size is empty, or far off");
  }
  for (const ValueId input : graph.user_inputs) {
    const Value& value = program.values[input];
    for (size_t d = 0; d < value.meta->sizes.size(); ++d) {
      if (SizeForm(graph, dynamics, value.meta->sizes[d])) continue;
      return absl::UnimplementedError(absl::StrCat(
          "dimension ", d, " of the input `", Shown(value.name),
          "` is dynamic, and is neither the "
          "first nor the second of the first input, `",
          Shown(first.name), "`; give it one of their Dims, or export it with a size there"));
    }
  }
  return dynamics;
}

models::RowInput InputOf(const Graph& graph, const Dynamics& dynamics) {
  models::RowInput input;
  for (const ValueId id : graph.user_inputs) {
    const Value& value = graph.program.values[id];
    graph::PatternTensor pattern;
    pattern.dtype = value.meta->dtype;
    for (const Size& size : value.meta->sizes) {
      pattern.shape.push_back(*SizeForm(graph, dynamics, size));
    }
    if (id != graph.user_inputs[0]) {
      input.others.push_back({value.name, std::move(pattern)});
      continue;
    }
    input.name = value.name;
    input.tokens = dynamics.tokens;
    input.dtype = plan::ToScalarType(pattern.dtype);
    for (size_t d = input.tokens ? 2 : 1; d < pattern.shape.size(); ++d) {
      input.shape.push_back(pattern.shape[d].constant);
    }
  }
  input.batches = {dynamics.batches.least, dynamics.batches.most};
  input.lengths = {dynamics.lengths.least, dynamics.lengths.most};
  return input;
}

}  // namespace weft::exported
