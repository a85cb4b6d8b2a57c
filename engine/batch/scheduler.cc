#include "engine/batch/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/time.h"

namespace weft::batch {

namespace {

/// Longer than somebody's next request takes who waits for the answer to this one.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);

/// What takes less than this share of all memory is not counted: a check of a model's health waits
/// for nobody's end.
constexpr uint64_t kLittleShare = 1024;

uint64_t OrNone(uint64_t max_bytes) {
  return max_bytes == 0 ? std::numeric_limits<uint64_t>::max() : max_bytes;
}

}  // namespace

Scheduler::Scheduler(Worker& worker, int64_t max_rows, uint64_t max_bytes)
    : worker_(worker),
      max_rows_(max_rows),
      max_bytes_(OrNone(max_bytes)),
      thread_([this] { Loop(); }) {}

Scheduler::~Scheduler() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Scheduler::SetBounds(int64_t max_rows, uint64_t max_bytes) {
  absl::MutexLock lock(&mutex_);
  max_rows_ = max_rows;
  max_bytes_ = OrNone(max_bytes);
}

void Scheduler::Add(std::shared_ptr<Work> work) { Queue(std::move(work), false); }

void Scheduler::Continue(std::shared_ptr<Work> work) { Queue(std::move(work), true); }

void Scheduler::Queue(std::shared_ptr<Work> work, bool first) {
  std::deque<std::shared_ptr<Work>> queue;
  {
    absl::MutexLock lock(&mutex_);
    auto from = queue_.begin();
    if (first && left_behind_ != nullptr && left_behind_->priority() >= work->priority()) {
      from = std::find_if(queue_.begin(), queue_.end(),
                          [this](const auto& other) { return other.get() == left_behind_; }) +
             1;
    }
    auto place = std::find_if(from, queue_.end(), [&](const auto& other) {
      return other->priority() < work->priority() ||
             (first && other->priority() == work->priority() && !other->begun());
    });
    queue_.insert(place, std::move(work));
    // Of those in a pass many come back at once, and the next one begins at once: it tells.
    if (first) return;
    queue = queue_;
  }
  TellPositions(queue);
}

bool Scheduler::Remove(const Work& work) {
  std::deque<std::shared_ptr<Work>> queue;
  {
    absl::MutexLock lock(&mutex_);
    auto it = std::find_if(queue_.begin(), queue_.end(),
                           [&](const auto& other) { return other.get() == &work; });
    if (it == queue_.end()) return false;
    if (left_behind_ == it->get()) left_behind_ = nullptr;
    queue_.erase(it);
    queue = queue_;
  }
  TellPositions(queue);
  return true;
}

uint32_t Scheduler::queued() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint32_t>(queue_.size());
}

std::vector<std::shared_ptr<Work>> Scheduler::TakeNext() {
  // Between its passes work keeps what it has, such as the keys and values of its tokens.
  uint64_t kept = 0;
  const uint64_t little = max_bytes_ / kLittleShare;
  const auto keep = [&kept, little](const Work& work) {
    const uint64_t bytes = work.bytes();
    if (bytes > little) kept += std::min(bytes, std::numeric_limits<uint64_t>::max() - kept);
  };
  for (const auto& work : queue_) {
    if (work->begun()) keep(*work);
  }
  std::vector<std::shared_ptr<Work>> next;
  int64_t rows = 0;
  bool full = false;
  left_behind_ = nullptr;
  for (auto it = queue_.begin(); it != queue_.end();) {
    const Work& candidate = **it;
    // In order: nobody begins before whoever waits for room, so that nobody is overtaken for ever.
    if (!candidate.begun() && candidate.bytes() > little && !candidate.over()) {
      full = full || (kept > 0 && (kept > max_bytes_ || candidate.bytes() > max_bytes_ - kept));
      if (full) {
        ++it;
        continue;
      }
    }
    // Whoever does not fit begins the next pass.
    if (!next.empty() && (candidate.alone() || rows + candidate.rows() > max_rows_)) {
      left_behind_ = &candidate;
      break;
    }
    if (!candidate.begun()) keep(candidate);
    rows += candidate.rows();
    next.push_back(std::move(*it));
    it = queue_.erase(it);
    if (next.back()->alone()) {
      if (it != queue_.end()) left_behind_ = it->get();
      break;
    }
  }
  return next;
}

void Scheduler::TellPositions(const std::deque<std::shared_ptr<Work>>& queue) {
  for (size_t i = 0; i < queue.size(); ++i) queue[i]->Moved(static_cast<uint32_t>(i));
}

void Scheduler::Loop() {
  bool rested = false;
  while (true) {
    std::vector<std::shared_ptr<Work>> next;
    std::deque<std::shared_ptr<Work>> waiting;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &Scheduler::HasWork),
                              rested ? absl::InfiniteDuration() : kQuiet);
      if (stopping_) return;
      next = TakeNext();
      waiting = queue_;
    }
    rested = next.empty();
    if (rested) {
      worker_.Rest();
    } else {
      TellPositions(waiting);
      worker_.RunPass(next);
    }
  }
}

}  // namespace weft::batch
