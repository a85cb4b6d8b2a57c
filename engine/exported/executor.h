#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/exported/graph.h"
#include "engine/run/memory_account.h"
#include "engine/run/pass.h"

namespace weft::exported {

/// One forward of a graph, or of one of its calls. Throws as torch does, with the node's name.
///
/// With a pass, sites are visited on the way: a module's input and output, and where somebody
/// listens inside, what its operators take and give. An input that is replaced is so inside the
/// module alone; a result is for all that comes after.
class Executor {
 public:
  /// `pass` may be nullptr: then nobody listens. `memory_bytes`: what the forward may hold at a
  /// time; 0 for no bound.
  Executor(const Graph& graph, run::Pass* pass, uint64_t memory_bytes);

  /// Called with each value when it is made.
  using Observer = std::function<void(ValueId value, const c10::IValue& made)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  void set_deadline(absl::Time deadline) { deadline_ = deadline; }

  /// The whole program. `inputs`: by Graph::user_inputs.
  void Run(absl::Span<const at::Tensor> inputs);
  /// One call that is self-contained: what it returns, a lone tensor. Undefined where the pass
  /// needed no more.
  at::Tensor RunCall(int call, const at::Tensor& input);

 private:
  struct Open {
    int call = 0;
    std::optional<std::pair<ValueId, c10::IValue>> input;  // as it was outside
    std::vector<run::Pass::SkipRequest> skips;             // of some of the rows
  };

  void RunSteps(int first, int last);
  /// False if all rows skip the call.
  bool Enter(int index);
  void Leave();
  void Compute(const BoundNode& node);
  void Call(const BoundNode& node, c10::Stack& stack);
  void Keep(const BoundNode& node, c10::Stack& results);
  /// Let those who listen at `time` see and change the leaves of `values`.
  void VisitLeaves(int time, absl::Span<const SiteLeaf> leaves, absl::Span<c10::IValue> values);
  void VisitBoundary(const Boundary& boundary);
  void PutSkipped(const Boundary& boundary, absl::Span<const run::Pass::SkipRequest> skips);

  const Graph& graph_;
  run::Pass* const pass_;
  const run::MemoryAccount account_;
  Observer observer_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::vector<c10::IValue> values_;
  std::vector<Open> open_;
};

}  // namespace weft::exported
