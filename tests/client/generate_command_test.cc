#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "engine/engine.h"
#include "engine/weights/safetensors.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/host_locally.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/support/weft_command.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::CommandOutput;
using ::testing::HasSubstr;
using testing::HostLocally;
using ::testing::StartsWith;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
constexpr char kAdapter[] = WEFT_SOURCE_DIR "/tests/parity/lora/gpt2/plain";

/// `weft generate` through a running server with a real engine, and in process.
class GenerateCommandTest : public ::testing::Test {
 protected:
  GenerateCommandTest() {
    engine_ = *Engine::Create({.threads = 1});
    EXPECT_TRUE(engine_->LoadModel("tiny", kTiny, {.adapters = {{"plain", kAdapter}}}).ok());
    keys_ = *keys::KeyStore::Open(folder_.path());
    secret_ = keys_->Create({.label = "me"})->secret;
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = *server::Server::Start(options, engine_.get(), keys_.get());
  }

  static CommandOutput Weft(std::vector<std::string> arguments, const std::string& input = "") {
    return testing::RunWeft(std::move(arguments), input, HostLocally);
  }
  CommandOutput Generate(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "generate");
    arguments.insert(arguments.end(), {"--target", server_->address(), "--api-key", secret_});
    return Weft(std::move(arguments), input);
  }

  testing::TempFolder folder_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::string secret_;
  std::unique_ptr<server::Server> server_;
};

TEST_F(GenerateCommandTest, PrintsTheTextThatTheModelGoesOnWith) {
  const CommandOutput told = Generate({"tiny", "a b c", "--max-new-tokens", "5", "--json"});
  ASSERT_EQ(told.code, kOk) << told.err;
  const json whole = json::parse(told.out);
  const std::string text = whole["sequences"][0]["text"];
  EXPECT_EQ(whole["prompt"], "a b c");
  const CommandOutput plain = Generate({"tiny", "a b c", "--max-new-tokens", "5"});
  EXPECT_EQ(plain.out, text + "\n");
  EXPECT_EQ(Generate({"tiny", "-", "--max-new-tokens", "5"}, "a b c\n").out, text + "\n");
  EXPECT_EQ(Generate({"tiny", "a b c", "--max-new-tokens", "5", "--echo"}).out,
            absl::StrCat("a b c", text, "\n"));
  const CommandOutput local =
      Weft({"--local", kTiny, "generate", "gpt2-tiny", "a b c", "--max-new-tokens", "5"});
  EXPECT_EQ(local.out, text + "\n") << local.err;
}

TEST_F(GenerateCommandTest, AnAdapterOfTheModelIsChosenByItsName) {
  const std::string without = Generate({"tiny", "a b c", "--max-new-tokens", "8"}).out;
  const CommandOutput with =
      Generate({"tiny", "a b c", "--max-new-tokens", "8", "--adapter", "plain"});
  EXPECT_EQ(with.code, kOk) << with.err;
  EXPECT_NE(with.out, without);
  const std::string adapter = absl::StrCat("mine=", kAdapter);
  const CommandOutput local =
      Weft({"--local", kTiny, "--local-adapter", adapter, "generate", "gpt2-tiny", "a b c",
            "--max-new-tokens", "8", "--adapter", "mine"});
  EXPECT_EQ(local.out, with.out) << local.err;
  const CommandOutput none =
      Generate({"tiny", "a b c", "--max-new-tokens", "8", "--adapter", "other"});
  EXPECT_EQ(none.code, kRefused) << none.err;
  EXPECT_THAT(none.err, AllOf(HasSubstr("no adapter \"other\""), HasSubstr("there is plain")));
  EXPECT_THAT(Weft({"models", "--target", server_->address(), "--api-key", secret_}).out,
              HasSubstr("  adapters plain\n"));
}

TEST_F(GenerateCommandTest, ASeedDrawsTheSameTextAgain) {
  const auto drawn = [&](const std::string& seed) {
    const CommandOutput output =
        Generate({"tiny", "a b c", "--max-new-tokens", "12", "--temperature", "2", "--seed", seed});
    EXPECT_EQ(output.code, kOk) << output.err;
    return output.out;
  };
  EXPECT_EQ(drawn("3"), drawn("3"));
  EXPECT_NE(drawn("3"), drawn("4"));
}

TEST_F(GenerateCommandTest, SeveralTextsAreToldApart) {
  const CommandOutput output = Generate({"tiny", "a b c", "--max-new-tokens", "4", "--sample",
                                         "--num-return-sequences", "2", "--echo"});
  EXPECT_EQ(output.code, kOk) << output.err;
  EXPECT_THAT(output.out, AllOf(StartsWith("== 1 of 2\na b c"), HasSubstr("\n== 2 of 2\na b c")));
}

TEST_F(GenerateCommandTest, ABeamSearchPrintsTheBestThatItFound) {
  const std::vector<std::string> search = {
      "tiny", "a b c", "--max-new-tokens", "4", "--beams", "3", "--eos", "96", "--json"};
  const CommandOutput told = Generate(search);
  ASSERT_EQ(told.code, kOk) << told.err;
  const json whole = json::parse(told.out);
  ASSERT_EQ(whole["sequences"].size(), 1u);
  const std::string text = whole["sequences"][0]["text"];
  std::vector<std::string> several = search;
  several.back() = "--num-return-sequences";
  several.insert(several.end(), {"2", "--length-penalty", "0.5", "--early-stopping", "true"});
  const CommandOutput two = Generate(several);
  EXPECT_EQ(two.code, kOk) << two.err;
  EXPECT_THAT(two.out, AllOf(StartsWith("== 1 of 2\n"), HasSubstr("\n== 2 of 2\n"),
                             HasSubstr("beam_scores  float32[2]")));
  std::vector<std::string> plain(search.begin(), search.end() - 1);
  EXPECT_THAT(Generate(plain).out, StartsWith(text));
  plain.insert(plain.end(), {"--early-stopping", "perhaps"});
  EXPECT_EQ(Generate(plain).code, kUsage);
  EXPECT_THAT(Generate({"tiny", "a", "--beams", "2", "--temperature", "1"}).err,
              HasSubstr("a beam search takes the likeliest"));
}

TEST_F(GenerateCommandTest, AProgramActsInIt) {
  std::ofstream(folder_.File("steer.weft")) << R"(invoke {
    steps [:] {
      %l = read logits
      %l[:, 42] = 1000.0
      save chosen = read samples
    }
  })";
  const CommandOutput output = Generate({"tiny", "a b c", "--max-new-tokens", "3", "--json",
                                         "--program", folder_.File("steer.weft")});
  ASSERT_EQ(output.code, kOk) << output.err;
  const json whole = json::parse(output.out);
  EXPECT_EQ(whole["sequences"][0]["ids"], json({42, 42, 42}));
  EXPECT_EQ(whole["saves"].size(), 1u);
  const CommandOutput shown =
      Generate({"tiny", "a b c", "--max-new-tokens", "3", "--program", folder_.File("steer.weft")});
  EXPECT_THAT(shown.out, HasSubstr("chosen.2  int64[1]"));
  const CommandOutput bad = Generate({"tiny", "a", "--program", "-"}, "invoke [1] { }");
  EXPECT_EQ(bad.code, kRefused);
  EXPECT_THAT(bad.err, HasSubstr("<stdin>"));
}

TEST_F(GenerateCommandTest, TheFileHasTheIdsThoughNothingElseIsSaved) {
  const std::string file = folder_.Write("f.st", "of an earlier run");
  const CommandOutput output =
      Generate({"tiny", "a b c", "--max-new-tokens", "3", "--out", file, "--json"});
  ASSERT_EQ(output.code, kOk) << output.err;
  const json whole = json::parse(output.out);
  EXPECT_FALSE(whole["saves"].contains("result"));
  absl::StatusOr<weights::SafetensorsFile> written = weights::SafetensorsFile::Open(file);
  ASSERT_TRUE(written.ok()) << written.status();
  const weights::TensorEntry* ids = written->FindTensor("result");
  ASSERT_NE(ids, nullptr);
  EXPECT_EQ(ids->dtype, "I64");
  // The new ones, behind the prompt's.
  const absl::string_view bytes = written->Bytes(*ids);
  std::vector<int64_t> last(3);
  ASSERT_GT(bytes.size(), last.size() * sizeof(int64_t));
  std::memcpy(last.data(), bytes.end() - last.size() * sizeof(int64_t),
              last.size() * sizeof(int64_t));
  EXPECT_EQ(whole["sequences"][0]["ids"], json(last));
}

TEST_F(GenerateCommandTest, WhatIsWrongIsSaidByName) {
  const CommandOutput output = Generate({"tiny", "a b c", "--top-p", "1.5"});
  EXPECT_EQ(output.code, kRefused);
  EXPECT_THAT(output.err, HasSubstr("top_p is a probability above 0 and at most 1"));
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(Generate({"nobody", "a", "--max-new-tokens", "1"}).code, kRefused);
  EXPECT_EQ(Generate({"tiny"}).code, kUsage);
}

TEST_F(GenerateCommandTest, TheHelpTeachesByExamples) {
  const CommandOutput help = Weft({"generate", "--help"});
  EXPECT_EQ(help.code, kOk);
  EXPECT_THAT(help.out, AllOf(HasSubstr("weft generate atlas"), HasSubstr("%l = read logits"),
                              HasSubstr("--temperature")));
}

}  // namespace
}  // namespace weft::cli
