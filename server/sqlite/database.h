#pragma once

#include <sqlite3.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::sqlite {

/// A prepared statement. Places are numbered from 1, columns from 0. Not thread-safe.
class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  Statement& Bind(int place, const std::string& text);
  Statement& Bind(int place, int64_t integer);
  Statement& Bind(int place, double real);
  Statement& BindBlob(int place, const void* data, size_t size);
  Statement& BindNull(int place);

  /// SQLITE_ROW, SQLITE_DONE or an error.
  int Step() { return sqlite3_step(statement_.get()); }
  void Reset() { sqlite3_reset(statement_.get()); }

  bool IsNull(int column) const;
  std::string Text(int column) const;  // of blobs: their bytes
  int64_t Integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  double Real(int column) const { return sqlite3_column_double(statement_.get(), column); }

 private:
  struct Deleter {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Deleter> statement_;
};

/// The header of the index of the write-ahead log, both copies of it: another one after each
/// commit.
using CommitMark = std::array<uint32_t, 24>;

/// A database file of a data folder, with a write-ahead log: several processes may use it at once.
///
/// The folder is made with mode 0700, the files with 0600. Statements must be gone before it. Not
/// thread-safe.
class Database {
 public:
  struct Options {
    const char* what = "";  // what it holds, for errors: `key store`
    /// Make folder and file where there are none; otherwise kNotFound.
    bool create = true;
    /// Have the disk confirm every change before it counts as done.
    bool durable = true;
  };
  /// `migrations[i]` takes a database of version i to version i + 1. kFailedPrecondition if a newer
  /// program wrote the file.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& folder,
                                                        const std::string& file, Options options,
                                                        const std::vector<std::string>& migrations);

  /// kInternal, or kUnavailable if another process keeps it busy.
  absl::Status Error(const char* doing) const;
  absl::Status Execute(const char* sql, const char* doing);
  /// Do `body` in one transaction, which an error or an exception of it undoes.
  absl::Status Transact(const std::function<absl::Status()>& body);
  /// `sql` is one statement.
  absl::StatusOr<Statement> Prepare(const std::string& sql);
  /// Where nobody has committed since, in this process or another, it is the same; so what was read
  /// after one is as it was as long as the next is equal. Takes no query and no system call: some
  /// loads from shared memory. None where SQLite keeps its index elsewhere.
  std::optional<CommitMark> ReadCommitMark() const;
  /// Rows that the last statement changed.
  int changes() const { return sqlite3_changes(db_.get()); }

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  Database(sqlite3* db, std::string path, const char* what)
      : db_(db), path_(std::move(path)), what_(what) {}
  absl::Status Migrate(const std::vector<std::string>& migrations);
  absl::StatusOr<int64_t> Version();
  void FindLogIndex();

  const std::unique_ptr<sqlite3, Closer> db_;
  const std::string path_;
  const char* const what_;
  // Mapped until the connection is closed; other processes write it.
  const volatile uint32_t* log_index_ = nullptr;
};

}  // namespace weft::sqlite
