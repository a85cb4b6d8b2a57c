#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/key_text.h"
#include "server/audit/audit_log.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/support/weft_command.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::CommandOutput;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::RunWeft;
using ::testing::SizeIs;

/// Run the command line in this process.
/// `weft keys` on a data folder (false) and through a running server (true).
class KeysCommandTest : public ::testing::TestWithParam<bool> {
 protected:
  KeysCommandTest() {
    keys_ = *keys::KeyStore::Open(folder_.path());
    audit_ = *audit::AuditLog::Open(folder_.path());
    admin_ = *keys_->Create({.label = "operator", .scopes = {"admin"}});
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = *server::Server::Start(options, &engine_, keys_.get(), audit_.get());
  }

  CommandOutput Keys(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "keys");
    const std::vector<std::string> where =
        GetParam()
            ? std::vector<std::string>{"--target", server_->address(), "--api-key", admin_.secret}
            : std::vector<std::string>{"--data", folder_.path()};
    arguments.insert(arguments.end(), where.begin(), where.end());
    return RunWeft(std::move(arguments));
  }
  json KeysJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const CommandOutput output = Keys(std::move(arguments));
    EXPECT_EQ(output.code, kOk) << output.err;
    return json::parse(output.out);
  }
  CommandOutput WhoAmI(const std::string& secret, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"whoami", "--target", server_->address(), "--api-key", secret});
    return RunWeft(std::move(more));
  }

  testing::TempFolder folder_;
  testing::FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<audit::AuditLog> audit_;
  keys::NewKey admin_;
  std::unique_ptr<server::Server> server_;
};

TEST_P(KeysCommandTest, MakesAKeyWithEveryLimit) {
  const CommandOutput made = Keys({"create",  "--label",
                                   "me",      "--scope",
                                   "trace",   "--scope",
                                   "weights", "--model",
                                   "a*",      "--requests-per-minute",
                                   "60",      "--tokens-per-minute",
                                   "100000",  "--concurrent-runs",
                                   "4",       "--result-bytes",
                                   "1GiB",    "--run-seconds",
                                   "2.5",     "--generated-tokens",
                                   "7",       "--blob-bytes",
                                   "64MiB",   "--expires",
                                   "30d"});
  ASSERT_EQ(made.code, kOk) << made.err;
  EXPECT_THAT(made.out, MatchesRegex("weft_[a-z2-7]+_[a-z2-7]+\n"));
  EXPECT_THAT(made.err, HasSubstr("trace, weights"));
  absl::StatusOr<keys::Key> key = keys_->Authenticate(made.out.substr(0, made.out.size() - 1));
  ASSERT_THAT(key, IsOk());
  const keys::KeyLimits limits = {.requests_per_minute = 60,
                                  .tokens_per_minute = 100000,
                                  .concurrent_runs = 4,
                                  .result_bytes = uint64_t{1} << 30,
                                  .run_seconds = 2.5,
                                  .generated_tokens = 7,
                                  .blob_bytes = uint64_t{64} << 20};
  EXPECT_TRUE(key->limits == limits);
  EXPECT_EQ(key->label, "me");
  EXPECT_THAT(key->scopes, ElementsAre("trace", "weights"));
  EXPECT_THAT(key->models, ElementsAre("a*"));

  const CommandOutput shown = Keys({"show", key->id});
  EXPECT_EQ(shown.code, kOk) << shown.err;
  for (const char* text :
       {"me", "good until", "60 requests a minute", "100000 tokens a minute", "4 runs at once",
        "1 GiB of results a run", "2.5 s a run", "7 generated tokens a run", "64 MiB of blobs"}) {
    EXPECT_THAT(shown.out, HasSubstr(text));
  }
  const CommandOutput me = WhoAmI(made.out.substr(0, made.out.size() - 1));
  EXPECT_THAT(me.out, AllOf(HasSubstr("60 requests a minute"), HasSubstr("64 MiB of blobs")));
}

TEST_P(KeysCommandTest, GlobsInBracketsAreNotLists) {
  const json made = KeysJson({"create", "--model", "[abc]", "--model", "d*"});
  EXPECT_THAT(made["models"], ElementsAre("[abc]", "d*"));
  const std::string id = made["id"];
  EXPECT_THAT(KeysJson({"update", id, "--model", "[a,b]"})["models"], ElementsAre("[a,b]"));
  EXPECT_THAT(Keys({"create", "--scope", "[trace]"}).err, HasSubstr("'[trace]'"));
}

TEST_P(KeysCommandTest, UpdateChangesOnlyWhatIsGiven) {
  const json made = KeysJson({"create", "--label", "me", "--concurrent-runs", "4", "--run-seconds",
                              "9", "--expires", "1h"});
  const std::string id = made["id"];
  json updated = KeysJson({"update", id, "--concurrent-runs", "5", "--run-seconds", "0"});
  EXPECT_EQ(updated["label"], "me");
  EXPECT_EQ(updated["expires"], made["expires"]);
  EXPECT_EQ(updated["limits"]["concurrent_runs"], 5);
  EXPECT_EQ(updated["limits"]["run_seconds"], 0);
  EXPECT_FALSE(updated.contains("secret"));
  updated = KeysJson({"update", id, "--expires", "never", "--scope", "weights", "--label", ""});
  EXPECT_TRUE(updated["expires"].is_null());
  EXPECT_THAT(updated["scopes"], ElementsAre("weights"));
  EXPECT_EQ(updated["label"], "");
  EXPECT_EQ(updated["limits"]["concurrent_runs"], 5);
}

TEST_P(KeysCommandTest, RotatesRevokesAndLists) {
  const json made = KeysJson({"create", "--label", "me"});
  const std::string id = made["id"];
  const json rotated = KeysJson({"rotate", id, "--old-for", "1h"});
  EXPECT_NE(rotated["secret"], made["secret"]);
  EXPECT_THAT(keys_->Authenticate(made["secret"]), IsOk());
  EXPECT_THAT(keys_->Authenticate(rotated["secret"]), IsOk());
  EXPECT_EQ(Keys({"rotate", id}).code, kOk);
  EXPECT_FALSE(keys_->Authenticate(rotated["secret"]).ok());

  EXPECT_EQ(Keys({"revoke", id}).code, kOk);
  const CommandOutput list = Keys({"list"});
  EXPECT_THAT(list.out, AllOf(HasSubstr("ID"), HasSubstr(id), HasSubstr("revoked"),
                              HasSubstr(admin_.key.id), HasSubstr("operator")));
  EXPECT_THAT(list.out, Not(HasSubstr(made["secret"].get<std::string>().substr(14))));
  const json all = KeysJson({"list"});
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[1]["id"], id);
  EXPECT_FALSE(all[1]["revoked"].is_null());
}

TEST_P(KeysCommandTest, ShowsWhoCalledWhat) {
  const keys::NewKey user = *keys_->Create({});
  ASSERT_EQ(WhoAmI(user.secret).code, kOk);
  ASSERT_THAT(audit_->List({}), IsOk());  // it is written now
  const json entries = KeysJson({"audit", "--key", user.key.id, "--since", "1h", "--limit", "5"});
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(entries[0]["method"], "weft.v1.Weft/WhoAmI");
  EXPECT_EQ(entries[0]["code"], "OK");
  const CommandOutput text = Keys({"audit"});
  EXPECT_THAT(text.out, AllOf(HasSubstr("METHOD"), HasSubstr("weft.v1.Weft/WhoAmI"),
                              HasSubstr(user.key.id), HasSubstr("127.0.0.1")));
}

TEST_P(KeysCommandTest, SaysWhatIsWrong) {
  const CommandOutput unknown = Keys({"show", "abcdefgh"});
  EXPECT_EQ(unknown.code, GetParam() ? kRefused : kUsage);
  EXPECT_THAT(unknown.err, HasSubstr("abcdefgh"));
  EXPECT_THAT(unknown.out, IsEmpty());
  EXPECT_THAT(Keys({"create", "--scope", "root"}).err, HasSubstr("'root'"));
  EXPECT_THAT(Keys({"create", "--expires", "soon"}).err, HasSubstr("30d"));
  EXPECT_THAT(Keys({"rotate", "abcdefgh", "--old-for", "-1"}).err, HasSubstr("no time"));
  EXPECT_EQ(Keys({"audit", "--limit", "0"}).code, kUsage);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, KeysCommandTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Remote" : "Local"; });

class KeysOverTheNetworkTest : public KeysCommandTest {};

TEST_P(KeysOverTheNetworkTest, NeedsTheScope) {
  const keys::NewKey user = *keys_->Create({});
  admin_ = user;
  const CommandOutput refused = Keys({"list"});
  EXPECT_EQ(refused.code, kPermission);
  EXPECT_THAT(refused.err, HasSubstr("'admin'"));
}

TEST_P(KeysOverTheNetworkTest, WhoAmIAsJson) {
  const keys::NewKey user = *keys_->Create({.label = "me", .limits = {.concurrent_runs = 2}});
  const json me = json::parse(WhoAmI(user.secret, {"--json"}).out);
  EXPECT_EQ(me["key_id"], user.key.id);
  EXPECT_EQ(me["limits"]["concurrent_runs"], 2);
  EXPECT_TRUE(me["expires"].is_null());
}

TEST_P(KeysOverTheNetworkTest, OperatorsAreFoundWhateverTheirCase) {
  const auto operators = [&](const std::string& pattern) {
    return RunWeft(
        {"operators", pattern, "--target", server_->address(), "--api-key", admin_.secret});
  };
  EXPECT_THAT(operators("MUL").out, HasSubstr("aten::mul.Tensor"));
  EXPECT_EQ(operators("nothing").code, kOther);
}

INSTANTIATE_TEST_SUITE_P(Remote, KeysOverTheNetworkTest, ::testing::Values(true),
                         [](const auto&) { return "Server"; });

TEST(KeyTextTest, ColumnsStandBelowEachOther) {
  EXPECT_EQ(Table({{"a", "long one", "x"}, {"bcd", "-", "last is free"}}),
            "a    long one  x\n"
            "bcd  -         last is free\n");
}

TEST(KeyTextTest, WhatAStrangerWroteReachesNoTerminal) {
  audit::Entry entry;
  entry.model = "a\x1b[31mb";
  EXPECT_THAT(DescribeAudit({entry}), AllOf(HasSubstr("a?[31mb"), Not(HasSubstr("\x1b"))));
}

TEST(KeyTextTest, BytesAreExact) {
  EXPECT_THAT(Describe(keys::KeyLimits{.result_bytes = 1536}),
              ElementsAre("1536 bytes of results a run"));
  EXPECT_THAT(Describe(keys::KeyLimits{.result_bytes = 2048}),
              ElementsAre("2 KiB of results a run"));
  EXPECT_THAT(Describe(keys::KeyLimits{}), IsEmpty());
}

}  // namespace
}  // namespace weft::cli
