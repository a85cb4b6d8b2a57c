#include "server/sqlite/database.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace weft::sqlite {
namespace {

constexpr int kBusyMilliseconds = 5000;

// Of the index of the write-ahead log, which lies in shared memory
// (https://sqlite.org/walformat.html): its regions are as large, and the first word of its header
// is the format's version.
constexpr int kLogIndexRegionBytes = 32768;
constexpr uint32_t kLogIndexVersion = 3007000;

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

// SQLite gives its -wal and -shm files the mode of the database, so it must be right before SQLite
// sees it.
absl::Status MakePrivate(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open '", path, "'"));
  const bool mode_set = fchmod(file, 0600) == 0;
  const int mode_errno = errno;
  close(file);
  if (mode_set) return absl::OkStatus();
  return absl::ErrnoToStatus(mode_errno, absl::StrCat("cannot keep '", path, "' to its owner"));
}

}  // namespace

Statement& Statement::Bind(int place, const std::string& text) {
  sqlite3_bind_text(statement_.get(), place, text.data(), static_cast<int>(text.size()),
                    SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::Bind(int place, int64_t integer) {
  sqlite3_bind_int64(statement_.get(), place, integer);
  return *this;
}
Statement& Statement::Bind(int place, double real) {
  sqlite3_bind_double(statement_.get(), place, real);
  return *this;
}
Statement& Statement::BindBlob(int place, const void* data, size_t size) {
  sqlite3_bind_blob(statement_.get(), place, data, static_cast<int>(size), SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::BindNull(int place) {
  sqlite3_bind_null(statement_.get(), place);
  return *this;
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}
std::string Statement::Text(int column) const {
  const auto* text = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  return text == nullptr
             ? std::string()
             : std::string(text,
                           static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const std::string& folder, const std::string& file, Options options,
    const std::vector<std::string>& migrations) {
  if (folder.empty()) return absl::InvalidArgumentError("the data folder has no name");
  const std::filesystem::path named(folder);
  const std::filesystem::path data = named.has_filename() ? named : named.parent_path();
  const std::string path = (data / file).string();
  if (options.create) {
    if (absl::Status made = MakeFolder(data); !made.ok()) return made;
  } else if (access(path.c_str(), F_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("'", folder, "' has no ", options.what, " (no ", file, ")"));
  }
  if (absl::Status made = MakePrivate(path); !made.ok()) return made;

  sqlite3* db = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  if (opened != SQLITE_OK) {
    const std::string reason = db == nullptr ? sqlite3_errstr(opened) : sqlite3_errmsg(db);
    sqlite3_close(db);
    return absl::UnavailableError(absl::StrCat("cannot open '", path, "': ", reason));
  }
  std::unique_ptr<Database> database(new Database(db, path, options.what));
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  absl::Status status =
      database->Execute(options.durable ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                        : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
                        "opening");
  if (status.ok()) status = database->Migrate(migrations);
  if (!status.ok()) return status;
  database->FindLogIndex();
  return database;
}

void Database::FindLogIndex() {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2) {
    return;
  }
  // The region that SQLite itself has mapped by now: nothing is made larger here.
  volatile void* region = nullptr;
  if (file->pMethods->xShmMap(file, 0, kLogIndexRegionBytes, /*extend=*/0, &region) != SQLITE_OK ||
      region == nullptr) {
    return;
  }
  const auto* const words = static_cast<const volatile uint32_t*>(region);
  if (words[0] == kLogIndexVersion) log_index_ = words;
}

std::optional<CommitMark> Database::ReadCommitMark() const {
  if (log_index_ == nullptr) return std::nullopt;
  CommitMark mark;
  for (size_t i = 0; i < mark.size(); ++i) {
    mark[i] = __atomic_load_n(&log_index_[i], __ATOMIC_ACQUIRE);
  }
  return mark;
}

absl::StatusOr<int64_t> Database::Version() {
  absl::StatusOr<Statement> version = Prepare("PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (version->Step() != SQLITE_ROW) return Error("reading the version of");
  return version->Integer(0);
}

absl::Status Database::Migrate(const std::vector<std::string>& migrations) {
  absl::StatusOr<int64_t> version = Version();
  if (!version.ok()) return version.status();
  const auto known = static_cast<int64_t>(migrations.size());
  if (*version < known) {
    // Another process may do the same at this moment.
    if (absl::Status begun = Execute("BEGIN IMMEDIATE", "changing the version of"); !begun.ok()) {
      return begun;
    }
    version = Version();
    absl::Status changed = version.status();
    for (int64_t v = changed.ok() ? *version : known; v < known && changed.ok(); ++v) {
      const std::string step =
          absl::StrCat(migrations[static_cast<size_t>(v)], ";PRAGMA user_version = ", v + 1, ";");
      changed = Execute(step.c_str(), "changing the version of");
    }
    if (changed.ok()) return Execute("COMMIT", "changing the version of");
    Execute("ROLLBACK", "changing the version of").IgnoreError();
    return changed;
  }
  if (*version > known) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", path_, "' was written by a newer Weft (its version is ", *version,
                     ", this one knows ", known, ")"));
  }
  return absl::OkStatus();
}

absl::Status Database::Error(const char* doing) const {
  const int code = sqlite3_errcode(db_.get());
  const std::string message =
      absl::StrCat(what_, ": ", doing, " '", path_, "': ", sqlite3_errmsg(db_.get()));
  return code == SQLITE_BUSY || code == SQLITE_LOCKED ? absl::UnavailableError(message)
                                                      : absl::InternalError(message);
}

absl::Status Database::Execute(const char* sql, const char* doing) {
  return sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus()
                                                                              : Error(doing);
}

absl::Status Database::Transact(const std::function<absl::Status()>& body) {
  if (absl::Status begun = Execute("BEGIN IMMEDIATE", "writing"); !begun.ok()) return begun;
  absl::Status changed = absl::InternalError("an exception");
  // Also where `body` throws.
  const absl::Cleanup rollback = [&] {
    if (!changed.ok()) sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  };
  changed = body();
  if (changed.ok()) changed = Execute("COMMIT", "writing");
  return changed;
}

absl::StatusOr<Statement> Database::Prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db_.get(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement,
                         nullptr) != SQLITE_OK) {
    return Error("reading");
  }
  return Statement(statement);
}

}  // namespace weft::sqlite
