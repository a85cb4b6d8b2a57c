#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/keys/key.h"
#include "server/sqlite/database.h"

namespace weft::edits {

/// One version of an edit.
struct EditInfo {
  std::string model;
  std::string name;
  uint64_t version = 0;
  uint64_t bytes = 0;  // of its program
  absl::Time created;
};

/// Programs that keys keep on the server under names, for one model each, in SQLite (`edits.db`).
///
/// What is stored under a name that is taken is its next version; those before it stay until they
/// are deleted, and the number of one that is gone is never given again. A key sees its own edits
/// alone: what another has is as absent as what nobody has. What programs mean is the caller's to
/// check. Several processes may use a folder at once. Thread-safe.
class EditStore {
 public:
  /// 0: no bound.
  struct Limits {
    uint64_t total_bytes = uint64_t{4} << 30;  // of all keys
    uint64_t key_bytes = uint64_t{64} << 20;   // of one key
    uint64_t key_edits = 1000;                 // versions of one key
  };
  struct Options {
    Limits limits;
    std::function<absl::Time()> now = absl::Now;
  };
  struct Usage {
    uint64_t bytes = 0;
    uint64_t edits = 0;
  };
  struct Stored {
    EditInfo info;
    bool existed = false;  // the latest version was the same already
  };
  struct Edit {
    EditInfo info;
    std::string program;  // as it was stored
  };

  /// Makes what is missing in `data_folder`.
  static absl::StatusOr<std::unique_ptr<EditStore>> Open(const std::string& data_folder,
                                                         Options options);
  static absl::StatusOr<std::unique_ptr<EditStore>> Open(const std::string& data_folder) {
    return Open(data_folder, Options());
  }

  /// Store `program`, whose constants are the blobs of these hashes. kResourceExhausted, naming the
  /// limit, where there is no room.
  absl::StatusOr<Stored> Store(const keys::Key& key, const std::string& model,
                               const std::string& name, const std::string& program,
                               const std::vector<std::string>& blobs = {});
  /// `version` 0 is the latest. kNotFound, naming what there is.
  absl::StatusOr<Edit> Get(const keys::Key& key, const std::string& model, const std::string& name,
                           uint64_t version) const;
  /// Of one model, or of all if `model` is empty; by model and name, then version.
  absl::StatusOr<std::vector<EditInfo>> List(const keys::Key& key, const std::string& model) const;
  /// `version` 0 is all of them. How many were deleted; kNotFound, naming what there is.
  absl::StatusOr<uint64_t> Delete(const keys::Key& key, const std::string& model,
                                  const std::string& name, uint64_t version);

  /// Delete all that `key` has, and forget that it had any: of one that is revoked.
  absl::Status Forget(const keys::Key& key);
  /// Whether an edit of `owner` has this blob as a constant; true where that cannot be read.
  bool HoldsBlob(const std::string& owner, const std::string& sha256) const;

  Limits limits() const;
  void SetLimits(const Limits& limits);
  /// Of all keys.
  absl::StatusOr<Usage> usage() const;

 private:
  /// What an owner has.
  struct Account {
    Usage usage;
    uint64_t floor = 0;  // the highest version that was deleted
  };

  EditStore(std::unique_ptr<sqlite::Database> db, Options options);

  absl::StatusOr<Account> AccountOf(const std::string& owner) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SetAccount(const std::string& owner, const Account& account)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Usage> CountUsage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoom(const keys::Key& key, const Usage& own, uint64_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Edit> Find(const std::string& owner, const std::string& model,
                            const std::string& name, uint64_t version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Insert(const std::string& owner, const Edit& edit,
                      const std::vector<std::string>& blobs) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// kNotFound, with what the owner has instead.
  absl::Status NotThere(const std::string& owner, const std::string& model, const std::string& name,
                        uint64_t version) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The first few values of one column of the owner's edits.
  absl::StatusOr<std::string> Names(const std::string& column, const std::string& owner,
                                    const std::string& model, const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  const std::unique_ptr<sqlite::Database> db_ ABSL_PT_GUARDED_BY(mutex_);
  Limits limits_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::edits
