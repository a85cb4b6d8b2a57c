#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {
namespace {

// A change in place recomputes the views of what it changes when they are used again. This keeps
// what a small program can make of that small.
constexpr int kMaxViewDepth = 32;
// A structure may hold one value in many places, so a few statements can say a great many leaves;
// and structures are walked by recursion.
constexpr int kMaxNesting = graph::kMaxDepth;
constexpr size_t kMaxLeaves = 4096;

}  // namespace

int PlanBuilder::NewName() {
  names_.emplace_back();
  Place(static_cast<int>(names_.size() - 1));
  return static_cast<int>(names_.size() - 1);
}

void PlanBuilder::Place(int name) {
  names_[name].region = region_;
  names_[name].stage = stage_;
  names_[name].guard = guard_;
}

class PlanBuilder::AtHomeOf {
 public:
  AtHomeOf(PlanBuilder& builder, int name)
      : builder_(builder), stage_(builder.stage_), guard_(builder.guard_) {
    builder.stage_ = builder.names_[name].stage;
    builder.guard_ = builder.names_[name].guard;
  }
  ~AtHomeOf() {
    builder_.stage_ = stage_;
    builder_.guard_ = guard_;
  }
  AtHomeOf(const AtHomeOf&) = delete;
  AtHomeOf& operator=(const AtHomeOf&) = delete;

 private:
  PlanBuilder& builder_;
  const int stage_, guard_;
};

int PlanBuilder::SetFresh(int name, Slot slot) {
  names_[name].slot = slot;
  names_[name].epoch = ++epoch_;
  return name;
}

absl::StatusOr<Slot> PlanBuilder::ApplyStep(const ViewStep& step, Slot base) {
  if (!std::holds_alternative<std::monostate>(step.item)) {
    std::variant<int64_t, std::string> item;
    if (const auto* index = std::get_if<int64_t>(&step.item)) {
      item = *index;
    } else {
      item = std::get<std::string>(step.item);
    }
    absl::StatusOr<c10::IValue> meta = TakeItemOf(MetaAt(base), item);
    if (!meta.ok()) return meta.status();
    std::shared_ptr<const OtherSizes> other;
    if (SizeByData(base)) {
      auto found = OtherSizesOf(*meta, {base}, [&](Selected selected) {
        return TakeItemOf(MetaAt(base, selected), item);
      });
      if (!found.ok()) return found.status();
      other = *std::move(found);
    }
    When when = Start();
    when.Add(WhenOf(base));
    const Slot slot = Emit(TakeItem{base, item}, *std::move(meta), when);
    slots_[slot].other = std::move(other);
    return slot;
  }
  BoundCall call = step.call;
  call.fills.push_back({0, base});
  return EmitCall(std::move(call));
}

absl::StatusOr<Slot> PlanBuilder::Current(int name) {
  // From the name up to its root, then down again, recomputing what is stale.
  std::vector<int> chain;
  for (int n = name; n != -1; n = names_[n].base) chain.push_back(n);
  if (absl::Status status = RefreshStructure(chain.back()); !status.ok()) return status;
  for (auto it = chain.rbegin() + 1; it < chain.rend(); ++it) {
    const int base = names_[*it].base;
    if (names_[*it].slot != kNoSlot && names_[*it].epoch >= names_[base].epoch) continue;
    if (names_[*it].alias) {
      names_[*it].slot = names_[base].slot;
    } else {
      const ViewStep step = names_[*it].step;
      const AtHomeOf home(*this, *it);
      absl::StatusOr<Slot> slot = ApplyStep(step, names_[base].slot);
      if (!slot.ok()) return slot.status();
      names_[*it].slot = *slot;
    }
    names_[*it].epoch = std::max(names_[base].epoch, ++epoch_);
  }
  return names_[name].slot;
}

absl::Status PlanBuilder::RefreshStructure(int name) {
  if (names_[name].items.empty() || names_[name].seen_changes == changes_) {
    return absl::OkStatus();
  }
  names_[name].seen_changes = changes_;
  std::vector<Slot> slots;
  for (const int item : std::vector<int>(names_[name].items)) {
    absl::StatusOr<Slot> slot = Current(item);
    if (!slot.ok()) return slot.status();
    slots.push_back(*slot);
  }
  if (slots != names_[name].item_slots) EmitStructure(name, std::move(slots));
  return absl::OkStatus();
}

void PlanBuilder::EmitStructure(int name, std::vector<Slot> slots) {
  const AtHomeOf home(*this, name);
  When when = Start();
  for (Slot slot : slots) when.Add(WhenOf(slot));
  MakeStructure make{names_[name].kind, slots, names_[name].keys};
  const auto made = [&](Selected selected) {
    return MakeStructureOf(make, [&](Slot slot) { return MetaAt(slot, selected); });
  };
  std::shared_ptr<OtherSizes> other;
  for (const Slot slot : slots) {
    if (!SizeByData(slot)) continue;
    if (other == nullptr) other = std::make_shared<OtherSizes>();
    other->doubtful |= slots_[slot].other->doubtful;
  }
  if (other != nullptr) {
    other->one_more = made(Selected::kOneMore);
    other->none = made(Selected::kNone);
  }
  c10::IValue meta = made(Selected::kAll);
  names_[name].item_slots = std::move(slots);
  names_[name].seen_changes = changes_;
  const Slot slot = Emit(std::move(make), std::move(meta), when);
  slots_[slot].other = std::move(other);
  SetFresh(name, slot);
}

absl::StatusOr<int> PlanBuilder::AddView(int base, ViewStep step) {
  const int name = NewName();
  return MakeView(name, base, std::move(step));
}

absl::StatusOr<int> PlanBuilder::MakeView(int name, int base, ViewStep step) {
  names_[name].depth = names_[base].depth + 1;
  if (names_[name].depth > kMaxViewDepth) {
    return Refuse(absl::StrCat("a view of a view, more than ", kMaxViewDepth, " deep"),
                  "take an aten::clone on the way");
  }
  names_[name].base = base;
  names_[name].step = std::move(step);
  if (absl::StatusOr<Slot> slot = Current(name); !slot.ok()) return slot.status();
  return name;
}

void PlanBuilder::MakeAlias(int name, int base) {
  while (names_[base].alias) base = names_[base].base;
  names_[name].depth = names_[base].depth;
  names_[name].base = base;
  names_[name].alias = true;
  names_[name].slot = kNoSlot;
}

std::string PlanBuilder::RegionName() const {
  if (region_ == graph::kNoNode) return "trace";
  const auto& kind = program_.at(region_).kind;
  if (std::holds_alternative<graph::Backward>(kind)) return "`backward`";
  if (std::holds_alternative<graph::Steps>(kind)) return "`steps`";
  return std::holds_alternative<graph::Sweep>(kind) ? "`sweep`" : "branch";
}

std::string PlanBuilder::Shown(int name) const {
  if (name <= static_cast<int>(program_.nodes.size()) && name > 0) {
    const graph::Node& node = program_.at(static_cast<NodeId>(name));
    return node.name.empty() ? absl::StrCat("%", name) : absl::StrCat("%", node.name);
  }
  return "the value";
}

absl::Status PlanBuilder::Replace(int name, Slot value, const std::string& in_place) {
  std::vector<ViewStep> steps;
  int root = name;
  for (int n = name; n != -1; n = names_[n].base) {
    const Name& part = names_[n];
    if (!part.maybe_view_by.empty()) {
      return Refuse(absl::StrCat(in_place, " changes ", Shown(name), " in place, but ",
                                 part.maybe_view_by, ", which made ", n == name ? "it" : Shown(n),
                                 ", gives a view or a copy, depending on strides"),
                    "use the operator that makes a new value (without the trailing underscore), or "
                    "aten::view or aten::clone instead");
    }
    if (part.base != -1 && !part.alias) {
      if (part.step.overlapping) {
        return Refuse(absl::StrCat(in_place, " changes ", Shown(name),
                                   " in place, but its elements may share memory (",
                                   part.step.call.row->name, ")"),
                      "use the operator that makes a new value, or aten::clone first");
      }
      steps.push_back(part.step);
    }
    root = n;
  }
  std::reverse(steps.begin(), steps.end());

  When when = Start();
  when.Add(WhenOf(value));
  for (const ViewStep& step : steps) AddFills(step.call, when);
  if (names_[root].region != region_) {
    return Refuse(absl::StrCat(in_place, " changes ", Shown(name),
                               " in place, which was made outside of this ", RegionName()),
                  "use the operator that makes a new value");
  }
  const int site = names_[root].site;
  if (site >= 0) {
    if (names_[root].invoke != InvokeIndex()) {
      return Refuse(absl::StrCat(in_place, " would write into the rows of another invoke"),
                    "write inside that invoke, or use the operator that makes a new value");
    }
    if (absl::Status status = CheckReady(site, when, in_place); !status.ok()) return status;
  }
  // Where gradients are asked for, the model goes on with the very version that the name means;
  // unless others have written there since, when only that part of it is the name's.
  const bool others = site >= 0 && WrittenByOthers(root);
  const bool whole = has_gradients_ && !others;
  if (site >= 0 && (!has_gradients_ || steps.empty())) {
    absl::Status status = EmitWrite(site, names_[root].invoke, steps, value);
    if (!status.ok()) return status;
  }
  if (steps.empty()) {
    names_[root].slot = value;
  } else {
    const Slot base = names_[root].slot;
    when.Add(WhenOf(base));
    if (!SizeByData(base) && Varies(value)) {
      if (absl::Status known = NeedsSize(value, in_place); !known.ok()) return known;
    }
    c10::IValue meta = MetaAt(base);
    names_[root].slot = Emit(ReplacePart{base, steps, value}, std::move(meta), when);
    slots_[names_[root].slot].other = slots_[base].other;
    if (site >= 0 && has_gradients_) {
      Slot part = names_[root].slot;
      if (whole) steps.clear();
      for (const ViewStep& step : steps) {
        absl::StatusOr<Slot> next = ApplyStep(step, part);
        if (!next.ok()) return next.status();
        part = *next;
      }
      absl::Status status = EmitWrite(site, names_[root].invoke, std::move(steps), part);
      if (!status.ok()) return status;
    }
  }
  if (site >= 0 && !others) {
    const size_t writes = writers_[{names_[root].stage, site}].size();
    names_[root].seen_writes = writes;
    // Of all rows the next read has zeros for pads, whatever the name has there.
    if (whole && !plan_.invokes[names_[root].invoke].all_rows) {
      versions_[{names_[root].stage, site, names_[root].invoke}] = {names_[root].slot, guard_,
                                                                    writes};
    }
  }
  names_[root].epoch = ++epoch_;
  ++changes_;
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Structure& structure) {
  return AddStructure(static_cast<int>(node_), structure.kind, structure.items);
}

absl::Status PlanBuilder::AddStructure(int name, graph::Structure::Kind kind,
                                       const std::vector<graph::Argument>& arguments) {
  std::vector<int> items;
  std::vector<Slot> slots;
  std::vector<std::string> keys;
  int nesting = 1;
  size_t leaves = 0;
  for (const graph::Argument& written : arguments) {
    int item = -1;
    graph::Argument argument = written;
    if (const auto* use = std::get_if<graph::SweepUse>(&written.value)) {
      argument.value = ValueOf(*use);
    }
    if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) {
      item = static_cast<int>(ref->id);
    } else if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
      item = NewName();
      absl::Status status = AddStructure(item, graph::Structure::Kind::kList, *list);
      if (!status.ok()) return status;
    } else if (std::holds_alternative<graph::DType>(argument.value)) {
      return Refuse("a dtype is no value", "give its name as a text");
    } else {
      // A number, a text, a bool or none, as it is.
      std::vector<Slot> unused_list;
      Slot unused = kNoSlot;
      absl::StatusOr<c10::IValue> plain = ArgumentMeta(argument, &unused_list, &unused);
      if (!plain.ok()) return plain.status();
      item = SetFresh(NewName(), AddPlain(*std::move(plain)));
    }
    absl::StatusOr<Slot> slot = Current(item);
    if (!slot.ok()) return slot.status();
    slots.push_back(*slot);
    items.push_back(item);
    if (kind == graph::Structure::Kind::kDict) keys.push_back(argument.name);
    nesting = std::max(nesting, 1 + NestingOf(item, *slot));
    leaves += LeavesOf(item, *slot);
  }
  if (nesting > kMaxNesting) {
    return Refuse(absl::StrCat("structures nest more than ", kMaxNesting, " deep"));
  }
  if (leaves > kMaxLeaves) {
    return Refuse(
        absl::StrCat("a structure of ", leaves, " values; at most ", kMaxLeaves, " are allowed"),
        "make one tensor of them with aten::stack or aten::cat");
  }
  names_[name].items = std::move(items);
  names_[name].keys = std::move(keys);
  names_[name].kind = kind;
  names_[name].nesting = nesting;
  names_[name].leaves = leaves;
  EmitStructure(name, std::move(slots));
  return absl::OkStatus();
}

const Name* PlanBuilder::MadeAs(int name) const {
  while (names_[name].alias) name = names_[name].base;
  return names_[name].items.empty() ? nullptr : &names_[name];
}

int PlanBuilder::NestingOf(int name, Slot slot) const {
  if (const Name* made = MadeAs(name)) return made->nesting;
  return IsStructure(slots_[slot].meta) ? 1 : 0;
}

size_t PlanBuilder::LeavesOf(int name, Slot slot) const {
  if (const Name* made = MadeAs(name)) return made->leaves;
  const c10::IValue& meta = slots_[slot].meta;
  if (meta.isTuple()) return meta.toTupleRef().elements().size();
  if (meta.isGenericDict()) return meta.toGenericDict().size();
  return meta.isList() ? meta.toListRef().size() : 1;
}

absl::StatusOr<int> PlanBuilder::ItemOf(int structure, ViewStep step) {
  int made = structure;
  while (names_[made].alias) made = names_[made].base;
  if (!names_[made].items.empty()) {
    const Name& name = names_[made];
    if (const auto* key = std::get_if<std::string>(&step.item)) {
      for (size_t i = 0; i < name.keys.size(); ++i) {
        if (name.keys[i] == *key) return name.items[i];
      }
    } else {
      int64_t index = std::get<int64_t>(step.item);
      const int64_t size = static_cast<int64_t>(name.items.size());
      if (index < 0) index += size;
      if (index >= 0 && index < size) return name.items[index];
    }
  }
  return AddView(structure, std::move(step));
}

}  // namespace weft::plan
