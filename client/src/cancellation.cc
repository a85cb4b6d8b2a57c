#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "weft/backend.h"

namespace weft {

struct Cancellation::State {
  absl::Mutex mutex;
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
  uint64_t next ABSL_GUARDED_BY(mutex) = 0;
  std::map<uint64_t, std::function<void()>> callbacks ABSL_GUARDED_BY(mutex);
};

Cancellation::Cancellation() : state_(std::make_shared<State>()) {}

void Cancellation::Cancel() const {
  // Called under the lock, so that a handle which is gone cannot be called any more.
  absl::MutexLock lock(&state_->mutex);
  if (state_->cancelled) return;
  state_->cancelled = true;
  for (const auto& [id, callback] : state_->callbacks) callback();
}

bool Cancellation::cancelled() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->cancelled;
}

std::shared_ptr<void> Cancellation::OnCancel(std::function<void()> on_cancel) const {
  absl::MutexLock lock(&state_->mutex);
  if (state_->cancelled) on_cancel();
  const uint64_t id = state_->next++;
  state_->callbacks.emplace(id, std::move(on_cancel));
  return std::shared_ptr<void>(nullptr, [state = state_, id](void*) {
    absl::MutexLock lock(&state->mutex);
    state->callbacks.erase(id);
  });
}

}  // namespace weft
