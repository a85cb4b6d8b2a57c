#include "server/service/run_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/steady_time.h"

namespace weft::server {
namespace {

// Of the runs that there may be, and of the bytes that may wait for readers.
constexpr uint32_t kReservedPart = 8;
constexpr uint32_t kLittlePart = 64;
// Between two looks at what is to be written: what was there at the one is written at the next.
constexpr absl::Duration kFlushPeriod = absl::Milliseconds(5);
// Looks in vain, after which the thread that looks goes to sleep.
constexpr int kIdleLooks = 200;

}  // namespace

RunRegistry::Options RunRegistry::options() const {
  absl::MutexLock lock(&mutex_);
  return options_;
}

void RunRegistry::SetOptions(const Options& options) {
  absl::MutexLock lock(&mutex_);
  options_ = options;
}

absl::Status RunRegistry::Add(std::shared_ptr<ActiveRun> run) {
  absl::MutexLock lock(&mutex_);
  if (!accepting_) {
    return absl::UnavailableError("the server is shutting down and takes no new runs; try later");
  }
  const bool is_run = run->is_run();
  if (is_run && run_count_ >= options_.max_runs) {
    return absl::ResourceExhaustedError(absl::StrCat("the server has ", options_.max_runs,
                                                     " runs already (--max-runs); try later"));
  }
  if (is_run && !run->key_id().empty()) {
    uint32_t& own = runs_by_key_[run->key_id()];
    const uint32_t most = options_.max_runs;
    if (own > 0 && own >= most / kLittlePart && run_count_ >= most - most / kReservedPart) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the server has ", run_count_, " runs, ", own, " of them this key's, and the last of ",
          most, " (--max-runs) are for keys that have few; read the results of those that have ",
          "ended, or try later"));
    }
    ++own;
  }
  const ActiveRun* place = run.get();
  runs_.emplace(place, std::move(run));
  if (!is_run) return absl::OkStatus();
  ++run_count_;
  if (metrics_ != nullptr) metrics_->active_runs.Increment();
  return absl::OkStatus();
}

void RunRegistry::Remove(const ActiveRun* run) {
  std::shared_ptr<ActiveRun> removed;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  removed = std::move(found->second);
  runs_.erase(found);
  if (!removed->is_run()) return;
  --run_count_;
  const auto own = runs_by_key_.find(removed->key_id());
  if (own != runs_by_key_.end() && --own->second == 0) runs_by_key_.erase(own);
  if (metrics_ != nullptr) metrics_->active_runs.Decrement();
}

void RunRegistry::StopAccepting() {
  absl::MutexLock lock(&mutex_);
  accepting_ = false;
}

bool RunRegistry::WaitUntilEmpty(absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  const auto empty = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return runs_.empty(); };
  return mutex_.AwaitWithDeadline(absl::Condition(&empty), deadline);
}

std::vector<std::shared_ptr<ActiveRun>> RunRegistry::runs() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<ActiveRun>> runs;
  runs.reserve(runs_.size());
  for (const auto& [key, run] : runs_) runs.push_back(run);
  return runs;
}

void RunRegistry::EndAll(const absl::Status& status) {
  for (const std::shared_ptr<ActiveRun>& run : runs()) run->End(status);
}

void RunRegistry::EndKey(const std::string& key_id, const absl::Status& status) {
  for (const std::shared_ptr<ActiveRun>& run : runs()) {
    if (run->key_id() == key_id) run->End(status);
  }
}

bool RunRegistry::TryTakeBytes(const std::string& key, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const uint64_t most = options_.max_pending_bytes;
  if (pending_bytes_ > most || bytes > most - pending_bytes_) return false;
  const auto found = pending_by_key_.find(key);
  const uint64_t own = bytes + (found == pending_by_key_.end() ? 0 : found->second);
  if (pending_bytes_ + bytes > most - most / kReservedPart && own > most / kLittlePart) {
    return false;
  }
  pending_bytes_ += bytes;
  if (bytes > 0) pending_by_key_[key] = own;
  CountPendingBytes();
  return true;
}

void RunRegistry::GiveBytes(const std::string& key, uint64_t bytes) {
  if (bytes == 0) return;
  absl::MutexLock lock(&mutex_);
  pending_bytes_ -= bytes;
  CountPendingBytes();
  const auto found = pending_by_key_.find(key);
  found->second -= bytes;
  if (found->second == 0) pending_by_key_.erase(found);
}

void RunRegistry::CountPendingBytes() const {
  if (metrics_ == nullptr) return;
  metrics_->pending_result_bytes.Set(static_cast<double>(pending_bytes_));
}

uint64_t RunRegistry::pending_bytes() const {
  absl::MutexLock lock(&mutex_);
  return pending_bytes_;
}

void RunRegistry::CancelSoon(std::shared_ptr<Job> job) {
  absl::MutexLock lock(&mutex_);
  to_cancel_.push_back(std::move(job));
}

void RunRegistry::FlushSoon(std::shared_ptr<ActiveRun> run) {
  absl::MutexLock lock(&mutex_);
  to_flush_.push_back(std::move(run));
}

void RunRegistry::Watch() {
  // Often enough that a reader has at most a quarter more than its time.
  const auto period = [this] {
    return std::clamp(options().slow_reader_timeout / 4, absl::Milliseconds(10), absl::Seconds(1));
  };
  const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !watching_ || !to_cancel_.empty() || (asleep_ && !to_flush_.empty());
  };
  absl::Time next_sweep = SteadyNow() + period();
  absl::Time next_look = absl::InfiniteFuture();
  std::vector<std::shared_ptr<ActiveRun>> waiting;  // since the last look
  int idle_looks = kIdleLooks;
  while (true) {
    std::vector<std::shared_ptr<ActiveRun>> to_flush;
    bool sweep;
    {
      absl::MutexLock lock(&mutex_);
      asleep_ = idle_looks >= kIdleLooks;
      const absl::Time next = asleep_ ? next_sweep : std::min(next_look, next_sweep);
      mutex_.AwaitWithTimeout(absl::Condition(&wanted), next - SteadyNow());
      if (!watching_) return;
      sweep = !to_cancel_.empty();
      const absl::Time now = SteadyNow();
      if (asleep_ ? !to_flush_.empty() : now >= next_look) {
        to_flush = std::exchange(waiting, std::exchange(to_flush_, {}));
        idle_looks = to_flush.empty() && waiting.empty() ? idle_looks + 1 : 0;
        next_look = now + kFlushPeriod;
      }
    }
    for (const std::shared_ptr<ActiveRun>& run : to_flush) run->Flush();
    const absl::Time now = SteadyNow();
    if (!sweep && now < next_sweep) continue;
    Sweep(now);
    next_sweep = now + period();
  }
}

void RunRegistry::StopWatching() {
  std::vector<std::shared_ptr<ActiveRun>> to_flush;
  absl::MutexLock lock(&mutex_);
  watching_ = false;
  // A run holds the registry: what waits here must not hold the run for ever.
  to_flush.swap(to_flush_);
}

void RunRegistry::Sweep(absl::Time now) {
  std::vector<std::shared_ptr<Job>> to_cancel;
  {
    absl::MutexLock lock(&mutex_);
    to_cancel.swap(to_cancel_);
  }
  for (const std::shared_ptr<Job>& job : to_cancel) job->Cancel();

  absl::flat_hash_map<std::string, absl::Status> keys;
  for (const std::shared_ptr<ActiveRun>& run : runs()) {
    if (check_key_ && !run->key_id().empty()) {
      const auto [entry, is_new] = keys.try_emplace(run->key_id());
      if (is_new) entry->second = check_key_(run->key_id());
      if (!entry->second.ok()) run->End(entry->second);
    }
    run->Check(now);
  }
}

}  // namespace weft::server
