#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/audit/audit_store.h"
#include "server/limits/bucket.h"

namespace weft::audit {

/// Writes entries down without holding up the calls that they are about.
///
/// Entries wait in a bounded queue for a thread of the log. What does not fit is dropped and
/// counted, and so are calls without a key beyond a number a minute: strangers must not fill the
/// disk. The server's log tells of drops. Entries older than `retention` are deleted. Thread-safe.
class AuditLog {
 public:
  struct Options {
    absl::Duration retention = absl::Hours(24 * 90);
    size_t max_waiting = 16384;
    /// Entries without a key. 0: none.
    uint32_t strangers_per_minute = 600;
    std::function<absl::Time()> now = absl::Now;
  };
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& data_folder,
                                                        Options options);
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& data_folder) {
    return Open(data_folder, Options());
  }
  /// Writes what waits.
  ~AuditLog();

  /// Never blocks.
  void Record(Entry entry);
  /// Newest first, those included that were recorded before.
  absl::StatusOr<std::vector<Entry>> List(const Query& query);
  /// Entries that were lost since the log was opened.
  uint64_t dropped() const;

 private:
  AuditLog(std::unique_ptr<AuditStore> store, Options options);
  void Write();
  void DeleteOld();
  void Report();

  const Options options_;
  const std::unique_ptr<AuditStore> store_;
  mutable absl::Mutex mutex_;
  std::vector<Entry> waiting_ ABSL_GUARDED_BY(mutex_);
  limits::Bucket strangers_ ABSL_GUARDED_BY(mutex_);
  uint64_t recorded_ ABSL_GUARDED_BY(mutex_) = 0;  // entries ever queued
  uint64_t written_ ABSL_GUARDED_BY(mutex_) = 0;   // of those, written or lost
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  bool hurry_ ABSL_GUARDED_BY(mutex_) = false;  // somebody waits, or the log ends
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the log's thread.
  uint64_t reported_ = 0;
  absl::Time next_report_ = absl::InfinitePast();
  absl::Time next_delete_ = absl::InfinitePast();
  std::thread thread_;
};

}  // namespace weft::audit
