#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/graph/program.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/operators.h"

namespace weft::plan {

/// A place in a run's frame. Every slot is written once.
using Slot = int32_t;
inline constexpr Slot kNoSlot = -1;

/// An operator with its arguments bound: `stack` holds what is known from the program, `fills` what
/// comes from the frame, `floats` the literals that are not part of a cached plan's key.
struct BoundCall {
  struct Fill {
    int argument;
    /// One slot, or a list of tensors (kNoSlot is `none` inside it).
    std::variant<Slot, std::vector<Slot>> from;
  };
  struct Float {
    int argument;
    int literal;  // of the node's arguments
  };
  const OperatorRow* row = nullptr;
  c10::Stack stack;
  std::vector<Fill> fills;
  std::vector<Float> floats;
  graph::NodeId node = graph::kNoNode;
  /// The argument whose shape the result must have (of a change in place), or -1.
  int shape_of = -1;
  /// Of an assignment by a mask (argument 0): how many dimensions it has, its first ones, which
  /// must be of the size of those of argument `shape_of` that they meet.
  int64_t mask_dims = 0;
  /// Sizes of its arguments depend on data, so what must hold of them is checked when it runs.
  bool check_sizes = false;
};

/// One step from a value to a part of it that shares its memory.
struct ViewStep {
  /// An operator whose first argument is the value (unless `item` is set).
  BoundCall call;
  /// Take an item of a structure: an index, or a key of a dict.
  std::variant<std::monostate, int64_t, std::string> item;
  bool overlapping = false;
};

// What a run does, one instruction at a time.
struct ReadSite {
  int invoke;         // an index into Plan::invokes
  bool copy = false;  // a later write in the same visit would show through
  /// Not what the program reads, but what all rows together are made of: it has the gradient.
  bool point = false;
};
/// What belongs to an invoke itself: ids, mask, positions, rows.
struct ReadInvoke {
  int invoke;
  graph::Point point;
};
struct LoadConstant {};
/// A number, a text or a bool, as in Python.
struct LoadPlain {
  c10::IValue value;
};
struct LoadParameter {
  std::string path;
};
struct CallOperator {
  BoundCall call;
};
struct TakeItem {
  Slot from;
  std::variant<int64_t, std::string> item;
};
struct MakeStructure {
  graph::Structure::Kind kind;
  std::vector<Slot> items;
  std::vector<std::string> keys;
};
/// A copy of `base` in which the part that `steps` lead to is `value`.
struct ReplacePart {
  Slot base;
  std::vector<ViewStep> steps;
  Slot value;
};
struct CallModule {
  int module;
  int invoke;
  Slot input;
};
/// Call a module out of band, its sites visited: those from `first_site` to `last_site`, one step
/// each behind this instruction's own. The result is none.
struct CallWatched {
  int call;  // among the program's watched calls
  int module;
  int invoke;
  Slot input;
  int first_site, last_site;
};
/// What is at a site inside a watched call.
struct ReadInside {
  int call;
  int site;
  Slot begun;  // CallWatched's result
};
struct WriteInside {
  int call;
  int site;
  std::vector<ViewStep> steps;  // empty: all of it
  Slot value;
  Slot begun;
  int64_t range = 0;  // as WriteSite's
};
/// Of a watched call, a module inside is not run: its output is `value`.
struct SkipInside {
  int call;
  int input, output;  // the module's sites
  Slot value;
  Slot begun;
};
/// What a watched call has returned.
struct TakeCalled {
  int call;
  Slot begun;
};
struct WriteSite {
  int invoke;
  std::vector<ViewStep> steps;  // empty: all of it
  Slot value;
  /// Of an integer site: values must lie in [0, range).
  int64_t range = 0;
};
struct SkipModule {
  int module;
  uint32_t visit;
  int invoke;
  Slot value;
};
struct SaveValue {
  int save;
  Slot value;
  std::optional<graph::DType> dtype;  // convert floating-point tensors to it
  /// Of each of its tensors, which dimensions depend on data; empty where none does.
  std::vector<std::vector<bool>> by_data;
};
/// Save what the model goes on with at a site: an entry of a cache.
struct SaveSite {
  int save;
  int invoke;
  std::optional<graph::DType> dtype;
};
struct LogValue {
  std::string label;
  Slot value;
};
/// From the next step on the carry has this value.
struct SetCarry {
  Slot carry;
  Slot value;
};
struct TakeCarry {
  Slot carry;
};
/// The value of the branch that ran.
struct ChooseValue {
  Slot condition;
  Slot then, otherwise;
};
/// What a generation has come to: ids `[B, T]`, prompt included, or the scores `[B]` of a beam
/// search.
struct ReadResult {
  int invoke;
  bool scores = false;
};
/// What an invoke of the next trace begins with: a value of this one, or of one before it.
struct BringInput {
  int invoke;
  Slot value;
  Slot mask = kNoSlot;  // of token ids
};
/// End the run: of what follows in written order nothing is done.
struct StopRun {};
/// Go backwards from `loss`. What the gradients of `points` are for runs when they are there, the
/// point that was made last first; see PlannedBackward. The result is none.
struct RunBackward {
  int backward;  // an index into Plan::backwards
  Slot loss;
  Slot gradient;  // of the loss, or kNoSlot
  std::vector<Slot> points;
};
struct ReadGradient {
  int backward;
  int point;
  Slot begun;  // RunBackward's result
};
struct WriteGradient {
  int backward;
  int point;
  std::vector<ViewStep> steps;  // empty: all of it
  Slot value;
  Slot begun;
};

struct Instruction {
  graph::NodeId node = graph::kNoNode;
  /// While planning: in which pass, see StageKey.
  int stage = 0;
  int time = kStart;
  /// Orders what happens at one time: 0, or what waits for a gradient or a watched call.
  int step = 0;
  /// Of a time the last: sees every write.
  bool late = false;
  /// Where a trace goes backwards, orders what happens at one time in one step, see
  /// PlanBuilder::OrderOf.
  int order = 0;
  /// While planning: its place among all as they were added.
  int place = 0;
  /// Done only where this guard holds; -1: always. An index into Plan::guards.
  int guard = -1;
  /// Of a later step of a generation: whose statement it is, and not done once that invoke's
  /// generation has ended; -1 of others.
  int invoke = -1;
  /// A gradient of its result is asked for.
  bool gradient = false;
  Slot result = kNoSlot;
  std::variant<ReadSite, ReadInvoke, LoadConstant, LoadPlain, LoadParameter, CallOperator, TakeItem,
               MakeStructure, ReplacePart, CallModule, WriteSite, SkipModule, SaveValue, SaveSite,
               LogValue, SetCarry, TakeCarry, ChooseValue, ReadResult, StopRun, RunBackward,
               ReadGradient, WriteGradient, CallWatched, ReadInside, WriteInside, TakeCalled,
               BringInput, SkipInside>
      what;
  /// Slots that nobody needs after this instruction.
  std::vector<Slot> release;
};

struct PlannedInvoke {
  graph::NodeId node = graph::kNoNode;
  int place = 0;  // among the program's invokes in written order
  /// Which input it has: each of those has one, or one for each point of its sweep.
  int input = 0;
  int trace = 0;  // an index into Plan::traces
  /// `invoke { }` has the rows of the invokes of its trace with the same group: 0, or a sweep's
  /// point.
  int group = 0;
  bool all_rows = false;
  bool brought = false;           // its input is a value of an earlier trace: BringInput
  std::optional<uint32_t> point;  // of a sweep
};

/// Which steps of a generation.
struct Selection {
  int64_t first = 0;
  int64_t end = -1;  // -1: all that come
  int64_t stride = 1;
  std::vector<int64_t> list;  // instead of these, ascending

  bool Has(int64_t step) const;
  /// How many there are below `count`.
  int64_t CountBelow(int64_t count) const;
  /// The last one below `count`, or -1.
  int64_t LastBelow(int64_t count) const;
  /// All are named, so that one that does not come is missed.
  bool bounded() const { return end >= 0 || !list.empty(); }
  friend auto operator<=>(const Selection&, const Selection&) = default;
};

/// One value, or one list of values, that the program saves.
struct PlannedSave {
  std::string name;
  graph::NodeId node = graph::kNoNode;
  int invoke = -1;  // in which one, of Plan::invokes; -1 outside of them
  /// In a sweep: which point's.
  std::optional<uint32_t> point;
  /// Inside `steps`: a list with an item for each of them.
  std::optional<Selection> steps;
  bool keep = false;  // on the server
  /// Of a cache: the site, its visit counted within one step.
  std::optional<graph::Site> entry;
};

struct PlannedBackward {
  /// `first[k]` is the first instruction of point k, `first[points]` the first behind them all.
  std::vector<int> first;
  bool last = false;  // nobody goes backwards after it
};

/// Where a branch is taken: `condition` is `wanted`, and so is its `parent`.
struct Guard {
  Slot condition = kNoSlot;
  bool wanted = true;
  int parent = -1;
};

/// Whose rows an invoke's are until it first changes them: the points of a sweep begin alike.
struct Sharing {
  int with = -1;  // an invoke of the same input; -1: from the start the rows are its own
  /// They are its own once the pass has left this site; kNever if it changes nothing.
  int until = 0;
  static constexpr int kNever = std::numeric_limits<int>::max();
};

/// What happens in one pass, or once a trace's last pass is over.
struct Stage {
  /// In order of execution: by time, then by step, then as written.
  std::vector<Instruction> instructions;
  /// `first[t + 1]` is the first instruction of time t; one entry more than there are times.
  std::vector<int> first;
  /// The times (but kStart) that have instructions, ascending.
  std::vector<int> times;
  /// The last site that each of Plan::invokes is needed for; kStart if none.
  std::vector<int> ends;
  /// By Plan::invokes; empty where nobody shares.
  std::vector<Sharing> sharing;
  /// By Plan::invokes, those of whose prompts nobody looks at more than the last token where a pass
  /// can do without the others (SiteSpec::last_token); empty where there is none.
  std::vector<bool> last_alone;
  /// How many steps have it, as far as the options say; 1 of a trace's first pass.
  int64_t steps = 1;
};

/// One call of the model, or one generation.
struct PlannedTrace {
  graph::NodeId node = graph::kNoNode;
  std::vector<int> invokes;  // of Plan::invokes
  /// The first pass, what comes after the last one, and passes of later steps.
  std::vector<Stage> stages;
  static constexpr int kFirst = 0;
  static constexpr int kAfter = 1;
  /// Passes that a generation has at most; 1 of a plain trace.
  int64_t steps = 1;
  /// The last step that anybody needs, whose rows may leave early.
  int64_t last_step = 0;
  /// The result is read, or every token told: even that step is needed whole.
  bool whole = false;
  bool generates = false;
  /// A beam search computes so many rows for each prompt; 0 of others. Its result has `returned`.
  int64_t beams = 0, returned = 0;
  /// The module that is called, among ModelSpec::modules, and its first and last site: those
  /// outside are not visited. The last is what the trace's result is.
  int root = 0;
  int first_site = 0, result_site = 0;
  std::vector<Selection> regions;
  /// The stage of each step that somebody needs; one of all that are in the same regions.
  std::vector<int> stage_of;
  /// It goes backwards: its pass is its own, under autograd.
  bool gradients = false;
  /// Slots that no later trace needs.
  std::vector<Slot> release;

  /// The stage of step `step`, up to `last_step`.
  const Stage& StageOf(int64_t step) const { return stages[stage_of[step]]; }
  /// Rows that the result of a generation has, of an invoke of `batch` rows.
  int64_t ReturnedOf(int64_t batch) const { return beams > 0 ? batch / beams * returned : batch; }
};

/// A program checked and scheduled against one model: for each site, what to do there. Holds no
/// payloads (tensor constants, top-level floats) and no token counts, so it serves every program of
/// the same signature. Const and thread-safe once made.
struct Plan {
  std::vector<PlannedTrace> traces;  // in order of execution
  std::vector<PlannedInvoke> invokes;
  std::vector<PlannedSave> saves;
  std::vector<PlannedBackward> backwards;
  std::vector<Guard> guards;
  /// One of the traces goes backwards.
  bool gradients = false;
  /// It looks at what cannot be cut by invokes: its passes are its own.
  bool alone = false;
  int slots = 0;
  bool uses_weights = false;

  size_t CountInstructions() const;
};

/// Rows of an invoke, known once its prompt is tokenised.
struct RowCount {
  int64_t batch = 0;
  int64_t tokens = 0;
  friend bool operator==(const RowCount&, const RowCount&) = default;
};

}  // namespace weft::plan
