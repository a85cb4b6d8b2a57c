#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/keys/key.h"

struct sqlite3;
struct sqlite3_stmt;

namespace weft::keys {

struct NewKey {
  Key key;
  std::string secret;  // `weft_<id>_<secret>`: the only time that it is seen
};

/// The API keys of one data folder, in SQLite (`keys.db`, write-ahead log).
///
/// Only a SHA-256 of a key's secret is stored. Several processes may use a folder at once: each
/// authentication reads its row, so a key that another process revokes ends at once. The folder is
/// made with mode 0700, the files with 0600. Thread-safe.
class KeyStore {
 public:
  struct Options {
    /// Make the folder and an empty store where there is none; otherwise kNotFound.
    bool create = true;
    std::function<absl::Time()> now = absl::Now;
  };
  static absl::StatusOr<std::unique_ptr<KeyStore>> Open(const std::string& data_folder,
                                                        Options options);
  static absl::StatusOr<std::unique_ptr<KeyStore>> Open(const std::string& data_folder) {
    return Open(data_folder, Options());
  }
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  struct Request {
    std::string label;
    std::vector<std::string> scopes = {kTraceScope};
    std::vector<std::string> models = {"*"};
    absl::Time expires = absl::InfiniteFuture();
  };
  /// kInvalidArgument for unknown scopes, no models, an expiry that has passed.
  absl::StatusOr<NewKey> Create(const Request& request);

  /// All keys, revoked and expired ones too, in order of creation.
  absl::StatusOr<std::vector<Key>> List() const;

  /// kNotFound. Revoking twice keeps the first time.
  absl::Status Revoke(const std::string& id);

  /// The key that `secret` (`weft_<id>_<secret>`) belongs to. kUnauthenticated if it is empty,
  /// malformed, unknown, revoked or expired. An unknown id and a wrong secret give the same message
  /// after the same work; only the owner of a secret learns that its key is revoked or expired.
  absl::StatusOr<Key> Authenticate(const std::string& secret) const;

 private:
  KeyStore(sqlite3* db, std::string path, std::function<absl::Time()> now);
  absl::Status Prepare() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status DbError(const char* doing) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  sqlite3* const db_ ABSL_PT_GUARDED_BY(mutex_);
  sqlite3_stmt* find_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace weft::keys
