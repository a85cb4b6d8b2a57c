#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/keys/key.h"
#include "server/limits/bucket.h"

namespace weft::limits {

class Limiter;

/// One of the runs that a key may have at once, until it is destroyed. Movable.
class RunSlot {
 public:
  RunSlot() = default;
  RunSlot(Limiter* limiter, std::string key_id) : limiter_(limiter), key_id_(std::move(key_id)) {}
  RunSlot(RunSlot&& other) noexcept { *this = std::move(other); }
  RunSlot& operator=(RunSlot&& other) noexcept {
    std::swap(limiter_, other.limiter_);
    std::swap(key_id_, other.key_id_);
    return *this;
  }
  ~RunSlot() { Release(); }

  /// Before the client can know that the run has ended, so that its next one is taken.
  void Release();

 private:
  Limiter* limiter_ = nullptr;
  std::string key_id_;
};

/// Enforces what keys may take (keys::KeyLimits), in memory and for each key by itself.
///
/// Every refusal is kResourceExhausted (of run_seconds: kDeadlineExceeded), names the limit, the
/// key, the limit's value and, where time mends it, when to come back, in its text and as the
/// error's retry_after_seconds. Limits a minute are buckets that hold a minute's worth: a key that
/// was idle may take that at once. Thread-safe.
class Limiter {
 public:
  explicit Limiter(std::function<absl::Time()> now = absl::Now) : now_(std::move(now)) {}

  /// Count a call. To be asked before the call is parsed.
  absl::Status TakeRequest(const keys::Key& key);
  /// Count a run that begins to wait, and see that there are tokens left at all. To be asked before
  /// the run is parsed.
  absl::StatusOr<RunSlot> StartRun(const keys::Key& key);
  /// Take the tokens of a planned run.
  absl::Status TakeTokens(const keys::Key& key, uint64_t tokens);

 private:
  friend class RunSlot;
  struct State {
    Bucket requests;
    Bucket tokens;
    uint32_t runs = 0;
  };
  void EndRun(const std::string& key_id);

  const std::function<absl::Time()> now_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, State> states_ ABSL_GUARDED_BY(mutex_);
};

/// Bounds of one run. `bytes` and `tokens` are what it would give or take in all.
absl::Status CheckResultBytes(const keys::Key& key, uint64_t bytes);
absl::Status CheckGeneratedTokens(const keys::Key& key, uint64_t tokens);
/// What a run that was longer than run_seconds ends with.
absl::Status RunTooLong(const keys::Key& key);

/// The limit that `status` is about, such as `requests_per_minute`; empty if it is about none.
std::string NameOf(const absl::Status& status);

}  // namespace weft::limits
