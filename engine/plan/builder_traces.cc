#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {
namespace {

constexpr size_t kMaxTraces = 4096;
constexpr size_t kMaxInvokes = 1 << 18;

/// The first of the steps after a generation's first that are selected.
int64_t FirstLater(const std::optional<Selection>& selection) {
  if (!selection) return 1;
  for (const int64_t step : selection->list) {
    if (step > 0) return step;
  }
  return selection->first > 0 ? selection->first : selection->stride;
}

}  // namespace

void PlanBuilder::BeginTrace(const graph::Trace& trace, NodeId node) {
  trace_ = static_cast<int>(plan_.traces.size());
  stage_ = FirstKey(trace_);
  PlannedTrace& planned = plan_.traces.emplace_back();
  planned.node = node;
  planned.root = model_.FindModule(trace.root);
  planned.first_site = model_.FindSite(planned.root, Point::kInput, 0);
  planned.result_site = model_.FindSite(planned.root, Point::kOutput, 0);
  planned.generates = trace.generate != nullptr;
  if (!planned.generates) return;
  planned.whole = every_token_;
  planned.steps = std::max<int64_t>(1, trace.generate->max_new_tokens);
  if (!trace.generate->Searches()) return;
  planned.beams = trace.generate->num_beams;
  planned.returned = trace.generate->Returned();
}

absl::Status PlanBuilder::Add(const graph::Trace& trace) {
  if (plan_.traces.size() >= kMaxTraces) {
    return Refuse(absl::StrCat("a program has at most ", kMaxTraces, " traces"));
  }
  if (absl::Status status = CheckRoot(trace); !status.ok()) return status;
  BeginTrace(trace, node_);
  has_gradients_ = has_all_rows_ = false;
  for (NodeId id = node_ + 1; id < ends_[node_]; ++id) {
    const auto& kind = program_.at(id).kind;
    has_gradients_ |= std::holds_alternative<graph::Backward>(kind);
    const auto* invoke = std::get_if<graph::Invoke>(&kind);
    has_all_rows_ |=
        invoke != nullptr && std::holds_alternative<graph::Invoke::AllRows>(invoke->input);
  }
  if (has_gradients_) backwards_.insert(trace_);
  return BuildInside();
}

absl::Status PlanBuilder::CheckRoot(const graph::Trace& trace) {
  const int module = model_.FindModule(trace.root);
  if (module < 0) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no module `", trace.root, "`"),
                                 model_.Suggest(trace.root));
  }
  if (model_.FindSite(module, Point::kInput, 0) < 0) {
    return model_.NoSuchSite(module, {trace.root});
  }
  if (module != 0 && !model_.modules()[module].not_alone.empty()) return RefuseAlone(module);
  if (trace.generate && (module != 0 || !model_.input().ids)) {
    return Refuse("a generation calls a model of token ids, and all of it");
  }
  if (trace.generate && !model_.input().no_generation.empty()) {
    return Refuse(model_.input().no_generation, "trace it without `generate`");
  }
  return absl::OkStatus();
}

bool PlanBuilder::InTrace(int site) {
  return Trace().root == 0 || (site >= Trace().first_site && site <= Trace().result_site);
}

std::string PlanBuilder::RootName() {
  return Trace().root == 0 ? "the model" : absl::StrCat("`", RootPath(), "`");
}

absl::Status PlanBuilder::CheckActivations(const graph::Invoke& invoke, RowCount rows) {
  const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input);
  const graph::Pattern& pattern = model_.sites()[Trace().first_site].pattern;
  if (tensors == nullptr) {
    return Refuse(absl::StrCat("this trace calls ", RootName(), ", which takes no prompt"),
                  absl::StrCat("give it a tensor, ", graph::ToString(pattern)));
  }
  if (Trace().root != 0 && (tensors->inputs.size() != 1 || !tensors->inputs[0].name.empty())) {
    return Refuse(absl::StrCat(RootName(), " takes one tensor, by position"));
  }
  // Of several, what a pass is given was put in order and looked at when it was made.
  if (tensors->inputs.size() != 1) return absl::OkStatus();
  absl::StatusOr<Slot> slot = Current(static_cast<int>(tensors->inputs[0].node));
  if (!slot.ok()) return slot.status();
  const c10::IValue given = MetaAt(*slot);
  const at::Tensor expected = MetaOf(pattern, rows).toTensor();
  if (!given.isTensor() || expected.sizes() != given.toTensor().sizes() ||
      expected.scalar_type() != given.toTensor().scalar_type()) {
    return Refuse(absl::StrCat(RootName(), " takes ", graph::ToString(pattern), ", and is given ",
                               graph::ToString(PatternOf(given))));
  }
  return absl::OkStatus();
}

bool PlanBuilder::IsBrought(const graph::Invoke& invoke) const {
  const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input);
  return tensors != nullptr && std::any_of(tensors->inputs.begin(), tensors->inputs.end(),
                                           [this](const graph::NamedInput& input) {
                                             return !std::holds_alternative<graph::Constant>(
                                                 program_.at(input.node).kind);
                                           });
}

absl::StatusOr<BringInput> PlanBuilder::FindBrought(const graph::Invoke& invoke) {
  BringInput bring{-1, kNoSlot, kNoSlot};
  for (const graph::NamedInput& input : std::get<graph::Invoke::Tensors>(invoke.input).inputs) {
    const bool mask = CallsWithIds() && input.name == "attention_mask";
    Slot& place = mask ? bring.mask : bring.value;
    const std::vector<std::string>& names = model_.input().names;
    const bool named = CallsWithIds()
                           ? input.name == "input_ids"
                           : Trace().root == 0 && !names.empty() && input.name == names[0];
    const bool taken = input.name.empty() || mask || named;
    if (taken && !CallsWithIds() && Trace().root == 0 && names.size() > 1) {
      return Refuse(
          absl::StrCat(RootName(), " takes ", names.size(),
                       " tensors, and values of an earlier trace are given to one of one"),
          "save them, and give them as constants to a program of its own");
    }
    if (!taken || place != kNoSlot) {
      return Refuse(absl::StrCat(RootName(), " takes no `", input.name, "` here"),
                    CallsWithIds() ? "give `input_ids` and, where there are pads, `attention_mask`"
                                   : "it takes one tensor, by position");
    }
    absl::StatusOr<Slot> slot = Current(static_cast<int>(input.node));
    if (!slot.ok()) return slot.status();
    if (absl::Status known = NeedsSize(*slot, "an invoke"); !known.ok()) return known;
    if (WhenOf(*slot).stage >= FirstKey(trace_) &&
        !std::holds_alternative<graph::Constant>(program_.at(input.node).kind)) {
      return Refuse(
          absl::StrCat(Shown(static_cast<int>(input.node)),
                       " is there only while this trace runs, and is what it begins with"),
          "compute it in a trace before this one");
    }
    place = *slot;
  }
  if (bring.value == kNoSlot) return Refuse("there is a mask, and there are no token ids");
  for (const Slot slot : {bring.value, bring.mask}) {
    if (slot == kNoSlot || !CallsWithIds()) continue;
    const c10::IValue meta = MetaAt(slot);
    const bool fits =
        meta.isTensor() &&
        (c10::isIntegralType(meta.toTensor().scalar_type(), /*includeBool=*/slot == bring.mask)) &&
        (meta.toTensor().dim() == 1 || meta.toTensor().dim() == 2) && meta.toTensor().numel() > 0;
    if (!fits) {
      return Refuse(absl::StrCat("`", slot == bring.value ? "input_ids" : "attention_mask", "` is ",
                                 graph::ToString(PatternOf(meta))),
                    "it is int64[tokens] or int64[batch, tokens]");
    }
  }
  return bring;
}

int PlanBuilder::InputOf(NodeId invoke) const {
  const bool swept = std::holds_alternative<graph::SweptPrompt>(
      std::get<graph::Invoke>(program_.at(invoke).kind).input);
  return inputs_[invoke] + (swept ? static_cast<int>(*point_) : 0);
}

absl::StatusOr<RowCount> PlanBuilder::RowsOf(NodeId id) {
  const auto& invoke = std::get<graph::Invoke>(program_.at(id).kind);
  if (!IsBrought(invoke)) return given_rows_[InputOf(id)];
  absl::StatusOr<BringInput> bring = FindBrought(invoke);
  if (!bring.ok()) return bring.status();
  const c10::IValue meta = MetaAt(bring->value);
  if (!meta.isTensor()) return Refuse("an invoke begins with a tensor");
  return BroughtRows(model_, Trace().first_site, CallsWithIds(), meta.toTensor().sizes());
}

absl::Status PlanBuilder::Add(const graph::Invoke& invoke) {
  if (InputOf(node_) >= static_cast<int>(given_rows_.size())) {
    return absl::InternalError("fewer row counts than invokes");
  }
  if (plan_.invokes.size() >= kMaxInvokes) {
    return graph::StatementError(absl::StatusCode::kResourceExhausted, program_, node_,
                                 absl::StrCat("up to here the program comes to ", kMaxInvokes,
                                              " invokes, of each point of its sweeps"),
                                 "split it");
  }
  absl::StatusOr<RowCount> rows = RowsOf(node_);
  if (!rows.ok()) return rows.status();
  if (!CallsWithIds() && !std::holds_alternative<graph::Invoke::AllRows>(invoke.input)) {
    absl::Status status = CheckActivations(invoke, *rows);
    if (!status.ok()) return status;
  }
  PlannedInvoke planned;
  planned.node = node_;
  planned.place = places_[node_];
  planned.input = InputOf(node_);
  planned.trace = trace_;
  planned.group = group_;
  planned.point = point_;
  planned.all_rows = std::holds_alternative<graph::Invoke::AllRows>(invoke.input);
  const auto index = static_cast<int>(plan_.invokes.size());
  invoke_index_[node_] = index;
  plan_.invokes.push_back(planned);
  Trace().invokes.push_back(index);
  rows_.push_back(*rows);
  if (IsBrought(invoke)) {
    if (trace_ == 0) return Refuse("there is no trace before this one");
    absl::StatusOr<BringInput> bring = FindBrought(invoke);
    if (!bring.ok()) return bring.status();
    bring->invoke = index;
    plan_.invokes[index].brought = true;
    When when{.stage = AfterKey(trace_ - 1)};
    for (Slot* const slot : {&bring->value, &bring->mask}) {
      if (*slot == kNoSlot) continue;
      if (WhenOf(*slot).stage > when.stage) {
        // A constant of this trace, which is there before it as well.
        const NodeId constant = instructions_[slots_[*slot].instruction].node;
        const NodeId here = std::exchange(node_, constant);
        *slot = Emit(LoadConstant{}, MetaAt(*slot), When{.stage = when.stage});
        node_ = here;
      }
      when.Add(WhenOf(*slot));
    }
    EmitEffect(*bring, when);
  }
  if (planned.all_rows) {
    // All of this place: of the trace, or of the sweep's point.
    const std::pair<NodeId, int> place(At().parent, group_);
    if (all_rows_ && all_rows_->first == place) {
      rows_.back() = all_rows_->second;
      return BuildInside();
    }
    RowCount all;
    for (NodeId id = At().parent + 1; id < ends_[At().parent]; ++id) {
      const auto* other = std::get_if<graph::Invoke>(&program_.at(id).kind);
      if (other == nullptr || program_.at(id).parent != At().parent) continue;
      if (std::holds_alternative<graph::Invoke::AllRows>(other->input)) continue;
      absl::StatusOr<RowCount> own = RowsOf(id);
      if (!own.ok()) return own.status();
      all.batch += own->batch;
      all.tokens = std::max(all.tokens, own->tokens);
    }
    rows_.back() = all;
    all_rows_.emplace(place, all);
  }
  return BuildInside();
}

RowCount PlanBuilder::RowsNow(int invoke) const {
  RowCount rows = rows_[invoke];
  if (stage_ != FirstKey(trace_)) rows.tokens = 1;
  return rows;
}

c10::IValue PlanBuilder::MetaAtSite(int site, int invoke) {
  RowCount rows = RowsNow(invoke);
  if (Trace().generates && model_.sites()[site].last_token) rows.tokens = 1;
  const int64_t past =
      stage_ == FirstKey(trace_) ? 0 : rows_[invoke].tokens + FirstLater(selection_) - 1;
  return MetaOf(model_.sites()[site].pattern, rows, past);
}

absl::Status PlanBuilder::Add(const graph::Sweep& sweep) {
  const NodeId node = node_;
  const int outside_trace = trace_, outside_stage = stage_;
  const size_t points = sweep.parameters.empty() ? 0 : sweep.parameters[0].size();
  const auto which = static_cast<size_t>(sweeps_++);
  const auto per_pass = static_cast<size_t>(
      which < points_per_pass_.size() ? points_per_pass_[which] : static_cast<int64_t>(points));
  absl::Status status;
  for (size_t point = 0; point < points && status.ok(); ++point) {
    if (point > 0 && per_pass > 0 && point % per_pass == 0) {
      if (plan_.traces.size() >= kMaxTraces) {
        return Refuse(absl::StrCat("the sweep takes more than ", kMaxTraces, " passes"),
                      "split it");
      }
      const NodeId trace = plan_.traces[outside_trace].node;
      BeginTrace(std::get<graph::Trace>(program_.at(trace).kind), trace);
      if (has_gradients_) backwards_.insert(trace_);
    }
    region_ = node;
    point_ = static_cast<uint32_t>(point);
    group_ = ++groups_;
    node_ = node;
    status = BuildInside();
  }
  region_ = graph::kNoNode;
  point_.reset();
  group_ = 0;
  trace_ = outside_trace;
  stage_ = outside_stage;
  return status;
}

const graph::SweepParameter& PlanBuilder::ParameterOf(const graph::SweepUse& use) const {
  return std::get<graph::Sweep>(program_.at(use.sweep).kind).parameters[use.parameter];
}

absl::StatusOr<int64_t> PlanBuilder::IntegerOf(const graph::SweepUse& use) const {
  const graph::SweepParameter& parameter = ParameterOf(use);
  const auto* values = std::get_if<std::vector<int64_t>>(&parameter.values);
  if (values == nullptr) {
    return Refuse(absl::StrCat("%", parameter.name, " is used where an integer is needed"));
  }
  return (*values)[*point_];
}

decltype(graph::Argument::value) PlanBuilder::ValueOf(const graph::SweepUse& use) const {
  return std::visit(
      [this](const auto& values) -> decltype(graph::Argument::value) {
        if constexpr (std::is_same_v<decltype(values[0]), const std::vector<int64_t>&>) {
          return {};  // rows of token ids are no arguments
        } else {
          return values[*point_];
        }
      },
      ParameterOf(use).values);
}

absl::StatusOr<std::string> PlanBuilder::Filled(const graph::Site& site) const {
  if (site.parameters.empty()) return site.module;
  std::vector<std::string> components = absl::StrSplit(site.module, '.');
  for (const graph::PathParameter& parameter : site.parameters) {
    if (parameter.component >= components.size()) {
      return Refuse("a sweep fills in a component that the path does not have");
    }
    std::string& component = components[parameter.component];
    const auto value = ValueOf(parameter.use);
    if (const auto* text = std::get_if<std::string>(&value)) {
      component = *text;
    } else {
      absl::StatusOr<int64_t> number = IntegerOf(parameter.use);
      if (!number.ok()) return number.status();
      component = absl::StrCat(*number);
    }
  }
  return absl::StrJoin(components, ".");
}

absl::StatusOr<std::vector<graph::IndexTerm>> PlanBuilder::Filled(
    const std::vector<graph::IndexTerm>& terms) const {
  std::vector<graph::IndexTerm> filled = terms;
  for (graph::IndexTerm& term : filled) {
    if (const auto* use = std::get_if<graph::SweepUse>(&term)) {
      const auto value = ValueOf(*use);
      if (const auto* text = std::get_if<std::string>(&value)) {
        term = *text;
      } else if (const auto* ref = std::get_if<graph::NodeRef>(&value)) {
        term = *ref;
      } else {
        absl::StatusOr<int64_t> number = IntegerOf(*use);
        if (!number.ok()) return number.status();
        term = *number;
      }
    } else if (auto* slice = std::get_if<graph::Slice>(&term)) {
      absl::StatusOr<graph::Slice> bounds = Filled(*slice);
      if (!bounds.ok()) return bounds.status();
      *slice = *bounds;
    }
  }
  return filled;
}

absl::StatusOr<graph::Slice> PlanBuilder::Filled(graph::Slice slice) const {
  for (auto [parameter, bound] : {std::pair(&slice.start_parameter, &slice.start),
                                  std::pair(&slice.stop_parameter, &slice.stop)}) {
    if (!*parameter) continue;
    absl::StatusOr<int64_t> number = IntegerOf(**parameter);
    if (!number.ok()) return number.status();
    *bound = *number;
    parameter->reset();
  }
  return slice;
}

}  // namespace weft::plan
