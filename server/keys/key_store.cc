#include "server/keys/key_store.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace weft::keys {
namespace {

constexpr char kFileName[] = "keys.db";

// Five bits a character, so that random bytes map without a bias.
constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
constexpr size_t kIdCharacters = 8;
constexpr size_t kSecretCharacters = 40;  // 200 bits
constexpr char kPrefix[] = "weft_";

constexpr size_t kMaxLabel = 200;
constexpr size_t kMaxModels = 64;
constexpr size_t kMaxGlob = 200;
constexpr double kMaxRunSeconds = 1e9;
constexpr absl::Duration kMaxOldSecret = absl::Hours(24 * 366);

constexpr char kFirstTable[] = R"(
CREATE TABLE keys (
  id            TEXT PRIMARY KEY,
  secret_sha256 BLOB NOT NULL,
  label         TEXT NOT NULL,
  scopes        TEXT NOT NULL,     -- one a line
  models        TEXT NOT NULL,     -- globs, one a line
  created       INTEGER NOT NULL,  -- Unix seconds, as the next two
  expires       INTEGER,
  revoked       INTEGER
) STRICT;
)";

// The secret before the present one and when it ends, in Unix seconds; limits, 0 for none.
constexpr char kRotationAndLimits[] = R"(
ALTER TABLE keys ADD COLUMN old_secret_sha256 BLOB;
ALTER TABLE keys ADD COLUMN old_secret_ends INTEGER;
ALTER TABLE keys ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN tokens_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN concurrent_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN run_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN generated_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN blob_bytes INTEGER NOT NULL DEFAULT 0;
)";

constexpr char kSelect[] =
    "SELECT id, label, scopes, models, created, expires, revoked, secret_sha256, "
    "old_secret_sha256, old_secret_ends, requests_per_minute, tokens_per_minute, concurrent_runs, "
    "result_bytes, run_seconds, generated_tokens, blob_bytes FROM keys ORDER BY rowid";

// What Create and Update write has the same places in both.
constexpr char kUpdate[] =
    "UPDATE keys SET label = ?2, scopes = ?3, models = ?4, expires = ?5, requests_per_minute = ?6, "
    "tokens_per_minute = ?7, concurrent_runs = ?8, result_bytes = ?9, run_seconds = ?10, "
    "generated_tokens = ?11, blob_bytes = ?12 WHERE id = ?1";
constexpr char kInsert[] =
    "INSERT INTO keys (id, label, scopes, models, expires, requests_per_minute, "
    "tokens_per_minute, concurrent_runs, result_bytes, run_seconds, generated_tokens, blob_bytes, "
    "secret_sha256, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
constexpr int kInsertSecret = 13;
constexpr int kInsertCreated = 14;

absl::StatusOr<std::string> RandomCharacters(size_t count) {
  std::string bytes(count, '\0');
  size_t done = 0;
  while (done < count) {
    const ssize_t got = getrandom(bytes.data() + done, count - done, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat("getrandom: ", strerror(errno)));
    done += static_cast<size_t>(got);
  }
  for (char& c : bytes) c = kAlphabet[static_cast<unsigned char>(c) & 31];
  return bytes;
}

bool IsPrintable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

bool IsKeyText(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c != '\0' && strchr(kAlphabet, c) != nullptr; });
}

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

absl::Time TimeOr(const sqlite::Statement& row, int column, absl::Time absent) {
  return row.IsNull(column) ? absent : absl::FromUnixSeconds(row.Integer(column));
}

absl::Time WholeSeconds(absl::Time time) {
  return time == absl::InfiniteFuture() ? time : absl::FromUnixSeconds(absl::ToUnixSeconds(time));
}

std::string FormatDay(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

absl::Status CheckLimits(const KeyLimits& limits) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (limits.tokens_per_minute > kMost || limits.result_bytes > kMost ||
      limits.blob_bytes > kMost) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a limit is over ", kMost, ": leave it out, or say 0, where there shall be no bound"));
  }
  if (!std::isfinite(limits.run_seconds) || limits.run_seconds < 0 ||
      limits.run_seconds > kMaxRunSeconds) {
    return absl::InvalidArgumentError(
        "the limit run_seconds is a number of seconds from 0 (no bound) to a billion");
  }
  return absl::OkStatus();
}

// `kept` is an expiry that the key has already.
absl::Status CheckRequest(const KeyStore::Request& request, absl::Time now, absl::Time kept) {
  if (request.label.size() > kMaxLabel || !IsPrintable(request.label)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a key's label is one line of at most ", kMaxLabel, " bytes"));
  }
  if (request.scopes.empty()) {
    return absl::InvalidArgumentError("a key needs a scope: trace, weights or admin");
  }
  for (const std::string& scope : request.scopes) {
    if (scope != kTraceScope && scope != kWeightsScope && scope != kAdminScope) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no scope '", scope, "'; the scopes are trace, weights and admin"));
    }
  }
  if (request.models.empty() || request.models.size() > kMaxModels) {
    return absl::InvalidArgumentError(
        absl::StrCat("a key has 1 to ", kMaxModels, " model globs; '*' is every model"));
  }
  for (const std::string& glob : request.models) {
    if (glob.empty() || glob.size() > kMaxGlob || !IsPrintable(glob)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a model glob is one line of 1 to ", kMaxGlob, " bytes"));
    }
  }
  if (request.expires <= now && request.expires != kept) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key would have expired already, at ", FormatDay(request.expires)));
  }
  return CheckLimits(request.limits);
}

// Write the settings of `key` into the places of kUpdate and kInsert.
void BindSettings(const Key& key, sqlite::Statement* statement) {
  statement->Bind(2, key.label)
      .Bind(3, absl::StrJoin(key.scopes, "\n"))
      .Bind(4, absl::StrJoin(key.models, "\n"));
  if (key.expires == absl::InfiniteFuture()) {
    statement->BindNull(5);
  } else {
    statement->Bind(5, absl::ToUnixSeconds(key.expires));
  }
  statement->Bind(6, int64_t{key.limits.requests_per_minute})
      .Bind(7, static_cast<int64_t>(key.limits.tokens_per_minute))
      .Bind(8, int64_t{key.limits.concurrent_runs})
      .Bind(9, static_cast<int64_t>(key.limits.result_bytes))
      .Bind(10, key.limits.run_seconds)
      .Bind(11, int64_t{key.limits.generated_tokens})
      .Bind(12, static_cast<int64_t>(key.limits.blob_bytes));
}

void ApplyRequest(const KeyStore::Request& request, Key* key) {
  key->label = request.label;
  key->models = request.models;
  key->expires = WholeSeconds(request.expires);
  key->limits = request.limits;
  key->scopes.clear();
  for (const std::string& scope : request.scopes) {
    if (!HasScope(*key, scope)) key->scopes.push_back(scope);
  }
}

absl::Status NoSuchKey(const std::string& id) {
  return absl::NotFoundError(
      absl::StrCat("there is no key with the id '", id, "'; 'weft keys list' shows the ids"));
}

absl::Status Revoked(const Key& key) {
  return absl::UnauthenticatedError(
      absl::StrCat("API key ", key.id, " was revoked at ", FormatDay(key.revoked)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyStore>> KeyStore::Open(const std::string& data_folder,
                                                         Options options) {
  absl::StatusOr<std::unique_ptr<sqlite::Database>> db = sqlite::Database::Open(
      data_folder, kFileName, {.what = "key store", .create = options.create, .durable = true},
      {kFirstTable, kRotationAndLimits});
  if (absl::IsNotFound(db.status())) {
    return absl::NotFoundError(absl::StrCat(std::string(db.status().message()),
                                            ": make a key with 'weft keys create --data ",
                                            data_folder, "'"));
  }
  if (!db.ok()) return db.status();
  std::unique_ptr<KeyStore> store(new KeyStore(*std::move(db), std::move(options.now)));
  absl::MutexLock lock(&store->mutex_);
  absl::StatusOr<sqlite::Statement> all = store->db_->Prepare(kSelect);
  if (!all.ok()) return all.status();
  store->all_ = *std::move(all);
  if (absl::Status read = store->Refresh(); !read.ok()) return read;
  return store;
}

absl::StatusOr<KeyStore::Digest> KeyStore::Sha256(const std::string& text) {
  // Fetching it costs more than the digest; it lives as long as the process.
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Digest digest;
  unsigned int size = 0;
  if (sha256 == nullptr ||
      EVP_Digest(text.data(), text.size(), digest.data(), &size, sha256, nullptr) != 1 ||
      size != digest.size()) {
    return absl::InternalError("SHA-256 failed");
  }
  return digest;
}

KeyStore::Row KeyStore::ReadRow(const sqlite::Statement& row) {
  const auto digest = [&row](int column) {
    Digest digest = {};
    const std::string bytes = row.Text(column);
    if (bytes.size() == digest.size()) std::memcpy(digest.data(), bytes.data(), digest.size());
    return digest;
  };
  Row read;
  Key& key = read.key;
  key.id = row.Text(0);
  key.label = row.Text(1);
  key.scopes = Lines(row.Text(2));
  key.models = Lines(row.Text(3));
  key.created = absl::FromUnixSeconds(row.Integer(4));
  key.expires = TimeOr(row, 5, absl::InfiniteFuture());
  key.revoked = TimeOr(row, 6, absl::InfiniteFuture());
  read.secret = digest(7);
  read.old_secret = digest(8);
  read.old_secret_ends = TimeOr(row, 9, absl::InfinitePast());
  key.limits.requests_per_minute = static_cast<uint32_t>(row.Integer(10));
  key.limits.tokens_per_minute = static_cast<uint64_t>(row.Integer(11));
  key.limits.concurrent_runs = static_cast<uint32_t>(row.Integer(12));
  key.limits.result_bytes = static_cast<uint64_t>(row.Integer(13));
  key.limits.run_seconds = row.Real(14);
  key.limits.generated_tokens = static_cast<uint32_t>(row.Integer(15));
  key.limits.blob_bytes = static_cast<uint64_t>(row.Integer(16));
  return read;
}

absl::Status KeyStore::Refresh() const {
  // Asked at every call, before which a key may have been revoked by another process: SQLite's own
  // way to ask (`PRAGMA data_version`) takes locks of files, and 80 us when caches are cold.
  std::optional<sqlite::CommitMark> mark = db_->ReadCommitMark();
  if (mark && mark == rows_mark_) return absl::OkStatus();

  absl::flat_hash_map<std::string, Row> rows;
  all_.Reset();  // of somebody whom an exception ended
  int more;
  while ((more = all_.Step()) == SQLITE_ROW) {
    Row row = ReadRow(all_);
    std::string id = row.key.id;
    rows.emplace(std::move(id), std::move(row));
  }
  const absl::Status read = more == SQLITE_DONE ? absl::OkStatus() : db_->Error("reading");
  all_.Reset();
  if (!read.ok()) return read;
  rows_ = std::move(rows);
  // Of before the rows were read: what changed in between is read next time.
  rows_mark_ = mark;
  return absl::OkStatus();
}

absl::Status KeyStore::Write(sqlite::Statement* statement) {
  return statement->Step() == SQLITE_DONE ? absl::OkStatus() : db_->Error("writing");
}

absl::StatusOr<NewKey> KeyStore::Create(const Request& request) {
  NewKey made;
  made.key.created = WholeSeconds(now_());
  if (absl::Status checked = CheckRequest(request, made.key.created, absl::InfiniteFuture());
      !checked.ok()) {
    return checked;
  }
  ApplyRequest(request, &made.key);

  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> insert = db_->Prepare(kInsert);
  if (!insert.ok()) return insert.status();
  constexpr int kTries = 8;  // an id of 40 bits may be taken
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<std::string> id = RandomCharacters(kIdCharacters);
    if (!id.ok()) return id.status();
    absl::StatusOr<std::string> secret = RandomCharacters(kSecretCharacters);
    if (!secret.ok()) return secret.status();
    absl::StatusOr<Digest> digest = Sha256(*secret);
    if (!digest.ok()) return digest.status();
    made.key.id = *id;
    made.secret = absl::StrCat(kPrefix, *id, "_", *secret);

    insert->Reset();
    insert->Bind(1, made.key.id);
    BindSettings(made.key, &*insert);
    insert->BindBlob(kInsertSecret, digest->data(), digest->size())
        .Bind(kInsertCreated, absl::ToUnixSeconds(made.key.created));
    const int stepped = insert->Step();
    if (stepped == SQLITE_DONE) return made;
    if (stepped != SQLITE_CONSTRAINT) return db_->Error("writing");
  }
  return absl::InternalError("key store: no free id was found");
}

absl::StatusOr<std::vector<Key>> KeyStore::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<Key> keys;
  all_.Reset();
  int stepped;
  while ((stepped = all_.Step()) == SQLITE_ROW) keys.push_back(ReadRow(all_).key);
  const absl::Status read = stepped == SQLITE_DONE ? absl::OkStatus() : db_->Error("reading");
  all_.Reset();
  if (!read.ok()) return read;
  return keys;
}

absl::StatusOr<Key> KeyStore::GetLocked(const std::string& id) const {
  if (absl::Status read = Refresh(); !read.ok()) return read;
  const auto found = rows_.find(id);
  if (found == rows_.end()) return NoSuchKey(id);
  return found->second.key;
}

absl::StatusOr<Key> KeyStore::Get(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  return GetLocked(id);
}

absl::StatusOr<Key> KeyStore::GetLive(const std::string& id) const {
  absl::StatusOr<Key> key = GetLocked(id);
  if (key.ok() && key->revoked != absl::InfiniteFuture()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "key ", id, " was revoked at ", FormatDay(key->revoked), ", for ever: make a new one"));
  }
  return key;
}

absl::StatusOr<Key> KeyStore::Update(const std::string& id, const Request& request) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Key> key = GetLive(id);
  if (!key.ok()) return key.status();
  if (absl::Status checked = CheckRequest(request, now_(), key->expires); !checked.ok()) {
    return checked;
  }
  ApplyRequest(request, &*key);
  absl::StatusOr<sqlite::Statement> update = db_->Prepare(kUpdate);
  if (!update.ok()) return update.status();
  update->Bind(1, id);
  BindSettings(*key, &*update);
  if (absl::Status written = Write(&*update); !written.ok()) return written;
  return key;
}

absl::StatusOr<NewKey> KeyStore::Rotate(const std::string& id, absl::Duration old_secret_for) {
  if (old_secret_for < absl::ZeroDuration() || old_secret_for > kMaxOldSecret) {
    return absl::InvalidArgumentError(
        "the old secret is good for a time from 0 (it ends now) to a year");
  }
  absl::StatusOr<std::string> secret = RandomCharacters(kSecretCharacters);
  if (!secret.ok()) return secret.status();
  absl::StatusOr<Digest> digest = Sha256(*secret);
  if (!digest.ok()) return digest.status();

  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Key> key = GetLive(id);
  if (!key.ok()) return key.status();
  absl::StatusOr<sqlite::Statement> rotate = db_->Prepare(
      "UPDATE keys SET old_secret_sha256 = secret_sha256, old_secret_ends = ?3, "
      "secret_sha256 = ?2 WHERE id = ?1");
  if (!rotate.ok()) return rotate.status();
  rotate->Bind(1, id)
      .BindBlob(2, digest->data(), digest->size())
      .Bind(3, absl::ToUnixSeconds(now_() + old_secret_for));
  if (absl::Status written = Write(&*rotate); !written.ok()) return written;
  return NewKey{*std::move(key), absl::StrCat(kPrefix, id, "_", *secret)};
}

absl::Status KeyStore::Revoke(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> revoke =
      db_->Prepare("UPDATE keys SET revoked = coalesce(revoked, ?2) WHERE id = ?1");
  if (!revoke.ok()) return revoke.status();
  revoke->Bind(1, id).Bind(2, absl::ToUnixSeconds(now_()));
  if (absl::Status written = Write(&*revoke); !written.ok()) return written;
  return db_->changes() == 0 ? NoSuchKey(id) : absl::OkStatus();
}

absl::Status KeyStore::CheckNotRevoked(const std::string& id) const {
  absl::MutexLock lock(&mutex_);
  if (absl::Status read = Refresh(); !read.ok()) return read;
  const auto found = rows_.find(id);
  if (found == rows_.end()) {
    return absl::UnauthenticatedError(absl::StrCat("API key ", id, " is gone"));
  }
  const Key& key = found->second.key;
  return key.revoked == absl::InfiniteFuture() ? absl::OkStatus() : Revoked(key);
}

absl::StatusOr<Key> KeyStore::Authenticate(const std::string& secret) const {
  if (secret.empty()) {
    return absl::UnauthenticatedError(
        "no API key: send the metadata 'authorization: Bearer weft_<id>_<secret>'");
  }
  constexpr size_t kPrefixCharacters = sizeof(kPrefix) - 1;
  constexpr size_t kCharacters = kPrefixCharacters + kIdCharacters + 1 + kSecretCharacters;
  const bool framed = secret.size() == kCharacters && secret.rfind(kPrefix, 0) == 0 &&
                      secret[kPrefixCharacters + kIdCharacters] == '_';
  if (!framed || !IsKeyText(secret.substr(kPrefixCharacters, kIdCharacters)) ||
      !IsKeyText(secret.substr(kCharacters - kSecretCharacters))) {
    return absl::UnauthenticatedError(
        "malformed API key: a key reads weft_<id>_<secret>, as 'weft keys create' printed it");
  }
  const std::string id = secret.substr(kPrefixCharacters, kIdCharacters);
  absl::StatusOr<Digest> digest = Sha256(secret.substr(kCharacters - kSecretCharacters));
  if (!digest.ok()) return digest.status();

  const absl::Time now = now_();
  Row row;
  bool known = false;
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status read = Refresh(); !read.ok()) return read;
    if (const auto found = rows_.find(id); found != rows_.end()) {
      known = true;
      row = found->second;
    }
  }
  const bool same = CRYPTO_memcmp(row.secret.data(), digest->data(), digest->size()) == 0;
  const bool same_as_old =
      CRYPTO_memcmp(row.old_secret.data(), digest->data(), digest->size()) == 0;
  if (!known || !(same || (same_as_old && now < row.old_secret_ends))) {
    return absl::UnauthenticatedError("unknown API key: no key of this server has that secret");
  }
  if (row.key.revoked != absl::InfiniteFuture()) return Revoked(row.key);
  if (row.key.expires <= now) {
    return absl::UnauthenticatedError(
        absl::StrCat("API key ", id, " expired at ", FormatDay(row.key.expires)));
  }
  return std::move(row.key);
}

}  // namespace weft::keys
