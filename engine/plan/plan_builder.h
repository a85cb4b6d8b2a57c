#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/operands.h"
#include "engine/plan/plan.h"
#include "engine/plan/selected.h"
#include "engine/plan/skip_check.h"

// What MakePlan works with; not for other parts.

namespace weft::plan {

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
  /// How many writes there were at that site when it was read, or when this name was last the only
  /// one to change it.
  size_t seen_writes = 0;
  /// The operator that may or may not have made a view, if that is what this is.
  std::string maybe_view_by;
  /// Items, where this was made by a structure node, and what they were when `slot` was made.
  std::vector<int> items;
  std::vector<Slot> item_slots;
  std::vector<std::string> keys;
  graph::Structure::Kind kind = graph::Structure::Kind::kTuple;
  /// PlanBuilder::changes_ when the items were last looked at.
  uint64_t seen_changes = 0;
  int nesting = 0;
  size_t leaves = 0;
  /// Where it was made: a region changes nothing in place that is from outside of it.
  graph::NodeId region = graph::kNoNode;
  int stage = 0;
  int guard = -1;
};

/// When values are there, and which read makes them this late.
struct When {
  int stage = 0;
  int time = kStart;
  int step = 0;
  graph::NodeId cause = graph::kNoNode;

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

/// What a value whose size depends on data would be with other numbers of selected elements.
struct OtherSizes {
  c10::IValue one_more;  // than there can be
  c10::IValue none;
  /// What it would be with none is not known: something on the way takes nothing that is empty.
  bool doubtful = false;
};

struct SlotInfo {
  /// Where sizes depend on data, with the most that there can be.
  c10::IValue meta;
  When when;
  int64_t instruction = -1;  // that makes it; -1 for a carry, which several do
  std::shared_ptr<const OtherSizes> other = nullptr;  // where its size depends on data
};

inline bool IsStructure(const c10::IValue& value) {
  return value.isTuple() || value.isGenericDict() || value.isList();
}

/// Everything needed to turn one program into instructions. Used once. One class, because what a
/// name means here in written order hangs on all of it; its parts are in a file each, named below.
class PlanBuilder {
 public:
  PlanBuilder(const graph::Program& program, const ModelSpec& model,
              absl::Span<const RowCount> rows, absl::Span<const int64_t> points_per_pass,
              bool every_token)
      : program_(program),
        model_(model),
        given_rows_(rows),
        points_per_pass_(points_per_pass),
        every_token_(every_token),
        names_(program.nodes.size() + 1) {}
  absl::StatusOr<Plan> Build();

 private:
  using NodeId = graph::NodeId;
  using Point = graph::Point;

  // --- planner.cc: the walk over the statements, and adding instructions ---

  const graph::Node& At() const { return program_.at(node_); }
  /// Name the statement in an error that does not name one yet.
  absl::Status InStatement(const absl::Status& status) const;
  absl::Status Refuse(const std::string& message, const std::string& hint = "") const;
  /// Where the nodes of each region, invoke, sweep and trace end: they lie together.
  void FindEnds();
  /// Add the statements from `begin` to before `end`, but for those that their containers add.
  absl::Status BuildRange(NodeId begin, NodeId end);
  /// Those within the node that is being added.
  absl::Status BuildInside();
  /// Of Plan::invokes, the one around the statement; -1 outside of them.
  int InvokeIndex() const;
  /// Add an instruction and the slot of its result.
  template <typename What>
  Slot Emit(What what, c10::IValue meta, const When& when);
  /// The same without a result.
  template <typename What>
  void EmitEffect(What what, const When& when);
  const When& WhenOf(Slot slot) const { return slots_[slot].when; }
  /// Before the first site of the pass that statements are being added to.
  When Start() const { return When{.stage = stage_}; }
  /// At a site, behind what is written at this visit of it already.
  When AtSite(int site) const;
  /// Among which stages' statements at a site those are that are added now.
  int StepsKey() const;
  /// Not before it is known whether the branch is taken.
  When Guarded(When when) const {
    if (guard_ >= 0) when.Add(guards_when_[guard_]);
    return when;
  }
  /// Add to `when` that the call's arguments are there.
  void AddFills(const BoundCall& call, When& when) const;
  c10::IValue MetaAt(Slot slot) const { return slots_[slot].meta; }
  c10::IValue MetaAt(Slot slot, Selected selected) const;
  absl::StatusOr<c10::IValue> MetaResult(const BoundCall& call, Selected selected) const;
  absl::StatusOr<Slot> EmitCall(BoundCall call);
  /// A call of one overload that the planner itself needs.
  absl::StatusOr<BoundCall> Internal(const char* qualified, c10::Stack stack,
                                     std::vector<BoundCall::Fill> fills);
  /// The value as `type`.
  absl::StatusOr<Slot> EmitConvert(Slot value, c10::ScalarType type);

  // --- builder_names.cc: names and versions, structures ---

  /// A name for a part that no node stands for.
  int NewName();
  /// The name is made where statements are being added.
  void Place(int name);
  /// While it lives, what is added belongs where a name was made.
  class AtHomeOf;
  /// The name means `slot` from here on; gives the name.
  int SetFresh(int name, Slot slot);
  absl::StatusOr<Slot> ApplyStep(const ViewStep& step, Slot base);
  /// The slot that holds what a name means here in written order.
  absl::StatusOr<Slot> Current(int name);
  /// A structure holds what its items mean, so it is made anew once one of them has changed.
  absl::Status RefreshStructure(int name);
  void EmitStructure(int name, std::vector<Slot> slots);
  absl::StatusOr<int> AddView(int base, ViewStep step);
  absl::StatusOr<int> MakeView(int name, int base, ViewStep step);
  /// `name` means whatever `base` means.
  void MakeAlias(int name, int base);
  std::string RegionName() const;
  /// A name as errors call it.
  std::string Shown(int name) const;
  /// From this place in written order, `name`, all that it is a view of and all of their views mean
  /// a version whose part `name` is `value`. `in_place` names the statement's kind in errors.
  absl::Status Replace(int name, Slot value, const std::string& in_place);
  absl::Status Add(const graph::Structure& structure);
  /// Make `name` a structure. A list inside it is a structure without a node, and no deeper than
  /// lists in arguments are.
  absl::Status AddStructure(int name, graph::Structure::Kind kind,
                            const std::vector<graph::Argument>& arguments);
  /// The structure node that a name stands for, or nullptr.
  const Name* MadeAs(int name) const;
  /// What operators and modules return nests at most once.
  int NestingOf(int name, Slot slot) const;
  size_t LeavesOf(int name, Slot slot) const;
  /// The item of a structure: a view of it, or the very value that the structure was made from.
  absl::StatusOr<int> ItemOf(int structure, ViewStep step);

  // --- builder_sizes.cc: values whose size depends on data ---

  /// What a slot holds where masks select what `make` is asked for; nullptr if that is the same
  /// (`meta`) whatever they do. Refuses what cannot be for any number.
  absl::StatusOr<std::shared_ptr<const OtherSizes>> OtherSizesOf(
      const c10::IValue& meta, absl::Span<const Slot> from,
      absl::FunctionRef<absl::StatusOr<c10::IValue>(Selected)> make) const;
  bool SizeByData(Slot slot) const { return slots_[slot].other != nullptr; }
  /// Its shape is not that of `meta` whenever masks select less.
  bool Varies(Slot slot) const;
  /// Refuse `what` of a value whose size depends on data.
  absl::Status NeedsSize(Slot slot, const std::string& what) const;
  /// Of each tensor in a slot, which dimensions depend on data; empty where none does.
  std::vector<std::vector<bool>> DimensionsByData(Slot slot) const;

  // --- builder_sites.cc: reads and writes of sites, calls, skips ---

  /// The site as written, with a sweep's parameters filled in, if the trace visits it. One inside a
  /// watched call has a number of its own, beyond those of the model's sites.
  absl::StatusOr<int> FindSite(const graph::Site& written);
  const SiteSpec& SpecOf(int site) const { return model_.sites()[site % Sites()]; }
  int Sites() const { return static_cast<int>(model_.sites().size()); }

  /// A site's value, or a part of it.
  struct SitePlace {
    int site;
    std::vector<int64_t> items;
  };

  /// An operation's `input` is the first of its `inputs`.
  absl::StatusOr<SitePlace> FindPlace(const graph::Site& site);
  absl::Status ReadPlaceInto(int name, const SitePlace& place, int invoke);
  absl::StatusOr<int> ReadSiteInto(int name, int site, int invoke);
  /// Where gradients are asked for, what is read at a site is read when nothing but the writes
  /// before it has happened there: first what has each invoke's gradient, then all rows, which are
  /// made of it, then what each invoke's names mean, which is made of them. So a gradient has in it
  /// all that comes of those rows, whoever read them.
  int OrderOf(const Instruction& instruction) const;
  /// The value that is at a site already, where gradients are asked for.
  std::optional<Slot> VersionAt(int site, int invoke) const;

  // What was a tuple once: a decoder block's output.

  bool FormerTuple(int site) const;
  /// The trace shows such outputs as tuples of one.
  bool TupleOutputs();
  /// `output[0]` means the first row here, and meant the tensor itself in older notebooks. Of
  /// `output[0][:, -1] = x` one index is left, in which a row and all its tokens come first.
  absl::Status CheckNoTuple(int site, absl::Span<const graph::IndexTerm> terms, bool write);
  /// The same for a name that is the value of a site.
  absl::Status CheckNoTupleOf(NodeId target, absl::Span<const graph::IndexTerm> terms, bool write);
  /// The tensor that replaces a former tuple; `value` is that tuple, or that tensor.
  absl::StatusOr<Slot> OutputAmong(NodeId value);

  // What was structured always: a module's inputs.

  /// `((input,), {})`: a module takes one tensor here.
  absl::Status ReadInputs(const graph::Site& site, int invoke);
  /// The tensor that replaces a module's one input; `value` is all of its inputs, or that tensor.
  absl::StatusOr<Slot> InputAmong(NodeId value);
  absl::StatusOr<Slot> FirstItem(NodeId value, int depth);

  /// Where the first tensor of what the trace's root returns lies in it.
  std::vector<graph::IndexTerm> ResultPath();
  absl::Status RefuseAlone(int module) const;

  /// Refuse `what`, done at `site`, where what it needs is there only later.
  absl::Status CheckReady(int site, const When& needs, const std::string& what) const;
  absl::Status EmitWrite(int site, int invoke, std::vector<ViewStep> steps, Slot value);
  /// Refuse `logits` and `samples` where the trace has no next token.
  absl::Status CheckNextToken(const graph::Site& site);
  /// Where a site is changed with what `needs` says: at its visit, behind a watched call of it.
  When Settle(int site, const When& needs);
  /// Whether rows that a read name shows were written at its site since, by others.
  bool WrittenByOthers(int name) const;
  /// Of a generation: the ids that it has come to.
  absl::Status ReadGenerated(int invoke, graph::Point point);
  absl::Status Add(const graph::Read& read);
  absl::Status Add(const graph::Write& write);
  absl::Status Add(const graph::Skip& skip);

  // --- builder_calls.cc: calls of modules out of band, and the sites inside watched ones ---

  /// A call whose sites are visited: those of the model from `first_site` to `last_site`.
  struct WatchedCall {
    int invoke, stage, guard;
    NodeId region;
    int first_site, last_site;
    When when;  // of the call; site k inside has the step behind it by 1 + k
    Slot begun;
    std::vector<int64_t> leading;
    /// The model's sites that are read or written inside, and modules that are skipped there.
    struct Skipped {
      int input, output;
      NodeId node;
    };
    std::vector<std::pair<int, NodeId>> touched;
    std::vector<Skipped> skipped;
  };
  absl::Status Add(const graph::Call& call);
  absl::Status AddWatched(int module, int invoke, Slot input, c10::IValue result);
  const WatchedCall* InsideOf(int site) const {
    return site < Sites() ? nullptr : &watched_[site / Sites() - 1];
  }
  /// The site of a visit that comes behind the model's own: of a watched call of this invoke, in
  /// written order.
  absl::StatusOr<int> FindInside(int module, const graph::Site& site) const;
  When WhenInside(int site) const;
  /// Whether such a step belongs to a watched call.
  bool IsOfCall(int step) const;
  absl::Status CheckReadyInside(int site, const When& needs, const std::string& what) const;
  absl::StatusOr<int> ReadInsideInto(int name, int site, int invoke);
  absl::Status EmitWriteInside(int site, int invoke, std::vector<ViewStep> steps, Slot value);
  /// Notes that a site is read or written inside; refuses that of a module that is skipped.
  absl::Status TouchInside(int site);
  absl::Status SkipInsideCall(int input, int output, Slot value);

  // --- builder_values.cc: constants, operators, indices ---

  absl::Status Add(const graph::Constant& constant);
  /// A value that is no tensor, for an argument or a constant that is none.
  Slot AddPlain(c10::IValue value);
  absl::Status Add(const graph::Parameter& parameter);
  absl::StatusOr<c10::IValue> ArgumentMeta(const graph::Argument& argument,
                                           std::vector<Slot>* list_slots, Slot* slot);
  absl::StatusOr<c10::IValue> ListMeta(const graph::Argument::List& list, std::vector<Slot>* slots);
  absl::Status Add(const graph::Operator& op);
  /// Compute `%x.op_(...)` by its twin and make the result the new version of `%x`.
  absl::Status AddInPlace(BoundCall call, const graph::Operator& op, int self_argument);

  /// What an index leads to: a chain of views, then perhaps tensors of indices on what they give.
  struct Indexed {
    int name = -1;
    std::vector<Slot> indices;  // per dimension, kNoSlot for a whole one; empty if there are none
    bool mask = false;          // the one tensor, the last of `indices`, is a mask of booleans
  };

  absl::StatusOr<Indexed> FollowIndex(int target, const std::vector<graph::IndexTerm>& written);
  absl::StatusOr<Indexed> FollowTensorIndex(Indexed out, absl::Span<const graph::IndexTerm> terms);
  absl::StatusOr<int64_t> IndexTensorDims(NodeId id);
  absl::Status Add(const graph::Index& index);
  absl::Status AssignTo(int target, const std::vector<graph::IndexTerm>& terms, NodeId value,
                        const std::string& what);
  absl::Status Add(const graph::Assign& assign);

  // --- builder_gradients.cc: gradients ---

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

  bool MadeBefore(int name, NodeId node) const;
  /// Refuses what has no gradient in this trace.
  absl::StatusOr<GradientOf> PointOf(NodeId value);
  /// How a value was taken out of a structure; nullptr if it was not.
  const TakeItem* ItemOf(Slot value) const;
  /// What an item of a structure was made with, whenever it was taken; of others they themselves.
  Slot WholeOf(Slot value) const;
  /// The slot that has the gradient of a value.
  Slot PointFor(Slot value);
  /// The structure is a list of views (`split`) of a tensor, or lies in one.
  bool IsOfViews(int structure) const;
  absl::Status Add(const graph::Backward& backward);
  /// The tensor that a structure holds, and that in a site's structure, is the very one that was
  /// put there or read.
  void AskForGradient(Slot slot);
  /// When the gradient of a point of the region is there.
  When WhenPoint(int point) const;
  absl::Status Add(const graph::GradRead& read);
  absl::Status Add(const graph::GradWrite& write);

  // --- builder_saves.cc: saves, caches, logs, and where a run stops ---

  /// The place of a save among the results. Both branches of an `if`, and all steps, share one.
  int SaveOf(const std::string& name, const std::optional<graph::Site>& entry = std::nullopt,
             bool keep = false);
  /// What a run shows; a `stop` comes after it.
  template <typename What>
  void EmitSave(What what, const When& when);
  /// Refuse, in `steps`, what can be done only once they are over.
  absl::Status CheckNotAfter(const When& when) const;
  absl::Status Add(const graph::Save& save);
  absl::Status Add(const graph::Log& log);
  absl::Status Add(const graph::Stop&);
  absl::Status Add(const graph::Cache& cache);

  // --- builder_traces.cc: traces, invokes, sweeps ---

  PlannedTrace& Trace() { return plan_.traces[trace_]; }
  void BeginTrace(const graph::Trace& trace, NodeId node);
  absl::Status Add(const graph::Trace& trace);
  /// A module that the model calls, by itself.
  absl::Status CheckRoot(const graph::Trace& trace);
  bool InTrace(int site);
  const std::string& RootPath() { return model_.modules()[Trace().root].path; }
  std::string RootName();
  /// With token ids, not with activations.
  bool CallsWithIds() { return Trace().root == 0 && model_.input().ids; }
  /// Activations for the trace's root: one tensor, as the root's input is.
  absl::Status CheckActivations(const graph::Invoke& invoke, RowCount rows);
  /// Which input an invoke has here.
  int InputOf(NodeId invoke) const;
  /// The rows of an invoke: given, or those of the value of an earlier trace that it begins with.
  absl::StatusOr<RowCount> RowsOf(NodeId invoke);
  /// Whether an input of an invoke is a value that the program computes.
  bool IsBrought(const graph::Invoke& invoke) const;
  /// What an invoke begins with: activations, or token ids and perhaps their mask.
  absl::StatusOr<BringInput> FindBrought(const graph::Invoke& invoke);
  absl::Status Add(const graph::Invoke& invoke);
  /// The rows that an invoke has in the pass that statements are being added to.
  RowCount RowsNow(int invoke) const;
  c10::IValue MetaAtSite(int site, int invoke);
  absl::Status Add(const graph::Sweep& sweep);
  const graph::SweepParameter& ParameterOf(const graph::SweepUse& use) const;
  absl::StatusOr<int64_t> IntegerOf(const graph::SweepUse& use) const;
  /// What a sweep's parameter is as an argument.
  decltype(graph::Argument::value) ValueOf(const graph::SweepUse& use) const;
  /// A path whose components of a sweep are filled in.
  absl::StatusOr<std::string> Filled(const graph::Site& site) const;
  absl::StatusOr<std::vector<graph::IndexTerm>> Filled(
      const std::vector<graph::IndexTerm>& terms) const;
  absl::StatusOr<graph::Slice> Filled(graph::Slice slice) const;

  // --- builder_regions.cc: steps and branches ---

  /// The region of the trace's later steps, of those that `selection` selects, that a statement of
  /// this invoke begins.
  absl::StatusOr<int> RegionOf(const Selection& selection);
  absl::StatusOr<Selection> SelectionOf(const graph::Steps& steps) const;
  absl::Status Add(const graph::Steps& steps);
  /// Of steps that never come what is saved there is missing, and has a name all the same.
  void NameSaves(NodeId region);
  absl::Status SetCarries(const std::vector<Slot>& carries, const std::vector<Slot>& initial);
  absl::Status Add(const graph::Carry& carry);
  absl::Status Add(const graph::Yield& yield);
  absl::Status Add(const graph::If& branches);
  absl::Status Add(const graph::Branch& branch);
  absl::Status Add(const graph::RegionResult& result);

  // --- state ---

  const graph::Program& program_;
  const ModelSpec& model_;
  const absl::Span<const RowCount> given_rows_;      // by input, in written order
  const absl::Span<const int64_t> points_per_pass_;  // by sweep
  const bool every_token_;
  std::vector<NodeId> ends_;    // by node, behind the last one inside it
  std::vector<int> places_;     // by node, an invoke's place among them
  std::vector<int> inputs_;     // by node, an invoke's first input
  std::vector<RowCount> rows_;  // by planned invoke
  std::vector<Instruction> instructions_;
  absl::flat_hash_map<NodeId, int> invoke_index_;
  std::vector<Name> names_;  // by node id, then parts without a node
  std::vector<SlotInfo> slots_;
  SkipCheck skips_;
  /// By stage and site, the invokes that wrote there, in written order.
  std::map<std::pair<int, int>, std::vector<int>> writers_;
  /// By stage, site and invoke, what was read there, or what that came to be in place, where
  /// gradients are asked for: whoever reads it next has the very same, which has one gradient,
  /// unless more than `writes` have written there by then.
  struct Version {
    Slot slot;
    int guard;
    size_t writes;
  };
  std::map<std::tuple<int, int, int>, Version> versions_;
  /// Of what is read, and of items of it, the slot that has the gradient, if that is another.
  absl::flat_hash_map<Slot, Slot> points_;
  std::vector<WatchedCall> watched_;
  std::map<std::pair<int, int>, int> site_steps_;  // by stage and site, see AtSite and StepsKey
  uint64_t epoch_ = 0;
  uint64_t changes_ = 0;  // in place, so far
  bool stops_ = false;
  bool has_gradients_ = false;
  bool has_all_rows_ = false;           // the trace has an `invoke { }`
  absl::flat_hash_set<int> backwards_;  // traces that have gradients
  int steps_ = 0;                       // given out to `backward`s and watched calls
  size_t list_items_ = 0;               // of all values that are lists
  /// Of the container and group of an `invoke { }`, the rows that it sees; the last that was asked.
  std::optional<std::pair<std::pair<NodeId, int>, RowCount>> all_rows_;
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
  std::map<int, When> effects_;                           // by stage, the latest save or log so far
  std::map<std::pair<int, Selection>, int> next_region_;  // by invoke, see RegionOf
  std::vector<When> guards_when_;                         // as Plan::guards
  std::vector<Slot> carried_, yielded_;
  Slot condition_ = kNoSlot;  // of the `if` whose branches are added
  absl::flat_hash_map<NodeId, Slot> conditions_;
  absl::flat_hash_map<NodeId, std::vector<Slot>> results_;  // of regions and branches
  std::map<std::pair<NodeId, bool>, NodeId> branches_;      // of an `if`, the else branch by true
  Plan plan_;
};

// ---------------------------------------------------------------------------------------------

template <typename What>
Slot PlanBuilder::Emit(What what, c10::IValue meta, const When& when) {
  const auto slot = static_cast<Slot>(slots_.size());
  const auto instruction = static_cast<int64_t>(instructions_.size());
  // What only looks is done whether or not its branch is taken, when it can be seen.
  constexpr bool kLooks = std::is_same_v<What, ReadSite> || std::is_same_v<What, ReadInvoke> ||
                          std::is_same_v<What, LoadConstant> || std::is_same_v<What, LoadPlain> ||
                          std::is_same_v<What, LoadParameter> || std::is_same_v<What, ReadResult> ||
                          std::is_same_v<What, TakeCarry>;
  const When made = kLooks ? when : Guarded(when);
  if (meta.isList()) list_items_ += meta.toListRef().size();
  EmitEffect(std::move(what), made);
  if (kLooks) instructions_.back().guard = -1;
  slots_.push_back({std::move(meta), made, instruction});
  instructions_.back().result = slot;
  return slot;
}

template <typename What>
void PlanBuilder::EmitEffect(What what, const When& when) {
  Instruction instruction;
  instruction.node = node_;
  instruction.stage = when.stage;
  instruction.time = when.time;
  instruction.step = when.step;
  instruction.guard = guard_;
  if (OfLaterSteps(when.stage)) instruction.invoke = InvokeIndex();
  instruction.what = std::move(what);
  instruction.order = OrderOf(instruction);
  instructions_.push_back(std::move(instruction));
}

}  // namespace weft::plan
