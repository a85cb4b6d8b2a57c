#include "server/audit/audit_store.h"

#include "absl/strings/str_cat.h"

namespace weft::audit {
namespace {

constexpr char kFileName[] = "audit.db";

constexpr char kTable[] = R"(
CREATE TABLE audit (
  time         REAL NOT NULL,     -- Unix seconds
  key_id       TEXT NOT NULL,
  peer         TEXT NOT NULL,
  method       TEXT NOT NULL,
  model        TEXT NOT NULL,
  job_id       TEXT NOT NULL,
  trace_id     TEXT NOT NULL,
  subject      TEXT NOT NULL,
  code         INTEGER NOT NULL,  -- gRPC's
  seconds      REAL NOT NULL,
  tokens       INTEGER NOT NULL,
  result_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_key ON audit (key_id, time);
)";

constexpr char kInsert[] =
    "INSERT INTO audit (time, key_id, peer, method, model, job_id, trace_id, subject, code, "
    "seconds, tokens, result_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

// Finite, and to the microsecond at least.
double UnixSeconds(absl::Time time) {
  return time == absl::InfinitePast() ? 0 : absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditStore>> AuditStore::Open(const std::string& data_folder,
                                                             bool create) {
  absl::StatusOr<std::unique_ptr<sqlite::Database>> db = sqlite::Database::Open(
      data_folder, kFileName, {.what = "audit log", .create = create, .durable = false}, {kTable});
  if (!db.ok()) return db.status();
  return std::unique_ptr<AuditStore>(new AuditStore(*std::move(db)));
}

absl::Status AuditStore::Append(const std::vector<Entry>& entries) {
  absl::MutexLock lock(&mutex_);
  return db_->Transact([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
    absl::StatusOr<sqlite::Statement> insert = db_->Prepare(kInsert);
    if (!insert.ok()) return insert.status();
    for (const Entry& entry : entries) {
      insert->Reset();
      insert->Bind(1, UnixSeconds(entry.time))
          .Bind(2, entry.key_id)
          .Bind(3, entry.peer)
          .Bind(4, entry.method)
          .Bind(5, entry.model)
          .Bind(6, entry.job_id)
          .Bind(7, entry.trace_id)
          .Bind(8, entry.subject)
          .Bind(9, int64_t{entry.code})
          .Bind(10, entry.seconds)
          .Bind(11, static_cast<int64_t>(entry.tokens))
          .Bind(12, static_cast<int64_t>(entry.result_bytes));
      if (insert->Step() != SQLITE_DONE) return db_->Error("writing");
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<Entry>> AuditStore::List(const Query& query) const {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> rows = db_->Prepare(absl::StrCat(
      "SELECT time, key_id, peer, method, model, job_id, trace_id, subject, code, seconds, tokens, "
      "result_bytes FROM audit WHERE time >= ?1",
      query.key_id.empty() ? "" : " AND key_id = ?3", " ORDER BY time DESC, rowid DESC LIMIT ?2"));
  if (!rows.ok()) return rows.status();
  rows->Bind(1, UnixSeconds(query.since)).Bind(2, int64_t{query.limit});
  if (!query.key_id.empty()) rows->Bind(3, query.key_id);
  std::vector<Entry> entries;
  int stepped;
  while ((stepped = rows->Step()) == SQLITE_ROW) {
    Entry& entry = entries.emplace_back();
    entry.time = absl::UnixEpoch() + absl::Seconds(rows->Real(0));
    entry.key_id = rows->Text(1);
    entry.peer = rows->Text(2);
    entry.method = rows->Text(3);
    entry.model = rows->Text(4);
    entry.job_id = rows->Text(5);
    entry.trace_id = rows->Text(6);
    entry.subject = rows->Text(7);
    entry.code = static_cast<int>(rows->Integer(8));
    entry.seconds = rows->Real(9);
    entry.tokens = static_cast<uint64_t>(rows->Integer(10));
    entry.result_bytes = static_cast<uint64_t>(rows->Integer(11));
  }
  if (stepped != SQLITE_DONE) return db_->Error("reading");
  return entries;
}

absl::Status AuditStore::DeleteBefore(absl::Time time) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<sqlite::Statement> remove = db_->Prepare("DELETE FROM audit WHERE time < ?1");
  if (!remove.ok()) return remove.status();
  remove->Bind(1, UnixSeconds(time));
  return remove->Step() == SQLITE_DONE ? absl::OkStatus() : db_->Error("writing");
}

}  // namespace weft::audit
