#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/keys/key.h"
#include "server/sqlite/database.h"

namespace weft::keys {

struct NewKey {
  Key key;
  std::string secret;  // `weft_<id>_<secret>`: the only time that it is seen
};

/// The API keys of one data folder, in SQLite (`keys.db`).
///
/// Only a SHA-256 of a key's secret is stored. Several processes may use a folder at once: rows are
/// kept in memory only as long as no process has changed the file, which every authentication asks,
/// so that a key which another process revokes ends at once. Thread-safe.
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
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  /// What an operator decides about a key.
  struct Request {
    std::string label;
    std::vector<std::string> scopes = {kTraceScope};
    std::vector<std::string> models = {"*"};
    absl::Time expires = absl::InfiniteFuture();
    KeyLimits limits;
  };
  /// kInvalidArgument for unknown scopes, no models, an expiry that has passed, limits out of
  /// range.
  absl::StatusOr<NewKey> Create(const Request& request);

  /// All keys, revoked and expired ones too, in order of creation.
  absl::StatusOr<std::vector<Key>> List() const;
  /// kNotFound.
  absl::StatusOr<Key> Get(const std::string& id) const;

  /// Replace all that `request` has. Errors are Create's and kNotFound; kFailedPrecondition if the
  /// key is revoked.
  absl::StatusOr<Key> Update(const std::string& id, const Request& request);

  /// Give the key a new secret. The one before it is good for `old_secret_for` more (at most a
  /// year); one before that ends now. Errors are kNotFound, kInvalidArgument, and
  /// kFailedPrecondition if the key is revoked.
  absl::StatusOr<NewKey> Rotate(const std::string& id, absl::Duration old_secret_for);

  /// kNotFound. Revoking twice keeps the first time.
  absl::Status Revoke(const std::string& id);

  /// The key that `secret` (`weft_<id>_<secret>`) belongs to. kUnauthenticated if it is empty,
  /// malformed, unknown, revoked or expired. An unknown id and a wrong secret give the same message
  /// after the same work; only the owner of a secret learns that its key is revoked or expired.
  absl::StatusOr<Key> Authenticate(const std::string& secret) const;

  /// kUnauthenticated if the key is revoked or gone: what it runs has to end.
  absl::Status CheckNotRevoked(const std::string& id) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Row {
    Key key;
    Digest secret = {};  // no secret is known that hashes to zeros
    Digest old_secret = {};
    absl::Time old_secret_ends = absl::InfinitePast();
  };

  KeyStore(std::unique_ptr<sqlite::Database> db, std::function<absl::Time()> now)
      : now_(std::move(now)), db_(std::move(db)) {}
  static absl::StatusOr<Digest> Sha256(const std::string& text);
  static Row ReadRow(const sqlite::Statement& row);
  // Read all rows if they have changed since.
  absl::Status Refresh() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Key> GetLocked(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The key, if it can still be changed.
  absl::StatusOr<Key> GetLive(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Run a statement that changes rows.
  absl::Status Write(sqlite::Statement* statement) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  const std::unique_ptr<sqlite::Database> db_ ABSL_PT_GUARDED_BY(mutex_);
  mutable sqlite::Statement all_ ABSL_GUARDED_BY(mutex_);
  /// From before the rows were read.
  mutable std::optional<sqlite::CommitMark> rows_mark_ ABSL_GUARDED_BY(mutex_);
  mutable absl::flat_hash_map<std::string, Row> rows_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::keys
