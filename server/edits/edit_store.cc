#include "server/edits/edit_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace weft::edits {
namespace {

constexpr char kDatabase[] = "edits.db";
// Of names in an error.
constexpr size_t kShown = 12;

// The sums of `owners` are kept with every change, so that nobody's quota takes a walk over their
// programs.
constexpr char kTables[] = R"(
CREATE TABLE edits (
  id      INTEGER PRIMARY KEY,
  owner   TEXT NOT NULL,     -- a key's id
  model   TEXT NOT NULL,
  name    TEXT NOT NULL,
  version INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  created INTEGER NOT NULL,  -- Unix seconds
  program BLOB NOT NULL,     -- a weft.v1.Program
  UNIQUE (owner, model, name, version)
) STRICT;
CREATE TABLE blobs (
  owner  TEXT NOT NULL,
  sha256 BLOB NOT NULL,
  edit   INTEGER NOT NULL,  -- whose constant it is
  PRIMARY KEY (owner, sha256, edit)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_edit ON blobs (edit);
CREATE TABLE owners (
  owner TEXT NOT NULL PRIMARY KEY,
  edits INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  floor INTEGER NOT NULL     -- the highest version that was deleted: new ones are above it
) STRICT, WITHOUT ROWID;
)";

sqlite::Statement& BindName(sqlite::Statement* statement, const std::string& owner,
                            const std::string& model, const std::string& name) {
  return statement->Bind(1, owner).Bind(2, model).Bind(3, name);
}

EditInfo ReadInfo(const sqlite::Statement& row) {
  return {row.Text(0), row.Text(1), static_cast<uint64_t>(row.Integer(2)),
          static_cast<uint64_t>(row.Integer(3)), absl::FromUnixSeconds(row.Integer(4))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<EditStore>> EditStore::Open(const std::string& data_folder,
                                                           Options options) {
  absl::StatusOr<std::unique_ptr<sqlite::Database>> db =
      sqlite::Database::Open(data_folder, kDatabase, {.what = "store of edits"}, {kTables});
  if (!db.ok()) return db.status();
  return std::unique_ptr<EditStore>(new EditStore(*std::move(db), std::move(options)));
}

EditStore::EditStore(std::unique_ptr<sqlite::Database> db, Options options)
    : now_(std::move(options.now)), db_(std::move(db)), limits_(options.limits) {}

absl::StatusOr<EditStore::Account> EditStore::AccountOf(const std::string& owner) const {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT bytes, edits, floor FROM owners WHERE owner = ?1");
  if (!select.ok()) return select.status();
  select->Bind(1, owner);
  const int stepped = select->Step();
  if (stepped == SQLITE_DONE) return Account();
  if (stepped != SQLITE_ROW) return db_->Error("reading");
  return Account{
      {static_cast<uint64_t>(select->Integer(0)), static_cast<uint64_t>(select->Integer(1))},
      static_cast<uint64_t>(select->Integer(2))};
}

absl::Status EditStore::SetAccount(const std::string& owner, const Account& account) {
  absl::StatusOr<sqlite::Statement> insert = db_->Prepare(
      "INSERT OR REPLACE INTO owners (owner, bytes, edits, floor) VALUES (?1, ?2, ?3, ?4)");
  if (!insert.ok()) return insert.status();
  insert->Bind(1, owner)
      .Bind(2, static_cast<int64_t>(account.usage.bytes))
      .Bind(3, static_cast<int64_t>(account.usage.edits))
      .Bind(4, static_cast<int64_t>(account.floor));
  return insert->Step() == SQLITE_DONE ? absl::OkStatus() : db_->Error("writing");
}

absl::StatusOr<EditStore::Usage> EditStore::CountUsage() const {
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT COALESCE(SUM(bytes), 0), COALESCE(SUM(edits), 0) FROM owners");
  if (!select.ok()) return select.status();
  if (select->Step() != SQLITE_ROW) return db_->Error("reading");
  return Usage{static_cast<uint64_t>(select->Integer(0)),
               static_cast<uint64_t>(select->Integer(1))};
}

absl::Status EditStore::CheckRoom(const keys::Key& key, const Usage& own, uint64_t bytes) const {
  if (limits_.key_edits != 0 && own.edits + 1 > limits_.key_edits) {
    return absl::ResourceExhaustedError(
        absl::StrCat(keys::Describe(key), " may have ", limits_.key_edits,
                     " edits, all versions of each counted (--max-key-edits): delete some"));
  }
  if (limits_.key_bytes != 0 && own.bytes + bytes > limits_.key_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("an edit of ", bytes, " bytes does not fit: ", keys::Describe(key), " has ",
                     own.bytes, " of ", limits_.key_bytes,
                     " bytes of edits, all versions of each counted (--max-key-edit-bytes): delete "
                     "some, or have large constants as blobs"));
  }
  if (limits_.total_bytes == 0) return absl::OkStatus();
  absl::StatusOr<Usage> all = CountUsage();
  if (!all.ok()) return all.status();
  if (all->bytes + bytes <= limits_.total_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("an edit of ", bytes, " bytes does not fit: all keys' edits may have ",
                   limits_.total_bytes, " bytes on this server (--max-edit-bytes)"));
}

absl::StatusOr<EditStore::Edit> EditStore::Find(const std::string& owner, const std::string& model,
                                                const std::string& name, uint64_t version) const {
  absl::StatusOr<sqlite::Statement> select = db_->Prepare(
      absl::StrCat("SELECT model, name, version, bytes, created, program FROM edits "
                   "WHERE owner = ?1 AND model = ?2 AND name = ?3 ",
                   version == 0 ? "ORDER BY version DESC LIMIT 1" : "AND version = ?4"));
  if (!select.ok()) return select.status();
  BindName(&*select, owner, model, name);
  if (version != 0) select->Bind(4, static_cast<int64_t>(version));
  const int stepped = select->Step();
  if (stepped == SQLITE_DONE) return NotThere(owner, model, name, version);
  if (stepped != SQLITE_ROW) return db_->Error("reading");
  return Edit{ReadInfo(*select), select->Text(5)};
}

absl::StatusOr<std::string> EditStore::Names(const std::string& column, const std::string& owner,
                                             const std::string& model,
                                             const std::string& name) const {
  absl::StatusOr<sqlite::Statement> select = db_->Prepare(
      absl::StrCat("SELECT DISTINCT ", column, " FROM edits WHERE owner = ?1",
                   model.empty() ? "" : " AND model = ?2", name.empty() ? "" : " AND name = ?3",
                   " ORDER BY ", column, " LIMIT ", kShown + 1));
  if (!select.ok()) return select.status();
  select->Bind(1, owner);
  if (!model.empty()) select->Bind(2, model);
  if (!name.empty()) select->Bind(3, name);
  std::vector<std::string> names;
  int stepped;
  while ((stepped = select->Step()) == SQLITE_ROW) names.push_back(select->Text(0));
  if (stepped != SQLITE_DONE) return db_->Error("reading");
  const bool more = names.size() > kShown;
  if (more) names.back() = "...";
  return absl::StrJoin(names, ", ");
}

absl::Status EditStore::NotThere(const std::string& owner, const std::string& model,
                                 const std::string& name, uint64_t version) const {
  absl::StatusOr<std::string> versions = Names("version", owner, model, name);
  if (!versions.ok()) return versions.status();
  if (!versions->empty()) {
    return absl::NotFoundError(absl::StrCat("the edit `", name, "` for the model '", model,
                                            "' has no version ", version, "; it has ", *versions));
  }
  absl::StatusOr<std::string> names = Names("name", owner, model, "");
  if (!names.ok()) return names.status();
  const std::string none =
      absl::StrCat("this key has no edit `", name, "` for the model '", model, "'");
  if (!names->empty()) {
    return absl::NotFoundError(absl::StrCat(none, "; for that model it has ", *names));
  }
  absl::StatusOr<std::string> models = Names("model", owner, "", "");
  if (!models.ok()) return models.status();
  return absl::NotFoundError(absl::StrCat(
      none, models->empty() ? "; it has none" : absl::StrCat("; it has edits for ", *models)));
}

absl::Status EditStore::Insert(const std::string& owner, const Edit& edit,
                               const std::vector<std::string>& blobs) {
  absl::StatusOr<sqlite::Statement> insert = db_->Prepare(
      "INSERT INTO edits (owner, model, name, version, bytes, created, program) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
  if (!insert.ok()) return insert.status();
  BindName(&*insert, owner, edit.info.model, edit.info.name)
      .Bind(4, static_cast<int64_t>(edit.info.version))
      .Bind(5, static_cast<int64_t>(edit.info.bytes))
      .Bind(6, absl::ToUnixSeconds(edit.info.created))
      .BindBlob(7, edit.program.data(), edit.program.size());
  if (insert->Step() != SQLITE_DONE) return db_->Error("writing");
  if (blobs.empty()) return absl::OkStatus();
  absl::StatusOr<sqlite::Statement> hold = db_->Prepare(
      "INSERT OR IGNORE INTO blobs (owner, sha256, edit) VALUES (?1, ?2, last_insert_rowid())");
  if (!hold.ok()) return hold.status();
  for (const std::string& sha256 : blobs) {
    hold->Reset();
    hold->Bind(1, owner).BindBlob(2, sha256.data(), sha256.size());
    if (hold->Step() != SQLITE_DONE) return db_->Error("writing");
  }
  return absl::OkStatus();
}

absl::StatusOr<EditStore::Stored> EditStore::Store(const keys::Key& key, const std::string& model,
                                                   const std::string& name,
                                                   const std::string& program,
                                                   const std::vector<std::string>& blobs) {
  const std::string owner = keys::OwnerOf(key);
  Stored stored;
  absl::MutexLock lock(&mutex_);
  const absl::Status changed =
      db_->Transact([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
        absl::StatusOr<Edit> latest = Find(owner, model, name, 0);
        if (!latest.ok() && !absl::IsNotFound(latest.status())) return latest.status();
        if (latest.ok() && latest->program == program) {
          stored = {latest->info, true};
          return absl::OkStatus();
        }
        absl::StatusOr<Account> account = AccountOf(owner);
        if (!account.ok()) return account.status();
        if (absl::Status room = CheckRoom(key, account->usage, program.size()); !room.ok()) {
          return room;
        }
        const uint64_t before = std::max(latest.ok() ? latest->info.version : 0, account->floor);
        stored.info = {model, name, before + 1, program.size(),
                       absl::FromUnixSeconds(absl::ToUnixSeconds(now_()))};
        if (absl::Status in = Insert(owner, {stored.info, program}, blobs); !in.ok()) return in;
        account->usage.bytes += program.size();
        ++account->usage.edits;
        return SetAccount(owner, *account);
      });
  if (!changed.ok()) return changed;
  return stored;
}

absl::StatusOr<EditStore::Edit> EditStore::Get(const keys::Key& key, const std::string& model,
                                               const std::string& name, uint64_t version) const {
  absl::MutexLock lock(&mutex_);
  return Find(keys::OwnerOf(key), model, name, version);
}

absl::StatusOr<std::vector<EditInfo>> EditStore::List(const keys::Key& key,
                                                      const std::string& model) const {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> select = db_->Prepare(
      absl::StrCat("SELECT model, name, version, bytes, created FROM edits WHERE owner = ?1",
                   model.empty() ? "" : " AND model = ?2", " ORDER BY model, name, version"));
  if (!select.ok()) return select.status();
  select->Bind(1, keys::OwnerOf(key));
  if (!model.empty()) select->Bind(2, model);
  std::vector<EditInfo> edits;
  int stepped;
  while ((stepped = select->Step()) == SQLITE_ROW) edits.push_back(ReadInfo(*select));
  if (stepped != SQLITE_DONE) return db_->Error("reading");
  return edits;
}

absl::StatusOr<uint64_t> EditStore::Delete(const keys::Key& key, const std::string& model,
                                           const std::string& name, uint64_t version) {
  const std::string owner = keys::OwnerOf(key);
  uint64_t deleted = 0;
  absl::MutexLock lock(&mutex_);
  const absl::Status changed =
      db_->Transact([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
        const char* const kWhich = version == 0 ? "" : " AND version = ?4";
        absl::StatusOr<sqlite::Statement> select = db_->Prepare(
            absl::StrCat("SELECT COUNT(*), COALESCE(SUM(bytes), 0), COALESCE(MAX(version), 0) "
                         "FROM edits WHERE owner = ?1 AND model = ?2 AND name = ?3",
                         kWhich));
        if (!select.ok()) return select.status();
        BindName(&*select, owner, model, name);
        if (version != 0) select->Bind(4, static_cast<int64_t>(version));
        if (select->Step() != SQLITE_ROW) return db_->Error("reading");
        deleted = static_cast<uint64_t>(select->Integer(0));
        if (deleted == 0) return NotThere(owner, model, name, version);
        absl::StatusOr<Account> account = AccountOf(owner);
        if (!account.ok()) return account.status();
        account->usage.edits -= std::min(account->usage.edits, deleted);
        account->usage.bytes -=
            std::min(account->usage.bytes, static_cast<uint64_t>(select->Integer(1)));
        account->floor = std::max(account->floor, static_cast<uint64_t>(select->Integer(2)));
        for (const char* const what :
             {"DELETE FROM blobs WHERE edit IN (SELECT id FROM edits WHERE owner = ?1 AND model = "
              "?2 AND name = ?3%s)",
              "DELETE FROM edits WHERE owner = ?1 AND model = ?2 AND name = ?3%s"}) {
          absl::StatusOr<sqlite::Statement> remove =
              db_->Prepare(absl::StrReplaceAll(what, {{"%s", kWhich}}));
          if (!remove.ok()) return remove.status();
          BindName(&*remove, owner, model, name);
          if (version != 0) remove->Bind(4, static_cast<int64_t>(version));
          if (remove->Step() != SQLITE_DONE) return db_->Error("writing");
        }
        return SetAccount(owner, *account);
      });
  if (!changed.ok()) return changed;
  return deleted;
}

absl::Status EditStore::Forget(const keys::Key& key) {
  const std::string owner = keys::OwnerOf(key);
  absl::MutexLock lock(&mutex_);
  return db_->Transact([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
    for (const char* const table : {"blobs", "edits", "owners"}) {
      absl::StatusOr<sqlite::Statement> remove =
          db_->Prepare(absl::StrCat("DELETE FROM ", table, " WHERE owner = ?1"));
      if (!remove.ok()) return remove.status();
      remove->Bind(1, owner);
      if (remove->Step() != SQLITE_DONE) return db_->Error("writing");
    }
    return absl::OkStatus();
  });
}

bool EditStore::HoldsBlob(const std::string& owner, const std::string& sha256) const {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> select =
      db_->Prepare("SELECT 1 FROM blobs WHERE owner = ?1 AND sha256 = ?2 LIMIT 1");
  if (!select.ok()) return true;
  select->Bind(1, owner).BindBlob(2, sha256.data(), sha256.size());
  return select->Step() != SQLITE_DONE;
}

EditStore::Limits EditStore::limits() const {
  absl::MutexLock lock(&mutex_);
  return limits_;
}

void EditStore::SetLimits(const Limits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
}

absl::StatusOr<EditStore::Usage> EditStore::usage() const {
  absl::MutexLock lock(&mutex_);
  return CountUsage();
}

}  // namespace weft::edits
