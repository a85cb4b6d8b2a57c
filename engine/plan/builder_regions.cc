#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

absl::StatusOr<int> PlanBuilder::RegionOf(const Selection& selection) {
  // Invokes, and points of a sweep, that select the same steps have a region in common. Those of
  // one invoke are not: visits of watched calls are counted in each.
  std::vector<Selection>& regions = Trace().regions;
  int& next = next_region_[{InvokeIndex(), selection}];
  while (next < static_cast<int>(regions.size()) && regions[next] != selection) ++next;
  if (next == static_cast<int>(regions.size())) {
    if (next >= kMaxRegions) {
      return Refuse(
          absl::StrCat("a generation selects steps in at most ", kMaxRegions, " ways"),
          "let invokes and points of a sweep select the same steps, and put what selects the same "
          "into one `steps`");
    }
    regions.push_back(selection);
  }
  return next++;
}

absl::StatusOr<Selection> PlanBuilder::SelectionOf(const graph::Steps& steps) const {
  Selection selection;
  selection.list = steps.list;
  std::sort(selection.list.begin(), selection.list.end());
  selection.list.erase(std::unique(selection.list.begin(), selection.list.end()),
                       selection.list.end());
  if (!selection.list.empty() && selection.list.front() < 0) {
    return Refuse("steps are counted from 0; how many there will be is not known before");
  }
  absl::StatusOr<graph::Slice> range = Filled(steps.range);
  if (!range.ok()) return range.status();
  selection.first = range->start.value_or(0);
  selection.end = range->stop.value_or(-1);
  selection.stride = range->step.value_or(1);
  if (selection.first < 0 || (range->stop && *range->stop < 0)) {
    return Refuse("steps are counted from 0; how many there will be is not known before");
  }
  if (selection.stride < 1) return Refuse("the step of a slice must be positive");
  if (range->stop && selection.end <= selection.first) {
    return Refuse(absl::StrCat("at a point of the sweep this range selects no step: ",
                               selection.first, ":", selection.end));
  }
  return selection;
}

absl::Status PlanBuilder::Add(const graph::Steps& steps) {
  const NodeId node = node_;
  absl::StatusOr<Selection> selection = SelectionOf(steps);
  if (!selection.ok()) return selection.status();
  std::vector<Slot> carries, initial;
  for (const NodeId id : steps.initial) {
    absl::StatusOr<Slot> slot = Current(static_cast<int>(id));
    if (!slot.ok()) return slot.status();
    if (WhenOf(*slot).stage > stage_) {
      return Refuse("a carry begins with a value that is there only after the last step");
    }
    if (absl::Status known = NeedsSize(*slot, "a carry"); !known.ok()) return known;
    initial.push_back(*slot);
  }
  int region = -1;
  if (Trace().generates && selection->LastBelow(Trace().steps) > 0) {
    absl::StatusOr<int> made = RegionOf(*selection);
    if (!made.ok()) return made.status();
    region = *made;
  }
  const int later = region < 0 ? stage_ : RegionKey(trace_, region);
  for (const Slot slot : initial) {
    carries.push_back(static_cast<Slot>(slots_.size()));
    slots_.push_back({MetaAt(slot), When{.stage = later}, -1});
  }
  const NodeId outside = std::exchange(region_, node);
  const int first = stage_;
  selection_ = *selection;
  absl::Status status;
  carried_ = initial;
  yielded_ = initial;
  if (selection->Has(0)) status = BuildInside();
  if (!selection->Has(0) && region < 0) NameSaves(node);
  if (status.ok()) status = SetCarries(carries, initial);
  if (status.ok() && region >= 0) {
    stage_ = later;
    carried_ = carries;
    yielded_ = carries;
    status = BuildInside();
    if (status.ok()) status = SetCarries(carries, initial);
  }
  node_ = node;
  selection_.reset();
  region_ = outside;
  stage_ = first;
  results_[node] = std::move(carries);
  return status;
}

void PlanBuilder::NameSaves(NodeId region) {
  for (node_ = region + 1; node_ < ends_[region]; ++node_) {
    if (const auto* save = std::get_if<graph::Save>(&At().kind)) SaveOf(save->name);
    if (const auto* cache = std::get_if<graph::Cache>(&At().kind)) SaveOf(cache->name);
  }
  node_ = region;
}

absl::Status PlanBuilder::SetCarries(const std::vector<Slot>& carries,
                                     const std::vector<Slot>& initial) {
  for (size_t i = 0; i < carries.size(); ++i) {
    if (yielded_[i] == carries[i]) continue;
    if (absl::Status known = NeedsSize(yielded_[i], "a carry"); !known.ok()) return known;
    const std::string before = graph::ToString(PatternOf(MetaAt(initial[i])));
    const std::string after = graph::ToString(PatternOf(MetaAt(yielded_[i])));
    if (before != after) {
      return Refuse(absl::StrCat("carry ", i, " begins as ", before, " and goes on as ", after),
                    "a carry keeps its structure, shape and dtype; save what grows in each step");
    }
    When when = Start();
    when.Add(WhenOf(yielded_[i]));
    if (absl::Status status = CheckNotAfter(when); !status.ok()) return status;
    EmitEffect(SetCarry{carries[i], yielded_[i]}, when);
  }
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Carry& carry) {
  if (carry.index >= carried_.size()) return Refuse("the region has fewer carries");
  SetFresh(static_cast<int>(node_), carried_[carry.index]);
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Yield& yield) {
  std::vector<Slot> values;
  for (const NodeId id : yield.values) {
    absl::StatusOr<Slot> slot = Current(static_cast<int>(id));
    if (!slot.ok()) return slot.status();
    values.push_back(*slot);
  }
  yielded_ = std::move(values);
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::If& branches) {
  absl::StatusOr<Slot> condition = Current(static_cast<int>(branches.condition));
  if (!condition.ok()) return condition.status();
  const c10::IValue& meta = MetaAt(*condition);
  if (!meta.isBool() && !(meta.isTensor() && meta.toTensor().numel() == 1)) {
    return Refuse(
        absl::StrCat("the condition is ", graph::ToString(PatternOf(meta)), ", not one number"),
        "reduce it, as with aten::any or aten::all");
  }
  if (Varies(*condition)) {
    if (absl::Status known = NeedsSize(*condition, "a condition"); !known.ok()) return known;
  }
  const std::vector<Slot> carried = carried_, yielded = yielded_;
  const NodeId node = node_;
  condition_ = *condition;
  absl::Status status = BuildInside();
  carried_ = carried;
  yielded_ = yielded;
  conditions_[node] = *condition;
  return status;
}

absl::Status PlanBuilder::Add(const graph::Branch& branch) {
  const NodeId node = node_;
  const Slot condition = condition_;
  Guard guard{condition, !branch.otherwise, guard_};
  When when = Start();
  when.Add(WhenOf(condition));
  const int outside_guard = std::exchange(guard_, static_cast<int>(plan_.guards.size()));
  if (outside_guard >= 0) when.Add(guards_when_[outside_guard]);
  plan_.guards.push_back(guard);
  guards_when_.push_back(when);
  const NodeId outside = std::exchange(region_, node);
  yielded_.clear();
  absl::Status status = BuildInside();
  region_ = outside;
  guard_ = outside_guard;
  condition_ = condition;
  results_[node] = std::exchange(yielded_, {});
  branches_[{At().parent, branch.otherwise}] = node;
  return status;
}

absl::Status PlanBuilder::Add(const graph::RegionResult& result) {
  const NodeId region = result.region;
  if (std::holds_alternative<graph::Steps>(program_.at(region).kind)) {
    const std::vector<Slot>& carries = results_[region];
    if (result.index >= carries.size()) return Refuse("the region yields fewer values");
    const Slot carry = carries[result.index];
    SetFresh(static_cast<int>(node_),
             Emit(TakeCarry{carry}, MetaAt(carry), When{.stage = AfterKey(trace_)}));
    return absl::OkStatus();
  }
  const std::vector<Slot>& then = results_[branches_[{region, false}]];
  const std::vector<Slot>& otherwise = results_[branches_[{region, true}]];
  if (result.index >= then.size() || result.index >= otherwise.size()) {
    return Refuse("the branches yield fewer values");
  }
  const Slot a = then[result.index], b = otherwise[result.index];
  for (const Slot slot : {a, b}) {
    if (absl::Status known = NeedsSize(slot, "a value of both branches"); !known.ok()) return known;
  }
  const std::string yes = graph::ToString(PatternOf(MetaAt(a)));
  const std::string no = graph::ToString(PatternOf(MetaAt(b)));
  if (yes != no) {
    return Refuse(absl::StrCat("one branch yields ", yes, " and the other ", no),
                  "both yield the same structure, shape and dtype");
  }
  const Slot condition = conditions_[region];
  When when = Start();
  for (const Slot slot : {condition, a, b}) when.Add(WhenOf(slot));
  SetFresh(static_cast<int>(node_), Emit(ChooseValue{condition, a, b}, MetaAt(a), when));
  return absl::OkStatus();
}

}  // namespace weft::plan
