#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/limits/bucket.h"
#include "server/steady_time.h"

namespace weft::limits {

/// Says how long to hold the answer to a caller whose authentication failed, so that guessing is
/// slow. Only failures are held: who has a good key does not notice others behind the same address.
///
/// An address has kFree failures at once and as many a minute. At most kMaxPeers addresses are
/// remembered; beyond that they share one allowance. Thread-safe.
class PeerThrottle {
 public:
  static constexpr int kFree = 20;
  static constexpr size_t kMaxPeers = 4096;
  static constexpr absl::Duration kHold = absl::Seconds(1);

  explicit PeerThrottle(std::function<absl::Time()> now = server::SteadyNow)
      : now_(std::move(now)) {}

  /// Count a failure of `peer`, as gRPC writes it (`ipv4:10.0.0.7:51234`); ports are left out.
  absl::Duration CountFailure(const std::string& peer);

 private:
  const std::function<absl::Time()> now_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Bucket> peers_ ABSL_GUARDED_BY(mutex_);
  Bucket others_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::limits
