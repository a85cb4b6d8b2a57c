#include "server/audit/audit_log.h"

#include <spdlog/spdlog.h>

#include <exception>

namespace weft::audit {
namespace {

// What comes within it is written at once: a transaction costs more than an entry.
constexpr absl::Duration kGather = absl::Milliseconds(200);
constexpr absl::Duration kReportEvery = absl::Minutes(1);
constexpr absl::Duration kDeleteEvery = absl::Hours(1);
// A disk that hangs must not keep the server from ending, nor a reader waiting.
constexpr absl::Duration kPatience = absl::Seconds(5);

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& data_folder,
                                                         Options options) {
  absl::StatusOr<std::unique_ptr<AuditStore>> store = AuditStore::Open(data_folder);
  if (!store.ok()) return store.status();
  return std::unique_ptr<AuditLog>(new AuditLog(*std::move(store), std::move(options)));
}

AuditLog::AuditLog(std::unique_ptr<AuditStore> store, Options options)
    : options_(std::move(options)), store_(std::move(store)), thread_([this] { Write(); }) {}

AuditLog::~AuditLog() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = hurry_ = true;
  }
  thread_.join();
}

void AuditLog::Record(Entry entry) {
  absl::MutexLock lock(&mutex_);
  const bool stranger = entry.key_id.empty();
  if (waiting_.size() >= options_.max_waiting ||
      (stranger &&
       strangers_.Take(1, options_.strangers_per_minute, options_.now()) > absl::ZeroDuration())) {
    ++dropped_;
    return;
  }
  waiting_.push_back(std::move(entry));
  ++recorded_;
}

absl::StatusOr<std::vector<Entry>> AuditLog::List(const Query& query) {
  {
    absl::MutexLock lock(&mutex_);
    const uint64_t until = recorded_;
    const auto written = [this, until]()
                             ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return written_ >= until; };
    if (written_ < until) hurry_ = true;
    mutex_.AwaitWithTimeout(absl::Condition(&written), kPatience);
  }
  return store_->List(query);
}

uint64_t AuditLog::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

void AuditLog::Write() {
  const auto some = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !waiting_.empty();
  };
  const auto hurry = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return hurry_ || waiting_.size() >= options_.max_waiting / 2;
  };
  bool more = true;
  while (more) {
    std::vector<Entry> entries;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&some), kReportEvery);
      if (!waiting_.empty()) mutex_.AwaitWithTimeout(absl::Condition(&hurry), kGather);
      hurry_ = stopping_;
      more = !stopping_;
      entries.swap(waiting_);
    }
    absl::Status written;
    try {
      if (!entries.empty()) written = store_->Append(entries);
      DeleteOld();
    } catch (const std::exception& e) {
      written = absl::ResourceExhaustedError(e.what());
    }
    if (!written.ok()) spdlog::error("{}", std::string(written.message()));
    {
      absl::MutexLock lock(&mutex_);
      written_ += entries.size();
      if (!written.ok()) dropped_ += entries.size();
    }
    Report();
  }
}

void AuditLog::DeleteOld() {
  const absl::Time now = options_.now();
  if (now < next_delete_) return;
  next_delete_ = now + kDeleteEvery;
  const absl::Status deleted = store_->DeleteBefore(now - options_.retention);
  if (!deleted.ok()) spdlog::error("{}", std::string(deleted.message()));
}

void AuditLog::Report() {
  const uint64_t dropped = this->dropped();
  const absl::Time now = absl::Now();
  if (dropped == reported_ || now < next_report_) return;
  spdlog::warn("audit log: {} entries were lost, {} since the last report", dropped,
               dropped - reported_);
  reported_ = dropped;
  next_report_ = now + kReportEvery;
}

}  // namespace weft::audit
