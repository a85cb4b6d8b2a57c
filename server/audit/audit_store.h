#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/sqlite/database.h"

namespace weft::audit {

/// One call: who made it and how it ended. Never contents.
struct Entry {
  absl::Time time;     // when it ended
  std::string key_id;  // empty where no key was recognised
  std::string peer;    // as gRPC writes it: `ipv4:10.0.0.7:51234`
  std::string method;  // `weft.v1.Weft/Run`
  std::string model;
  std::string job_id;
  std::string trace_id;
  std::string subject;  // what it was about: the id of a key, the hash of a blob, an edit
  int code = 0;         // gRPC's
  double seconds = 0;
  uint64_t tokens = 0;
  uint64_t result_bytes = 0;
};

struct Query {
  std::string key_id;  // empty: of all keys
  absl::Time since = absl::InfinitePast();
  uint32_t limit = 100;
};

/// The entries of one data folder, in SQLite (`audit.db`). Several processes may use it at once.
/// Thread-safe.
class AuditStore {
 public:
  /// Without `create`, kNotFound where there is none.
  static absl::StatusOr<std::unique_ptr<AuditStore>> Open(const std::string& data_folder,
                                                          bool create = true);

  /// Write all or none.
  absl::Status Append(const std::vector<Entry>& entries);
  /// Newest first.
  absl::StatusOr<std::vector<Entry>> List(const Query& query) const;
  /// Delete what ended before `time`.
  absl::Status DeleteBefore(absl::Time time);

 private:
  explicit AuditStore(std::unique_ptr<sqlite::Database> db) : db_(std::move(db)) {}

  mutable absl::Mutex mutex_;
  const std::unique_ptr<sqlite::Database> db_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace weft::audit
