#include "engine/plan/planner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/module_result.h"

namespace weft::plan {
namespace {

using graph::NodeId;
using graph::Point;

// A change in place recomputes the views of what it changes when they are used again. These keep
// what a small program can make of that small.
constexpr int kMaxViewDepth = 32;
constexpr size_t kMaxInstructions = 1 << 18;
// A structure may hold one value in many places, so a few statements can say a great many leaves;
// and structures are walked by recursion.
constexpr int kMaxNesting = graph::kMaxDepth;
constexpr size_t kMaxLeaves = 4096;
constexpr size_t kMaxTraces = 4096;

/// A name of the program, or an unnamed part of one: what it means now, and what it is a view of.
struct Name {
  Slot slot = kNoSlot;
  /// The name that this is a view of (-1: none, it is its own memory), and how it is cut from it.
  int base = -1;
  ViewStep step;
  bool alias = false;  // the base itself, without a step
  int depth = 0;       // views up to the root
  /// When `slot` was last computed; a view is stale once its base is newer.
  uint64_t epoch = 0;
  /// The site that this is a read of (-1: none). An in-place change is a write there.
  int site = -1;
  int invoke = -1;
  /// The operator that may or may not have made a view, if that is what this is.
  std::string maybe_view_by;
  /// Items, where this was made by a structure node, and what they were when `slot` was made.
  std::vector<int> items;
  std::vector<Slot> item_slots;
  std::vector<std::string> keys;
  graph::Structure::Kind kind = graph::Structure::Kind::kTuple;
  /// Builder::changes_ when the items were last looked at.
  uint64_t seen_changes = 0;
  int nesting = 0;
  size_t leaves = 0;
  /// Where it was made: a region changes nothing in place that is from outside of it.
  NodeId region = graph::kNoNode;
  int stage = 0;
  int guard = -1;
};

/// When values are there, and which read makes them this late.
struct When {
  int stage = 0;
  int time = kStart;
  int step = 0;
  NodeId cause = graph::kNoNode;

  friend bool operator<(const When& a, const When& b) {
    return std::tuple(a.stage, a.time, a.step) < std::tuple(b.stage, b.time, b.step);
  }
  void Add(const When& other) {
    if (*this < other || cause == graph::kNoNode) {
      *this = std::max(*this, other);
      cause = other.cause;
    }
  }
};

struct SlotInfo {
  c10::IValue meta;
  When when;
  int64_t instruction = -1;  // that makes it; -1 for a carry, which several do
};

int CountTensors(const graph::Pattern& pattern) {
  int count = std::holds_alternative<graph::Pattern::Tensor>(pattern.value) ? 1 : 0;
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) {
    for (const graph::Pattern& item : tuple->items) count += CountTensors(item);
  }
  if (const auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) {
    for (const graph::Pattern& item : list->items) count += CountTensors(item);
  }
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    for (const auto& [key, value] : dict->entries) count += CountTensors(value);
  }
  return count;
}

/// Where the first tensor of a structure lies in it.
std::vector<graph::IndexTerm> FirstLeaf(const graph::Pattern& pattern) {
  std::vector<graph::IndexTerm> path;
  const auto within = [&path](graph::IndexTerm term, const graph::Pattern& item) {
    if (CountTensors(item) == 0) return false;
    path = FirstLeaf(item);
    path.insert(path.begin(), std::move(term));
    return true;
  };
  const auto among = [&within](const std::vector<graph::Pattern>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (within(static_cast<int64_t>(i), items[i])) return;
    }
  };
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) among(tuple->items);
  if (const auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) among(list->items);
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    for (const auto& [key, value] : dict->entries) {
      if (within(key, value)) break;
    }
  }
  return path;
}

bool IsStructure(const c10::IValue& value) {
  return value.isTuple() || value.isGenericDict() || value.isList();
}

/// Everything needed to turn one program into instructions. Used once.
class Builder {
 public:
  Builder(const graph::Program& program, const ModelSpec& model, absl::Span<const RowCount> rows,
          absl::Span<const int64_t> points_per_pass)
      : program_(program),
        model_(model),
        given_rows_(rows),
        points_per_pass_(points_per_pass),
        names_(program.nodes.size() + 1) {}

  absl::StatusOr<Plan> Build() {
    FindEnds();
    absl::Status status = BuildRange(1, static_cast<NodeId>(program_.nodes.size()) + 1);
    if (!status.ok()) return status;
    if (status = CheckSkips(); !status.ok()) return status;
    if (status = CheckWhole(); !status.ok()) return status;
    FinishPlan(plan_, std::move(instructions_), static_cast<int>(slots_.size()), stops_, model_);
    return std::move(plan_);
  }

 private:
  const graph::Node& At() const { return program_.at(node_); }

  /// Name the statement in an error that does not name one yet.
  absl::Status InStatement(const absl::Status& status) const {
    const graph::Error error = graph::FromStatus(status);
    if (error.node != graph::kNoNode) return status;
    return graph::StatementError(status.code(), program_, node_, error.message, error.hint);
  }

  absl::Status Refuse(const std::string& message, const std::string& hint = "") const {
    return graph::StatementError(absl::StatusCode::kInvalidArgument, program_, node_, message,
                                 hint);
  }

  /// Where the nodes of each region, invoke, sweep and trace end: they lie together.
  void FindEnds() {
    const auto count = static_cast<NodeId>(program_.nodes.size());
    ends_.assign(count + 1, 0);
    inputs_.assign(count + 1, -1);
    for (NodeId id = count; id >= 1; --id) {
      ends_[id] = std::max(ends_[id], id + 1);
      const NodeId parent = program_.at(id).parent;
      ends_[parent] = std::max(ends_[parent], ends_[id]);
    }
    int next = 0;
    for (NodeId id = 1; id <= count; ++id) {
      if (std::holds_alternative<graph::Invoke>(program_.at(id).kind)) inputs_[id] = next++;
    }
  }

  /// Add the statements from `begin` to before `end`, but for those that their containers add.
  absl::Status BuildRange(NodeId begin, NodeId end) {
    for (NodeId id = begin; id < end;) {
      node_ = id;
      names_[id] = Name();
      Place(static_cast<int>(id));
      const NodeId next = IsContainer(At()) ? ends_[id] : id + 1;
      absl::Status status = std::visit([this](const auto& kind) { return Add(kind); }, At().kind);
      if (!status.ok()) return InStatement(status);
      if (instructions_.size() > kMaxInstructions) {
        return graph::StatementError(
            absl::StatusCode::kResourceExhausted, program_, node_,
            absl::StrCat("up to here the program comes to more than ", kMaxInstructions,
                         " instructions"),
            "split it, or change fewer values in place whose views are used afterwards");
      }
      id = next;
    }
    return absl::OkStatus();
  }
  /// Those within the node that is being added.
  absl::Status BuildInside() {
    const NodeId container = node_;
    absl::Status status = BuildRange(container + 1, ends_[container]);
    if (status.ok()) node_ = container;
    return status;
  }

  static bool IsContainer(const graph::Node& node) {
    return std::holds_alternative<graph::Trace>(node.kind) ||
           std::holds_alternative<graph::Sweep>(node.kind) ||
           std::holds_alternative<graph::Invoke>(node.kind) ||
           std::holds_alternative<graph::Backward>(node.kind) ||
           std::holds_alternative<graph::Steps>(node.kind) ||
           std::holds_alternative<graph::If>(node.kind) ||
           std::holds_alternative<graph::Branch>(node.kind);
  }

  int InvokeIndex() const {
    const NodeId invoke = program_.InvokeOf(node_);
    auto it = invoke_index_.find(invoke);
    return it == invoke_index_.end() ? -1 : it->second;
  }

  // --- slots and instructions ---------------------------------------------------------------

  /// Add an instruction and the slot of its result.
  template <typename What>
  Slot Emit(What what, c10::IValue meta, const When& when) {
    const auto slot = static_cast<Slot>(slots_.size());
    const auto instruction = static_cast<int64_t>(instructions_.size());
    // What only looks is done whether or not its branch is taken, when it can be seen.
    constexpr bool kLooks = std::is_same_v<What, ReadSite> || std::is_same_v<What, ReadInvoke> ||
                            std::is_same_v<What, LoadConstant> ||
                            std::is_same_v<What, LoadParameter> ||
                            std::is_same_v<What, ReadResult> || std::is_same_v<What, TakeCarry>;
    const When made = kLooks ? when : Guarded(when);
    EmitEffect(std::move(what), made);
    if (kLooks) instructions_.back().guard = -1;
    slots_.push_back({std::move(meta), made, instruction});
    instructions_.back().result = slot;
    return slot;
  }

  template <typename What>
  void EmitEffect(What what, const When& when) {
    Instruction instruction;
    instruction.node = node_;
    instruction.stage = when.stage;
    instruction.time = when.time;
    instruction.step = when.step;
    instruction.guard = guard_;
    instruction.what = std::move(what);
    instructions_.push_back(std::move(instruction));
  }

  const When& WhenOf(Slot slot) const { return slots_[slot].when; }
  /// Before the first site of the pass that statements are being added to.
  When Start() const { return When{.stage = stage_}; }
  When AtSite(int site) const { return When{.stage = stage_, .time = site, .cause = node_}; }
  /// Not before it is known whether the branch is taken.
  When Guarded(When when) const {
    if (guard_ >= 0) when.Add(guards_when_[guard_]);
    return when;
  }

  void AddFills(const BoundCall& call, When& when) const {
    for (const BoundCall::Fill& fill : call.fills) {
      if (const Slot* slot = std::get_if<Slot>(&fill.from)) {
        when.Add(WhenOf(*slot));
      } else {
        for (Slot slot : std::get<std::vector<Slot>>(fill.from)) {
          if (slot != kNoSlot) when.Add(WhenOf(slot));
        }
      }
    }
  }

  c10::IValue MetaAt(Slot slot) const { return slots_[slot].meta; }

  absl::StatusOr<c10::IValue> MetaResult(const BoundCall& call) const {
    return RunMeta(*call.row, BindCall(call, program_, [this](Slot slot) { return MetaAt(slot); }));
  }

  absl::StatusOr<Slot> EmitCall(BoundCall call) {
    absl::StatusOr<c10::IValue> meta = MetaResult(call);
    if (!meta.ok()) return meta.status();
    When when = Start();
    AddFills(call, when);
    return Emit(CallOperator{std::move(call)}, *std::move(meta), when);
  }

  /// A call of one overload that the planner itself needs.
  absl::StatusOr<BoundCall> Internal(const char* qualified, c10::Stack stack,
                                     std::vector<BoundCall::Fill> fills) {
    const OperatorRow* row = OperatorTable::Get().FindOverload(qualified);
    if (row == nullptr) {
      return absl::InternalError(absl::StrCat(qualified, " is not in the operator table"));
    }
    BoundCall call;
    call.row = row;
    call.stack = std::move(stack);
    for (size_t i = call.stack.size(); i < row->schema().arguments().size(); ++i) {
      call.stack.push_back(row->schema().arguments()[i].default_value().value_or(c10::IValue()));
    }
    call.fills = std::move(fills);
    call.node = node_;
    return call;
  }

  // --- names and versions -------------------------------------------------------------------

  Name& NameOf(NodeId id) { return names_[id]; }

  int NewName() {
    names_.emplace_back();
    Place(static_cast<int>(names_.size() - 1));
    return static_cast<int>(names_.size() - 1);
  }
  void Place(int name) {
    names_[name].region = region_;
    names_[name].stage = stage_;
    names_[name].guard = guard_;
  }

  /// While it lives, what is added belongs where a name was made.
  class AtHomeOf {
   public:
    AtHomeOf(Builder& builder, int name)
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
    Builder& builder_;
    const int stage_, guard_;
  };

  int SetFresh(int name, Slot slot) {
    names_[name].slot = slot;
    names_[name].epoch = ++epoch_;
    return name;
  }

  absl::StatusOr<Slot> ApplyStep(const ViewStep& step, Slot base) {
    if (!std::holds_alternative<std::monostate>(step.item)) {
      std::variant<int64_t, std::string> item;
      if (const auto* index = std::get_if<int64_t>(&step.item)) {
        item = *index;
      } else {
        item = std::get<std::string>(step.item);
      }
      absl::StatusOr<c10::IValue> meta = TakeItemOf(MetaAt(base), item);
      if (!meta.ok()) return meta.status();
      When when = Start();
      when.Add(WhenOf(base));
      return Emit(TakeItem{base, item}, *std::move(meta), when);
    }
    BoundCall call = step.call;
    call.fills.push_back({0, base});
    return EmitCall(std::move(call));
  }

  /// The slot that holds what a name means here in written order.
  absl::StatusOr<Slot> Current(int name) {
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

  /// A structure holds what its items mean, so it is made anew once one of them has changed.
  absl::Status RefreshStructure(int name) {
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

  void EmitStructure(int name, std::vector<Slot> slots) {
    const AtHomeOf home(*this, name);
    When when = Start();
    for (Slot slot : slots) when.Add(WhenOf(slot));
    MakeStructure make{names_[name].kind, slots, names_[name].keys};
    c10::IValue meta = MakeStructureOf(make, [this](Slot slot) { return MetaAt(slot); });
    names_[name].item_slots = std::move(slots);
    names_[name].seen_changes = changes_;
    SetFresh(name, Emit(std::move(make), std::move(meta), when));
  }

  absl::StatusOr<int> AddView(int base, ViewStep step) {
    const int name = NewName();
    return MakeView(name, base, std::move(step));
  }

  absl::StatusOr<int> MakeView(int name, int base, ViewStep step) {
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

  void MakeAlias(int name, int base) {
    while (names_[base].alias) base = names_[base].base;
    names_[name].depth = names_[base].depth;
    names_[name].base = base;
    names_[name].alias = true;
    names_[name].slot = kNoSlot;
  }

  std::string RegionName() const {
    if (region_ == graph::kNoNode) return "trace";
    const auto& kind = program_.at(region_).kind;
    if (std::holds_alternative<graph::Backward>(kind)) return "`backward`";
    if (std::holds_alternative<graph::Steps>(kind)) return "`steps`";
    return std::holds_alternative<graph::Sweep>(kind) ? "`sweep`" : "branch";
  }

  std::string Shown(int name) const {
    if (name <= static_cast<int>(program_.nodes.size()) && name > 0) {
      const graph::Node& node = program_.at(static_cast<NodeId>(name));
      return node.name.empty() ? absl::StrCat("%", name) : absl::StrCat("%", node.name);
    }
    return "the value";
  }

  /// From this place in written order, `name`, all that it is a view of and all of their views mean
  /// a version whose part `name` is `value`. `in_place` names the statement's kind in errors.
  absl::Status Replace(int name, Slot value, const std::string& in_place) {
    std::vector<ViewStep> steps;
    int root = name;
    for (int n = name; n != -1; n = names_[n].base) {
      const Name& part = names_[n];
      if (!part.maybe_view_by.empty()) {
        return Refuse(
            absl::StrCat(in_place, " changes ", Shown(name), " in place, but ", part.maybe_view_by,
                         ", which made ", n == name ? "it" : Shown(n),
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
      // Where gradients are asked for, the model goes on with the very version that the name means.
      if (!has_gradients_ || steps.empty()) {
        if (absl::Status status = EmitWrite(site, names_[root].invoke, steps, value);
            !status.ok()) {
          return status;
        }
      }
    }
    if (steps.empty()) {
      names_[root].slot = value;
    } else {
      const Slot base = names_[root].slot;
      when.Add(WhenOf(base));
      c10::IValue meta = MetaAt(base);
      names_[root].slot = Emit(ReplacePart{base, std::move(steps), value}, std::move(meta), when);
      if (site >= 0 && has_gradients_) {
        absl::Status status = EmitWrite(site, names_[root].invoke, {}, names_[root].slot);
        if (!status.ok()) return status;
      }
    }
    names_[root].epoch = ++epoch_;
    ++changes_;
    return absl::OkStatus();
  }

  // --- sites ----------------------------------------------------------------------------------

  absl::StatusOr<int> FindSite(const graph::Site& written) {
    graph::Site site = written;
    absl::StatusOr<std::string> path = Filled(written);
    if (!path.ok()) return path.status();
    site.module = *std::move(path);
    const int module = model_.FindModule(site.module);
    if (module < 0) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   absl::StrCat("the model has no module `", site.module, "`"),
                                   model_.Suggest(site.module));
    }
    const int found = model_.FindSite(module, site.point, site.visit, site.op);
    if (found < 0) return model_.NoSuchSite(module, site);
    if (!InTrace(found)) {
      return graph::StatementError(
          absl::StatusCode::kNotFound, program_, node_,
          absl::StrCat("`", graph::ToString(site), "` is not inside `", RootPath(),
                       "`, the one module that this trace calls"),
          "a trace without `root` calls the whole model");
    }
    return found;
  }

  /// A site's value, or a part of it.
  struct SitePlace {
    int site;
    std::vector<int64_t> items;
  };

  /// An operation's `input` is the first of its `inputs`.
  absl::StatusOr<SitePlace> FindPlace(const graph::Site& site) {
    graph::Site whole = site;
    if (site.op.empty() || site.point != Point::kInput) {
      absl::StatusOr<int> found = FindSite(whole);
      if (!found.ok()) return found.status();
      return SitePlace{*found, {}};
    }
    whole.point = Point::kInputs;
    absl::StatusOr<int> found = FindSite(whole);
    if (!found.ok()) return found.status();
    return SitePlace{*found, model_.sites()[*found].first_input};
  }

  absl::Status ReadPlaceInto(int name, const SitePlace& place, int invoke) {
    if (place.items.empty()) return ReadSiteInto(name, place.site, invoke).status();
    int part = NewName();
    absl::StatusOr<int> read = ReadSiteInto(part, place.site, invoke);
    if (!read.ok()) return read.status();
    for (size_t i = 0; i < place.items.size(); ++i) {
      ViewStep step;
      step.item = place.items[i];
      absl::StatusOr<int> item = i + 1 < place.items.size() ? AddView(part, std::move(step))
                                                            : MakeView(name, part, std::move(step));
      if (!item.ok()) return item.status();
      part = *item;
    }
    return absl::OkStatus();
  }

  // --- what was a tuple once: a decoder block's output ---

  bool FormerTuple(int site) const {
    const SiteSpec& spec = model_.sites()[site];
    return spec.OfModule() && spec.site.point == Point::kOutput &&
           model_.modules()[spec.module].former_tuple;
  }
  /// The trace shows such outputs as tuples of one.
  bool TupleOutputs() {
    return std::get<graph::Trace>(program_.at(Trace().node).kind).tuple_outputs;
  }
  /// `output[0]` means the first row here, and meant the tensor itself in older notebooks. Of
  /// `output[0][:, -1] = x` one index is left, in which a row and all its tokens come first.
  absl::Status CheckNoTuple(int site, absl::Span<const graph::IndexTerm> terms, bool write) {
    if (!FormerTuple(site) || TupleOutputs() || terms.empty() ||
        !std::holds_alternative<int64_t>(terms[0]) || std::get<int64_t>(terms[0]) != 0) {
      return absl::OkStatus();
    }
    if (terms.size() > 1) {
      const auto* second = std::get_if<graph::Slice>(&terms[1]);
      if (!write || second == nullptr || second->start || second->stop || second->step) {
        return absl::OkStatus();
      }
    }
    return Refuse(
        absl::StrCat("`", model_.sites()[site].site.module,
                     ".output` is a tensor [batch, tokens, ...], not a tuple: [0] would be "
                     "its first row"),
        "leave out [0]; where the row is meant write [0:1] or .row(0); `tuple_outputs` "
        "gives tuples as older versions did");
  }
  /// The same for a name that is the value of a site.
  absl::Status CheckNoTupleOf(NodeId target, absl::Span<const graph::IndexTerm> terms, bool write) {
    int name = static_cast<int>(target);
    while (names_[name].alias) name = names_[name].base;
    if (names_[name].base >= 0 || names_[name].site < 0) return absl::OkStatus();
    return CheckNoTuple(names_[name].site, terms, write);
  }

  /// `((input,), {})`: a module takes one tensor here.
  absl::Status ReadInputs(const graph::Site& site, int invoke) {
    graph::Site one = site;
    one.point = Point::kInput;
    absl::StatusOr<int> input = FindSite(one);
    if (!input.ok()) return input.status();
    const int tensor = NewName(), positional = NewName(), named = NewName();
    absl::StatusOr<int> read = ReadSiteInto(tensor, *input, invoke);
    if (!read.ok()) return read.status();
    auto item = [](int name) {
      graph::Argument argument;
      argument.value = graph::NodeRef{static_cast<NodeId>(name)};
      return argument;
    };
    using Kind = graph::Structure::Kind;
    absl::Status status = AddStructure(positional, Kind::kTuple, {item(tensor)});
    if (status.ok()) status = AddStructure(named, Kind::kDict, {});
    if (!status.ok()) return status;
    return AddStructure(static_cast<int>(node_), Kind::kTuple, {item(positional), item(named)});
  }

  /// The tensor that replaces a module's one input; `value` is all of its inputs, or that tensor.
  absl::StatusOr<Slot> InputAmong(NodeId value) {
    absl::StatusOr<Slot> slot = Current(static_cast<int>(value));
    if (!slot.ok() || MetaAt(*slot).isTensor()) return slot;
    const c10::IValue meta = MetaAt(*slot);
    const auto fits = [&] {
      if (!meta.isTuple() || meta.toTupleRef().elements().size() != 2) return false;
      const c10::IValue &positional = meta.toTupleRef().elements()[0],
                        &named = meta.toTupleRef().elements()[1];
      return positional.isTuple() && positional.toTupleRef().elements().size() == 1 &&
             positional.toTupleRef().elements()[0].isTensor() && named.isGenericDict() &&
             named.toGenericDict().empty();
    };
    if (!fits()) {
      return Refuse(absl::StrCat("the value is ", graph::ToString(PatternOf(meta)),
                                 ", and this module's inputs are ((tensor,), {})"),
                    "give that structure, or the tensor alone");
    }
    return FirstItem(value, 2);
  }
  /// The tensor that replaces a former tuple; `value` is that tuple, or that tensor.
  absl::StatusOr<Slot> OutputAmong(NodeId value) {
    absl::StatusOr<Slot> slot = Current(static_cast<int>(value));
    if (!slot.ok() || MetaAt(*slot).isTensor()) return slot;
    const c10::IValue meta = MetaAt(*slot);
    if (!meta.isTuple() || meta.toTupleRef().elements().size() != 1) {
      return Refuse(absl::StrCat("the value is ", graph::ToString(PatternOf(meta)),
                                 ", and this output is (tensor,)"),
                    "give that structure, or the tensor alone");
    }
    return FirstItem(value, 1);
  }
  absl::StatusOr<Slot> FirstItem(NodeId value, int depth) {
    int name = static_cast<int>(value);
    for (int i = 0; i < depth; ++i) {
      ViewStep step;
      step.item = int64_t{0};
      absl::StatusOr<int> item = ItemOf(name, std::move(step));
      if (!item.ok()) return item.status();
      name = *item;
    }
    return Current(name);
  }

  absl::Status CheckReady(int site, const When& needs, const std::string& what) const {
    const When when = Guarded(needs);
    if (when.stage > stage_) {
      return Refuse(absl::StrCat(what, " needs a value that is there only after the last step"),
                    "compute it inside the steps, or in a later trace");
    }
    if (when.time < site || (when.time == site && when.step == 0)) return absl::OkStatus();
    if (when.time == site) {
      return Refuse(absl::StrCat(what, " needs a gradient of what is visited here"),
                    "write at a later site");
    }
    const std::string& late = graph::ToString(model_.sites()[when.time].site);
    const std::string& early = graph::ToString(model_.sites()[site].site);
    std::string message = absl::StrCat(what, " needs a value that is there too late: ", early,
                                       " is visited before ", late);
    if (when.cause != graph::kNoNode) {
      absl::StrAppend(&message, ", on which it depends by\n  ",
                      graph::PrintStatement(program_, when.cause));
    }
    return Refuse(message, absl::StrCat("write at ", late,
                                        " or later; where the value is only "
                                        "computed with, use the operator that makes a new value"));
  }

  absl::Status EmitWrite(int site, int invoke, std::vector<ViewStep> steps, Slot value) {
    const SiteSpec& spec = model_.sites()[site];
    if (!spec.writable) {
      return Refuse(absl::StrCat("`", graph::ToString(spec.site), "` can be read, not written"));
    }
    int64_t range = 0;
    if (const auto* tensor = std::get_if<graph::Pattern::Tensor>(&spec.pattern.value)) {
      range = tensor->range;
    }
    touched_.push_back({node_, site, invoke, stage_});
    EmitEffect(WriteSite{invoke, std::move(steps), value, range}, AtSite(site));
    return absl::OkStatus();
  }

  absl::StatusOr<int> ReadSiteInto(int name, int site, int invoke) {
    const Slot slot = Emit(ReadSite{invoke, false}, MetaAtSite(site, invoke), AtSite(site));
    touched_.push_back({node_, site, invoke, stage_});
    names_[name].site = site;
    names_[name].invoke = invoke;
    return SetFresh(name, slot);
  }

  // --- nodes ----------------------------------------------------------------------------------

  absl::Status NotExecuted(const std::string& name) const {
    return graph::StatementError(
        absl::StatusCode::kUnimplemented, program_, node_,
        absl::StrCat("`", name, "` is in the contract but not executed by this version"));
  }

  absl::Status Add(const graph::Constant& constant) {
    if (constant.tensor.data == nullptr && !constant.blob.empty()) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   "the bytes of this blob are not here",
                                   "whoever runs the program finds them before");
    }
    const c10::IValue meta = at::empty(
        constant.tensor.shape, at::device(at::kMeta).dtype(ToScalarType(constant.tensor.dtype)));
    SetFresh(node_, Emit(LoadConstant{}, meta, Start()));
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Read& read) {
    const int invoke = InvokeIndex();
    if (graph::OfInvoke(read.site.point) && read.site.point != Point::kResult) {
      if (read.site.point != Point::kRows && !CallsWithIds()) {
        return Refuse(absl::StrCat("this trace calls ", RootName(),
                                   " with activations: there is no `", graph::ToString(read.site),
                                   "`"));
      }
      const RowCount rows = RowsNow(invoke);
      std::vector<int64_t> shape = {rows.batch};
      if (read.site.point != Point::kRows) shape.push_back(rows.tokens);
      SetFresh(node_, Emit(ReadInvoke{invoke, read.site.point},
                           at::empty(shape, at::device(at::kMeta).dtype(at::kLong)), Start()));
      return absl::OkStatus();
    }
    if (read.site.point == Point::kResult && Trace().generates) {
      return ReadGenerated(invoke);
    }
    if (read.site.point == Point::kResult) {
      // The first leaf of what the root returns.
      const int root = NewName();
      absl::StatusOr<int> name = ReadSiteInto(root, Trace().result_site, invoke);
      if (!name.ok()) return name.status();
      if (!IsStructure(MetaAt(names_[root].slot))) {
        MakeAlias(node_, root);
        return Current(node_).status();
      }
      int part = root;
      const std::vector<graph::IndexTerm> path =
          FirstLeaf(model_.sites()[Trace().result_site].pattern);
      for (size_t i = 0; i < path.size(); ++i) {
        ViewStep step;
        if (const auto* key = std::get_if<std::string>(&path[i])) step.item = *key;
        if (const auto* item = std::get_if<int64_t>(&path[i])) step.item = *item;
        absl::StatusOr<int> view = i + 1 < path.size() ? AddView(part, std::move(step))
                                                       : MakeView(node_, part, std::move(step));
        if (!view.ok()) return view.status();
        part = *view;
      }
      return absl::OkStatus();
    }
    if (read.site.op.empty() && read.site.point == Point::kInputs) {
      return ReadInputs(read.site, invoke);
    }
    absl::StatusOr<SitePlace> place = FindPlace(read.site);
    if (!place.ok()) return place.status();
    if (FormerTuple(place->site) && TupleOutputs()) {
      const int tensor = NewName();
      absl::StatusOr<int> item = ReadSiteInto(tensor, place->site, invoke);
      if (!item.ok()) return item.status();
      graph::Argument argument;
      argument.value = graph::NodeRef{static_cast<NodeId>(tensor)};
      return AddStructure(static_cast<int>(node_), graph::Structure::Kind::kTuple, {argument});
    }
    return ReadPlaceInto(static_cast<int>(node_), *place, invoke);
  }

  absl::Status Add(const graph::Parameter& parameter) {
    auto it = model_.parameters().find(parameter.path);
    if (it == model_.parameters().end()) {
      return graph::StatementError(
          absl::StatusCode::kNotFound, program_, node_,
          absl::StrCat("the model has no parameter `", parameter.path, "`"),
          "parameters are named as in the checkpoint, such as "
          "`transformer.wte.weight`");
    }
    plan_.uses_weights = true;
    const c10::IValue meta =
        at::empty(it->second.shape, at::device(at::kMeta).dtype(ToScalarType(it->second.dtype)));
    SetFresh(node_, Emit(LoadParameter{parameter.path}, meta, Start()));
    return absl::OkStatus();
  }

  absl::StatusOr<c10::IValue> ArgumentMeta(const graph::Argument& argument,
                                           std::vector<Slot>* list_slots, Slot* slot) {
    if (const auto* use = std::get_if<graph::SweepUse>(&argument.value)) {
      return ArgumentMeta({argument.name, ValueOf(*use)}, list_slots, slot);
    }
    if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) {
      absl::StatusOr<Slot> current = Current(ref->id);
      if (!current.ok()) return current.status();
      *slot = *current;
      return MetaAt(*current);
    }
    if (const auto* flag = std::get_if<bool>(&argument.value)) return c10::IValue(*flag);
    if (const auto* number = std::get_if<int64_t>(&argument.value)) return c10::IValue(*number);
    if (const auto* number = std::get_if<double>(&argument.value)) return c10::IValue(*number);
    if (const auto* text = std::get_if<std::string>(&argument.value)) return c10::IValue(*text);
    if (const auto* dtype = std::get_if<graph::DType>(&argument.value)) {
      return c10::IValue(static_cast<int64_t>(ToScalarType(*dtype)));
    }
    if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
      return ListMeta(*list, list_slots);
    }
    return c10::IValue();
  }

  absl::StatusOr<c10::IValue> ListMeta(const graph::Argument::List& list,
                                       std::vector<Slot>* slots) {
    size_t tensors = 0, ints = 0, floats = 0, bools = 0, nones = 0;
    for (const graph::Argument& item : list) {
      tensors += std::holds_alternative<graph::NodeRef>(item.value);
      ints += std::holds_alternative<int64_t>(item.value);
      floats += std::holds_alternative<double>(item.value);
      bools += std::holds_alternative<bool>(item.value);
      nones += std::holds_alternative<std::monostate>(item.value);
    }
    if (tensors + nones == list.size() && tensors > 0) {
      c10::List<std::optional<at::Tensor>> optional;
      c10::List<at::Tensor> plain;
      for (const graph::Argument& item : list) {
        if (std::holds_alternative<std::monostate>(item.value)) {
          slots->push_back(kNoSlot);
          optional.push_back(std::nullopt);
          continue;
        }
        absl::StatusOr<Slot> slot = Current(std::get<graph::NodeRef>(item.value).id);
        if (!slot.ok()) return slot.status();
        if (!MetaAt(*slot).isTensor()) {
          return Refuse("a list of tensors holds a value that is no tensor");
        }
        slots->push_back(*slot);
        optional.push_back(MetaAt(*slot).toTensor());
        plain.push_back(MetaAt(*slot).toTensor());
      }
      if (nones > 0) return c10::IValue(std::move(optional));
      return c10::IValue(std::move(plain));
    }
    if (ints == list.size()) {
      c10::List<int64_t> out;
      for (const graph::Argument& item : list) out.push_back(std::get<int64_t>(item.value));
      return c10::IValue(std::move(out));
    }
    if (bools == list.size()) {
      c10::List<bool> out;
      for (const graph::Argument& item : list) out.push_back(std::get<bool>(item.value));
      return c10::IValue(std::move(out));
    }
    if (ints + floats == list.size()) {
      c10::List<double> out;
      for (const graph::Argument& item : list) {
        const auto* number = std::get_if<double>(&item.value);
        out.push_back(number != nullptr ? *number
                                        : static_cast<double>(std::get<int64_t>(item.value)));
      }
      return c10::IValue(std::move(out));
    }
    return Refuse("a list must hold values only, or numbers only, or booleans only",
                  "make numbers into values with aten::full first");
  }

  absl::Status Add(const graph::Operator& op) {
    std::vector<CallArgument> arguments;
    std::vector<Slot> single(op.arguments.size(), kNoSlot);
    std::vector<std::vector<Slot>> lists(op.arguments.size());
    arguments.reserve(op.arguments.size());
    for (size_t i = 0; i < op.arguments.size(); ++i) {
      absl::StatusOr<c10::IValue> meta = ArgumentMeta(op.arguments[i], &lists[i], &single[i]);
      if (!meta.ok()) return meta.status();
      arguments.push_back({op.arguments[i].name, *std::move(meta)});
    }
    absl::StatusOr<ResolvedCall> resolved = ResolveCall(op.name, arguments);
    if (!resolved.ok()) return resolved.status();

    BoundCall call;
    call.row = resolved->row;
    call.stack = std::move(resolved->stack);
    call.node = node_;
    for (size_t a = 0; a < resolved->source.size(); ++a) {
      const int from = resolved->source[a];
      if (from < 0) continue;
      if (single[from] != kNoSlot) {
        call.fills.push_back({static_cast<int>(a), single[from]});
        call.stack[a] = c10::IValue();
      } else if (!lists[from].empty()) {
        call.fills.push_back({static_cast<int>(a), lists[from]});
        call.stack[a] = c10::IValue();
      } else if (std::holds_alternative<double>(op.arguments[from].value)) {
        call.floats.push_back({static_cast<int>(a), from});
      }
    }
    if (call.row->in_place()) return AddInPlace(std::move(call), op, resolved->source[0]);

    if (call.row->makes == Makes::kView || call.row->makes == Makes::kOverlappingView) {
      const auto* base = std::get_if<graph::NodeRef>(&op.arguments[resolved->source[0]].value);
      if (base == nullptr) return Refuse("the first argument of a view must be a value");
      ViewStep step;
      step.overlapping = call.row->makes == Makes::kOverlappingView;
      std::erase_if(call.fills, [](const BoundCall::Fill& fill) { return fill.argument == 0; });
      step.call = std::move(call);
      return MakeView(node_, static_cast<int>(base->id), std::move(step)).status();
    }
    const bool maybe = call.row->makes == Makes::kMaybeView;
    absl::StatusOr<Slot> slot = EmitCall(std::move(call));
    if (!slot.ok()) return slot.status();
    SetFresh(node_, *slot);
    if (maybe) names_[node_].maybe_view_by = op.name;
    return absl::OkStatus();
  }

  /// Compute `%x.op_(...)` by its twin and make the result the new version of `%x`.
  absl::Status AddInPlace(BoundCall call, const graph::Operator& op, int self_argument) {
    const auto* self = std::get_if<graph::NodeRef>(&op.arguments[self_argument].value);
    if (self == nullptr) return Refuse("the first argument of an in-place operator is a value");
    const at::Tensor before = MetaAt(std::get<Slot>(call.fills.front().from)).toTensor();
    call.row = call.row->fresh;
    call.shape_of = 0;
    absl::StatusOr<Slot> after = EmitCall(std::move(call));
    if (!after.ok()) return after.status();
    at::Tensor result = MetaAt(*after).toTensor();
    if (result.sizes() != before.sizes()) {
      return Refuse(
          absl::StrCat(op.name, " would change the shape of ", Shown(static_cast<int>(self->id)),
                       " from ", c10::str(before.sizes()), " to ", c10::str(result.sizes())),
          "use the operator that makes a new value");
    }
    if (result.scalar_type() != before.scalar_type()) {
      if (!c10::canCast(result.scalar_type(), before.scalar_type())) {
        return Refuse(
            absl::StrCat(op.name, " gives ", graph::ToString(FromScalarType(result.scalar_type())),
                         ", which ", graph::ToString(FromScalarType(before.scalar_type())),
                         " cannot hold"),
            "use the operator that makes a new value");
      }
      after = EmitConvert(*after, before.scalar_type());
      if (!after.ok()) return after.status();
    }
    absl::Status status = Replace(static_cast<int>(self->id), *after, op.name);
    if (!status.ok()) return status;
    MakeAlias(node_, static_cast<int>(self->id));
    return Current(node_).status();
  }

  absl::StatusOr<Slot> EmitConvert(Slot value, c10::ScalarType type) {
    absl::StatusOr<BoundCall> call = Internal(
        "aten::to.dtype", {c10::IValue(), c10::IValue(static_cast<int64_t>(type))}, {{0, value}});
    if (!call.ok()) return call.status();
    return EmitCall(*std::move(call));
  }

  // --- indexing -------------------------------------------------------------------------------

  /// What an index leads to: a chain of views, then perhaps tensors of indices on what they give.
  struct Indexed {
    int name = -1;
    std::vector<Slot> indices;  // per dimension, kNoSlot for a whole one; empty if there are none
    bool mask = false;          // the one tensor, the last of `indices`, is a mask of booleans
  };

  absl::StatusOr<Indexed> FollowIndex(int target, const std::vector<graph::IndexTerm>& written) {
    absl::StatusOr<std::vector<graph::IndexTerm>> filled = Filled(written);
    if (!filled.ok()) return filled.status();
    const std::vector<graph::IndexTerm>& terms = *filled;
    Indexed out;
    out.name = target;
    size_t next = 0;
    // Items of structures first.
    while (next < terms.size()) {
      absl::StatusOr<Slot> slot = Current(out.name);
      if (!slot.ok()) return slot.status();
      if (!IsStructure(MetaAt(*slot))) break;
      ViewStep step;
      if (const auto* key = std::get_if<std::string>(&terms[next])) {
        step.item = *key;
      } else if (const auto* index = std::get_if<int64_t>(&terms[next])) {
        step.item = *index;
      } else {
        return Refuse("a structure is indexed by an integer or a key");
      }
      absl::StatusOr<int> item = ItemOf(out.name, std::move(step));
      if (!item.ok()) return item.status();
      out.name = *item;
      ++next;
    }
    if (next == terms.size()) return out;
    absl::StatusOr<Slot> slot = Current(out.name);
    if (!slot.ok()) return slot.status();
    if (!MetaAt(*slot).isTensor()) return Refuse("only tensors and structures can be indexed");
    return FollowTensorIndex(std::move(out), absl::MakeConstSpan(terms).subspan(next));
  }

  /// The item of a structure: a view of it, or the very value that the structure was made from.
  absl::StatusOr<int> ItemOf(int structure, ViewStep step) {
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

  absl::StatusOr<Indexed> FollowTensorIndex(Indexed out, absl::Span<const graph::IndexTerm> terms) {
    absl::StatusOr<Slot> slot = Current(out.name);
    if (!slot.ok()) return slot.status();
    const int64_t rank = MetaAt(*slot).toTensor().dim();
    int64_t consumed = 0;
    bool ellipsis = false;
    for (const graph::IndexTerm& term : terms) {
      if (std::holds_alternative<std::string>(term)) {
        return Refuse("a tensor is not indexed by a key");
      }
      if (std::holds_alternative<graph::Ellipsis>(term)) {
        if (ellipsis) return Refuse("an index has at most one `...`");
        ellipsis = true;
      } else if (const auto* ref = std::get_if<graph::NodeRef>(&term)) {
        absl::StatusOr<int64_t> dims = IndexTensorDims(ref->id);
        if (!dims.ok()) return dims.status();
        consumed += *dims;
      } else if (!std::holds_alternative<graph::NewAxis>(term)) {
        ++consumed;
      }
    }
    if (consumed > rank) {
      return Refuse(absl::StrCat("too many indices: ", consumed, " for a tensor of ", rank,
                                 " dimensions of shape ",
                                 c10::str(MetaAt(*slot).toTensor().sizes())));
    }
    int64_t dim = 0;
    for (const graph::IndexTerm& term : terms) {
      if (std::holds_alternative<graph::Ellipsis>(term)) {
        dim += rank - consumed;
        continue;
      }
      absl::StatusOr<BoundCall> call;
      if (const auto* index = std::get_if<int64_t>(&term)) {
        call = Internal("aten::select.int", {c10::IValue(), dim, *index}, {});
      } else if (const auto* slice = std::get_if<graph::Slice>(&term)) {
        if (slice->step.value_or(1) <= 0) {
          return Refuse("the step of a slice must be positive", "turn it round with aten::flip");
        }
        if (!slice->start && !slice->stop && slice->step.value_or(1) == 1) {
          ++dim;
          continue;
        }
        auto bound = [](const std::optional<int64_t>& value) {
          return value ? c10::IValue(*value) : c10::IValue();
        };
        call = Internal("aten::slice.Tensor",
                        {c10::IValue(), dim++, bound(slice->start), bound(slice->stop),
                         slice->step.value_or(1)},
                        {});
      } else if (std::holds_alternative<graph::NewAxis>(term)) {
        call = Internal("aten::unsqueeze", {c10::IValue(), dim++}, {});
      } else {
        const NodeId id = std::get<graph::NodeRef>(term).id;
        absl::StatusOr<Slot> indices = Current(id);
        if (!indices.ok()) return indices.status();
        const at::Tensor meta = MetaAt(*indices).toTensor();
        const bool mask = meta.scalar_type() == at::kBool;
        if (out.mask || (mask && !out.indices.empty())) {
          return Refuse("a mask stands beside no other tensor in an index",
                        "combine masks with aten::logical_and, or use aten::where");
        }
        out.mask = mask;
        out.indices.resize(dim, kNoSlot);
        out.indices.push_back(*indices);
        dim += mask ? meta.dim() : 1;
        continue;
      }
      if (!call.ok()) return call.status();
      ViewStep step;
      step.call = *std::move(call);
      absl::StatusOr<int> view = AddView(out.name, std::move(step));
      if (!view.ok()) return view.status();
      out.name = *view;
    }
    return out;
  }

  absl::StatusOr<int64_t> IndexTensorDims(NodeId id) {
    absl::StatusOr<Slot> slot = Current(static_cast<int>(id));
    if (!slot.ok()) return slot.status();
    const c10::IValue& meta = MetaAt(*slot);
    if (!meta.isTensor() || (meta.toTensor().scalar_type() != at::kBool &&
                             !c10::isIntegralType(meta.toTensor().scalar_type(), false))) {
      return Refuse(absl::StrCat("an index must be a tensor of integers or a mask, and ",
                                 Shown(static_cast<int>(id)), " is neither"));
    }
    return meta.toTensor().scalar_type() == at::kBool ? meta.toTensor().dim() : 1;
  }

  absl::Status Add(const graph::Index& index) {
    absl::Status tensor = CheckNoTupleOf(index.target, index.terms, /*write=*/false);
    if (!tensor.ok()) return tensor;
    absl::StatusOr<Indexed> found = FollowIndex(static_cast<int>(index.target), index.terms);
    if (!found.ok()) return found.status();
    if (found->mask) {
      return Refuse("how many elements a mask selects depends on data",
                    "use aten::where or aten::masked_fill, take a given number of places with "
                    "aten::nonzero_static, or assign: `%x[%mask] = %v`");
    }
    if (found->indices.empty()) {
      MakeAlias(node_, found->name);
      return Current(node_).status();
    }
    absl::StatusOr<Slot> base = Current(found->name);
    if (!base.ok()) return base.status();
    absl::StatusOr<BoundCall> call = Internal("aten::index.Tensor", {c10::IValue(), c10::IValue()},
                                              {{0, *base}, {1, found->indices}});
    if (!call.ok()) return call.status();
    absl::StatusOr<Slot> slot = EmitCall(*std::move(call));
    if (!slot.ok()) return slot.status();
    SetFresh(node_, *slot);
    return absl::OkStatus();
  }

  absl::Status AssignTo(int target, const std::vector<graph::IndexTerm>& terms, NodeId value,
                        const std::string& what) {
    absl::StatusOr<Indexed> found = FollowIndex(target, terms);
    if (!found.ok()) return found.status();
    absl::StatusOr<Slot> source = Current(static_cast<int>(value));
    if (!source.ok()) return source.status();
    if (!MetaAt(*source).isTensor()) return Refuse("what is assigned to a slice must be a tensor");
    absl::StatusOr<Slot> base = Current(found->name);
    if (!base.ok()) return base.status();
    if (!MetaAt(*base).isTensor()) return Refuse("only tensors can be assigned to");
    const at::Tensor before = MetaAt(*base).toTensor();

    absl::StatusOr<BoundCall> call;
    if (found->mask) {
      absl::StatusOr<Slot> converted = EmitConvert(*source, before.scalar_type());
      if (!converted.ok()) return converted.status();
      Slot mask = found->indices.back();
      const at::Tensor mask_meta = MetaAt(mask).toTensor();
      const auto first = static_cast<int64_t>(found->indices.size()) - 1;
      absl::Status fits = MaskFits(mask_meta.sizes(), before.sizes().slice(first));
      if (!fits.ok()) return fits;
      const int64_t behind = before.dim() - first - mask_meta.dim();
      // The elements that a mask of several dimensions selects lie in one.
      const at::IntArrayRef given = MetaAt(*source).toTensor().sizes();
      if (mask_meta.dim() > 1 && static_cast<int64_t>(given.size()) > behind &&
          given != before.sizes() && MetaAt(*source).toTensor().numel() != 1) {
        return Refuse(
            absl::StrCat("a value of shape ", c10::str(given), " is assigned to what a mask of ",
                         mask_meta.dim(), " dimensions selects"),
            "give one number, or the shape of what is indexed");
      }
      for (int64_t dim = 0; dim < behind; ++dim) {
        absl::StatusOr<BoundCall> unsqueeze =
            Internal("aten::unsqueeze", {c10::IValue(), int64_t{-1}}, {{0, mask}});
        if (!unsqueeze.ok()) return unsqueeze.status();
        absl::StatusOr<Slot> wider = EmitCall(*std::move(unsqueeze));
        if (!wider.ok()) return wider.status();
        mask = *wider;
      }
      call = Internal("aten::where.self", {c10::IValue(), c10::IValue(), c10::IValue()},
                      {{0, mask}, {1, *converted}, {2, *base}});
      if (call.ok()) {
        call->shape_of = 2;
        call->mask_dims = mask_meta.dim();
      }
    } else if (!found->indices.empty()) {
      absl::StatusOr<Slot> converted = EmitConvert(*source, before.scalar_type());
      if (!converted.ok()) return converted.status();
      call = Internal("aten::index_put", {c10::IValue(), c10::IValue(), c10::IValue()},
                      {{0, *base}, {1, found->indices}, {2, *converted}});
    } else if (names_[found->name].base == -1 || names_[found->name].alias) {
      // All of it: as copy_ broadcasts and converts.
      call = Internal("aten::copy", {c10::IValue(), c10::IValue()}, {{0, *base}, {1, *source}});
    } else {
      return Replace(found->name, *source, what);
    }
    if (!call.ok()) return call.status();
    absl::StatusOr<Slot> result = EmitCall(*std::move(call));
    if (!result.ok()) return result.status();
    if (MetaAt(*result).toTensor().sizes() != before.sizes()) {
      return Refuse(absl::StrCat("a value of shape ", c10::str(MetaAt(*source).toTensor().sizes()),
                                 " does not fit into ", c10::str(before.sizes())));
    }
    return Replace(found->name, *result, what);
  }

  absl::Status Add(const graph::Assign& assign) {
    absl::Status tensor = CheckNoTupleOf(assign.target, assign.index, /*write=*/true);
    if (!tensor.ok()) return tensor;
    return AssignTo(static_cast<int>(assign.target), assign.index, assign.value, "this assignment");
  }

  absl::Status Add(const graph::Write& write) {
    const int invoke = InvokeIndex();
    graph::Site site = write.site;
    std::vector<graph::IndexTerm> index = write.index;
    if (graph::OfInvoke(site.point)) {
      if (site.point != Point::kResult) {
        return Refuse(absl::StrCat("`", graph::ToString(site), "` can be read, not written"),
                      "write the embedding's input instead");
      }
      site = model_.sites()[Trace().result_site].site;
      // The result is the first leaf of what the root returns; a lone tensor replaces it as it is.
      if (!index.empty() && !std::holds_alternative<graph::Pattern::Tensor>(
                                model_.sites()[Trace().result_site].pattern.value)) {
        const std::vector<graph::IndexTerm> path =
            FirstLeaf(model_.sites()[Trace().result_site].pattern);
        index.insert(index.begin(), path.begin(), path.end());
      }
    }
    const bool inputs = site.op.empty() && site.point == Point::kInputs;
    if (inputs) {
      site.point = Point::kInput;
      for (int i = 0; i < 2 && !index.empty(); ++i) {
        const auto* item = std::get_if<int64_t>(&index.front());
        if (item == nullptr || *item != 0) {
          return Refuse("this module's inputs are ((tensor,), {})",
                        "write `inputs[0][0]`, or a part of it");
        }
        index.erase(index.begin());
      }
    }
    absl::StatusOr<SitePlace> place = FindPlace(site);
    if (!place.ok()) return place.status();
    const int* const found = &place->site;
    const bool tuple = FormerTuple(*found) && TupleOutputs();
    if (tuple && !index.empty()) {
      const auto* item = std::get_if<int64_t>(&index.front());
      if (item == nullptr || *item != 0) {
        return Refuse("with `tuple_outputs` this output is (tensor,)",
                      "write `output[0]`, or a part of it");
      }
      index.erase(index.begin());
    }
    if (absl::Status tensor = CheckNoTuple(*found, index, /*write=*/true); !tensor.ok()) {
      return tensor;
    }
    index.insert(index.begin(), place->items.begin(), place->items.end());
    const std::string what = absl::StrCat("this write");
    if (!index.empty()) {
      const int name = NewName();
      if (absl::StatusOr<int> read = ReadSiteInto(name, *found, invoke); !read.ok()) {
        return read.status();
      }
      return AssignTo(name, index, write.value, what);
    }
    absl::StatusOr<Slot> value = inputs  ? InputAmong(write.value)
                                 : tuple ? OutputAmong(write.value)
                                         : Current(static_cast<int>(write.value));
    if (!value.ok()) return value.status();
    When when = Start();
    when.Add(WhenOf(*value));
    if (absl::Status status = CheckReady(*found, when, what); !status.ok()) return status;
    return EmitWrite(*found, invoke, {}, *value);
  }

  // --- the rest -------------------------------------------------------------------------------

  absl::Status Add(const graph::Structure& structure) {
    return AddStructure(static_cast<int>(node_), structure.kind, structure.items);
  }

  /// Make `name` a structure. A list inside it is a structure without a node, and no deeper than
  /// lists in arguments are.
  absl::Status AddStructure(int name, graph::Structure::Kind kind,
                            const std::vector<graph::Argument>& arguments) {
    std::vector<int> items;
    std::vector<Slot> slots;
    std::vector<std::string> keys;
    int nesting = 1;
    size_t leaves = 0;
    for (const graph::Argument& argument : arguments) {
      int item = -1;
      if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) {
        item = static_cast<int>(ref->id);
      } else if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
        item = NewName();
        absl::Status status = AddStructure(item, graph::Structure::Kind::kList, *list);
        if (!status.ok()) return status;
      } else {
        return Refuse("a structure is made of values", "make numbers into values with aten::full");
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

  /// The structure node that a name stands for, or nullptr.
  const Name* MadeAs(int name) const {
    while (names_[name].alias) name = names_[name].base;
    return names_[name].items.empty() ? nullptr : &names_[name];
  }
  /// What operators and modules return nests at most once.
  int NestingOf(int name, Slot slot) const {
    if (const Name* made = MadeAs(name)) return made->nesting;
    return IsStructure(slots_[slot].meta) ? 1 : 0;
  }
  size_t LeavesOf(int name, Slot slot) const {
    if (const Name* made = MadeAs(name)) return made->leaves;
    const c10::IValue& meta = slots_[slot].meta;
    if (meta.isTuple()) return meta.toTupleRef().elements().size();
    if (meta.isGenericDict()) return meta.toGenericDict().size();
    return meta.isList() ? meta.toListRef().size() : 1;
  }

  absl::Status Add(const graph::Call& call) {
    if (call.watched) return NotExecuted("call.watched");
    const int module = model_.FindModule(call.module);
    if (module < 0) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   absl::StrCat("the model has no module `", call.module, "`"),
                                   model_.Suggest(call.module));
    }
    const int input = model_.FindSite(module, Point::kInput, 0);
    const int output = model_.FindSite(module, Point::kOutput, 0);
    if (call.module.empty() || input < 0 || output < 0) {
      return Refuse("the root, and modules that the model itself never calls, cannot be called");
    }
    if (!model_.modules()[module].callable) return RefuseAlone(module);
    if (call.arguments.size() != 1 || !call.arguments[0].name.empty() ||
        !std::holds_alternative<graph::NodeRef>(call.arguments[0].value)) {
      return Refuse("a module is called with one value");
    }
    absl::StatusOr<Slot> slot =
        Current(static_cast<int>(std::get<graph::NodeRef>(call.arguments[0].value).id));
    if (!slot.ok()) return slot.status();
    const int invoke = InvokeIndex();
    absl::StatusOr<c10::IValue> meta =
        ModuleResult(model_, module, MetaAt(*slot), invoke < 0 ? RowCount{} : RowsNow(invoke),
                     invoke >= 0 && plan_.invokes[invoke].all_rows);
    if (!meta.ok()) return meta.status();
    When when = Start();
    when.Add(WhenOf(*slot));
    SetFresh(node_, Emit(CallModule{module, invoke, *slot}, *std::move(meta), when));
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Skip& skip) {
    const int module = model_.FindModule(skip.module);
    if (module < 0) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   absl::StrCat("the model has no module `", skip.module, "`"),
                                   model_.Suggest(skip.module));
    }
    if (skip.module.empty()) return Refuse("the root cannot be skipped", "use `stop`");
    absl::StatusOr<int> input = FindSite({skip.module, Point::kInput, skip.visit});
    if (!input.ok()) return input.status();
    absl::StatusOr<int> output = FindSite({skip.module, Point::kOutput, skip.visit});
    if (!output.ok()) return output.status();
    if (CountTensors(model_.sites()[*output].pattern) > 1) {
      return Refuse(
          absl::StrCat("`", skip.module, "` returns several tensors, and a skip gives one"),
          "write its output instead");
    }
    absl::StatusOr<Slot> value = Current(static_cast<int>(skip.value));
    if (!value.ok()) return value.status();
    When when = Start();
    when.Add(WhenOf(*value));
    if (absl::Status status = CheckReady(*input, when, "this skip"); !status.ok()) return status;
    const int invoke = InvokeIndex();
    skips_.push_back({node_, *input, *output, invoke, stage_});
    EmitEffect(SkipModule{module, skip.visit, invoke, *value}, AtSite(*input));
    return absl::OkStatus();
  }

  // --- gradients ------------------------------------------------------------------------------

  /// Whose gradient a gradient is part of: the value that a name is a view of, and the views.
  struct GradientOf {
    int root = -1;
    std::vector<ViewStep> steps;
  };

  /// A region while its statements are added.
  struct Region {
    int backward = -1;
    Slot begun = kNoSlot;
    When when;
    absl::flat_hash_map<Slot, int> points;  // by slot, the place in the order of gradients
  };

  bool MadeBefore(int name, NodeId node) const {
    return name <= static_cast<int>(program_.nodes.size()) && static_cast<NodeId>(name) < node;
  }

  absl::StatusOr<GradientOf> PointOf(NodeId value) {
    GradientOf point;
    point.root = static_cast<int>(value);
    if (absl::StatusOr<Slot> slot = Current(point.root); !slot.ok()) return slot.status();
    if (!MadeBefore(point.root, backward_)) {
      return Refuse("this value was made inside the `backward`; the loss does not depend on it");
    }
    while (names_[point.root].base != -1) {
      const Name& name = names_[point.root];
      // A tensor in a structure has a gradient, the structure has none.
      if (!MetaAt(names_[name.base].slot).isTensor()) break;
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
      return Refuse(absl::StrCat("the value is ", graph::ToString(PatternOf(meta)),
                                 "; tensors have gradients"),
                    "name one of its tensors, as in grad %h[0]");
    }
    if (!meta.toTensor().is_floating_point() && !meta.toTensor().is_complex()) {
      return Refuse(absl::StrCat("the value has dtype ",
                                 graph::ToString(FromScalarType(meta.toTensor().scalar_type())),
                                 ", and only floating-point values have gradients"));
    }
    if (WhenOf(slot).stage < FirstKey(trace_)) {
      return Refuse("this value is of an earlier trace, whose graph is gone",
                    "go backwards in the trace that makes it");
    }
    if (std::holds_alternative<LoadParameter>(instructions_[slots_[slot].instruction].what)) {
      return Refuse("the model's parameters are frozen, and have no gradients");
    }
    return point;
  }

  absl::Status Add(const graph::Backward& backward) {
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
    }
    const NodeId begin = node_;
    for (NodeId id = begin + 1; id <= program_.nodes.size() && program_.at(id).parent == begin;
         ++id) {
      const auto* read = std::get_if<graph::GradRead>(&program_.at(id).kind);
      const auto* write = std::get_if<graph::GradWrite>(&program_.at(id).kind);
      if (read == nullptr && write == nullptr) continue;
      node_ = id;
      absl::StatusOr<GradientOf> point = PointOf(read != nullptr ? read->value : write->value);
      if (!point.ok()) return InStatement(point.status());
      const Slot slot = names_[point->root].slot;
      if (std::find(run.points.begin(), run.points.end(), slot) == run.points.end()) {
        run.points.push_back(slot);
      }
    }
    node_ = begin;
    // Autograd goes through what was computed in the reverse order.
    std::sort(run.points.begin(), run.points.end(), [this](Slot a, Slot b) {
      if (WhenOf(a) < WhenOf(b) || WhenOf(b) < WhenOf(a)) return WhenOf(b) < WhenOf(a);
      return slots_[a].instruction > slots_[b].instruction;
    });
    for (size_t i = 0; i < run.points.size(); ++i) {
      region.points[run.points[i]] = static_cast<int>(i);
      region.when.Add(WhenOf(run.points[i]));
      AskForGradient(run.points[i]);
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

  /// The tensor that a structure holds, and that in a site's structure, is the very one that was
  /// put there or read.
  void AskForGradient(Slot slot) {
    Instruction& made = instructions_[slots_[slot].instruction];
    made.gradient = true;
    if (const auto* item = std::get_if<TakeItem>(&made.what)) AskForGradient(item->from);
  }

  When WhenPoint(int point) const {
    When when = gradient_region_.when;
    when.step += 1 + point;
    return when;
  }

  absl::Status Add(const graph::GradRead& read) {
    absl::StatusOr<GradientOf> point = PointOf(read.value);
    if (!point.ok()) return point.status();
    const Slot slot = names_[point->root].slot;
    const int index = gradient_region_.points.at(slot);
    const Slot gradient =
        Emit(ReadGradient{gradient_region_.backward, index, gradient_region_.begun}, MetaAt(slot),
             WhenPoint(index));
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

  absl::Status Add(const graph::GradWrite& write) {
    absl::StatusOr<GradientOf> point = PointOf(write.value);
    if (!point.ok()) return point.status();
    absl::StatusOr<Slot> value = Current(static_cast<int>(write.gradient));
    if (!value.ok()) return value.status();
    const int index = gradient_region_.points.at(names_[point->root].slot);
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

  // --- saves ----------------------------------------------------------------------------------

  /// The place of a save among the results. Both branches of an `if`, and all steps, share one.
  int SaveOf(const std::string& name, const std::optional<graph::Site>& entry = std::nullopt,
             bool keep = false) {
    std::string key = absl::StrCat(name, " ", point_ ? absl::StrCat(*point_) : "");
    if (entry) absl::StrAppend(&key, " ", graph::ToString(*entry));
    const auto [it, added] = save_index_.try_emplace(key, static_cast<int>(plan_.saves.size()));
    if (!added) return it->second;
    PlannedSave save;
    save.name = name;
    save.node = node_;
    save.point = point_;
    save.steps = selection_;
    save.keep = keep;
    save.entry = entry;
    plan_.saves.push_back(std::move(save));
    return it->second;
  }

  template <typename What>
  void EmitSave(What what, const When& when) {
    const When done = Guarded(when);
    EmitEffect(std::move(what), done);
    auto [latest, added] = effects_.try_emplace(done.stage, done);
    if (!added) latest->second.Add(done);
  }

  absl::Status Add(const graph::Save& save) {
    absl::StatusOr<Slot> value = Current(static_cast<int>(save.value));
    if (!value.ok()) return value.status();
    const int index = SaveOf(save.name, std::nullopt, save.keep);
    When when = Start();
    when.Add(WhenOf(*value));
    EmitSave(SaveValue{index, *value, save.dtype}, when);
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Log& log) {
    absl::StatusOr<Slot> value = Current(static_cast<int>(log.value));
    if (!value.ok()) return value.status();
    When when = Start();
    when.Add(WhenOf(*value));
    EmitSave(LogValue{log.label, *value}, when);
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Stop&) {
    if (guard_ < 0 && !selection_) {
      stops_ = true;
      return absl::OkStatus();
    }
    // Once what is written before it is done.
    When when = Start();
    if (auto latest = effects_.find(stage_); latest != effects_.end()) when.Add(latest->second);
    EmitEffect(StopRun{}, Guarded(when));
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Cache& cache) {
    std::vector<bool> wanted(model_.modules().size(), cache.modules.empty());
    for (const std::string& path : cache.modules) {
      const int module = model_.FindModule(path);
      if (module < 0) {
        return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                     absl::StrCat("the model has no module `", path, "`"),
                                     model_.Suggest(path));
      }
      if (Trace().root != 0) {
        absl::StatusOr<int> inside = FindSite({path});
        if (!inside.ok()) return inside.status();
      }
      wanted[module] = true;
    }
    std::vector<int> sites;
    for (size_t site = 0; site < model_.sites().size(); ++site) {
      const SiteSpec& spec = model_.sites()[site];
      if (!wanted[spec.module] || !spec.site.op.empty()) continue;
      if (!InTrace(static_cast<int>(site))) continue;
      const bool input = spec.site.point == Point::kInput && cache.include_inputs;
      if (input || spec.site.point == Point::kOutput) sites.push_back(static_cast<int>(site));
    }
    const int invoke = InvokeIndex();
    const auto add = [&] {
      for (const int site : sites) {
        const int index = SaveOf(cache.name, model_.sites()[site].site);
        touched_.push_back({node_, site, invoke, stage_});
        EmitSave(SaveSite{index, invoke, cache.dtype}, AtSite(site));
        instructions_.back().late = true;
      }
    };
    if (!Trace().generates || selection_) {
      add();
      return absl::OkStatus();
    }
    // Of every step.
    selection_ = Selection();
    add();
    absl::StatusOr<int> region = NewRegion(Selection{.first = 1});
    if (region.ok()) {
      const int outside = std::exchange(stage_, RegionKey(trace_, *region));
      add();
      stage_ = outside;
    }
    selection_.reset();
    return region.status();
  }

  // --- traces, invokes, sweeps ------------------------------------------------------------------

  PlannedTrace& Trace() { return plan_.traces[trace_]; }

  void BeginTrace(const graph::Trace& trace, NodeId node) {
    trace_ = static_cast<int>(plan_.traces.size());
    stage_ = FirstKey(trace_);
    PlannedTrace& planned = plan_.traces.emplace_back();
    planned.node = node;
    planned.root = model_.FindModule(trace.root);
    planned.first_site = model_.FindSite(planned.root, Point::kInput, 0);
    planned.result_site = model_.FindSite(planned.root, Point::kOutput, 0);
    planned.generates = trace.generate != nullptr;
    if (planned.generates) planned.steps = std::max<int64_t>(1, trace.generate->max_new_tokens);
  }

  absl::Status Add(const graph::Trace& trace) {
    if (plan_.traces.size() >= kMaxTraces) {
      return Refuse(absl::StrCat("a program has at most ", kMaxTraces, " traces"));
    }
    if (absl::Status status = CheckRoot(trace); !status.ok()) return status;
    if (trace.generate) {
      const graph::GenerateOptions& options = *trace.generate;
      if (options.do_sample || options.temperature > 0 || options.top_k > 0 || options.top_p > 0 ||
          options.min_p > 0) {
        return NotExecuted("sampling");
      }
      if (options.repetition_penalty != 0 && options.repetition_penalty != 1) {
        return NotExecuted("repetition_penalty");
      }
      if (!options.stop_strings.empty()) return NotExecuted("stop_strings");
    }
    BeginTrace(trace, node_);
    has_gradients_ = false;
    for (NodeId id = node_ + 1; id < ends_[node_]; ++id) {
      has_gradients_ |= std::holds_alternative<graph::Backward>(program_.at(id).kind);
    }
    return BuildInside();
  }

  /// A module that the model calls, by itself.
  absl::Status CheckRoot(const graph::Trace& trace) {
    const int module = model_.FindModule(trace.root);
    if (module < 0) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   absl::StrCat("the model has no module `", trace.root, "`"),
                                   model_.Suggest(trace.root));
    }
    if (model_.FindSite(module, Point::kInput, 0) < 0) {
      return model_.NoSuchSite(module, {trace.root});
    }
    if (module != 0 && !model_.modules()[module].callable) return RefuseAlone(module);
    if (trace.generate && (module != 0 || !model_.input().ids)) {
      return Refuse("a generation calls a model of token ids, and all of it");
    }
    return absl::OkStatus();
  }
  bool InTrace(int site) {
    return Trace().root == 0 || (site >= Trace().first_site && site <= Trace().result_site);
  }
  const std::string& RootPath() { return model_.modules()[Trace().root].path; }
  std::string RootName() {
    return Trace().root == 0 ? "the model" : absl::StrCat("`", RootPath(), "`");
  }
  /// With token ids, not with activations.
  bool CallsWithIds() { return Trace().root == 0 && model_.input().ids; }

  /// Activations for the trace's root: one tensor, as the root's input is.
  absl::Status CheckActivations(const graph::Invoke& invoke, RowCount rows) {
    const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input);
    const graph::Pattern& pattern = model_.sites()[Trace().first_site].pattern;
    if (tensors == nullptr) {
      return Refuse(absl::StrCat("this trace calls ", RootName(), ", which takes no prompt"),
                    absl::StrCat("give it a tensor, ", graph::ToString(pattern)));
    }
    if (tensors->inputs.size() != 1 || !tensors->inputs[0].name.empty()) {
      return Refuse(absl::StrCat(RootName(), " takes one tensor, by position"));
    }
    const auto& given = std::get<graph::Constant>(program_.at(tensors->inputs[0].node).kind).tensor;
    const at::Tensor expected = MetaOf(pattern, rows).toTensor();
    if (expected.sizes() != at::IntArrayRef(given.shape) ||
        expected.scalar_type() != ToScalarType(given.dtype)) {
      return Refuse(absl::StrCat(RootName(), " takes ", graph::ToString(pattern), ", and is given ",
                                 graph::ToString(given.dtype), "[",
                                 absl::StrJoin(given.shape, ", "), "]"));
    }
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Invoke& invoke) {
    if (std::holds_alternative<graph::Invoke::Chat>(invoke.input)) {
      return NotExecuted("invoke.chat");
    }
    if (inputs_[node_] >= static_cast<int>(given_rows_.size())) {
      return absl::InternalError("fewer row counts than invokes");
    }
    if (!CallsWithIds() && !std::holds_alternative<graph::Invoke::AllRows>(invoke.input)) {
      absl::Status status = CheckActivations(invoke, given_rows_[inputs_[node_]]);
      if (!status.ok()) return status;
    }
    PlannedInvoke planned;
    planned.node = node_;
    planned.input = inputs_[node_];
    planned.trace = trace_;
    planned.group = group_;
    planned.all_rows = std::holds_alternative<graph::Invoke::AllRows>(invoke.input);
    const auto index = static_cast<int>(plan_.invokes.size());
    invoke_index_[node_] = index;
    plan_.invokes.push_back(planned);
    Trace().invokes.push_back(index);
    rows_.push_back(given_rows_[planned.input]);
    if (planned.all_rows) {
      // All of this place: of the trace, or of the sweep's point.
      RowCount all;
      for (NodeId id = At().parent + 1; id < ends_[At().parent]; ++id) {
        const auto* other = std::get_if<graph::Invoke>(&program_.at(id).kind);
        if (other == nullptr || program_.at(id).parent != At().parent) continue;
        if (std::holds_alternative<graph::Invoke::AllRows>(other->input)) continue;
        all.batch += given_rows_[inputs_[id]].batch;
        all.tokens = std::max(all.tokens, given_rows_[inputs_[id]].tokens);
      }
      rows_.back() = all;
    }
    return BuildInside();
  }

  /// The rows that an invoke has in the pass that statements are being added to.
  RowCount RowsNow(int invoke) const {
    RowCount rows = rows_[invoke];
    if (stage_ != FirstKey(trace_)) rows.tokens = 1;
    return rows;
  }
  c10::IValue MetaAtSite(int site, int invoke) {
    RowCount rows = RowsNow(invoke);
    if (Trace().generates && model_.sites()[site].last_token) rows.tokens = 1;
    return MetaOf(model_.sites()[site].pattern, rows,
                  stage_ == FirstKey(trace_) ? 0 : rows_[invoke].tokens);
  }

  absl::Status Add(const graph::Sweep& sweep) {
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

  const graph::SweepParameter& ParameterOf(const graph::SweepUse& use) const {
    return std::get<graph::Sweep>(program_.at(use.sweep).kind).parameters[use.parameter];
  }
  absl::StatusOr<int64_t> IntegerOf(const graph::SweepUse& use) const {
    const graph::SweepParameter& parameter = ParameterOf(use);
    const auto* values = std::get_if<std::vector<int64_t>>(&parameter.values);
    if (values == nullptr) {
      return Refuse(absl::StrCat("%", parameter.name, " is used where an integer is needed"));
    }
    return (*values)[*point_];
  }
  /// What a sweep's parameter is as an argument.
  decltype(graph::Argument::value) ValueOf(const graph::SweepUse& use) const {
    return std::visit(
        [this](const auto& values) -> decltype(graph::Argument::value) { return values[*point_]; },
        ParameterOf(use).values);
  }
  /// A path whose components of a sweep are filled in.
  absl::StatusOr<std::string> Filled(const graph::Site& site) const {
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
  absl::StatusOr<std::vector<graph::IndexTerm>> Filled(
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
        for (auto [parameter, bound] : {std::pair(&slice->start_parameter, &slice->start),
                                        std::pair(&slice->stop_parameter, &slice->stop)}) {
          if (!*parameter) continue;
          absl::StatusOr<int64_t> number = IntegerOf(**parameter);
          if (!number.ok()) return number.status();
          *bound = *number;
          parameter->reset();
        }
      }
    }
    return filled;
  }

  // --- steps and branches -----------------------------------------------------------------------

  absl::StatusOr<int> NewRegion(const Selection& selection) {
    std::vector<Selection>& regions = Trace().regions;
    if (regions.size() >= kMaxRegions) {
      return Refuse(absl::StrCat("a generation has at most ", kMaxRegions, " regions of steps"));
    }
    regions.push_back(selection);
    return static_cast<int>(regions.size()) - 1;
  }

  absl::StatusOr<Selection> SelectionOf(const graph::Steps& steps) const {
    Selection selection;
    selection.list = steps.list;
    std::sort(selection.list.begin(), selection.list.end());
    selection.list.erase(std::unique(selection.list.begin(), selection.list.end()),
                         selection.list.end());
    if (!selection.list.empty() && selection.list.front() < 0) {
      return Refuse("steps are counted from 0; how many there will be is not known before");
    }
    selection.first = steps.range.start.value_or(0);
    selection.end = steps.range.stop.value_or(-1);
    selection.stride = steps.range.step.value_or(1);
    if (selection.first < 0 || (steps.range.stop && *steps.range.stop < 0)) {
      return Refuse("steps are counted from 0; how many there will be is not known before");
    }
    if (selection.stride < 1) return Refuse("the step of a slice must be positive");
    return selection;
  }

  absl::Status Add(const graph::Steps& steps) {
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
      initial.push_back(*slot);
    }
    int region = -1;
    if (Trace().generates && selection->LastBelow(Trace().steps) > 0) {
      absl::StatusOr<int> made = NewRegion(*selection);
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

  /// Of steps that never come what is saved there is missing, and has a name all the same.
  void NameSaves(NodeId region) {
    for (node_ = region + 1; node_ < ends_[region]; ++node_) {
      if (const auto* save = std::get_if<graph::Save>(&At().kind)) SaveOf(save->name);
    }
    node_ = region;
  }

  absl::Status SetCarries(const std::vector<Slot>& carries, const std::vector<Slot>& initial) {
    for (size_t i = 0; i < carries.size(); ++i) {
      if (yielded_[i] == carries[i]) continue;
      const std::string before = graph::ToString(PatternOf(MetaAt(initial[i])));
      const std::string after = graph::ToString(PatternOf(MetaAt(yielded_[i])));
      if (before != after) {
        return Refuse(absl::StrCat("carry ", i, " begins as ", before, " and goes on as ", after),
                      "a carry keeps its structure, shape and dtype; save what grows in each step");
      }
      When when = Start();
      when.Add(WhenOf(yielded_[i]));
      EmitEffect(SetCarry{carries[i], yielded_[i]}, when);
    }
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Carry& carry) {
    if (carry.index >= carried_.size()) return Refuse("the region has fewer carries");
    SetFresh(static_cast<int>(node_), carried_[carry.index]);
    return absl::OkStatus();
  }

  absl::Status Add(const graph::Yield& yield) {
    std::vector<Slot> values;
    for (const NodeId id : yield.values) {
      absl::StatusOr<Slot> slot = Current(static_cast<int>(id));
      if (!slot.ok()) return slot.status();
      values.push_back(*slot);
    }
    yielded_ = std::move(values);
    return absl::OkStatus();
  }

  absl::Status Add(const graph::If& branches) {
    absl::StatusOr<Slot> condition = Current(static_cast<int>(branches.condition));
    if (!condition.ok()) return condition.status();
    const c10::IValue& meta = MetaAt(*condition);
    if (!meta.isBool() && !(meta.isTensor() && meta.toTensor().numel() == 1)) {
      return Refuse(
          absl::StrCat("the condition is ", graph::ToString(PatternOf(meta)), ", not one number"),
          "reduce it, as with aten::any or aten::all");
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

  absl::Status Add(const graph::Branch& branch) {
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

  absl::Status Add(const graph::RegionResult& result) {
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

  /// Of a generation: the ids that it has come to.
  absl::Status ReadGenerated(int invoke) {
    if (plan_.invokes[invoke].all_rows) {
      return Refuse("`result` of all rows of a generation: they end at different lengths",
                    "read it in each invoke");
    }
    if (selection_) {
      return Refuse("the result of a generation is there after its last step",
                    "read it outside of `steps`");
    }
    const int64_t tokens = rows_[invoke].tokens + Trace().steps;
    SetFresh(static_cast<int>(node_),
             Emit(ReadResult{invoke},
                  at::empty({rows_[invoke].batch, tokens}, at::device(at::kMeta).dtype(at::kLong)),
                  When{.stage = AfterKey(trace_), .cause = node_}));
    return absl::OkStatus();
  }

  bool SameRows(int a, int b) const {
    if (plan_.invokes[a].trace != plan_.invokes[b].trace ||
        plan_.invokes[a].group != plan_.invokes[b].group) {
      return false;
    }
    return a == b || plan_.invokes[a].all_rows || plan_.invokes[b].all_rows;
  }
  /// Whether statements of two stages may meet in one pass.
  bool SamePass(int a, int b) {
    if (a == b) return true;
    const auto [known, added] = meet_.try_emplace(std::minmax(a, b), false);
    if (added) known->second = Meet(a, b);
    return known->second;
  }
  bool Meet(int a, int b) const {
    const int trace = a / kStageKeys;
    if (trace != b / kStageKeys || a == FirstKey(trace) || b == FirstKey(trace)) return false;
    const std::vector<Selection>& regions = plan_.traces[trace].regions;
    const Selection &one = regions[a - FirstKey(trace) - 1],
                    &other = regions[b - FirstKey(trace) - 1];
    for (int64_t step = 1; step < plan_.traces[trace].steps; ++step) {
      if (one.Has(step) && other.Has(step)) return true;
    }
    return false;
  }

  /// Nothing may be asked of the inside of a module that is skipped.
  absl::Status CheckSkips() {
    for (size_t i = 0; i < skips_.size(); ++i) {
      const SkipRange& skip = skips_[i];
      for (size_t j = 0; j < i; ++j) {
        const SkipRange& other = skips_[j];
        const bool apart = skip.output < other.input || other.output < skip.input;
        if (apart || !SameRows(skip.invoke, other.invoke) || !SamePass(skip.stage, other.stage)) {
          continue;
        }
        node_ = skip.node;
        return Refuse(absl::StrCat("this skip overlaps with\n  ",
                                   graph::PrintStatement(program_, other.node)));
      }
      for (const Touch& touch : touched_) {
        if (touch.site <= skip.input || touch.site >= skip.output ||
            !SameRows(skip.invoke, touch.invoke) || !SamePass(skip.stage, touch.stage)) {
          continue;
        }
        node_ = touch.node;
        return Refuse(
            absl::StrCat("`", graph::ToString(model_.sites()[touch.site].site),
                         "` is not visited, because it is inside a module that is skipped by\n  ",
                         graph::PrintStatement(program_, skip.node)));
      }
    }
    return absl::OkStatus();
  }

  /// What cannot be cut by invokes is there in a pass of one invoke only.
  absl::Status CheckWhole() {
    std::vector<std::pair<NodeId, std::pair<int, int>>> looks;  // statement, site, invoke
    for (const Touch& touch : touched_) looks.push_back({touch.node, {touch.site, touch.invoke}});
    for (const SkipRange& skip : skips_) looks.push_back({skip.node, {skip.input, skip.invoke}});
    for (const auto& [node, look] : looks) {
      const auto& [site, invoke] = look;
      if (!model_.sites()[site].whole) continue;
      plan_.alone = true;
      int invokes = 0;
      for (const int other : plan_.traces[plan_.invokes[invoke].trace].invokes) {
        invokes += !plan_.invokes[other].all_rows;
      }
      if (invokes < 2) continue;
      node_ = node;
      return Refuse(absl::StrCat("`", graph::ToString(model_.sites()[site].site),
                                 "` cannot be told apart by invokes, and its trace has ", invokes),
                    "give that invoke a trace of its own");
    }
    return absl::OkStatus();
  }

  absl::Status RefuseAlone(int module) const {
    return Refuse(absl::StrCat("`", model_.modules()[module].path,
                               "` cannot be called by itself: it needs more than its input"),
                  "trace the whole model, and read or write there");
  }

  struct SkipRange {
    NodeId node;
    int input, output, invoke, stage;
  };
  struct Touch {
    NodeId node;
    int site, invoke, stage;
  };

  const graph::Program& program_;
  const ModelSpec& model_;
  const absl::Span<const RowCount> given_rows_;      // by invoke node, in written order
  const absl::Span<const int64_t> points_per_pass_;  // by sweep
  std::vector<NodeId> ends_;                         // by node, behind the last one inside it
  std::vector<int> inputs_;                          // by node, an invoke's place among them
  std::vector<RowCount> rows_;                       // by planned invoke
  std::vector<Instruction> instructions_;
  absl::flat_hash_map<NodeId, int> invoke_index_;
  std::vector<Name> names_;  // by node id, then parts without a node
  std::vector<SlotInfo> slots_;
  std::vector<SkipRange> skips_;
  std::vector<Touch> touched_;
  uint64_t epoch_ = 0;
  uint64_t changes_ = 0;  // in place, so far
  bool stops_ = false;
  bool has_gradients_ = false;
  int steps_ = 0;                     // given out to regions
  NodeId backward_ = graph::kNoNode;  // around the statement that is added
  Region gradient_region_;
  NodeId node_ = graph::kNoNode;

  // Where statements are being added.
  int trace_ = 0;
  int stage_ = 0;
  int guard_ = -1;
  NodeId region_ = graph::kNoNode;      // the innermost one
  std::optional<Selection> selection_;  // inside `steps`
  int group_ = 0, groups_ = 0;
  int sweeps_ = 0;
  std::optional<uint32_t> point_;

  absl::flat_hash_map<std::string, int> save_index_;
  std::map<std::pair<int, int>, bool> meet_;  // stages, as far as was asked
  std::map<int, When> effects_;               // by stage, the latest save or log so far
  std::vector<When> guards_when_;             // as Plan::guards
  std::vector<Slot> carried_, yielded_;
  Slot condition_ = kNoSlot;  // of the `if` whose branches are added
  absl::flat_hash_map<NodeId, Slot> conditions_;
  absl::flat_hash_map<NodeId, std::vector<Slot>> results_;  // of regions and branches
  std::map<std::pair<NodeId, bool>, NodeId> branches_;      // of an `if`, the else branch by true
  Plan plan_;
};

}  // namespace

absl::StatusOr<Plan> MakePlan(const graph::Program& program, const ModelSpec& model,
                              absl::Span<const RowCount> rows,
                              absl::Span<const int64_t> points_per_pass) {
  absl::StatusOr<Plan> plan = absl::InternalError("not planned");
  absl::Status status = CatchTorch([&] {
    plan = Builder(program, model, rows, points_per_pass).Build();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return plan;
}

}  // namespace weft::plan
