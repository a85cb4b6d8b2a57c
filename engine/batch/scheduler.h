#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace weft::batch {

/// Something that waits for a pass. What it is, is the owner's business.
class Work {
 public:
  virtual ~Work() = default;
  /// Rows that it brings into a pass, pads included.
  virtual int64_t rows() const = 0;
  /// Bytes that it takes of its own from its first pass to its last, at most, as far as is known.
  virtual uint64_t bytes() const = 0;
  /// It was in a pass.
  virtual bool begun() const = 0;
  /// Nobody waits for it any more: its next pass is to end it, and soon.
  virtual bool over() const = 0;
  /// It must have a pass of its own.
  virtual bool alone() const = 0;
  /// Higher goes first; equal ones in order of arrival.
  virtual int priority() const = 0;
  /// Told its place in the queue when it changes; 0 is next, where there is room for it. May come
  /// late: after it has left.
  virtual void Moved(uint32_t position) = 0;
};

/// Runs passes; one call at a time.
class Worker {
 public:
  virtual ~Worker() = default;
  virtual void RunPass(absl::Span<const std::shared_ptr<Work>> work) = 0;
  /// There was no work for a while, and the thread may let go of what it holds for the next pass.
  virtual void Rest() = 0;
};

/// Decides who is in the next pass of one model: first come, first served within a priority, as
/// many as fit, and no more begun than what they keep fits. Knows nothing of programs or models.
/// Owns the model's thread. Thread-safe.
class Scheduler {
 public:
  /// `worker` must outlive the scheduler. A pass holds at most `max_rows` rows. Work begins as long
  /// as all that has begun takes at most `max_bytes` (0: no bound), or by itself.
  Scheduler(Worker& worker, int64_t max_rows, uint64_t max_bytes);
  /// Waits for the pass that is running. What is queued is dropped: drain or cancel first.
  ~Scheduler();

  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// From the next pass on.
  void SetBounds(int64_t max_rows, uint64_t max_bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  /// Queue work. What has more rows than a pass holds, as when the bound was lowered after they
  /// were counted, gets a pass of its own: whoever was accepted runs.
  void Add(std::shared_ptr<Work> work) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Queue work that was in a pass and needs another: before those of its priority that wait to
  /// begin, but behind whom a pass has left behind. So nobody waits for the end of a generation
  /// but for the memory that it keeps.
  void Continue(std::shared_ptr<Work> work) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Take work out of the queue; false if it is not there (any more).
  bool Remove(const Work& work) ABSL_LOCKS_EXCLUDED(mutex_);
  uint32_t queued() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Queue(std::shared_ptr<Work> work, bool first) ABSL_LOCKS_EXCLUDED(mutex_);
  void Loop();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !queue_.empty();
  }
  std::vector<std::shared_ptr<Work>> TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Tell everybody in `queue` its place; called without the lock.
  static void TellPositions(const std::deque<std::shared_ptr<Work>>& queue);

  Worker& worker_;
  mutable absl::Mutex mutex_;
  int64_t max_rows_ ABSL_GUARDED_BY(mutex_);
  uint64_t max_bytes_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Work>> queue_ ABSL_GUARDED_BY(mutex_);
  /// Whom the last pass left behind and is still queued: the next one is theirs.
  const Work* left_behind_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace weft::batch
