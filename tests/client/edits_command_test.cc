#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "engine/graph/text.h"
#include "server/edits/edit_store.h"
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
using testing::FakeEngine;
using testing::FakeJob;
using ::testing::HasSubstr;

constexpr char kSteer[] = "invoke { write h.0.output[...] = 2.0 }";
constexpr char kOther[] = "invoke { write h.0.output[...] = 3.0 }";

/// `weft edits` and `weft run --edit` through a running server.
class EditsCommandTest : public ::testing::Test {
 protected:
  EditsCommandTest() {
    keys_ = *keys::KeyStore::Open(folder_.path());
    store_ = *edits::EditStore::Open(folder_.path());
    secret_ = keys_->Create({.label = "me"})->secret;
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ =
        *server::Server::Start(options, &engine_, keys_.get(), nullptr, nullptr, store_.get());
    Write("steer.weft", kSteer);
    Write("other.weft", kOther);
    Write("program.weft", "invoke [1] { %h = read h.1.output log %h }");
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.File(name)) << text << "\n";
  }

  CommandOutput Weft(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--target", server_->address(), "--api-key", secret_});
    return testing::RunWeft(std::move(arguments));
  }
  CommandOutput Store(const std::string& name, const std::string& file) {
    return Weft({"edits", "store", name, folder_.File(file)});
  }

  testing::TempFolder folder_;
  FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<edits::EditStore> store_;
  std::string secret_;
  std::unique_ptr<server::Server> server_;
};

TEST_F(EditsCommandTest, StoresListsShowsAndDeletes) {
  const CommandOutput stored = Store("steer", "steer.weft");
  EXPECT_EQ(stored.code, kOk) << stored.err;
  EXPECT_EQ(stored.out, "steer@1\n");
  EXPECT_EQ(Store("steer", "other.weft").out, "steer@2\n");
  EXPECT_THAT(Weft({"edits", "list"}).out,
              AllOf(HasSubstr("atlas  steer@1  "), HasSubstr("atlas  steer@2  "),
                    HasSubstr("2 of 1000 versions, "), HasSubstr(" of 64 MiB")));
  EXPECT_THAT(Weft({"edits", "list", "--model", "other"}).out, HasSubstr("0 of 1000 versions"));
  EXPECT_THAT(Weft({"edits", "show", "steer@1"}).out,
              AllOf(HasSubstr("# atlas  steer@1\n"), HasSubstr("[2.0]")));
  EXPECT_THAT(Weft({"edits", "show", "steer"}).out, HasSubstr("[3.0]"));
  EXPECT_EQ(Weft({"edits", "delete", "steer@2"}).code, kOk);
  EXPECT_THAT(Weft({"edits", "show", "steer"}).out, HasSubstr("[2.0]"));
  EXPECT_EQ(Weft({"edits", "delete", "steer"}).code, kOk);
  const CommandOutput gone = Weft({"edits", "show", "steer"});
  EXPECT_EQ(gone.code, kRefused);
  EXPECT_THAT(gone.err, HasSubstr("no edit `steer` for the model 'atlas'"));
}

TEST_F(EditsCommandTest, WhatIsShownCanBeStored) {
  Store("steer", "steer.weft");
  Write("shown.weft", Weft({"edits", "show", "steer"}).out);
  EXPECT_EQ(Store("copy", "shown.weft").out, "copy@1\n");
  const auto text = [&](const std::string& name) {
    return json::parse(Weft({"edits", "show", name, "--json"}).out)["text"];
  };
  EXPECT_EQ(text("copy"), text("steer"));
}

TEST_F(EditsCommandTest, PrintsJson) {
  const json stored =
      json::parse(Weft({"edits", "store", "steer", folder_.File("steer.weft"), "--json"}).out);
  EXPECT_EQ(stored["name"], "steer");
  EXPECT_EQ(stored["version"], 1);
  const json list = json::parse(Weft({"edits", "list", "--json"}).out);
  EXPECT_EQ(list["edits"], json::array({stored}));
  EXPECT_EQ(list["quota_edits"], 1000);
  EXPECT_EQ(json::parse(Weft({"edits", "show", "other", "--json"}).out)["error"]["code"],
            "NOT_FOUND");
}

TEST_F(EditsCommandTest, RunsNameTheEditsThatComeFirst) {
  Store("steer", "steer.weft");
  Store("steer", "other.weft");
  std::string submitted;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    submitted = graph::PrintProgram(submission.program);
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  const CommandOutput run =
      Weft({"run", folder_.File("program.weft"), "--edit", "steer@1", "--edit", "steer", "--json"});
  EXPECT_EQ(run.code, kOk) << run.err;
  EXPECT_EQ(json::parse(run.out)["edits"], json({"steer@1", "steer@2"}));
  EXPECT_THAT(submitted, AllOf(HasSubstr("[2.0]"), HasSubstr("[3.0]")));
  EXPECT_EQ(Weft({"validate", folder_.File("program.weft"), "--edit", "steer"}).code, kOk);
  const CommandOutput refused = Weft({"run", folder_.File("program.weft"), "--edit", "quiet"});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.err, HasSubstr("for that model it has steer"));
}

TEST_F(EditsCommandTest, NothingIsSentWhereItsResultsCannotBeWritten) {
  int submitted = 0;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    ++submitted;
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  const std::string program = folder_.File("program.weft");
  const CommandOutput refused = Weft({"run", program, "--out", folder_.File("no/r.st"), "--json"});
  EXPECT_EQ(refused.code, kUsage);
  EXPECT_THAT(refused.err, HasSubstr("there is no folder " + folder_.File("no")));
  EXPECT_THAT(json::parse(refused.out)["error"]["message"].get<std::string>(),
              HasSubstr("there is no folder"));
  EXPECT_EQ(Weft({"run", program, "--out", folder_.path()}).code, kUsage);
  EXPECT_EQ(Weft({"generate", "atlas", "a", "--max-new-tokens", "1", "--out", folder_.path()}).code,
            kUsage);
  EXPECT_EQ(submitted, 0);
  EXPECT_EQ(Weft({"run", program, "--out", folder_.File("r.st")}).code, kOk);
  EXPECT_EQ(submitted, 1);
}

TEST_F(EditsCommandTest, WhatCouldNotBeWrittenAfterARunIsPrinted) {
  Write("save.weft", "invoke [1] { save x = read h.1.output }");
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    std::filesystem::remove_all(folder_.File("results"));
    job->Accept();
    job->Emit(
        Result{.name = "x",
               .value = {*graph::HostTensor::Make(graph::DType::kU8, {1}, std::string(1, 7))}});
    job->Complete();
    return absl::OkStatus();
  };
  std::filesystem::create_directory(folder_.File("results"));
  const CommandOutput run =
      Weft({"run", folder_.File("save.weft"), "--out", folder_.File("results/r.st"), "--json"});
  EXPECT_EQ(run.code, ExitCode::kOther) << run.err;
  EXPECT_THAT(run.err, HasSubstr("results/r.st"));
  EXPECT_EQ(json::parse(run.out)["saves"]["x"]["data"], json({7}));
}

TEST_F(EditsCommandTest, WhatServersKeepIsNotForLocalModels) {
  Store("steer", "steer.weft");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"edits", "delete", "steer"},
        {"edits", "store", "steer", folder_.File("steer.weft")},
        {"edits", "list"},
        {"blobs", "list"},
        {"keys", "list"},
        {"health"}}) {
    std::vector<std::string> arguments = {"--local", folder_.path()};
    arguments.insert(arguments.end(), command.begin(), command.end());
    const CommandOutput refused = Weft(arguments);
    EXPECT_EQ(refused.code, kUsage) << command[0];
    EXPECT_THAT(refused.err, AllOf(HasSubstr("--local"), HasSubstr("`weft " + command[0] + "`")));
  }
  EXPECT_EQ(Weft({"edits", "show", "steer"}).code, kOk);
}

TEST_F(EditsCommandTest, WhatCannotBeAnEditIsRefusedWithItsLine) {
  const CommandOutput refused = Store("bad", "program.weft");
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("edit `bad`"), HasSubstr("program.weft:1")));
  EXPECT_EQ(Weft({"edits", "store", "bad", folder_.File("nowhere.weft")}).code, kUsage);
}

}  // namespace
}  // namespace weft::cli
