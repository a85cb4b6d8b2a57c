#include "server/blobs/blob_store.h"

#include <dirent.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/limits/limiter.h"

namespace weft::blobs {
namespace {

constexpr char kDatabase[] = "blobs.db";
constexpr char kFolder[] = "blobs";
// What is being written. No owner is called so: ids of keys are letters and digits.
constexpr char kIncoming[] = ".incoming";

constexpr absl::Duration kCollectEvery = absl::Minutes(1);
// A renewal writes to the disk; one that would gain less than this part of the time to live is not
// worth that.
constexpr int kRenewPart = 64;
constexpr int64_t kBatch = 4096;
// No disk has as much, and sums of a few of these fit in 64 bits.
constexpr uint64_t kMostBytes = uint64_t{1} << 48;

constexpr char kTable[] = R"(
CREATE TABLE blobs (
  owner   TEXT NOT NULL,     -- a key's id
  sha256  BLOB NOT NULL,
  bytes   INTEGER NOT NULL,
  charge  INTEGER NOT NULL,  -- of the quota
  used    INTEGER NOT NULL,  -- Unix seconds, as the next
  expires INTEGER NOT NULL,
  PRIMARY KEY (owner, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_expires ON blobs (expires);
)";

using keys::OwnerOf;

uint64_t ChargeOf(uint64_t bytes) { return std::max(bytes, kLeastCharge); }

absl::Status NoSuchBlob(const std::string& sha256) {
  return absl::NotFoundError(
      absl::StrCat("this key has no blob ", graph::ContentHash::ToText(sha256)));
}

sqlite::Statement& BindName(sqlite::Statement* statement, const std::string& owner,
                            const std::string& sha256) {
  return statement->Bind(1, owner).BindBlob(2, sha256.data(), sha256.size());
}

/// The files of a folder but hidden ones.
std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
  if (entries == nullptr) return names;
  while (const dirent* entry = readdir(entries.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

}  // namespace

BlobStore::Upload::Upload(BlobStore* store, std::string owner, std::string sha256, uint64_t bytes,
                          std::unique_ptr<NewFile> file)
    : store_(store),
      owner_(std::move(owner)),
      sha256_(std::move(sha256)),
      bytes_(bytes),
      file_(std::move(file)) {}

BlobStore::Upload::~Upload() { store_->EndUpload(owner_, bytes_); }

absl::Status BlobStore::Upload::Append(const char* data, size_t size) {
  if (size > bytes_ - received_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the blob has more bytes than the ", bytes_, " that were announced"));
  }
  received_ += size;
  hash_.Update(data, size);
  return file_->Write(data, size);
}

absl::StatusOr<Blob> BlobStore::Upload::Finish() {
  if (received_ != bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("the blob ended after ", received_, " of the ",
                                                   bytes_, " bytes that were announced"));
  }
  absl::StatusOr<std::string> hash = hash_.Finish();
  if (!hash.ok()) return hash.status();
  if (*hash != sha256_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the blob's SHA-256 is ", graph::ContentHash::ToText(*hash), ", not ",
                     graph::ContentHash::ToText(sha256_), " as was announced"));
  }
  if (absl::Status synced = file_->Sync(); !synced.ok()) return synced;
  return store_->Place(this);
}

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(const std::string& data_folder,
                                                           Options options) {
  absl::StatusOr<std::unique_ptr<sqlite::Database>> db =
      sqlite::Database::Open(data_folder, kDatabase, {.what = "index of blobs"}, {kTable});
  if (!db.ok()) return db.status();
  const std::string folder = absl::StrCat(data_folder, "/", kFolder);
  for (const std::string& path : {folder, absl::StrCat(folder, "/", kIncoming)}) {
    if (absl::Status made = MakePrivateFolder(path); !made.ok()) return made;
  }
  std::unique_ptr<BlobStore> store(new BlobStore(*std::move(db), folder, std::move(options)));
  absl::Status cleaned;
  {
    absl::MutexLock lock(&store->mutex_);
    cleaned = store->RemoveOrphans();
  }
  if (cleaned.ok()) cleaned = store->Collect();
  if (!cleaned.ok()) return cleaned;
  return store;
}

BlobStore::BlobStore(std::unique_ptr<sqlite::Database> db, std::string folder, Options options)
    : now_(std::move(options.now)),
      held_(std::move(options.held)),
      folder_(std::move(folder)),
      db_(std::move(db)),
      limits_(options.limits) {}

BlobStore::~BlobStore() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (collector_.joinable()) collector_.join();
}

std::string BlobStore::FolderOf(const std::string& owner) const {
  return absl::StrCat(folder_, "/", owner);
}

std::string BlobStore::PathOf(const std::string& owner, const std::string& sha256) const {
  return absl::StrCat(FolderOf(owner), "/", graph::ContentHash::ToText(sha256));
}

absl::Status BlobStore::Change(const std::function<absl::Status()>& body) {
  return db_->Transact(body);
}

absl::StatusOr<BlobStore::Row> BlobStore::Find(const std::string& owner, const std::string& sha256,
                                               bool expired_too) {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT bytes, charge, expires FROM blobs WHERE owner = ?1 AND sha256 = ?2");
  if (!select.ok()) return select.status();
  BindName(&*select, owner, sha256);
  const int stepped = select->Step();
  if (stepped == SQLITE_DONE) return NoSuchBlob(sha256);
  if (stepped != SQLITE_ROW) return db_->Error("reading");
  const Row row = {static_cast<uint64_t>(select->Integer(0)),
                   static_cast<uint64_t>(select->Integer(1)),
                   absl::FromUnixSeconds(select->Integer(2))};
  if (row.expires <= now_() && !expired_too && !Held(owner, sha256)) return NoSuchBlob(sha256);
  return row;
}

absl::StatusOr<BlobStore::Row> BlobStore::FindAndRenew(const std::string& owner,
                                                       const std::string& sha256) {
  absl::StatusOr<Row> row = Find(owner, sha256);
  if (!row.ok()) return row;
  const absl::Time now = now_();
  const absl::Time expires = now + limits_.time_to_live;
  if (expires - row->expires <= limits_.time_to_live / kRenewPart) return row;
  absl::StatusOr<sqlite::Statement> update =
      db_->Prepare("UPDATE blobs SET used = ?3, expires = ?4 WHERE owner = ?1 AND sha256 = ?2");
  if (!update.ok()) return update.status();
  BindName(&*update, owner, sha256)
      .Bind(3, absl::ToUnixSeconds(now))
      .Bind(4, absl::ToUnixSeconds(expires));
  if (update->Step() != SQLITE_DONE) return db_->Error("writing");
  row->expires = absl::FromUnixSeconds(absl::ToUnixSeconds(expires));
  return row;
}

absl::StatusOr<Blob> BlobStore::Renew(const keys::Key& key, const std::string& sha256) {
  const std::string owner = OwnerOf(key);
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Row> row = FindAndRenew(owner, sha256);
  if (!row.ok()) return row.status();
  // Whoever is told that it is there brings no bytes.
  struct stat status;
  if (stat(PathOf(owner, sha256).c_str(), &status) != 0) return NoSuchBlob(sha256);
  return Blob{sha256, row->bytes, row->expires};
}

absl::StatusOr<std::shared_ptr<const UsedBlob>> BlobStore::Use(const keys::Key& key,
                                                               const std::string& sha256) {
  const std::string owner = OwnerOf(key);
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Row> row = FindAndRenew(owner, sha256);
  if (!row.ok()) return row.status();
  std::weak_ptr<const UsedBlob>& place = in_use_[{owner, sha256}];
  if (std::shared_ptr<const UsedBlob> used = place.lock()) return used;
  absl::StatusOr<std::shared_ptr<const MappedFile>> mapped =
      MappedFile::Map(PathOf(owner, sha256), row->bytes);
  if (absl::IsNotFound(mapped.status())) {
    const absl::Status removed = Change(
        [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Remove(owner, sha256, row->charge); });
    return removed.ok() ? NoSuchBlob(sha256) : removed;
  }
  if (!mapped.ok()) return mapped.status();
  auto used = std::make_shared<const UsedBlob>(UsedBlob{*std::move(mapped)});
  place = used;
  return used;
}

absl::StatusOr<std::unique_ptr<BlobStore::Upload>> BlobStore::Begin(const keys::Key& key,
                                                                    const std::string& sha256,
                                                                    uint64_t bytes) {
  if (sha256.size() != graph::ContentHash::kBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a blob is named by the ", graph::ContentHash::kBytes,
                     " bytes of its SHA-256; here are ", sha256.size()));
  }
  const std::string owner = OwnerOf(key);
  absl::MutexLock lock(&mutex_);
  if (absl::Status room = CheckRoom(key, bytes); !room.ok()) return room;
  absl::StatusOr<std::unique_ptr<NewFile>> file =
      NewFile::Make(absl::StrCat(folder_, "/", kIncoming));
  if (!file.ok()) return file.status();
  reserved_[owner] += ChargeOf(bytes);
  reserved_bytes_ += ChargeOf(bytes);
  return std::unique_ptr<Upload>(new Upload(this, owner, sha256, bytes, *std::move(file)));
}

void BlobStore::EndUpload(const std::string& owner, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const auto found = reserved_.find(owner);
  found->second -= ChargeOf(bytes);
  reserved_bytes_ -= ChargeOf(bytes);
  if (found->second == 0) reserved_.erase(found);
}

absl::StatusOr<Blob> BlobStore::Place(Upload* upload) {
  const std::string& owner = upload->owner_;
  const std::string path = PathOf(owner, upload->sha256_);
  const uint64_t charge = ChargeOf(upload->bytes_);
  absl::MutexLock lock(&mutex_);
  const absl::Time now = now_();
  const absl::Time expires = now + limits_.time_to_live;
  bool existed = false;
  const absl::Status placed = Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
    // Somebody else may have brought the same bytes meanwhile; the file takes that one's place.
    const absl::Status found = Find(owner, upload->sha256_, /*expired_too=*/true).status();
    if (!found.ok() && !absl::IsNotFound(found)) return found;
    existed = found.ok();
    absl::StatusOr<sqlite::Statement> insert = db_->Prepare(
        "INSERT OR REPLACE INTO blobs (owner, sha256, bytes, charge, used, expires) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
    if (!insert.ok()) return insert.status();
    BindName(&*insert, owner, upload->sha256_)
        .Bind(3, static_cast<int64_t>(upload->bytes_))
        .Bind(4, static_cast<int64_t>(charge))
        .Bind(5, absl::ToUnixSeconds(now))
        .Bind(6, absl::ToUnixSeconds(expires));
    if (insert->Step() != SQLITE_DONE) return db_->Error("writing");
    absl::Status moved = MakePrivateFolder(FolderOf(owner));
    if (moved.ok()) moved = upload->file_->MoveTo(path);
    return moved.ok() ? SyncFolder(FolderOf(owner)) : moved;
  });
  if (!placed.ok()) {
    if (!existed) unlink(path.c_str());
    return placed;
  }
  if (!existed) {
    usage_.bytes += charge;
    ++usage_.blobs;
  }
  return Blob{upload->sha256_, upload->bytes_, absl::FromUnixSeconds(absl::ToUnixSeconds(expires))};
}

absl::StatusOr<std::vector<Blob>> BlobStore::Keep(const keys::Key& key,
                                                  absl::Span<const Bytes> contents) {
  std::vector<Blob> blobs(contents.size());
  uint64_t missing_bytes = 0;
  absl::flat_hash_set<std::string> missing;
  for (size_t i = 0; i < contents.size(); ++i) {
    absl::StatusOr<std::string> hash = graph::ContentHash::Of(contents[i].data, contents[i].size);
    if (!hash.ok()) return hash.status();
    blobs[i].sha256 = *std::move(hash);
    absl::StatusOr<Blob> renewed = Renew(key, blobs[i].sha256);
    if (renewed.ok()) {
      blobs[i] = *std::move(renewed);
    } else if (!absl::IsNotFound(renewed.status())) {
      return renewed.status();
    } else if (missing.insert(blobs[i].sha256).second) {
      missing_bytes += ChargeOf(contents[i].size);
    }
  }
  if (missing.size() > 1) {
    absl::MutexLock lock(&mutex_);
    if (absl::Status room = CheckRoom(key, missing_bytes); !room.ok()) return room;
  }
  for (size_t i = 0; i < contents.size(); ++i) {
    if (!missing.contains(blobs[i].sha256)) continue;
    absl::StatusOr<Blob> blob = Store(key, blobs[i].sha256, contents[i]);
    if (!blob.ok()) return blob.status();
    blobs[i] = *std::move(blob);
  }
  return blobs;
}

absl::StatusOr<Blob> BlobStore::Store(const keys::Key& key, const std::string& sha256,
                                      const Bytes& content) {
  // Somebody else may have brought it meanwhile; so may this, a moment ago.
  absl::StatusOr<Blob> blob = Renew(key, sha256);
  if (!absl::IsNotFound(blob.status())) return blob;
  absl::StatusOr<std::unique_ptr<Upload>> upload = Begin(key, sha256, content.size);
  if (!upload.ok()) return upload.status();
  if (absl::Status added = (*upload)->Append(content.data, content.size); !added.ok()) return added;
  return (*upload)->Finish();
}

absl::StatusOr<std::vector<Blob>> BlobStore::List(const keys::Key& key) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> select = db_->Prepare(
      "SELECT sha256, bytes, expires FROM blobs WHERE owner = ?1 AND expires > ?2 "
      "ORDER BY expires, sha256");
  if (!select.ok()) return select.status();
  select->Bind(1, OwnerOf(key)).Bind(2, absl::ToUnixSeconds(now_()));
  std::vector<Blob> blobs;
  int stepped;
  while ((stepped = select->Step()) == SQLITE_ROW) {
    blobs.push_back({select->Text(0), static_cast<uint64_t>(select->Integer(1)),
                     absl::FromUnixSeconds(select->Integer(2))});
  }
  if (stepped != SQLITE_DONE) return db_->Error("reading");
  return blobs;
}

absl::Status BlobStore::Delete(const keys::Key& key, const std::string& sha256) {
  const std::string owner = OwnerOf(key);
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Row> row = Find(owner, sha256);
  if (!row.ok()) return row.status();
  if (InUse({owner, sha256})) {
    return absl::FailedPreconditionError(absl::StrCat("a run uses the blob ",
                                                      graph::ContentHash::ToText(sha256),
                                                      ": delete it when the run has ended"));
  }
  return Change(
      [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Remove(owner, sha256, row->charge); });
}

bool BlobStore::InUse(const Name& name) const {
  const auto found = in_use_.find(name);
  return found != in_use_.end() && !found->second.expired();
}

absl::Status BlobStore::Remove(const std::string& owner, const std::string& sha256,
                               uint64_t charge) {
  absl::StatusOr<sqlite::Statement> remove =
      db_->Prepare("DELETE FROM blobs WHERE owner = ?1 AND sha256 = ?2");
  if (!remove.ok()) return remove.status();
  BindName(&*remove, owner, sha256);
  if (remove->Step() != SQLITE_DONE) return db_->Error("writing");
  unlink(PathOf(owner, sha256).c_str());
  usage_.bytes -= std::min(usage_.bytes, charge);
  usage_.blobs -= usage_.blobs > 0 ? 1 : 0;
  return absl::OkStatus();
}

absl::Status BlobStore::RemoveExpired() {
  while (true) {
    std::vector<Name> expired, held;
    int64_t seen = 0;
    {
      absl::StatusOr<sqlite::Statement> select = db_->Prepare(
          "SELECT owner, sha256 FROM blobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2");
      if (!select.ok()) return select.status();
      select->Bind(1, absl::ToUnixSeconds(now_())).Bind(2, kBatch);
      int stepped;
      while ((stepped = select->Step()) == SQLITE_ROW) {
        ++seen;
        Name name = {select->Text(0), select->Text(1)};
        if (InUse(name)) continue;
        (Held(name.first, name.second) ? held : expired).push_back(std::move(name));
      }
      if (stepped != SQLITE_DONE) return db_->Error("reading");
    }
    if (expired.empty() && held.empty()) return absl::OkStatus();
    const absl::Status removed = Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      absl::Status status;
      for (size_t i = 0; i < expired.size() && status.ok(); ++i) {
        const auto& [owner, sha256] = expired[i];
        // Another process may have brought it back since.
        const absl::StatusOr<Row> row = Find(owner, sha256, /*expired_too=*/true);
        if (row.ok() && row->expires <= now_()) status = Remove(owner, sha256, row->charge);
        if (!row.ok() && !absl::IsNotFound(row.status())) status = row.status();
      }
      for (size_t i = 0; i < held.size() && status.ok(); ++i) {
        status = FindAndRenew(held[i].first, held[i].second).status();
        // Let go of meanwhile: it goes the next time.
        if (absl::IsNotFound(status)) status = absl::OkStatus();
      }
      return status;
    });
    if (!removed.ok() || seen < kBatch) return removed;
  }
}

absl::Status BlobStore::RemoveOrphans() {
  return Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
    for (const std::string& owner : NamesIn(folder_)) {
      for (const std::string& file : NamesIn(FolderOf(owner))) {
        absl::StatusOr<std::string> sha256 = graph::ContentHash::FromText(file);
        if (!sha256.ok()) continue;  // none of ours
        const absl::Status found = Find(owner, *sha256, /*expired_too=*/true).status();
        if (absl::IsNotFound(found)) {
          unlink(PathOf(owner, *sha256).c_str());
        } else if (!found.ok()) {
          return found;
        }
      }
    }
    std::vector<std::pair<Name, uint64_t>> lost;
    {
      absl::StatusOr<sqlite::Statement> select =
          db_->Prepare("SELECT owner, sha256, charge FROM blobs");
      if (!select.ok()) return select.status();
      int stepped;
      while ((stepped = select->Step()) == SQLITE_ROW) {
        struct stat status;
        const Name name = {select->Text(0), select->Text(1)};
        if (stat(PathOf(name.first, name.second).c_str(), &status) == 0) continue;
        lost.emplace_back(name, static_cast<uint64_t>(select->Integer(2)));
      }
      if (stepped != SQLITE_DONE) return db_->Error("reading");
    }
    for (const auto& [name, charge] : lost) {
      absl::Status removed = Remove(name.first, name.second, charge);
      if (!removed.ok()) return removed;
    }
    return absl::OkStatus();
  });
}

absl::Status BlobStore::CountUsage() {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT COUNT(*), COALESCE(SUM(charge), 0) FROM blobs");
  if (!select.ok()) return select.status();
  if (select->Step() != SQLITE_ROW) return db_->Error("reading");
  usage_.blobs = static_cast<uint64_t>(select->Integer(0));
  usage_.bytes = static_cast<uint64_t>(select->Integer(1));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> BlobStore::BytesOf(const std::string& owner) {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT COALESCE(SUM(charge), 0) FROM blobs WHERE owner = ?1");
  if (!select.ok()) return select.status();
  select->Bind(1, owner);
  if (select->Step() != SQLITE_ROW) return db_->Error("reading");
  return static_cast<uint64_t>(select->Integer(0));
}

absl::StatusOr<absl::Duration> BlobStore::UntilFree(const std::string& owner, uint64_t bytes) {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare(absl::StrCat("SELECT charge, expires FROM blobs",
                                owner.empty() ? "" : " WHERE owner = ?1", " ORDER BY expires"));
  if (!select.ok()) return select.status();
  if (!owner.empty()) select->Bind(1, owner);
  // What is being uploaded may go away at any time.
  absl::Duration wait = absl::Seconds(1);
  uint64_t freed = 0;
  while (freed < bytes && select->Step() == SQLITE_ROW) {
    freed += static_cast<uint64_t>(select->Integer(0));
    wait = std::max(wait, absl::FromUnixSeconds(select->Integer(1)) - now_());
  }
  return wait;
}

absl::Status BlobStore::CheckRoom(const keys::Key& key, uint64_t bytes) {
  if (bytes > kMostBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a blob of ", bytes, " bytes is larger than any may be (", kMostBytes, ")"));
  }
  const std::string owner = OwnerOf(key);
  const uint64_t charge = ChargeOf(bytes);
  const uint64_t quota = QuotaLocked(key);
  const uint64_t total = limits_.total_bytes;
  if (quota != 0 && charge > quota) {
    return limits::BlobsFull(key, quota, bytes, absl::ZeroDuration());
  }
  if (total != 0 && charge > total) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a blob of ", bytes, " bytes is larger than all blobs of the server may be (",
                     total, " bytes, --max-blob-bytes)"));
  }
  const auto reserved = reserved_.find(owner);
  const uint64_t uploading = reserved == reserved_.end() ? 0 : reserved->second;
  // The second time without what has expired.
  for (const bool last : {false, true}) {
    absl::StatusOr<uint64_t> own = BytesOf(owner);
    if (!own.ok()) return own.status();
    const uint64_t of_key = *own + uploading + charge;
    const uint64_t of_all = usage_.bytes + reserved_bytes_ + charge;
    const bool key_full = quota != 0 && of_key > quota;
    const bool all_full = total != 0 && of_all > total;
    if (!key_full && !all_full) return absl::OkStatus();
    if (!last) {
      if (absl::Status removed = RemoveExpired(); !removed.ok()) return removed;
      continue;
    }
    absl::StatusOr<absl::Duration> wait =
        key_full ? UntilFree(owner, of_key - quota) : UntilFree("", of_all - total);
    if (!wait.ok()) return wait.status();
    return key_full ? limits::BlobsFull(key, quota, bytes, *wait)
                    : limits::ServerBlobsFull(total, bytes, *wait);
  }
  return absl::OkStatus();
}

uint64_t BlobStore::QuotaLocked(const keys::Key& key) const {
  return key.limits.blob_bytes != 0 ? key.limits.blob_bytes : limits_.key_bytes;
}

uint64_t BlobStore::QuotaOf(const keys::Key& key) const {
  absl::MutexLock lock(&mutex_);
  return QuotaLocked(key);
}

absl::Duration BlobStore::time_to_live() const {
  absl::MutexLock lock(&mutex_);
  return limits_.time_to_live;
}

void BlobStore::SetLimits(const Limits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
}

BlobStore::Usage BlobStore::usage() const {
  absl::MutexLock lock(&mutex_);
  return usage_;
}

absl::Status BlobStore::Collect() {
  absl::MutexLock lock(&mutex_);
  absl::erase_if(in_use_, [](const auto& entry) { return entry.second.expired(); });
  absl::Status collected = RemoveLeftovers(absl::StrCat(folder_, "/", kIncoming));
  if (collected.ok()) collected = RemoveExpired();
  return collected.ok() ? CountUsage() : collected;
}

void BlobStore::StartCollecting() {
  collector_ = std::thread([this] { CollectUntilStopped(); });
}

void BlobStore::CollectUntilStopped() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kCollectEvery)) return;
    }
    absl::Status collected;
    try {
      collected = Collect();
    } catch (const std::exception& e) {
      collected = absl::ResourceExhaustedError(e.what());
    }
    if (!collected.ok()) {
      spdlog::error("collecting blobs: {}", std::string(collected.message()));
    }
  }
}

}  // namespace weft::blobs
