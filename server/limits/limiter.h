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
#include "absl/time/time.h"
#include "server/keys/key.h"
#include "server/limits/bucket.h"
#include "server/steady_time.h"

namespace weft::limits {

class Limiter;

/// One of the runs, or uploads, that a key may have at once, until it is destroyed. Movable.
class Slot {
 public:
  enum class Kind { kRun, kUpload };
  Slot() = default;
  Slot(Limiter* limiter, std::string key_id, Kind kind)
      : limiter_(limiter), key_id_(std::move(key_id)), kind_(kind) {}
  Slot(Slot&& other) noexcept { *this = std::move(other); }
  Slot& operator=(Slot&& other) noexcept {
    std::swap(limiter_, other.limiter_);
    std::swap(key_id_, other.key_id_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  ~Slot() { Release(); }

  /// Before the client can know that the run has ended, so that its next one is taken.
  void Release();

 private:
  Limiter* limiter_ = nullptr;
  std::string key_id_;
  Kind kind_ = Kind::kRun;
};
using RunSlot = Slot;
using UploadSlot = Slot;

/// Uploads at once: each takes memory for a chunk or two.
inline constexpr uint32_t kUploadsOfAKey = 8;
inline constexpr uint32_t kUploadsOfAll = 64;

/// Enforces what keys may take (keys::KeyLimits), in memory and for each key by itself.
///
/// Every refusal is kResourceExhausted (of run_seconds: kDeadlineExceeded), names the limit, the
/// key, the limit's value and, where time mends it, when to come back, in its text and as the
/// error's retry_after_seconds. Limits a minute are buckets that hold a minute's worth: a key that
/// was idle may take that at once. Thread-safe.
class Limiter {
 public:
  explicit Limiter(std::function<absl::Time()> now = server::SteadyNow) : now_(std::move(now)) {}

  /// Count a call. To be asked before the call is parsed.
  absl::Status TakeRequest(const keys::Key& key);
  /// Count a run that begins to wait, and see that there are tokens left at all. To be asked before
  /// the run is parsed.
  absl::StatusOr<RunSlot> StartRun(const keys::Key& key);
  /// Take the tokens of a planned run.
  absl::Status TakeTokens(const keys::Key& key, uint64_t tokens);
  /// Give back those of a run that was refused after all.
  void GiveTokens(const keys::Key& key, uint64_t tokens);
  /// Count an upload that begins.
  absl::StatusOr<UploadSlot> StartUpload(const keys::Key& key);

 private:
  friend class Slot;
  struct State {
    Bucket requests;
    Bucket tokens;
    uint32_t runs = 0;
    uint32_t uploads = 0;
  };
  void End(const std::string& key_id, Slot::Kind kind);

  const std::function<absl::Time()> now_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, State> states_ ABSL_GUARDED_BY(mutex_);
  uint32_t uploads_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// Bounds of one run. `bytes` and `tokens` are what it would give or take in all.
absl::Status CheckResultBytes(const keys::Key& key, uint64_t bytes);
absl::Status CheckGeneratedTokens(const keys::Key& key, uint64_t tokens);
/// What a run that was longer than run_seconds ends with.
absl::Status RunTooLong(const keys::Key& key);

/// What a blob of `bytes` bytes is refused with that does not fit into those of its key, which may
/// have `quota` bytes, or into those of all. In `retry_after`, where that is not zero, there is
/// room.
absl::Status BlobsFull(const keys::Key& key, uint64_t quota, uint64_t bytes,
                       absl::Duration retry_after);
absl::Status ServerBlobsFull(uint64_t most, uint64_t bytes, absl::Duration retry_after);

/// The limit that `status` is about, such as `requests_per_minute`; empty if it is about none.
std::string NameOf(const absl::Status& status);

}  // namespace weft::limits
