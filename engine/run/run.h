#pragma once

#include <ATen/core/ivalue.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"
#include "engine/run/memory_account.h"
#include "engine/run/pass.h"

namespace weft::run {

/// What a run needs of the model beyond its pass.
class Host {
 public:
  virtual ~Host() = default;
  /// A parameter or buffer as in the checkpoint. The run does not change it.
  virtual absl::StatusOr<at::Tensor> Parameter(const std::string& path) const = 0;
  /// Call a module out of band: nothing listens. `segment` tells whose rows `input` is where the
  /// module looks at whole prompts; nullptr where every row stands for itself.
  virtual absl::StatusOr<c10::IValue> CallModule(int module, const at::Tensor& input,
                                                 const Segment* segment) const = 0;
};

/// Bounds of one run; 0 means none.
struct RunLimits {
  double shared_operator_seconds = 0;  // in a pass with others
  double operator_seconds = 0;         // alone
  uint64_t log_bytes = 1 << 20;
  uint64_t memory_bytes = 0;  // that its values, results and operators hold at a time
};

struct LogEntry {
  graph::NodeId node;
  std::string label, text;
};

/// One program being executed: a state machine that passes visit. Its frame holds the values, each
/// until its last use.
///
/// Visit and everything else but Cancel is called from the pass's thread.
class Run {
 public:
  /// `plan`, `program`, `spec` and `host` must outlive the run. `pad_left`: on which side
  /// `invoke { }` pads.
  Run(const plan::Plan& plan, const graph::Program& program, const plan::ModelSpec& spec,
      const Host& host, std::vector<InvokeInput> inputs, const RunLimits& limits,
      absl::Time deadline, bool pad_left);

  const plan::Plan& plan() const { return plan_; }
  /// One per invoke that has rows of its own, in written order.
  std::vector<Segment>& segments() { return segments_; }
  /// Where it listens.
  absl::Span<const int> taps() const { return tap_ids_; }
  /// And inside which modules.
  absl::Span<const Watch> watches() const { return watches_; }
  /// Whether it reads or writes the rows of an invoke at a site.
  bool Touches(int time, int invoke) const;

  /// Start from nothing: what comes before the first site. Called before every pass.
  void Begin(bool shared);
  void Visit(Visiting& site);

  /// Ask it to stop; noticed within a layer. Thread-safe.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  /// Fail if it was cancelled or is late.
  void CheckAlive(absl::Time now);
  void Fail(absl::Status status);

  /// It failed, or must be run again alone: it does nothing more in this pass.
  bool ended() const { return !status_.ok() || evicted_; }
  const absl::Status& status() const { return status_; }
  /// Its own operators took longer than a shared pass allows: run it again alone.
  bool evicted() const { return evicted_; }

  /// By Plan::saves; absent where nothing was saved (yet). Tensors are on the host and own no more
  /// memory than they show.
  std::vector<std::optional<c10::IValue>>& saved() { return saved_; }
  std::vector<LogEntry>& logs() { return logs_; }
  /// What its values, results and operators hold. Thread-safe.
  const MemoryAccount& memory() const { return memory_; }
  double operator_seconds() const { return operator_seconds_; }

 private:
  absl::Status Execute(const plan::Instruction& instruction, Visiting* site);
  absl::Status ExecuteRange(int first, int last, Visiting* site);
  /// Looked at between instructions: time and cancellation.
  absl::Status CheckBudget();

  absl::StatusOr<c10::IValue> Do(const plan::ReadSite& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadInvoke& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LoadConstant& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LoadParameter& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::CallOperator& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::TakeItem& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::MakeStructure& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReplacePart& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::CallModule& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::WriteSite& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SkipModule& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SaveValue& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LogValue& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::RunBackward& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadGradient& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::WriteGradient& what, Visiting* site);

  /// Write `value` into the part of `whole` that `steps` lead to, as copy_ does.
  absl::Status WritePart(c10::IValue whole, const std::vector<plan::ViewStep>& steps,
                         const at::Tensor& value);
  absl::Status CheckRange(const at::Tensor& values, int64_t range) const;

  const plan::Plan& plan_;
  const graph::Program& program_;
  const plan::ModelSpec& spec_;
  const Host& host_;
  const std::vector<InvokeInput> inputs_;
  const RunLimits limits_;
  const absl::Time deadline_;
  const bool pad_left_;

  MemoryAccount memory_;
  std::vector<Segment> segments_;
  std::vector<int> segment_of_invoke_;  // -1 for `invoke { }`
  std::vector<int> tap_ids_;
  std::vector<Watch> watches_;
  std::vector<c10::IValue> frame_;
  std::vector<std::optional<c10::IValue>> saved_;
  std::vector<LogEntry> logs_;
  uint64_t log_bytes_ = 0;
  bool written_ = false;               // at the site that is being visited
  std::vector<at::Tensor> gradients_;  // by point of the region that is going backwards
  graph::NodeId node_ = graph::kNoNode;
  double operator_seconds_ = 0;
  bool asks_for_gradient_ = false;  // the instruction that is being executed
  bool shared_ = false;
  bool evicted_ = false;
  std::atomic<bool> cancelled_{false};
  absl::Status status_;
};

/// A value for the client: tensors are shared, not copied, where they are dense and on the host.
graph::HostValue ToHostValue(const c10::IValue& value);

}  // namespace weft::run
