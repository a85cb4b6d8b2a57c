#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/blobs/blob_store.h"
#include "server/limits/limiter.h"
#include "server/metrics/run_progress.h"
#include "server/service/call.h"
#include "server/service/program_blobs.h"
#include "server/service/run_registry.h"
#include "server/service/worker_pool.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {

/// One call of Run: takes a run's events from the engine's threads and writes them to the client,
/// one write in flight at a time.
///
/// Events wait as they come, and what waits leaves as one message: results are references to their
/// tensors, cut into chunks only when they are written. What waits is counted in the registry, log
/// text is bounded for each stream, and a reader that takes nothing is cut off. Values that the key
/// keeps are written to the store by the pool, while what comes after them waits; one that finds no
/// room there is missing, with the reason. A client that goes away cancels the job. A run that
/// fails sends `failed` and ends with the same status.
///
/// It belongs to itself between Open and gRPC's OnDone, and to the sink that the engine holds.
/// Thread-safe.
class RunStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                        public ActiveRun,
                        public std::enable_shared_from_this<RunStream> {
 public:
  /// Where values are kept, and who writes them. Without a store nothing is kept.
  struct Keeper {
    blobs::BlobStore* store = nullptr;
    WorkerPool* pool = nullptr;
  };
  /// A stream in `registry`, or why it takes no more. `context` is gRPC's, alive until OnDone;
  /// `gate`, which hears of the call's end, and the keeper as well.
  static absl::StatusOr<std::shared_ptr<RunStream>> Open(grpc::CallbackServerContext* context,
                                                         std::shared_ptr<RunRegistry> registry,
                                                         Gate* gate, Call call,
                                                         limits::RunSlot slot, Keeper keeper);

  /// A sink for Engine::Submit.
  EventSink Sink();
  /// The model that the call asks for.
  void SetModel(const std::string& model);
  /// The edits that are applied, with their versions, for `accepted` to tell.
  void SetEdits(std::vector<std::string> edits);
  /// Rows that the run was charged for; of one that completes, those that it cost.
  void SetTokens(uint64_t tokens);
  /// Nobody waits for the run any more.
  bool ended() const;
  /// What the run uses of the store; let go of before the client can know that the run has ended.
  void HoldBlobs(UsedBlobs blobs);
  /// The job whose events arrive, for cancelling.
  void SetJob(std::shared_ptr<Job> job);

  const std::string& key_id() const override { return key_.id; }
  void End(const absl::Status& status) override;
  void Check(absl::Time now) override;
  void Flush() override;

 private:
  // An event ready to go, or a tensor whose chunks are cut when their turn comes.
  struct Outgoing {
    uint64_t sequence = 0;  // of a tensor: of its next chunk
    grpc::Slice event;
    bool is_place = false;  // in the engine's queue
    bool waits = false;     // for the store: what follows waits too
    std::optional<graph::HostTensor> tensor;
    uint32_t tensor_id = 0;
    uint64_t offset = 0;
    uint64_t charge = 0;     // bytes given back to the registry once all of it is written
    uint64_t log_bytes = 0;  // bytes of the stream's bound on log text
  };
  // What has to be done once the lock is released.
  struct Leftovers {
    std::deque<Outgoing> dropped;
    std::shared_ptr<Job> job;
  };

  RunStream(grpc::CallbackServerContext* context, std::shared_ptr<RunRegistry> registry, Gate* gate,
            Call call, limits::RunSlot slot, Keeper keeper);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Take(Event event);
  // An error ends the run.
  absl::Status Enqueue(const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnqueueResult(const Result& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnqueueKept(const Result& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnqueueTokens(const NewTokens& tokens) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Charge for bytes that will wait for the reader; `what` begins the refusal.
  absl::Status TakePendingBytes(const std::string& what, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Charge for a result's bytes, and for `others` around them.
  absl::Status TakeResultBytes(const std::string& name, uint64_t bytes, uint64_t others)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On the pool: write what waits as `sequence` to the store.
  void Keep(uint64_t sequence, const Result& result);
  // On the pool: the event in the place of what was kept, or was not.
  v1::RunEvent KeptEvent(uint64_t sequence, const Result& result);
  void EnqueueLog(const LogLine& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Outgoing& EnqueueEvent(v1::RunEvent* event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReportDroppedLogs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndWith(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Stop taking and sending, and hand out what is left.
  void Abandon(grpc::Status status, Leftovers* leftovers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<Job> TakeJob() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether something may be written.
  bool HasNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() && !queue_.front().waits;
  }
  // Put what waits in in_flight_, up to a message's fill.
  void NextMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // gRPC is about to have the status.
  void Ended() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Cut the reader off if it has taken nothing for too long.
  void CheckReader(absl::Time now);
  // Start a write or finish, if it is time to.
  void Advance();
  void GiveBack(const std::deque<Outgoing>& dropped);

  const std::shared_ptr<RunRegistry> registry_;
  Gate* const gate_;
  const keys::Key key_;
  const Keeper keeper_;

  mutable absl::Mutex mutex_;
  std::deque<Outgoing> queue_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Job> job_ ABSL_GUARDED_BY(mutex_);
  Call call_ ABSL_GUARDED_BY(mutex_);
  std::string limit_ ABSL_GUARDED_BY(mutex_);  // that ended the run
  limits::RunSlot slot_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> edits_ ABSL_GUARDED_BY(mutex_);
  UsedBlobs blobs_ ABSL_GUARDED_BY(mutex_);
  metrics::RunProgress progress_ ABSL_GUARDED_BY(mutex_);
  absl::Time run_deadline_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();  // of the key's limit
  uint64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t tensors_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t waiting_log_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_logs_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;       // no more events are taken
  bool cancel_job_ ABSL_GUARDED_BY(mutex_) = false;  // as soon as it is known
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);      // once ended_
  bool flushing_soon_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // gRPC has the status
  absl::Time write_started_ ABSL_GUARDED_BY(mutex_);
  uint64_t in_flight_charge_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t in_flight_log_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // gRPC's while writing_; set and cleared by whoever has writing_ to itself.
  grpc::ByteBuffer in_flight_;

  absl::Mutex context_mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // null once done
};

}  // namespace weft::server
