#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/ivalue.h>
#include <c10/core/DispatchKey.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/run/pass.h"

namespace c10 {
class OperatorHandle;
}  // namespace c10

namespace weft::run {

/// Meets what happens inside the modules of one pass: their operators, and the points of attention.
///
/// Operators come through a dispatch key that nothing else uses and whose kernel is a fallback for
/// all of them. It is on for this thread while the forward of a module runs in which somebody
/// listens to operators, and off in the forwards of its children, in taps and in programs: what is
/// met is what the module's own forward calls, and everything else costs nothing.
///
/// Not thread-safe: of one pass, and so of one thread.
class OpTap {
 public:
  static constexpr c10::DispatchKey kKey = c10::DispatchKey::TESTING_ONLY_GenericMode;
  using Parts = Recorder::Parts;

  /// Both must outlive it.
  OpTap(Pass& pass, const TapTable& taps);

  /// Before the pass runs: somebody listens inside `watch.module`.
  void Listen(const Watch& watch);

  /// The calls of modules whose input is visited before `time` are over, called or not.
  void GoOnAt(int time);

  /// While the forward of `module` runs.
  class Scope {
   public:
    Scope(OpTap& tap, int module);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    OpTap& tap_;
    OpTap* const current_;  // before
    const bool on_;         // before
  };

  /// What is called while it lives is none of the module's operators.
  class Pause {
   public:
    Pause() : guard_(kKey) {}

   private:
    const c10::impl::ExcludeDispatchKeyGuard guard_;
  };

  // --- for attention, which handles segment by segment ---

  /// Whether somebody listens inside the module whose forward is running.
  bool Watched() const { return !frames_.empty() && frames_.back().watched; }
  /// An operator that is called for each segment by itself, with a pause around: `tensors` are its
  /// first arguments, of `count` positional ones.
  void Arguments(const std::string& op, int count, absl::Span<Parts* const> tensors);
  void Result(const std::string& op, Parts* result);
  void Point(graph::Point point, Parts* parts);
  /// Whether the program of a segment asks for its part of a point.
  bool Wants(graph::Point point, const Segment& segment) const;

 private:
  friend void MeetOperator(const c10::OperatorHandle& op, c10::Stack* stack);

  struct Frame {
    int module = 0;
    uint32_t visit = 0;
    bool watched = false, operations = false;
    const TapTable::Inside* inside = nullptr;  // nullptr while sites are recorded
    size_t next = 0;                           // of inside->operations
  };
  void Call(const c10::OperatorHandle& op, c10::Stack& stack);
  /// The next operator of the running forward, which must be `op`.
  const plan::OperationSpec& Next(const std::string& op);
  int TimeOf(graph::Point point) const;
  /// Let those who listen see and change the leaves among `values`.
  void Visit(int time, absl::Span<const plan::OperationSpec::Leaf> leaves,
             absl::Span<c10::IValue> values);
  void Visit(int time, absl::Span<const plan::OperationSpec::Leaf> leaves,
             absl::Span<Parts* const> values);

  Pass& pass_;
  const TapTable& taps_;
  std::vector<Frame> frames_;  // of the forwards that are running
  std::vector<uint32_t> visits_;
  std::vector<bool> watched_, operations_;  // by module
};

}  // namespace weft::run
