#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace weft::server {

/// A few threads for work that would hold up gRPC's own: large requests and their plans.
///
/// Thread-safe.
class WorkerPool {
 public:
  WorkerPool(int threads, size_t max_waiting);
  /// Runs what was posted, then joins.
  ~WorkerPool();

  /// False if `max_waiting` tasks wait already. Tasks must not throw.
  bool Post(std::function<void()> task);

 private:
  void Work();

  const size_t max_waiting_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace weft::server
