#include "server/keys/key_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::keys {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Not;
using testing::StatusIs;

class KeyStoreTest : public ::testing::Test {
 protected:
  KeyStoreTest() : store_(Open()) {}

  std::unique_ptr<KeyStore> Open() {
    KeyStore::Options options;
    options.now = [this] { return now_; };
    absl::StatusOr<std::unique_ptr<KeyStore>> store = KeyStore::Open(data(), options);
    EXPECT_THAT(store, IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::string data() const { return folder_.File("data"); }
  NewKey Create(KeyStore::Request request = {}) {
    absl::StatusOr<NewKey> key = store_->Create(request);
    EXPECT_THAT(key, IsOk());
    return key.value_or(NewKey());
  }

  testing::TempFolder folder_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<KeyStore> store_;
};

TEST_F(KeyStoreTest, AuthenticatesTheKeyThatItMade) {
  const NewKey made = Create({.label = "me",
                              .scopes = {"trace", "weights", "trace"},
                              .models = {"atlas", "gpt*"},
                              .expires = now_ + absl::Hours(1)});
  absl::StatusOr<Key> key = store_->Authenticate(made.secret);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(key->id, made.key.id);
  EXPECT_EQ(key->label, "me");
  EXPECT_THAT(key->scopes, ElementsAre("trace", "weights"));
  EXPECT_THAT(key->models, ElementsAre("atlas", "gpt*"));
  EXPECT_EQ(key->created, now_);
  EXPECT_EQ(key->expires, now_ + absl::Hours(1));
  EXPECT_EQ(key->revoked, absl::InfiniteFuture());
}

TEST_F(KeyStoreTest, KeysReadAsPromisedAndDiffer) {
  std::set<std::string> secrets;
  for (int i = 0; i < 64; ++i) {
    const NewKey made = Create();
    EXPECT_THAT(made.secret, ::testing::MatchesRegex("weft_[a-z2-7]+_[a-z2-7]+"));
    EXPECT_THAT(made.secret, ::testing::StartsWith(absl::StrCat("weft_", made.key.id, "_")));
    // 5 bits a character.
    EXPECT_GE(5 * (made.secret.size() - made.secret.rfind('_') - 1), 160u);
    secrets.insert(made.secret);
  }
  EXPECT_EQ(secrets.size(), 64u);
}

TEST_F(KeyStoreTest, UnknownIdAndWrongSecretGiveTheSameMessage) {
  const NewKey made = Create();
  std::string wrong_secret = made.secret;
  wrong_secret.back() = wrong_secret.back() == 'a' ? 'b' : 'a';
  std::string wrong_id = made.secret;
  wrong_id[5] = wrong_id[5] == 'a' ? 'b' : 'a';
  const absl::Status secret = store_->Authenticate(wrong_secret).status();
  EXPECT_THAT(secret, StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("unknown API key")));
  EXPECT_EQ(store_->Authenticate(wrong_id).status(), secret);
}

TEST_F(KeyStoreTest, RefusesMissingAndMalformedKeys) {
  EXPECT_THAT(store_->Authenticate(""),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("no API key")));
  const std::string good = Create().secret;
  std::string with_null = good;
  with_null[20] = '\0';
  std::string upper = good;
  upper[20] = 'A';
  for (const std::string& bad :
       {std::string("secret"), good + "a", good.substr(1), "left" + good.substr(4), with_null,
        upper, std::string(100000, 'a'), good.substr(0, 13) + "x" + good.substr(14)}) {
    EXPECT_THAT(store_->Authenticate(bad),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("malformed")));
  }
}

TEST_F(KeyStoreTest, ExpiredKeyIsRefusedFromItsTimeOn) {
  const NewKey made = Create({.expires = now_ + absl::Seconds(10)});
  now_ += absl::Seconds(9);
  EXPECT_THAT(store_->Authenticate(made.secret), IsOk());
  now_ += absl::Seconds(1);
  EXPECT_THAT(store_->Authenticate(made.secret),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       HasSubstr("expired at 2023-11-14 22:13:30 UTC")));
}

TEST_F(KeyStoreTest, KeyRevokedByAnotherProcessEndsAtOnce) {
  const NewKey made = Create();
  const NewKey other = Create();
  ASSERT_THAT(store_->Authenticate(made.secret), IsOk());
  std::unique_ptr<KeyStore> elsewhere = Open();
  ASSERT_THAT(elsewhere->Revoke(made.key.id), IsOk());
  EXPECT_THAT(store_->Authenticate(made.secret),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       HasSubstr("revoked at 2023-11-14 22:13:20 UTC")));
  EXPECT_THAT(store_->Authenticate(other.secret), IsOk());
}

// The store sees by itself that rows have changed, from the index of the write-ahead log: whatever
// becomes of that log, nothing may be missed.
TEST_F(KeyStoreTest, ChangesAreSeenWhateverBecomesOfTheLog) {
  const auto open = [&] {
    return sqlite::Database::Open(data(), "keys.db", {.what = "key store"}, {"", ""}).value();
  };
  const std::unique_ptr<sqlite::Database> elsewhere = open();
  const std::optional<sqlite::CommitMark> mark = elsewhere->ReadCommitMark();
  ASSERT_TRUE(mark.has_value());
  EXPECT_EQ(elsewhere->ReadCommitMark(), mark);
  const char* const ends[] = {"SELECT 1",
                              "PRAGMA wal_checkpoint(PASSIVE)",
                              "PRAGMA wal_checkpoint(FULL)",
                              "PRAGMA wal_checkpoint(RESTART)",
                              "PRAGMA wal_checkpoint(TRUNCATE)",
                              "VACUUM"};
  for (int round = 0; round < 2; ++round) {
    for (const char* before : ends) {
      for (const char* after : ends) {
        const NewKey made = Create();
        ASSERT_THAT(elsewhere->Execute(before, "ending the log of"), IsOk());
        ASSERT_THAT(store_->Authenticate(made.secret), IsOk()) << before << ", " << after;
        ASSERT_THAT(
            elsewhere->Execute(
                absl::StrCat("UPDATE keys SET revoked = 1 WHERE id = '", made.key.id, "'").c_str(),
                "writing"),
            IsOk());
        ASSERT_THAT(elsewhere->Execute(after, "ending the log of"), IsOk());
        ASSERT_THAT(store_->Authenticate(made.secret), StatusIs(absl::StatusCode::kUnauthenticated))
            << before << ", " << after;
      }
    }
  }
  EXPECT_NE(elsewhere->ReadCommitMark(), mark);
}

constexpr char kRevokedByIt[] = "WEFT_TEST_REVOKE";

// What the test below runs in a process of its own.
TEST(KeyStoreProcess, DISABLED_Revokes) {
  const char* const what = std::getenv(kRevokedByIt);
  ASSERT_NE(what, nullptr);
  const std::pair<std::string, std::string> id_and_folder =
      absl::StrSplit(what, absl::MaxSplits(' ', 1));
  absl::StatusOr<std::unique_ptr<KeyStore>> store =
      KeyStore::Open(id_and_folder.second, {.create = false});
  ASSERT_THAT(store, IsOk());
  ASSERT_THAT((*store)->Revoke(id_and_folder.first), IsOk());
}

TEST_F(KeyStoreTest, AKeyIsRevokedFromAProcessOfItsOwn) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (int i = 0; i < 3; ++i) {
    const NewKey made = Create();
    const NewKey other = Create();
    ASSERT_THAT(store_->Authenticate(made.secret), IsOk());
    ASSERT_EQ(setenv(kRevokedByIt, absl::StrCat(made.key.id, " ", data()).c_str(), 1), 0);
    const std::string command = absl::StrCat(
        "'", self,
        "' --gtest_also_run_disabled_tests --gtest_filter=KeyStoreProcess.DISABLED_Revokes",
        " >/dev/null");
    ASSERT_EQ(std::system(command.c_str()), 0);
    EXPECT_THAT(store_->Authenticate(made.secret), StatusIs(absl::StatusCode::kUnauthenticated));
    EXPECT_THAT(store_->Authenticate(other.secret), IsOk());
  }
}

TEST_F(KeyStoreTest, WrongSecretOfARevokedKeyLearnsNothing) {
  const NewKey made = Create();
  ASSERT_THAT(store_->Revoke(made.key.id), IsOk());
  std::string wrong = made.secret;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  EXPECT_THAT(store_->Authenticate(wrong),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       AllOf(HasSubstr("unknown"), Not(HasSubstr("revoked")))));
}

TEST_F(KeyStoreTest, RevokingTwiceKeepsTheFirstTime) {
  const NewKey made = Create();
  ASSERT_THAT(store_->Revoke(made.key.id), IsOk());
  const absl::Time first = now_;
  now_ += absl::Hours(1);
  ASSERT_THAT(store_->Revoke(made.key.id), IsOk());
  absl::StatusOr<std::vector<Key>> keys = store_->List();
  ASSERT_THAT(keys, IsOk());
  ASSERT_EQ(keys->size(), 1u);
  EXPECT_EQ(keys->front().revoked, first);
}

TEST_F(KeyStoreTest, RevokingAnUnknownKeyIsNotFound) {
  EXPECT_THAT(store_->Revoke("abcdefgh"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("abcdefgh")));
}

TEST_F(KeyStoreTest, ListsKeysInOrderOfCreation) {
  EXPECT_THAT(*store_->List(), IsEmpty());
  const NewKey first = Create({.label = "first"});
  const NewKey second = Create({.label = "second"});
  absl::StatusOr<std::vector<Key>> keys = store_->List();
  ASSERT_THAT(keys, IsOk());
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].id, first.key.id);
  EXPECT_EQ((*keys)[1].id, second.key.id);
  EXPECT_EQ((*keys)[1].label, "second");
  EXPECT_EQ((*keys)[1].expires, absl::InfiniteFuture());
}

TEST_F(KeyStoreTest, RefusesRequestsThatMakeNoSense) {
  const auto create = [&](KeyStore::Request request) { return store_->Create(request); };
  EXPECT_THAT(create({.scopes = {"root"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'root'")));
  EXPECT_THAT(create({.scopes = {}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs a scope")));
  EXPECT_THAT(create({.models = {}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model globs")));
  EXPECT_THAT(create({.models = {"a\nb"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model glob")));
  EXPECT_THAT(create({.label = "two\nlines"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("label")));
  EXPECT_THAT(create({.limits = {.run_seconds = -1}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("run_seconds")));
  EXPECT_THAT(create({.limits = {.run_seconds = NAN}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("run_seconds")));
  EXPECT_THAT(create({.limits = {.result_bytes = ~uint64_t{0}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no bound")));
  const std::string id = Create().key.id;
  for (const absl::Duration bad :
       {absl::Seconds(-1), absl::InfiniteDuration(), absl::Hours(24 * 400)}) {
    EXPECT_THAT(store_->Rotate(id, bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("year")));
  }
  ASSERT_THAT(*store_->List(), ::testing::SizeIs(1));
  EXPECT_THAT(create({.expires = now_}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expired already")));
  EXPECT_THAT(*store_->List(), ::testing::SizeIs(1));
}

TEST_F(KeyStoreTest, KeepsEveryLimit) {
  const KeyLimits limits = {.requests_per_minute = 60,
                            .tokens_per_minute = uint64_t{1} << 40,
                            .concurrent_runs = 4,
                            .result_bytes = uint64_t{1} << 33,
                            .run_seconds = 2.5,
                            .generated_tokens = 7,
                            .blob_bytes = 9};
  const NewKey made = Create({.limits = limits});
  store_ = nullptr;
  store_ = Open();
  absl::StatusOr<Key> key = store_->Authenticate(made.secret);
  ASSERT_THAT(key, IsOk());
  EXPECT_TRUE(key->limits == limits);
  EXPECT_TRUE(Create().key.limits == KeyLimits());
}

TEST_F(KeyStoreTest, UpdateReplacesWhatAKeyMayDoAtOnce) {
  const NewKey made = Create({.label = "before", .expires = now_ + absl::Hours(1)});
  std::unique_ptr<KeyStore> elsewhere = Open();
  absl::StatusOr<Key> updated = elsewhere->Update(made.key.id, {.label = "after",
                                                                .scopes = {"weights"},
                                                                .models = {"a*"},
                                                                .limits = {.concurrent_runs = 2}});
  ASSERT_THAT(updated, IsOk());
  absl::StatusOr<Key> key = store_->Authenticate(made.secret);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(key->label, "after");
  EXPECT_THAT(key->scopes, ElementsAre("weights"));
  EXPECT_THAT(key->models, ElementsAre("a*"));
  EXPECT_EQ(key->expires, absl::InfiniteFuture());
  EXPECT_EQ(key->limits.concurrent_runs, 2u);
  EXPECT_EQ(key->created, made.key.created);
  EXPECT_THAT(elsewhere->Update("abcdefgh", {}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(elsewhere->Update(made.key.id, {.scopes = {"root"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'root'")));
}

TEST_F(KeyStoreTest, AnExpiryThatHasPassedMayStayAsItIs) {
  const NewKey made = Create({.expires = now_ + absl::Seconds(10)});
  now_ += absl::Seconds(20);
  EXPECT_THAT(store_->Update(made.key.id, {.label = "late", .expires = made.key.expires}), IsOk());
  EXPECT_THAT(store_->Update(made.key.id, {.expires = now_ - absl::Seconds(1)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expired already")));
}

TEST_F(KeyStoreTest, ARotatedKeyHasBothSecretsForTheTimeAsked) {
  const NewKey made = Create({.label = "me"});
  absl::StatusOr<NewKey> rotated = store_->Rotate(made.key.id, absl::Minutes(10));
  ASSERT_THAT(rotated, IsOk());
  EXPECT_EQ(rotated->key.id, made.key.id);
  EXPECT_NE(rotated->secret, made.secret);
  EXPECT_THAT(store_->Authenticate(made.secret), IsOk());
  EXPECT_THAT(store_->Authenticate(rotated->secret), IsOk());
  now_ += absl::Minutes(10);
  EXPECT_THAT(store_->Authenticate(made.secret),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("unknown API key")));
  EXPECT_THAT(store_->Authenticate(rotated->secret), IsOk());
}

TEST_F(KeyStoreTest, RotatingEndsTheSecretBeforeTheLast) {
  const NewKey first = Create();
  const NewKey second = *store_->Rotate(first.key.id, absl::Hours(1));
  const NewKey third = *store_->Rotate(first.key.id, absl::Hours(1));
  EXPECT_THAT(store_->Authenticate(first.secret), StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(store_->Authenticate(second.secret), IsOk());
  EXPECT_THAT(store_->Authenticate(third.secret), IsOk());
  const NewKey fourth = *store_->Rotate(first.key.id, absl::ZeroDuration());
  EXPECT_THAT(store_->Authenticate(third.secret), StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(store_->Authenticate(fourth.secret), IsOk());
}

TEST_F(KeyStoreTest, ARevokedKeyStaysRevoked) {
  const NewKey made = Create();
  EXPECT_THAT(store_->CheckNotRevoked(made.key.id), IsOk());
  const NewKey rotated = *store_->Rotate(made.key.id, absl::Hours(1));
  ASSERT_THAT(Open()->Revoke(made.key.id), IsOk());
  EXPECT_THAT(store_->CheckNotRevoked(made.key.id),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("revoked")));
  EXPECT_THAT(store_->CheckNotRevoked("abcdefgh"),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("gone")));
  EXPECT_THAT(store_->Authenticate(made.secret),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("revoked")));
  EXPECT_THAT(store_->Rotate(made.key.id, absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("make a new one")));
  EXPECT_THAT(store_->Update(made.key.id, {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("make a new one")));
}

// As the version before limits and rotation wrote it.
TEST_F(KeyStoreTest, AStoreOfTheFirstVersionGoesOnWorking) {
  const NewKey made = Create();  // for a secret whose digest is known
  store_ = nullptr;
  std::string digest;
  {
    auto now_db = sqlite::Database::Open(data(), "keys.db", {}, {"", ""});
    ASSERT_THAT(now_db, IsOk());
    absl::StatusOr<sqlite::Statement> row = (*now_db)->Prepare("SELECT secret_sha256 FROM keys");
    ASSERT_THAT(row, IsOk());
    ASSERT_EQ(row->Step(), SQLITE_ROW);
    digest = row->Text(0);
  }
  const std::string old = folder_.File("old");
  {
    auto db = sqlite::Database::Open(old, "keys.db", {}, {R"(
CREATE TABLE IF NOT EXISTS keys (
  id            TEXT PRIMARY KEY,
  secret_sha256 BLOB NOT NULL,
  label         TEXT NOT NULL,
  scopes        TEXT NOT NULL,
  models        TEXT NOT NULL,
  created       INTEGER NOT NULL,
  expires       INTEGER,
  revoked       INTEGER
) STRICT;)"});
    ASSERT_THAT(db, IsOk());
    absl::StatusOr<sqlite::Statement> insert = (*db)->Prepare(
        "INSERT INTO keys VALUES (?1, ?2, 'old', 'trace', 'a*', 1600000000, NULL, NULL)");
    ASSERT_THAT(insert, IsOk());
    insert->Bind(1, made.key.id).BindBlob(2, digest.data(), digest.size());
    ASSERT_EQ(insert->Step(), SQLITE_DONE);
  }
  for (int i = 0; i < 2; ++i) {  // the second time it is of this version already
    KeyStore::Options options;
    options.now = [this] { return now_; };
    absl::StatusOr<std::unique_ptr<KeyStore>> store = KeyStore::Open(old, options);
    ASSERT_THAT(store, IsOk());
    absl::StatusOr<Key> key = (*store)->Authenticate(made.secret);
    ASSERT_THAT(key, IsOk());
    EXPECT_EQ(key->label, "old");
    EXPECT_TRUE(key->limits == KeyLimits());
    EXPECT_THAT(key->models, ElementsAre("a*"));
    EXPECT_EQ(key->created, absl::FromUnixSeconds(1'600'000'000));
    EXPECT_THAT((*store)->Update(made.key.id, {.label = "old", .models = {"a*"}}), IsOk());
  }
}

TEST_F(KeyStoreTest, AStoreOfALaterVersionIsRefusedByName) {
  store_ = nullptr;
  {
    auto later = sqlite::Database::Open(data(), "keys.db", {}, {"", "", ""});
    ASSERT_THAT(later, IsOk());
  }
  EXPECT_THAT(KeyStore::Open(data()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("newer Weft")));
}

TEST_F(KeyStoreTest, ManyThreadsSeeEveryChange) {
  std::vector<NewKey> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(Create());
  std::unique_ptr<KeyStore> elsewhere = Open();
  std::atomic<int> revoked = 0;  // the keys before it are, for certain
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (revoked < 4) {
        for (int i = 0; i < 4; ++i) {
          const bool must_fail = i < revoked;
          const bool ok = store_->Authenticate(keys[static_cast<size_t>(i)].secret).ok();
          if (ok && must_fail) ++wrong;
        }
      }
    });
  }
  for (const NewKey& key : keys) {
    ASSERT_THAT(elsewhere->Revoke(key.key.id), IsOk());
    ++revoked;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(KeyStoreTest, StoresNoSecretAndKeepsFilesToTheirOwner) {
  const NewKey made = Create();
  const std::string secret = made.secret.substr(made.secret.rfind('_') + 1);
  struct stat info;
  ASSERT_EQ(stat(data().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const char* name : {"keys.db", "keys.db-wal"}) {
    const std::string path = data() + "/" + name;
    ASSERT_EQ(stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << path;
    std::ostringstream content;
    content << std::ifstream(path, std::ios::binary).rdbuf();
    EXPECT_THAT(content.str(), Not(HasSubstr(secret))) << path;
  }
}

TEST_F(KeyStoreTest, TightensAFileThatOthersCouldRead) {
  store_ = nullptr;
  ASSERT_EQ(chmod((data() + "/keys.db").c_str(), 0644), 0);
  store_ = Open();
  struct stat info;
  ASSERT_EQ(stat((data() + "/keys.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(KeyStoreTest, KeysOutliveTheProcess) {
  const NewKey made = Create();
  store_ = nullptr;
  store_ = Open();
  EXPECT_THAT(store_->Authenticate(made.secret), IsOk());
}

TEST_F(KeyStoreTest, WithoutCreateAFolderWithoutKeysIsNotFound) {
  KeyStore::Options options;
  options.create = false;
  EXPECT_THAT(KeyStore::Open(folder_.File("nothing"), options),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("weft keys create")));
  EXPECT_THAT(KeyStore::Open(data(), options), IsOk());
}

TEST_F(KeyStoreTest, ReportsAFileThatIsNoStore) {
  ASSERT_EQ(mkdir(folder_.File("odd").c_str(), 0700), 0);
  std::ofstream(folder_.File("odd/keys.db")) << "this is a text file, and a long enough one that "
                                                "its header is read as a database's would be....";
  EXPECT_THAT(KeyStore::Open(folder_.File("odd")),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("not a database")));
  std::ofstream(folder_.File("file")) << "x";
  EXPECT_THAT(KeyStore::Open(folder_.File("file")), Not(IsOk()));
}

TEST(KeyTest, GlobsMatchWholeNames) {
  EXPECT_TRUE(MatchesGlob("*", ""));
  EXPECT_TRUE(MatchesGlob("*", "any/thing"));
  EXPECT_TRUE(MatchesGlob("atlas", "atlas"));
  EXPECT_FALSE(MatchesGlob("atlas", "atlas2"));
  EXPECT_FALSE(MatchesGlob("atlas", "Atlas"));
  EXPECT_TRUE(MatchesGlob("gpt?-*", "gpt2-small"));
  EXPECT_FALSE(MatchesGlob("gpt?-*", "gpt-small"));
  EXPECT_TRUE(MatchesGlob("*a*b*", "xxaxxbxx"));
  EXPECT_FALSE(MatchesGlob("*a*b", "ab_"));
  EXPECT_FALSE(MatchesGlob("", "x"));
  // Quadratic at worst.
  EXPECT_FALSE(MatchesGlob("*a*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST(KeyTest, DenialsNameKeyAndWhatItLacks) {
  Key key;
  key.id = "abc";
  key.scopes = {"trace"};
  key.models = {"atlas"};
  EXPECT_THAT(RequireScope(key, "trace"), IsOk());
  EXPECT_THAT(RequireScope(key, "weights"),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("key abc"), HasSubstr("'weights'"))));
  EXPECT_THAT(RequireModel(key, "atlas"), IsOk());
  EXPECT_THAT(RequireModel(key, "gpt2"),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("key abc"), HasSubstr("'gpt2'"), HasSubstr("atlas"))));
}

}  // namespace
}  // namespace weft::keys
