#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/graph/program.h"
#include "tests/reference/call.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {

using graph::NodeId;
using graph::Point;

inline Prompts MakePrompts(const std::vector<std::vector<int64_t>>& rows) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const std::vector<int64_t> shape = {static_cast<int64_t>(rows.size()),
                                      static_cast<int64_t>(longest)};
  Prompts prompts;
  for (at::Tensor* tensor : {&prompts.ids, &prompts.mask, &prompts.positions}) {
    *tensor = at::zeros(shape, at::kLong);
  }
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t pads = longest - rows[r].size();
    for (size_t t = 0; t < rows[r].size(); ++t) {
      const auto row = static_cast<int64_t>(r), at = static_cast<int64_t>(pads + t);
      prompts.ids[row][at] = rows[r][t];
      prompts.mask[row][at] = 1;
      prompts.positions[row][at] = static_cast<int64_t>(t);
    }
  }
  return prompts;
}

/// What a program says when it is read outside of its sweeps, or for one point of one of them.
class Reading {
 protected:
  Reading(const graph::Program& program, const PlainModel& model, NodeId sweep, size_t point)
      : program_(program), model_(model), sweep_(sweep), point_(point) {}

  NodeId Count() const { return static_cast<NodeId>(program_.nodes.size()); }

  std::string Suffix() const { return sweep_ == graph::kNoNode ? "" : absl::StrCat("/", point_); }

  static c10::IValue ToDType(const c10::IValue& value, std::optional<graph::DType> dtype) {
    if (!dtype) return value;
    return ForTensors(value, [&](const at::Tensor& tensor) {
      return tensor.is_floating_point() ? tensor.to(ScalarTypeOf(*dtype)) : tensor;
    });
  }

  /// Of the sweep that is being looked at the parameters have values.
  decltype(graph::Argument::value) Filled(const graph::SweepUse& use) const {
    const auto& parameter =
        std::get<graph::Sweep>(program_.at(use.sweep).kind).parameters[use.parameter];
    return std::visit(
        [this](const auto& values) -> decltype(graph::Argument::value) {
          if constexpr (std::is_same_v<decltype(values[0]), const std::vector<int64_t>&>) {
            return {};  // rows of token ids are prompts alone
          } else {
            return values[point_];
          }
        },
        parameter.values);
  }

  std::vector<graph::IndexTerm> Filled(std::vector<graph::IndexTerm> terms) const {
    for (graph::IndexTerm& term : terms) {
      if (const auto* use = std::get_if<graph::SweepUse>(&term)) {
        const auto value = Filled(*use);
        if (const auto* number = std::get_if<int64_t>(&value)) term = *number;
        if (const auto* text = std::get_if<std::string>(&value)) term = *text;
        if (const auto* ref = std::get_if<graph::NodeRef>(&value)) term = *ref;
      } else if (auto* slice = std::get_if<graph::Slice>(&term)) {
        if (slice->start_parameter) {
          slice->start = std::get<int64_t>(Filled(*slice->start_parameter));
        }
        if (slice->stop_parameter) slice->stop = std::get<int64_t>(Filled(*slice->stop_parameter));
      }
    }
    return terms;
  }

  std::vector<graph::Argument> Filled(std::vector<graph::Argument> arguments) const {
    for (graph::Argument& argument : arguments) {
      if (const auto* use = std::get_if<graph::SweepUse>(&argument.value)) {
        argument.value = Filled(*use);
      }
    }
    return arguments;
  }

  graph::Site Filled(graph::Site site) const {
    std::vector<std::string> parts = absl::StrSplit(site.module, '.');
    for (const graph::PathParameter& parameter : site.parameters) {
      const auto value = Filled(parameter.use);
      if (const auto* text = std::get_if<std::string>(&value)) parts[parameter.component] = *text;
      if (const auto* number = std::get_if<int64_t>(&value)) {
        parts[parameter.component] = absl::StrCat(*number);
      }
    }
    if (!site.parameters.empty()) site.module = absl::StrJoin(parts, ".");
    site.parameters.clear();
    return site;
  }

  // --- steps

  const graph::Trace& TraceAround(NodeId n) const {
    return std::get<graph::Trace>(program_.at(program_.TraceOf(n)).kind);
  }
  bool Generates(NodeId n) const { return TraceAround(n).generate != nullptr; }
  /// How many steps the trace around a statement has.
  int64_t StepCount(NodeId n) const {
    return Generates(n) ? TraceAround(n).generate->max_new_tokens : 1;
  }
  /// The steps in which a region's statements stand, in order.
  std::vector<int64_t> Selected(NodeId region) const {
    const auto& steps = std::get<graph::Steps>(program_.at(region).kind);
    const int64_t count = StepCount(region);
    std::vector<int64_t> selected;
    for (int64_t step = 0; step < count; ++step) {
      const bool listed = std::find(steps.list.begin(), steps.list.end(), step) != steps.list.end();
      const int64_t first = steps.range.start.value_or(0);
      const bool ranged = step >= first && step < steps.range.stop.value_or(count) &&
                          (step - first) % steps.range.step.value_or(1) == 0;
      if (steps.list.empty() ? ranged : listed) selected.push_back(step);
    }
    return selected;
  }
  /// The steps of its trace in which a statement stands: the first one, or those of its region.
  std::vector<int64_t> StepsWith(NodeId n) const {
    const NodeId region = program_.StepsOf(n);
    return region == graph::kNoNode ? std::vector<int64_t>{0} : Selected(region);
  }
  bool Happens(NodeId n, int64_t step) const {
    const std::vector<int64_t> steps = StepsWith(n);
    return std::find(steps.begin(), steps.end(), step) != steps.end();
  }

  // --- sites

  /// The site where a value is, by its text; its structure is that of `module`, where it has one.
  struct Place {
    std::string site, module;
    bool inputs = false;  // shown as ((value, none...), {})
    int nones = 0;
    bool first = false;  // shown is the first leaf
  };

  Place PlaceOf(const graph::Site& written) const {
    graph::Site site = Filled(written);
    Place place;
    if (site.point == Point::kResult) {
      site = graph::Site{};
      place.first = true;
    }
    if (site.point == Point::kInputs) {
      site.point = Point::kInput;
      place.inputs = true;
      place.nones = site.op.empty() ? 0 : 1;  // of a product, the weights
    }
    const bool output = site.point == Point::kOutput && site.op.empty();
    place.module = output ? site.module : "no module";
    place.site = graph::ToString(site);
    return place;
  }

  c10::IValue Shown(const Place& place, const at::Tensor& leaf) const {
    if (place.first) return leaf;
    if (!place.inputs) return model_.InForm(place.module, leaf);
    std::vector<c10::IValue> positional(1 + place.nones);
    positional[0] = leaf;
    return c10::ivalue::Tuple::create(
        {c10::IValue(c10::ivalue::Tuple::create(std::move(positional))),
         c10::IValue(c10::impl::GenericDict(c10::StringType::get(), c10::AnyType::get()))});
  }

  static bool HasTensors(const std::vector<graph::IndexTerm>& terms) {
    for (const graph::IndexTerm& term : terms) {
      if (std::holds_alternative<graph::NodeRef>(term)) return true;
    }
    return false;
  }

  /// The statements of other sweeps are not there.
  bool IsSeen(NodeId n) const {
    const NodeId sweep = program_.SweepOf(n);
    return sweep == graph::kNoNode || sweep == sweep_;
  }

  std::vector<NodeId> InvokesBeside(NodeId invoke) const {
    std::vector<NodeId> invokes;
    for (NodeId n = 1; n <= Count(); ++n) {
      const auto* other = std::get_if<graph::Invoke>(&program_.at(n).kind);
      if (other == nullptr || program_.at(n).parent != program_.at(invoke).parent) continue;
      if (!IsAllRows(n)) invokes.push_back(n);
    }
    return invokes;
  }

  bool IsAllRows(NodeId invoke) const {
    const auto& kind = std::get<graph::Invoke>(program_.at(invoke).kind);
    return std::holds_alternative<graph::Invoke::AllRows>(kind.input);
  }

  Prompts PromptsOf(NodeId invoke) const {
    const auto& kind = std::get<graph::Invoke>(program_.at(invoke).kind);
    return MakePrompts(std::get<graph::Invoke::Tokens>(kind.input).rows);
  }

  /// Of such a tensor those of one invoke, which are like `alike`.
  at::Tensor RowsOf(const at::Tensor& together, NodeId all, NodeId invoke,
                    at::IntArrayRef alike) const {
    int64_t first = 0;
    for (const NodeId other : InvokesBeside(all)) {
      const int64_t batch = PromptsOf(other).ids.size(0);
      if (other == invoke) {
        at::Tensor rows = together.narrow(0, first, batch);
        for (int64_t d = 1; d < rows.dim(); ++d) {
          rows = rows.narrow(d, rows.size(d) - alike[d], alike[d]);
        }
        return rows;
      }
      first += batch;
    }
    throw std::logic_error("an invoke that is not among all");
  }

  /// Among the invokes of the same trace, or of the same sweep.
  int64_t PlaceAmongInvokes(NodeId invoke) const {
    int64_t place = 0;
    for (NodeId n = 1; n < invoke; ++n) {
      const bool is_invoke = std::holds_alternative<graph::Invoke>(program_.at(n).kind);
      place += is_invoke && program_.at(n).parent == program_.at(invoke).parent ? 1 : 0;
    }
    return place;
  }

  /// Whether a statement is of this invoke, or of an `invoke { }` beside it.
  bool Concerns(NodeId n, NodeId invoke) const {
    const NodeId own = program_.InvokeOf(n);
    if (own == graph::kNoNode || !IsSeen(n)) return false;
    return own == invoke ||
           (IsAllRows(own) && program_.at(own).parent == program_.at(invoke).parent);
  }

  /// The rows of all invokes, one below the other, with zeros before the shorter ones.
  template <typename Part>
  at::Tensor Together(NodeId all, const Part& part) {
    std::vector<at::Tensor> parts;
    for (const NodeId invoke : InvokesBeside(all)) parts.push_back(part(invoke));
    if (parts.empty()) throw std::invalid_argument("all rows, of which there are none");
    for (int64_t d = 1; d < parts[0].dim(); ++d) {
      int64_t longest = 0;
      for (const at::Tensor& rows : parts) longest = std::max(longest, rows.size(d));
      for (at::Tensor& rows : parts) {
        std::vector<int64_t> shape = rows.sizes().vec();
        shape[d] = longest - shape[d];
        if (shape[d] > 0) rows = at::cat({at::zeros(shape, rows.options()), rows}, d);
      }
    }
    return at::cat(parts, 0);
  }

  const graph::Program& program_;
  const PlainModel& model_;
  const NodeId sweep_;
  const size_t point_;
};

}  // namespace weft::reference
