#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/batch/scheduler.h"
#include "engine/engine.h"
#include "engine/invoke_inputs.h"
#include "engine/models/hosted_model.h"
#include "engine/plan/plan_cache.h"
#include "engine/text/model_text.h"

namespace weft {

class ModelHost;

/// One accepted program on its way: waits in the queue, takes part in a pass, tells its sink.
class HostedJob : public Job, public batch::Work {
 public:
  HostedJob(std::string id, ModelHost& host, graph::Program program, plan::Planned planned,
            std::vector<run::InvokeInput> inputs, const RunOptions& options, const Limits& limits,
            EventSink sink);

  const std::string& id() const override { return id_; }
  void Cancel() override;

  int64_t rows() const override { return run_.rows(); }
  uint64_t bytes() const override { return planned_.check->peak_bytes; }
  bool begun() const override { return started_.load(); }
  bool over() const override { return run_.over(absl::Now()); }
  bool alone() const override { return alone_.load(std::memory_order_relaxed); }
  int priority() const override { return priority_; }
  void Moved(uint32_t position) override;

  /// Tell the sink, in order and never two at a time, also when the sink itself calls Cancel.
  void Tell(Event event) ABSL_LOCKS_EXCLUDED(mutex_);
  /// From the model's thread: a pass begins with this run in it.
  void Start();
  /// From the model's thread, when a pass is over: tell what it saved.
  void TellSaved();
  /// From the model's thread, when the run is over: tell results and the end.
  void Finish();
  void RunAlone() { alone_.store(true, std::memory_order_relaxed); }
  void CountPass(double seconds);
  run::Run& run() { return run_; }

 private:
  const std::string id_;
  const std::string fingerprint_;
  const graph::Program program_;
  const plan::Planned planned_;
  const int priority_;
  std::atomic<bool> alone_;
  run::Run run_;
  const absl::Time queued_at_;
  Cost cost_;

  /// Null once the run has ended: the host may be gone by then.
  absl::Mutex host_mutex_;
  ModelHost* host_ ABSL_GUARDED_BY(host_mutex_);

  absl::Mutex mutex_;
  EventSink sink_;
  std::deque<Event> untold_ ABSL_GUARDED_BY(mutex_);
  bool telling_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> started_{false};
  std::atomic<int64_t> position_{-1};  // in the queue, as it was told
};

/// One hosted model: its tokenizer, plans, queue and thread. Thread-safe.
class ModelHost : public batch::Worker {
 public:
  static absl::StatusOr<std::unique_ptr<ModelHost>> Load(const std::string& name,
                                                         const std::string& folder,
                                                         const LoadOptions& load,
                                                         const EngineOptions& options);
  /// A network that was made in this process.
  static absl::StatusOr<std::unique_ptr<ModelHost>> Host(const std::string& name,
                                                         models::Network network,
                                                         const EngineOptions& options);
  ~ModelHost() override;

  const std::shared_ptr<const ModelInfo>& info() const { return info_; }
  const models::HostedModel& model() const { return *model_; }
  const run::TokenOptions& tokens() const { return tokens_; }
  ModelStats stats() const;

  absl::StatusOr<std::vector<TokenPieces>> Tokenize(const std::vector<std::string>& texts,
                                                    bool special_tokens) const;
  absl::StatusOr<std::vector<std::string>> Detokenize(const std::vector<std::vector<int64_t>>& rows,
                                                      bool skip_special_tokens) const;

  absl::StatusOr<Validation> Validate(const graph::Program& program, const RunOptions& options);
  absl::StatusOr<std::shared_ptr<Job>> Submit(std::string job_id, graph::Program program,
                                              const RunOptions& options, EventSink sink);

  void RunPass(absl::Span<const std::shared_ptr<batch::Work>> work) override;
  void Rest() override;

  /// Take a job out of the queue; false if a pass has it.
  bool Dequeue(const HostedJob& job) { return scheduler_->Remove(job); }
  /// Until JobEnded the host is not idle, and so not gone.
  void JobBegins() ABSL_LOCKS_EXCLUDED(mutex_);
  void JobEnded() ABSL_LOCKS_EXCLUDED(mutex_);
  /// Wait until no job is left; false if `deadline` came first.
  bool AwaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void CancelAll() ABSL_LOCKS_EXCLUDED(mutex_);
  /// Refuse programs from now on. Once idle it stays so.
  void Retire() ABSL_LOCKS_EXCLUDED(mutex_);
  /// Bounds of programs that are submitted from now on.
  void SetLimits(const Limits& limits) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using ChatTemplate = absl::StatusOr<std::shared_ptr<const text::ChatTemplate>>;

  ModelHost(std::unique_ptr<models::HostedModel> model,
            std::shared_ptr<const text::Tokenizer> tokenizer, ChatTemplate chat_template,
            run::TokenOptions tokens, const EngineOptions& options);
  static std::unique_ptr<ModelHost> Make(const std::string& name,
                                         std::unique_ptr<models::HostedModel> model,
                                         std::shared_ptr<const text::Tokenizer> tokenizer,
                                         ChatTemplate chat_template, run::TokenOptions tokens,
                                         const std::string& config_json,
                                         const EngineOptions& options);

  struct Prepared {
    plan::Planned planned;
    std::vector<run::InvokeInput> inputs;  // by invoke node; of `invoke { }` an empty one
  };
  /// How many points of each sweep share a pass.
  static absl::StatusOr<std::vector<int64_t>> PointsPerPass(const graph::Program& program,
                                                            absl::Span<const plan::RowCount> counts,
                                                            uint64_t pass_tokens, bool one_invoke);
  absl::StatusOr<Prepared> Prepare(const graph::Program& program, const RunOptions& options,
                                   const Limits& limits);
  /// kNotFound for an adapter that is not there.
  absl::Status CheckAdapters(const graph::Program& program) const;
  Limits limits() ABSL_LOCKS_EXCLUDED(mutex_);
  static Cost EstimateOf(const Prepared& prepared);
  void UseThreads(int64_t rows);
  absl::Status RunOnce(absl::Span<HostedJob* const> jobs);

  const EngineOptions options_;
  const std::unique_ptr<models::HostedModel> model_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  const ChatTemplate chat_template_;
  const run::TokenOptions tokens_;
  const InputMaker inputs_;
  std::shared_ptr<const ModelInfo> info_;
  double parameters_ = 0;
  plan::PlanCache plans_;
  int threads_now_ = 0;

  absl::Mutex mutex_;
  std::vector<std::weak_ptr<HostedJob>> jobs_ ABSL_GUARDED_BY(mutex_);
  int live_ ABSL_GUARDED_BY(mutex_) = 0;
  bool retired_ ABSL_GUARDED_BY(mutex_) = false;
  Limits limits_ ABSL_GUARDED_BY(mutex_);
  /// The last member: its thread uses all of the above.
  std::unique_ptr<batch::Scheduler> scheduler_;
};

}  // namespace weft
