#include "server/audit/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::audit {
namespace {

using testing::IsOk;
using ::testing::SizeIs;
using testing::StatusIs;

class AuditLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<AuditLog> Open(AuditLog::Options options = {}) {
    options.now = [this] { return now(); };
    absl::StatusOr<std::unique_ptr<AuditLog>> log = AuditLog::Open(folder_.path(), options);
    EXPECT_THAT(log, IsOk());
    return log.ok() ? *std::move(log) : nullptr;
  }
  absl::Time now() const { return absl::FromUnixSeconds(seconds_); }
  Entry Of(const std::string& key_id, const std::string& method = "weft.v1.Weft/Run") const {
    Entry entry;
    entry.time = now();
    entry.key_id = key_id;
    entry.method = method;
    return entry;
  }
  static std::vector<Entry> List(AuditLog* log, const Query& query = {}) {
    absl::StatusOr<std::vector<Entry>> entries = log->List(query);
    EXPECT_THAT(entries, IsOk());
    return entries.value_or(std::vector<Entry>());
  }

  testing::TempFolder folder_;
  std::atomic<int64_t> seconds_ = 1'700'000'000;  // the log's thread reads it
};

TEST_F(AuditLogTest, GivesBackWhatWasRecordedNewestFirst) {
  std::unique_ptr<AuditLog> log = Open();
  Entry whole = Of("abc");
  whole.time = now() + absl::Milliseconds(1500);
  whole.peer = "ipv4:10.0.0.7:1";
  whole.model = "atlas";
  whole.job_id = "job-1";
  whole.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  whole.subject = "def";
  whole.code = 8;
  whole.seconds = 0.25;
  whole.tokens = 12;
  whole.result_bytes = uint64_t{1} << 40;
  log->Record(Of("first"));
  log->Record(whole);
  const std::vector<Entry> entries = List(log.get());
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[1].key_id, "first");
  const Entry& entry = entries[0];
  EXPECT_LT(absl::AbsDuration(entry.time - whole.time), absl::Microseconds(10));
  EXPECT_EQ(entry.key_id, "abc");
  EXPECT_EQ(entry.peer, whole.peer);
  EXPECT_EQ(entry.method, whole.method);
  EXPECT_EQ(entry.model, "atlas");
  EXPECT_EQ(entry.job_id, "job-1");
  EXPECT_EQ(entry.trace_id, whole.trace_id);
  EXPECT_EQ(entry.subject, "def");
  EXPECT_EQ(entry.code, 8);
  EXPECT_EQ(entry.seconds, 0.25);
  EXPECT_EQ(entry.tokens, 12u);
  EXPECT_EQ(entry.result_bytes, uint64_t{1} << 40);
}

TEST_F(AuditLogTest, ListsByKeyTimeAndNumber) {
  std::unique_ptr<AuditLog> log = Open();
  for (int i = 0; i < 10; ++i) {
    log->Record(Of(i % 2 == 0 ? "even" : "odd", absl::StrCat("m", i)));
    ++seconds_;
  }
  EXPECT_THAT(List(log.get()), SizeIs(10));
  const std::vector<Entry> even = List(log.get(), {.key_id = "even", .limit = 2});
  ASSERT_THAT(even, SizeIs(2));
  EXPECT_EQ(even[0].method, "m8");
  EXPECT_EQ(even[1].method, "m6");
  EXPECT_THAT(List(log.get(), {.since = now() - absl::Seconds(3)}), SizeIs(3));
  EXPECT_THAT(List(log.get(), {.key_id = "nobody"}), SizeIs(0));
}

TEST_F(AuditLogTest, WritesWhatWaitsWhenItEnds) {
  Open()->Record(Of("abc"));
  EXPECT_THAT(List(Open().get()), SizeIs(1));
  // Another process reads it as well, and its owner alone.
  absl::StatusOr<std::unique_ptr<AuditStore>> store =
      AuditStore::Open(folder_.path(), /*create=*/false);
  ASSERT_THAT(store, IsOk());
  EXPECT_THAT(*(*store)->List({}), SizeIs(1));
  struct stat info;
  ASSERT_EQ(stat(folder_.File("audit.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_THAT(AuditStore::Open(folder_.File("nothing"), /*create=*/false),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AuditLogTest, ForgetsWhatIsOlderThanItsRetention) {
  {
    std::unique_ptr<AuditLog> log = Open();
    log->Record(Of("old"));
    seconds_ += 31 * 86400;
    log->Record(Of("new"));
  }
  AuditLog::Options options;
  options.retention = absl::Hours(24 * 30);
  std::unique_ptr<AuditLog> log = Open(options);
  // It deletes before it counts what it has written.
  log->Record(Of("newest"));
  const std::vector<Entry> entries = List(log.get());
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].key_id, "newest");
  EXPECT_EQ(entries[1].key_id, "new");
}

TEST_F(AuditLogTest, CountsWhatDoesNotFitInsteadOfWaiting) {
  AuditLog::Options options;
  options.max_waiting = 0;
  std::unique_ptr<AuditLog> log = Open(options);
  for (int i = 0; i < 10; ++i) log->Record(Of("abc"));
  EXPECT_EQ(log->dropped(), 10u);
  EXPECT_THAT(List(log.get()), SizeIs(0));
}

TEST_F(AuditLogTest, StrangersDoNotFillTheDisk) {
  AuditLog::Options options;
  options.strangers_per_minute = 5;
  std::unique_ptr<AuditLog> log = Open(options);
  for (int i = 0; i < 100; ++i) log->Record(Of(""));
  for (int i = 0; i < 100; ++i) log->Record(Of("abc"));
  EXPECT_EQ(log->dropped(), 95u);
  EXPECT_THAT(List(log.get(), {.limit = 1000}), SizeIs(105));
  seconds_ += 60;
  log->Record(Of(""));
  EXPECT_EQ(log->dropped(), 95u);
}

TEST_F(AuditLogTest, NothingIsLostBetweenThreads) {
  std::unique_ptr<AuditLog> log = Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        log->Record(Of(absl::StrCat("key", t)));
        if (i % 100 == 0) {
          // A reader sees what it has recorded itself.
          const auto mine = log->List({.key_id = absl::StrCat("key", t), .limit = 1000});
          ASSERT_THAT(mine, IsOk());
          EXPECT_THAT(*mine, SizeIs(i + 1));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(List(log.get(), {.limit = 10000}), SizeIs(2000));
  EXPECT_EQ(log->dropped(), 0u);
}

}  // namespace
}  // namespace weft::audit
