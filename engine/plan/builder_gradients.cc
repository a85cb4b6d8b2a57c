#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

bool PlanBuilder::MadeBefore(int name, NodeId node) const {
  return name <= static_cast<int>(program_.nodes.size()) && static_cast<NodeId>(name) < node;
}

bool PlanBuilder::IsOfViews(int structure) const {
  for (int name = names_[structure].base; name != -1; name = names_[name].base) {
    if (MetaAt(names_[name].slot).isTensor()) return true;
  }
  return false;
}

absl::StatusOr<PlanBuilder::GradientOf> PlanBuilder::PointOf(NodeId value) {
  GradientOf point;
  point.root = static_cast<int>(value);
  if (absl::StatusOr<Slot> slot = Current(point.root); !slot.ok()) return slot.status();
  if (!MadeBefore(point.root, backward_)) {
    return Refuse("this value was made inside the `backward`; the loss does not depend on it");
  }
  while (names_[point.root].base != -1) {
    const Name& name = names_[point.root];
    // A tensor in a structure has a gradient, the structure has none; one in a list of views has
    // that of what they are views of.
    if (!MetaAt(names_[name.base].slot).isTensor() && !IsOfViews(name.base)) break;
    if (!name.alias) {
      if (name.step.overlapping) {
        return Refuse(absl::StrCat(Shown(point.root), " shows elements several times (",
                                   name.step.call.row->name, "), and has no gradient of its own"),
                      "take the gradient of what it is a view of, or an aten::clone on the way");
      }
      point.steps.push_back(name.step);
    }
    point.root = name.base;
  }
  std::reverse(point.steps.begin(), point.steps.end());
  const Slot slot = names_[point.root].slot;
  const c10::IValue& meta = MetaAt(slot);
  if (!meta.isTensor()) {
    return Refuse(
        absl::StrCat("the value is ", graph::ToString(PatternOf(meta)), "; tensors have gradients"),
        "name one of its tensors, as in grad %h[0]");
  }
  if (!meta.toTensor().is_floating_point() && !meta.toTensor().is_complex()) {
    return Refuse(absl::StrCat("the value has dtype ",
                               graph::ToString(FromScalarType(meta.toTensor().scalar_type())),
                               ", and only floating-point values have gradients"));
  }
  if (WhenOf(WholeOf(slot)).stage < FirstKey(trace_)) {
    return Refuse("this value is of an earlier trace, whose graph is gone",
                  "go backwards in the trace that makes it, or take the gradient of an aten::clone "
                  "of it that this trace makes");
  }
  if (std::holds_alternative<LoadParameter>(instructions_[slots_[slot].instruction].what)) {
    return Refuse("the model's parameters are frozen, and have no gradients");
  }
  return point;
}

const TakeItem* PlanBuilder::ItemOf(Slot value) const {
  const int64_t made = slots_[value].instruction;
  return made < 0 ? nullptr : std::get_if<TakeItem>(&instructions_[made].what);
}

Slot PlanBuilder::WholeOf(Slot value) const {
  while (const TakeItem* item = ItemOf(value)) value = item->from;
  return value;
}

Slot PlanBuilder::PointFor(Slot value) {
  if (const auto found = points_.find(value); found != points_.end()) return found->second;
  const TakeItem* const taken = ItemOf(value);
  if (taken == nullptr) return value;
  const TakeItem item = *taken;
  const Slot whole = PointFor(item.from);
  if (whole == item.from) return value;
  // As what it is taken from, whether or not a branch is taken.
  const int guard = std::exchange(guard_, -1);
  const Slot point = Emit(TakeItem{whole, item.item}, MetaAt(value), WhenOf(whole));
  guard_ = guard;
  slots_[point].other = slots_[value].other;
  return points_[value] = point;
}

absl::Status PlanBuilder::Add(const graph::Backward& backward) {
  if (Trace().generates) {
    return Refuse("a generation has no gradients: it runs without a graph",
                  "go backwards in a plain trace of the same tokens");
  }
  backward_ = node_;
  absl::StatusOr<Slot> loss = Current(static_cast<int>(backward.loss));
  if (!loss.ok()) return loss.status();
  if (!MetaAt(*loss).isTensor() || !MetaAt(*loss).toTensor().is_floating_point()) {
    return Refuse("a loss is a floating-point tensor");
  }
  RunBackward run{static_cast<int>(plan_.backwards.size()), *loss, kNoSlot, {}};
  Region region;
  region.when = Start();
  region.when.Add(WhenOf(*loss));
  if (backward.gradient != graph::kNoNode) {
    absl::StatusOr<Slot> gradient = Current(static_cast<int>(backward.gradient));
    if (!gradient.ok()) return gradient.status();
    run.gradient = *gradient;
    region.when.Add(WhenOf(*gradient));
  } else if (Varies(*loss)) {
    if (absl::Status known = NeedsSize(*loss, "this backward"); !known.ok()) return known;
  }
  // Names of one item of a structure are names of one tensor, which has one gradient.
  std::map<std::pair<Slot, const void*>, Slot> items;
  const std::function<Slot(Slot)> tensor_of = [&](Slot slot) {
    const TakeItem* const item = ItemOf(slot);
    if (item == nullptr) return slot;
    const c10::IValue& meta = MetaAt(slot);
    const void* same =
        meta.isTensor() ? meta.toTensor().unsafeGetTensorImpl() : meta.internalToPointer();
    return items.try_emplace({tensor_of(item->from), same}, slot).first->second;
  };
  std::map<Slot, int> points;  // by tensor_of
  std::vector<Slot> asked;
  const NodeId begin = node_;
  for (NodeId id = begin + 1; id <= program_.nodes.size() && program_.at(id).parent == begin;
       ++id) {
    const auto* read = std::get_if<graph::GradRead>(&program_.at(id).kind);
    const auto* write = std::get_if<graph::GradWrite>(&program_.at(id).kind);
    if (read == nullptr && write == nullptr) continue;
    node_ = id;
    absl::StatusOr<GradientOf> point = PointOf(read != nullptr ? read->value : write->value);
    if (!point.ok()) return InStatement(point.status());
    const Slot slot = PointFor(names_[point->root].slot);
    asked.push_back(slot);
    if (points.try_emplace(tensor_of(slot), 0).second) run.points.push_back(slot);
  }
  node_ = begin;
  // Autograd goes through what was computed in the reverse order.
  const auto order_of = [&](Slot slot) {
    const int64_t made = slots_[slot].instruction;
    return std::pair(made < 0 ? 0 : instructions_[made].order, made);
  };
  std::sort(run.points.begin(), run.points.end(), [&](Slot a, Slot b) {
    const Slot whole_a = WholeOf(a), whole_b = WholeOf(b);
    const When when_a = WhenOf(whole_a), when_b = WhenOf(whole_b);
    if (when_a < when_b || when_b < when_a) return when_b < when_a;
    if (whole_a != whole_b) return order_of(whole_a) > order_of(whole_b);
    return slots_[a].instruction > slots_[b].instruction;
  });
  for (size_t i = 0; i < run.points.size(); ++i) {
    points[tensor_of(run.points[i])] = static_cast<int>(i);
  }
  for (const Slot slot : asked) {
    region.points[slot] = points.at(tensor_of(slot));
    region.when.Add(WhenOf(slot));
    AskForGradient(slot);
  }
  region.when.step = ++steps_;
  steps_ += static_cast<int>(run.points.size());
  region.backward = run.backward;
  region.begun = Emit(std::move(run), c10::IValue(), region.when);
  plan_.backwards.emplace_back();
  gradient_region_ = std::move(region);
  const NodeId outside = std::exchange(region_, begin);
  absl::Status status = BuildInside();
  region_ = outside;
  backward_ = graph::kNoNode;
  return status;
}

void PlanBuilder::AskForGradient(Slot slot) {
  Instruction& made = instructions_[slots_[slot].instruction];
  made.gradient = true;
  if (const auto* item = std::get_if<TakeItem>(&made.what)) AskForGradient(item->from);
}

When PlanBuilder::WhenPoint(int point) const {
  When when = gradient_region_.when;
  when.step += 1 + point;
  return when;
}

absl::Status PlanBuilder::Add(const graph::GradRead& read) {
  absl::StatusOr<GradientOf> point = PointOf(read.value);
  if (!point.ok()) return point.status();
  const Slot slot = PointFor(names_[point->root].slot);
  const int index = gradient_region_.points.at(slot);
  const Slot gradient = Emit(ReadGradient{gradient_region_.backward, index, gradient_region_.begun},
                             MetaAt(slot), WhenPoint(index));
  slots_[gradient].other = slots_[slot].other;
  if (point->steps.empty()) {
    SetFresh(node_, gradient);
    return absl::OkStatus();
  }
  int name = SetFresh(NewName(), gradient);
  for (ViewStep& step : point->steps) {
    absl::StatusOr<int> view = AddView(name, std::move(step));
    if (!view.ok()) return view.status();
    name = *view;
  }
  MakeAlias(node_, name);
  return Current(node_).status();
}

absl::Status PlanBuilder::Add(const graph::GradWrite& write) {
  absl::StatusOr<GradientOf> point = PointOf(write.value);
  if (!point.ok()) return point.status();
  absl::StatusOr<Slot> value = Current(static_cast<int>(write.gradient));
  if (!value.ok()) return value.status();
  const int index = gradient_region_.points.at(PointFor(names_[point->root].slot));
  const When when = WhenPoint(index);
  if (when < WhenOf(*value)) {
    return Refuse(
        absl::StrCat("the gradient of ", Shown(static_cast<int>(write.value)),
                     " is needed before this value is there: gradients come in the reverse "
                     "order of the forward"),
        "compute it from gradients of values that the model computes later");
  }
  EmitEffect(WriteGradient{gradient_region_.backward, index, std::move(point->steps), *value,
                           gradient_region_.begun},
             when);
  return absl::OkStatus();
}

}  // namespace weft::plan
