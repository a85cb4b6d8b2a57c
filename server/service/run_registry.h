#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"

namespace weft::server {

/// A run, or an upload, as the registry sees it.
class ActiveRun {
 public:
  virtual ~ActiveRun() = default;
  /// Whose it is; empty on a server without keys. Stays as it is.
  virtual const std::string& key_id() const = 0;
  /// Whether it is one of the runs that are bounded and counted. Stays as it is.
  virtual bool is_run() const { return true; }
  /// End with `status`, cancelling the job.
  virtual void End(const absl::Status& status) = 0;
  /// End it if its time or its reader's is over.
  virtual void Check(absl::Time now) = 0;
  /// Write what waits.
  virtual void Flush() = 0;
};

/// The runs and uploads that a server streams at this moment, and what they share: how many there
/// may be, how many bytes may wait for readers, and a thread that watches. Thread-safe.
class RunRegistry {
 public:
  struct Options {
    uint32_t max_runs = 1024;
    uint64_t max_pending_bytes = uint64_t{4} << 30;
    /// Of log text that waits for one reader.
    uint64_t max_log_bytes = uint64_t{1} << 20;
    absl::Duration slow_reader_timeout = absl::Seconds(60);
    /// Null: nothing is counted.
    std::shared_ptr<metrics::Metrics> metrics;
  };
  /// An error ends the key's runs with it; asked about once a second. Empty: keys stay good.
  using KeyCheck = std::function<absl::Status(const std::string& key_id)>;
  explicit RunRegistry(const Options& options, KeyCheck check_key = nullptr)
      : metrics_(options.metrics), check_key_(std::move(check_key)), options_(options) {}

  const std::shared_ptr<metrics::Metrics>& metrics() const { return metrics_; }
  Options options() const ABSL_LOCKS_EXCLUDED(mutex_);
  /// For what comes from now on; runs that are active stay, and so do the metrics.
  void SetOptions(const Options& options) ABSL_LOCKS_EXCLUDED(mutex_);

  /// kUnavailable once StopAccepting was called, kResourceExhausted when there are `max_runs`, of
  /// which the last eighth is for keys that have few: nobody keeps the others from running, not
  /// even with runs that have ended and whose last events are not read.
  absl::Status Add(std::shared_ptr<ActiveRun> run);
  void Remove(const ActiveRun* run);
  void StopAccepting();
  /// True if no run was left by `deadline`.
  bool WaitUntilEmpty(absl::Time deadline) const;
  void EndAll(const absl::Status& status);
  /// End the runs of one key.
  void EndKey(const std::string& key_id, const absl::Status& status);

  /// Bytes of `key` that wait for its readers. False if `bytes` more would be over
  /// `max_pending_bytes`, of which the last eighth is for keys that hold little: nobody keeps the
  /// others from getting small results. Nothing is taken then.
  bool TryTakeBytes(const std::string& key, uint64_t bytes);
  void GiveBytes(const std::string& key, uint64_t bytes);
  uint64_t pending_bytes() const;

  /// Cancel `job` from the watching thread: a sink must not call back into the engine.
  void CancelSoon(std::shared_ptr<Job> job);

  /// Have `run` write what waits, on the watching thread and after a moment: writing is not the
  /// business of the thread that runs a model, and a small run ends within that moment, so that all
  /// of it is one message. Wakes nobody as long as such runs keep coming: the watching thread looks
  /// by itself then.
  void FlushSoon(std::shared_ptr<ActiveRun> run);

  /// Look at every run and its key, and see to what was handed to CancelSoon and FlushSoon, until
  /// StopWatching.
  void Watch();
  void StopWatching();

 private:
  void Sweep(absl::Time now);
  void CountPendingBytes() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  std::vector<std::shared_ptr<ActiveRun>> runs() const;

  const std::shared_ptr<metrics::Metrics> metrics_;
  const KeyCheck check_key_;
  mutable absl::Mutex mutex_;
  Options options_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const ActiveRun*, std::shared_ptr<ActiveRun>> runs_ ABSL_GUARDED_BY(mutex_);
  uint32_t run_count_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, uint32_t> runs_by_key_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Job>> to_cancel_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<ActiveRun>> to_flush_ ABSL_GUARDED_BY(mutex_);
  /// The watching thread sleeps until it is woken, not just from one look to the next.
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, uint64_t> pending_by_key_ ABSL_GUARDED_BY(mutex_);
  bool accepting_ ABSL_GUARDED_BY(mutex_) = true;
  bool watching_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace weft::server
