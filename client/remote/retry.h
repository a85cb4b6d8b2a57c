#pragma once

#include <optional>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "weft/backend.h"

namespace weft::remote {

/// When one call is tried again: exponential back-off with jitter, or as long as a limit's refusal
/// says, within a number of attempts and a deadline. Not thread-safe.
class Backoff {
 public:
  Backoff(const RetryPolicy& policy, absl::Time deadline)
      : policy_(policy), deadline_(deadline), delay_(policy.initial_backoff) {}

  /// How long to wait at `now` before trying again what was refused with `status`; nothing if it
  /// stays refused.
  std::optional<absl::Duration> Next(const absl::Status& status, absl::Time now);

 private:
  const RetryPolicy& policy_;
  const absl::Time deadline_;
  absl::Duration delay_;
  int attempts_ = 1;
  absl::BitGen random_;
};

/// Sleep for `delay`; false if it was cut short by a cancellation.
bool Sleep(absl::Duration delay, const Cancellation& cancellation);

}  // namespace weft::remote
