#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <cstdint>
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
  int invoke;  // an index into Plan::invokes
  bool copy;   // a later write in the same visit would show through
};
/// What belongs to an invoke itself: ids, mask, positions, rows.
struct ReadInvoke {
  int invoke;
  graph::Point point;
};
struct LoadConstant {};
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
};
struct LogValue {
  std::string label;
  Slot value;
};
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
  int time = kStart;
  /// Orders what happens at one time: 0, or what waits for a gradient.
  int step = 0;
  /// A gradient of its result is asked for.
  bool gradient = false;
  Slot result = kNoSlot;
  std::variant<ReadSite, ReadInvoke, LoadConstant, LoadParameter, CallOperator, TakeItem,
               MakeStructure, ReplacePart, CallModule, WriteSite, SkipModule, SaveValue, LogValue,
               RunBackward, ReadGradient, WriteGradient>
      what;
  /// Slots that nobody needs after this instruction.
  std::vector<Slot> release;
};

struct PlannedInvoke {
  graph::NodeId node = graph::kNoNode;
  bool all_rows = false;
  /// The last site that this invoke's rows are needed for; kStart if none.
  int end = kStart;
};

struct PlannedSave {
  std::string name;
  graph::NodeId node = graph::kNoNode;
};

struct PlannedBackward {
  /// `first[k]` is the first instruction of point k, `first[points]` the first behind them all.
  std::vector<int> first;
  bool last = false;  // nobody goes backwards after it
};

/// A program checked and scheduled against one model: for each site, what to do there. Holds no
/// payloads (tensor constants, top-level floats) and no token counts, so it serves every program of
/// the same signature. Const and thread-safe once made.
struct Plan {
  /// In order of execution: by time, then by step, then as written.
  std::vector<Instruction> instructions;
  /// `first[t + 1]` is the first instruction of time t; one entry more than there are times.
  std::vector<int> first;
  /// The times (but kStart) that have instructions, ascending.
  std::vector<int> times;
  std::vector<PlannedInvoke> invokes;
  std::vector<PlannedSave> saves;
  std::vector<PlannedBackward> backwards;
  /// It goes backwards: it needs a pass of its own, under autograd.
  bool gradients = false;
  int slots = 0;
  bool uses_weights = false;
  /// The last site that the run needs.
  int end = kStart;
};

/// Rows of an invoke, known once its prompt is tokenised.
struct RowCount {
  int64_t batch = 0;
  int64_t tokens = 0;
  friend bool operator==(const RowCount&, const RowCount&) = default;
};

}  // namespace weft::plan
