#include "engine/batch/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weft::batch {

namespace {

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

absl::Status Scheduler::Add(std::shared_ptr<Work> work) { return Queue(std::move(work), false); }

absl::Status Scheduler::Continue(std::shared_ptr<Work> work) {
  return Queue(std::move(work), true);
}

absl::Status Scheduler::Queue(std::shared_ptr<Work> work, bool first) {
  std::deque<std::shared_ptr<Work>> queue;
  {
    absl::MutexLock lock(&mutex_);
    if (work->rows() > max_rows_) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the trace has ", work->rows(), " rows, pads included; a pass holds at most ", max_rows_,
          "; split the trace"));
    }
    const Work* const left_behind = left_behind_;
    auto place = std::find_if(queue_.begin(), queue_.end(), [&](const auto& other) {
      return other->priority() < work->priority() ||
             (first && other->priority() == work->priority() && other.get() != left_behind);
    });
    queue_.insert(place, std::move(work));
    // Of those in a pass many come back at once, and the next one begins at once: it tells.
    if (first) return absl::OkStatus();
    queue = queue_;
  }
  TellPositions(queue);
  return absl::OkStatus();
}

bool Scheduler::Remove(const Work& work) {
  std::deque<std::shared_ptr<Work>> queue;
  {
    absl::MutexLock lock(&mutex_);
    auto it = std::find_if(queue_.begin(), queue_.end(),
                           [&](const auto& other) { return other.get() == &work; });
    if (it == queue_.end()) return false;
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
  std::vector<std::shared_ptr<Work>> next;
  int64_t rows = 0;
  uint64_t bytes = 0;
  while (!queue_.empty()) {
    const Work& candidate = *queue_.front();
    const bool fits = rows + candidate.rows() <= max_rows_ && bytes <= max_bytes_ &&
                      candidate.bytes() <= max_bytes_ - bytes;
    // In order: whoever does not fit begins the next pass, so that nobody is overtaken for ever.
    if (!next.empty() && (candidate.alone() || !fits)) break;
    rows += candidate.rows();
    bytes += candidate.bytes();
    next.push_back(std::move(queue_.front()));
    queue_.pop_front();
    if (next.back()->alone()) break;
  }
  left_behind_ = queue_.empty() ? nullptr : queue_.front().get();
  return next;
}

void Scheduler::TellPositions(const std::deque<std::shared_ptr<Work>>& queue) {
  for (size_t i = 0; i < queue.size(); ++i) queue[i]->Moved(static_cast<uint32_t>(i));
}

void Scheduler::Loop() {
  while (true) {
    std::vector<std::shared_ptr<Work>> next;
    std::deque<std::shared_ptr<Work>> waiting;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Scheduler::HasWork));
      if (stopping_) return;
      next = TakeNext();
      waiting = queue_;
    }
    TellPositions(waiting);
    worker_.RunPass(next);
  }
}

}  // namespace weft::batch
