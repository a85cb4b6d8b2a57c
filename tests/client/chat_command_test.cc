#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "engine/engine.h"
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/chat_model.h"
#include "tests/support/host_locally.h"
#include "tests/support/temp_folder.h"
#include "tests/support/weft_command.h"

namespace weft::cli {
namespace {

using ::testing::AllOf;
using testing::CommandOutput;
using ::testing::HasSubstr;
using testing::HostLocally;

/// `weft chat` through a running server with a real engine, and in process.
class ChatCommandTest : public ::testing::Test {
 protected:
  ChatCommandTest() {
    engine_ = *Engine::Create({.threads = 1});
    EXPECT_TRUE(engine_->LoadModel("chatty", model_.path()).ok());
    EXPECT_TRUE(engine_->LoadModel("tiny", WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny").ok());
    keys_ = *keys::KeyStore::Open(folder_.path());
    secret_ = keys_->Create({.label = "me"})->secret;
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    edits_ = *edits::EditStore::Open(folder_.path());
    server_ = *server::Server::Start(options, engine_.get(), keys_.get(), /*audit=*/nullptr,
                                     /*blobs=*/nullptr, edits_.get());
  }

  CommandOutput Weft(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.end(), {"--target", server_->address(), "--api-key", secret_});
    return testing::RunWeft(std::move(arguments), input, HostLocally);
  }
  /// The text that a prompt is gone on with.
  std::string Continued(const std::string& prompt, const std::string& tokens) {
    const CommandOutput output =
        Weft({"generate", "chatty", prompt, "--max-new-tokens", tokens, "--json"});
    EXPECT_EQ(output.code, kOk) << output.err;
    return nlohmann::json::parse(output.out)["sequences"][0]["text"];
  }

  const testing::ChatModel model_;
  testing::TempFolder folder_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<edits::EditStore> edits_;
  std::string secret_;
  std::unique_ptr<server::Server> server_;
};

TEST_F(ChatCommandTest, AnswersEachLineKnowingWhatWasSaid) {
  const std::string first = Continued("<system>b|<user>Hi|<assistant>", "4");
  const std::string second =
      Continued("<system>b|<user>Hi|<assistant>" + first + "|<user>So|<assistant>", "4");
  const std::vector<std::string> arguments = {"chat", "chatty",           "--system",
                                              "b",    "--max-new-tokens", "4"};
  EXPECT_EQ(Weft(arguments, "Hi\nSo\n").out, first + "\n" + second + "\n");
  EXPECT_EQ(Weft(arguments, "Hi\n/new\n\nHi\n/quit\nHi\n").out, first + "\n" + first + "\n");
}

TEST_F(ChatCommandTest, RunsInThisProcessToo) {
  const CommandOutput output = testing::RunWeft(
      {"--local", model_.path(), "chat", std::filesystem::path(model_.path()).filename().string(),
       "--max-new-tokens", "4"},
      "Hi\n", HostLocally);
  EXPECT_EQ(output.out, Continued("<user>Hi|<assistant>", "4") + "\n") << output.err;
}

TEST_F(ChatCommandTest, ABackslashGoesOnWithAMessage) {
  const CommandOutput output = Weft({"chat", "chatty", "--max-new-tokens", "3"}, "a\\\nb\n");
  EXPECT_EQ(output.out, Continued("<user>a\nb|<assistant>", "3") + "\n");
}

TEST_F(ChatCommandTest, WithoutALengthItUsesTheRoomThatThereIs) {
  const CommandOutput output = Weft({"chat", "chatty", "--seed", "3", "--sample"}, "Hi\n");
  EXPECT_EQ(output.code, kOk) << output.err;
  EXPECT_NE(output.out, "");
}

TEST_F(ChatCommandTest, ASpecialTokenThatEndsAnAnswerIsNoPartOfIt) {
  const std::string file =
      folder_.Write("end.weft", "invoke { steps [1:] { %l = read logits  %l[:, 96] = 1000.0 } }");
  ASSERT_EQ(Weft({"edits", "store", "end", file, "--model", "chatty"}).code, kOk);
  const CommandOutput output =
      Weft({"chat", "chatty", "--max-new-tokens", "5", "--edit", "end"}, "Hi\n");
  EXPECT_EQ(output.out, Continued("<user>Hi|<assistant>", "1") + "\n") << output.err;
}

TEST_F(ChatCommandTest, WhatIsWrongEndsIt) {
  const CommandOutput output = Weft({"chat", "tiny"}, "Hi\nSo\n");
  EXPECT_EQ(output.code, kRefused);
  EXPECT_THAT(output.err, AllOf(HasSubstr("no chat template"), HasSubstr("chat_template.jinja")));
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(Weft({"chat"}).code, kUsage);
  EXPECT_THAT(Weft({"chat", "--help"}).out, HasSubstr("/new"));
}

}  // namespace
}  // namespace weft::cli
