#include "client/remote/retry.h"

#include <algorithm>
#include <memory>

#include "absl/synchronization/notification.h"
#include "weft/error.h"

namespace weft::remote {

std::optional<absl::Duration> Backoff::Next(const absl::Status& status, absl::Time now) {
  const std::optional<ErrorDetails> error = GetError(status);
  if (!error || attempts_ >= policy_.attempts) return std::nullopt;
  const absl::Duration limit = absl::Seconds(error->retry_after_seconds);
  absl::Duration delay;
  if (error->retry_after_seconds > 0) {
    if (!policy_.wait_for_limits) return std::nullopt;
    // Those who were told the same do not come back together.
    delay = limit * absl::Uniform(random_, 1.0, 1.1);
  } else if (status.code() == absl::StatusCode::kUnavailable) {
    delay = delay_ * absl::Uniform(random_, 0.5, 1.0);
    delay_ = std::min(2 * delay_, policy_.max_backoff);
  } else {
    return std::nullopt;
  }
  if (now + delay >= deadline_) return std::nullopt;
  ++attempts_;
  return delay;
}

bool Sleep(absl::Duration delay, const Cancellation& cancellation) {
  absl::Notification cancelled;
  const std::shared_ptr<void> handle = cancellation.OnCancel([&cancelled] { cancelled.Notify(); });
  return !cancelled.WaitForNotificationWithTimeout(delay);
}

}  // namespace weft::remote
