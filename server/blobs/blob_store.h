#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/graph/content_hash.h"
#include "server/blobs/blob_file.h"
#include "server/keys/key.h"
#include "server/sqlite/database.h"

namespace weft::blobs {

struct Blob {
  std::string sha256;  // 32 bytes
  uint64_t bytes = 0;
  absl::Time expires;
};

/// A blob counts as at least so many bytes of a quota, so that a quota bounds their number as well.
inline constexpr uint64_t kLeastCharge = uint64_t{64} << 10;

/// A blob that is in use, and so not removed, as long as this lives. Whoever has the file alone has
/// its bytes, even if the blob is removed meanwhile.
struct UsedBlob {
  std::shared_ptr<const MappedFile> file;
};

/// Bytes that keys keep on the server, each blob named by the SHA-256 of its bytes.
///
/// The bytes are files of the data folder, `blobs/KEY/HASH`, the index is SQLite's (`blobs.db`). A
/// key sees its own blobs alone: what another has is as absent as what nobody has, and its bytes
/// are kept twice. A blob that was not used for the time to live is removed, but none that is in
/// use or held; so is what a crash left. Several processes may use a folder at once; each then
/// takes into account for `total_bytes` what the others did a minute ago. Thread-safe.
class BlobStore {
 public:
  struct Limits {
    uint64_t total_bytes = uint64_t{64} << 30;  // of all keys; 0: no bound
    /// Of one key, where the key has no limit of its own; 0: no bound.
    uint64_t key_bytes = uint64_t{4} << 30;
    /// From the last upload or use.
    absl::Duration time_to_live = absl::Hours(24 * 7);
  };
  struct Options {
    Limits limits;
    std::function<absl::Time()> now = absl::Now;
    /// Whether somebody needs a blob for longer than its time to live: it is renewed instead of
    /// removed. Must not call back. Empty: nobody does.
    std::function<bool(const std::string& owner, const std::string& sha256)> held;
  };
  struct Usage {
    uint64_t bytes = 0;
    uint64_t blobs = 0;
  };

  /// Bytes on their way in. What is not finished leaves nothing. Must be gone before the store. Not
  /// thread-safe.
  class Upload {
   public:
    ~Upload();
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;

    /// kInvalidArgument for more bytes than were announced.
    absl::Status Append(const char* data, size_t size);
    /// Put it in its place. kInvalidArgument if bytes are missing or have another hash.
    absl::StatusOr<Blob> Finish();

   private:
    friend class BlobStore;
    Upload(BlobStore* store, std::string owner, std::string sha256, uint64_t bytes,
           std::unique_ptr<NewFile> file);

    BlobStore* const store_;
    const std::string owner_;
    const std::string sha256_;
    const uint64_t bytes_;
    const std::unique_ptr<NewFile> file_;
    graph::ContentHash hash_;
    uint64_t received_ = 0;
  };

  /// Makes what is missing in `data_folder`, and removes what a crash left.
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(const std::string& data_folder,
                                                         Options options);
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(const std::string& data_folder) {
    return Open(data_folder, Options());
  }
  ~BlobStore();

  /// A blob of `key`, its time to live begun anew. kNotFound.
  absl::StatusOr<Blob> Renew(const keys::Key& key, const std::string& sha256);
  /// Renew it and hold it in use. kNotFound.
  absl::StatusOr<std::shared_ptr<const UsedBlob>> Use(const keys::Key& key,
                                                      const std::string& sha256);
  /// Take room for a blob of `bytes` bytes. kResourceExhausted, naming the limit, if there is none.
  absl::StatusOr<std::unique_ptr<Upload>> Begin(const keys::Key& key, const std::string& sha256,
                                                uint64_t bytes);
  struct Bytes {
    const char* data = nullptr;
    size_t size = 0;
  };
  /// Store what is in memory, in this order; what is there already is renewed. Nothing is stored
  /// where there is no room for all of it. Where storing fails otherwise a part may stay, as of any
  /// other upload, until it expires: others may have been told by then that it is there.
  absl::StatusOr<std::vector<Blob>> Keep(const keys::Key& key, absl::Span<const Bytes> contents);
  /// In the order of their ends, the next to expire first.
  absl::StatusOr<std::vector<Blob>> List(const keys::Key& key);
  /// kNotFound; kFailedPrecondition while it is in use.
  absl::Status Delete(const keys::Key& key, const std::string& sha256);

  /// Bytes that all blobs of `key` may have; 0 for no bound.
  uint64_t QuotaOf(const keys::Key& key) const;
  absl::Duration time_to_live() const;
  void SetLimits(const Limits& limits);
  /// Of all keys.
  Usage usage() const;

  /// Remove what has expired and is not in use.
  absl::Status Collect();
  /// Collect every minute, on a thread of the store's. To be called once.
  void StartCollecting();

 private:
  using Name = std::pair<std::string, std::string>;  // owner and hash
  struct Row {
    uint64_t bytes = 0;
    uint64_t charge = 0;
    absl::Time expires;
  };

  BlobStore(std::unique_ptr<sqlite::Database> db, std::string folder, Options options);
  std::string FolderOf(const std::string& owner) const;
  std::string PathOf(const std::string& owner, const std::string& sha256) const;

  /// Do `body` in one transaction of the index.
  absl::Status Change(const std::function<absl::Status()>& body)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// kNotFound; also of what has expired, unless `expired_too`.
  absl::StatusOr<Row> Find(const std::string& owner, const std::string& sha256,
                           bool expired_too = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Row> FindAndRenew(const std::string& owner, const std::string& sha256)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// The row and the file, in a transaction.
  absl::Status Remove(const std::string& owner, const std::string& sha256, uint64_t charge)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Files without a row and rows without a file, of a crash.
  absl::Status RemoveOrphans() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CountUsage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint64_t> BytesOf(const std::string& owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// How long until blobs of `owner` (empty: of anybody) with `bytes` bytes have expired.
  absl::StatusOr<absl::Duration> UntilFree(const std::string& owner, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoom(const keys::Key& key, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t QuotaLocked(const keys::Key& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Held(const std::string& owner, const std::string& sha256) const {
    return held_ && held_(owner, sha256);
  }
  bool InUse(const Name& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Blob> Place(Upload* upload);
  absl::StatusOr<Blob> Store(const keys::Key& key, const std::string& sha256, const Bytes& content);
  void EndUpload(const std::string& owner, uint64_t bytes);
  void CollectUntilStopped();

  const std::function<absl::Time()> now_;
  const std::function<bool(const std::string&, const std::string&)> held_;
  const std::string folder_;
  mutable absl::Mutex mutex_;
  const std::unique_ptr<sqlite::Database> db_ ABSL_PT_GUARDED_BY(mutex_);
  Limits limits_ ABSL_GUARDED_BY(mutex_);
  Usage usage_ ABSL_GUARDED_BY(mutex_);  // charged bytes
  // Of uploads that have not ended.
  absl::flat_hash_map<std::string, uint64_t> reserved_ ABSL_GUARDED_BY(mutex_);
  uint64_t reserved_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<Name, std::weak_ptr<const UsedBlob>> in_use_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread collector_;
};

}  // namespace weft::blobs
