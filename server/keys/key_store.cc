#include "server/keys/key_store.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace weft::keys {
namespace {

constexpr char kFileName[] = "keys.db";
constexpr int kSchemaVersion = 1;
constexpr int kBusyMilliseconds = 5000;

// Five bits a character, so that random bytes map without a bias.
constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
constexpr size_t kIdCharacters = 8;
constexpr size_t kSecretCharacters = 40;  // 200 bits
constexpr char kPrefix[] = "weft_";

constexpr size_t kMaxLabel = 200;
constexpr size_t kMaxModels = 64;
constexpr size_t kMaxGlob = 200;

constexpr char kSchema[] = R"(
CREATE TABLE IF NOT EXISTS keys (
  id            TEXT PRIMARY KEY,
  secret_sha256 BLOB NOT NULL,
  label         TEXT NOT NULL,
  scopes        TEXT NOT NULL,     -- one a line
  models        TEXT NOT NULL,     -- globs, one a line
  created       INTEGER NOT NULL,  -- Unix seconds, as the next two
  expires       INTEGER,
  revoked       INTEGER
) STRICT;
PRAGMA user_version = 1;
)";

constexpr char kColumns[] =
    "SELECT id, label, scopes, models, created, expires, revoked, secret_sha256 FROM keys";

using Digest = std::array<unsigned char, 32>;

struct StatementDeleter {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, StatementDeleter>;

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

absl::StatusOr<Digest> Sha256(const std::string& text) {
  Digest digest;
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 ||
      size != digest.size()) {
    return absl::InternalError("SHA-256 failed");
  }
  return digest;
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

std::string Text(sqlite3_stmt* row, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  return text == nullptr
             ? std::string()
             : std::string(text, static_cast<size_t>(sqlite3_column_bytes(row, column)));
}

std::vector<std::string> Lines(sqlite3_stmt* row, int column) {
  return absl::StrSplit(Text(row, column), '\n', absl::SkipEmpty());
}

absl::Time TimeOr(sqlite3_stmt* row, int column, absl::Time absent) {
  return sqlite3_column_type(row, column) == SQLITE_NULL
             ? absent
             : absl::FromUnixSeconds(sqlite3_column_int64(row, column));
}

Key ReadKey(sqlite3_stmt* row) {
  Key key;
  key.id = Text(row, 0);
  key.label = Text(row, 1);
  key.scopes = Lines(row, 2);
  key.models = Lines(row, 3);
  key.created = absl::FromUnixSeconds(sqlite3_column_int64(row, 4));
  key.expires = TimeOr(row, 5, absl::InfiniteFuture());
  key.revoked = TimeOr(row, 6, absl::InfiniteFuture());
  return key;
}

void BindText(sqlite3_stmt* statement, int place, const std::string& text) {
  sqlite3_bind_text(statement, place, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}

std::string FormatDay(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

absl::Status CheckRequest(const KeyStore::Request& request, absl::Time now) {
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
  if (request.expires <= now) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key would have expired already, at ", FormatDay(request.expires)));
  }
  return absl::OkStatus();
}

// Make the folder for its owner alone; one that exists keeps its mode.
absl::Status MakeFolder(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  if (folder.has_parent_path()) std::filesystem::create_directories(folder.parent_path(), error);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot make the data folder '", folder.string(), "'"));
  }
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data folder '", folder.string(), "' is not a folder"));
  }
  return absl::OkStatus();
}

}  // namespace

KeyStore::KeyStore(sqlite3* db, std::string path, std::function<absl::Time()> now)
    : path_(std::move(path)), now_(std::move(now)), db_(db) {}

KeyStore::~KeyStore() {
  absl::MutexLock lock(&mutex_);
  sqlite3_finalize(find_);
  sqlite3_close(db_);
}

absl::StatusOr<std::unique_ptr<KeyStore>> KeyStore::Open(const std::string& data_folder,
                                                         Options options) {
  if (data_folder.empty()) return absl::InvalidArgumentError("the data folder has no name");
  const std::filesystem::path folder = std::filesystem::path(data_folder).has_filename()
                                           ? std::filesystem::path(data_folder)
                                           : std::filesystem::path(data_folder).parent_path();
  const std::string path = (folder / kFileName).string();
  if (options.create) {
    if (absl::Status made = MakeFolder(folder); !made.ok()) return made;
  } else if (access(path.c_str(), F_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("'", data_folder, "' holds no keys yet (no ", kFileName,
                                            "): make one with 'weft keys create --data ",
                                            data_folder, "'"));
  }
  // SQLite gives its -wal and -shm files the mode of the database, so it must be right before
  // SQLite sees it.
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open '", path, "'"));
  const bool mode_set = fchmod(file, 0600) == 0;
  const int mode_errno = errno;
  close(file);
  if (!mode_set) {
    return absl::ErrnoToStatus(mode_errno, absl::StrCat("cannot keep '", path, "' to its owner"));
  }

  sqlite3* db = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  if (opened != SQLITE_OK) {
    const std::string reason = db == nullptr ? sqlite3_errstr(opened) : sqlite3_errmsg(db);
    sqlite3_close(db);
    return absl::UnavailableError(absl::StrCat("cannot open '", path, "': ", reason));
  }
  std::unique_ptr<KeyStore> store(new KeyStore(db, path, std::move(options.now)));
  absl::MutexLock lock(&store->mutex_);
  if (absl::Status prepared = store->Prepare(); !prepared.ok()) return prepared;
  return store;
}

absl::Status KeyStore::Prepare() {
  sqlite3_busy_timeout(db_, kBusyMilliseconds);
  if (sqlite3_exec(db_, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", nullptr, nullptr,
                   nullptr) != SQLITE_OK) {
    return DbError("opening");
  }
  int version = -1;
  {
    sqlite3_stmt* raw = nullptr;
    sqlite3_prepare_v2(db_, "PRAGMA user_version", -1, &raw, nullptr);
    const Statement statement(raw);
    if (sqlite3_step(raw) != SQLITE_ROW) return DbError("reading the version of");
    version = sqlite3_column_int(raw, 0);
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", path_, "' was written by a newer Weft (its version is ", version,
                     ", this one knows ", kSchemaVersion, ")"));
  }
  if (version < kSchemaVersion &&
      sqlite3_exec(db_, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return DbError("making the table of");
  }
  const std::string find = absl::StrCat(kColumns, " WHERE id = ?1");
  if (sqlite3_prepare_v3(db_, find.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &find_, nullptr) !=
      SQLITE_OK) {
    return DbError("reading");
  }
  return absl::OkStatus();
}

absl::Status KeyStore::DbError(const char* doing) const {
  const int code = sqlite3_errcode(db_);
  const std::string message =
      absl::StrCat("key store: ", doing, " '", path_, "': ", sqlite3_errmsg(db_));
  return code == SQLITE_BUSY || code == SQLITE_LOCKED ? absl::UnavailableError(message)
                                                      : absl::InternalError(message);
}

absl::StatusOr<NewKey> KeyStore::Create(const Request& request) {
  const absl::Time now = absl::FromUnixSeconds(absl::ToUnixSeconds(now_()));
  if (absl::Status checked = CheckRequest(request, now); !checked.ok()) return checked;

  NewKey made;
  made.key.label = request.label;
  made.key.models = request.models;
  made.key.created = now;
  made.key.expires = request.expires == absl::InfiniteFuture()
                         ? request.expires
                         : absl::FromUnixSeconds(absl::ToUnixSeconds(request.expires));
  for (const std::string& scope : request.scopes) {
    if (!HasScope(made.key, scope)) made.key.scopes.push_back(scope);
  }

  absl::MutexLock lock(&mutex_);
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_,
                         "INSERT INTO keys (id, secret_sha256, label, scopes, models, created, "
                         "expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                         -1, &raw, nullptr) != SQLITE_OK) {
    return DbError("writing");
  }
  const Statement insert(raw);
  constexpr int kTries = 8;  // an id of 40 bits may be taken
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<std::string> id = RandomCharacters(kIdCharacters);
    if (!id.ok()) return id.status();
    absl::StatusOr<std::string> secret = RandomCharacters(kSecretCharacters);
    if (!secret.ok()) return secret.status();
    made.key.id = *id;
    made.secret = absl::StrCat(kPrefix, *id, "_", *secret);
    absl::StatusOr<Digest> digest = Sha256(*secret);
    if (!digest.ok()) return digest.status();

    sqlite3_reset(raw);
    BindText(raw, 1, made.key.id);
    sqlite3_bind_blob(raw, 2, digest->data(), static_cast<int>(digest->size()), SQLITE_TRANSIENT);
    BindText(raw, 3, made.key.label);
    BindText(raw, 4, absl::StrJoin(made.key.scopes, "\n"));
    BindText(raw, 5, absl::StrJoin(made.key.models, "\n"));
    sqlite3_bind_int64(raw, 6, absl::ToUnixSeconds(made.key.created));
    if (made.key.expires == absl::InfiniteFuture()) {
      sqlite3_bind_null(raw, 7);
    } else {
      sqlite3_bind_int64(raw, 7, absl::ToUnixSeconds(made.key.expires));
    }
    const int stepped = sqlite3_step(raw);
    if (stepped == SQLITE_DONE) return made;
    if (stepped != SQLITE_CONSTRAINT) return DbError("writing");
  }
  return absl::InternalError("key store: no free id was found");
}

absl::StatusOr<std::vector<Key>> KeyStore::List() const {
  absl::MutexLock lock(&mutex_);
  sqlite3_stmt* raw = nullptr;
  const std::string query = absl::StrCat(kColumns, " ORDER BY rowid");
  if (sqlite3_prepare_v2(db_, query.c_str(), -1, &raw, nullptr) != SQLITE_OK) {
    return DbError("reading");
  }
  const Statement statement(raw);
  std::vector<Key> keys;
  int stepped;
  while ((stepped = sqlite3_step(raw)) == SQLITE_ROW) keys.push_back(ReadKey(raw));
  if (stepped != SQLITE_DONE) return DbError("reading");
  return keys;
}

absl::Status KeyStore::Revoke(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_, "UPDATE keys SET revoked = coalesce(revoked, ?2) WHERE id = ?1", -1,
                         &raw, nullptr) != SQLITE_OK) {
    return DbError("writing");
  }
  const Statement statement(raw);
  BindText(raw, 1, id);
  sqlite3_bind_int64(raw, 2, absl::ToUnixSeconds(now_()));
  if (sqlite3_step(raw) != SQLITE_DONE) return DbError("writing");
  if (sqlite3_changes(db_) == 0) {
    return absl::NotFoundError(
        absl::StrCat("there is no key with the id '", id, "'; 'weft keys list' shows the ids"));
  }
  return absl::OkStatus();
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

  std::optional<Key> key;
  Digest stored = {};  // no secret is known that hashes to zeros
  {
    absl::MutexLock lock(&mutex_);
    BindText(find_, 1, id);
    const int stepped = sqlite3_step(find_);
    if (stepped == SQLITE_ROW) {
      key = ReadKey(find_);
      if (sqlite3_column_bytes(find_, 7) == static_cast<int>(stored.size())) {
        std::memcpy(stored.data(), sqlite3_column_blob(find_, 7), stored.size());
      }
    }
    const absl::Status failed =
        stepped == SQLITE_ROW || stepped == SQLITE_DONE ? absl::OkStatus() : DbError("reading");
    sqlite3_reset(find_);
    if (!failed.ok()) return failed;
  }
  const bool same = CRYPTO_memcmp(stored.data(), digest->data(), stored.size()) == 0;
  if (!key.has_value() || !same) {
    return absl::UnauthenticatedError("unknown API key: no key of this server has that secret");
  }
  if (key->revoked != absl::InfiniteFuture()) {
    return absl::UnauthenticatedError(
        absl::StrCat("API key ", id, " was revoked at ", FormatDay(key->revoked)));
  }
  if (key->expires <= now_()) {
    return absl::UnauthenticatedError(
        absl::StrCat("API key ", id, " expired at ", FormatDay(key->expires)));
  }
  return *std::move(key);
}

}  // namespace weft::keys
