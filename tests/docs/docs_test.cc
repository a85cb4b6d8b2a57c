#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/blobs/blob_store.h"
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/client.h"

// What the pages say, as functions of the server's address and a key.
#include "snippets.inc"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A real server with atlas, as the pages assume it.
class DocsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = Engine::Create({.threads = 1}).value();
    ASSERT_THAT(engine_->LoadModel("atlas", std::string(WEFT_SOURCE_DIR) + "/models/atlas"),
                IsOk());
    // And with atlas as a model that answers.
    const std::string assistant = data_.File("assistant");
    std::filesystem::copy(std::string(WEFT_SOURCE_DIR) + "/models/atlas", assistant);
    std::ofstream(assistant + "/chat_template.jinja")
        << "{{ messages[-1].content }}{{ '\\n' if add_generation_prompt }}";
    ASSERT_THAT(engine_->LoadModel("assistant", assistant), IsOk());
    keys_ = keys::KeyStore::Open(data_.path()).value();
    key_ = keys_->Create({.label = "docs"}).value().secret;
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    blobs_ = blobs::BlobStore::Open(data_.path()).value();
    edits_ = edits::EditStore::Open(data_.path()).value();
    server_ = server::Server::Start(options, engine_.get(), keys_.get(), /*audit=*/nullptr,
                                    blobs_.get(), edits_.get())
                  .value();
  }

  /// What a block prints.
  template <typename Block>
  std::string Run(const Block& block) {
    std::ostringstream out;
    std::streambuf* before = std::cout.rdbuf(out.rdbuf());
    block(server_->address(), key_);
    std::cout.rdbuf(before);
    return out.str();
  }

  /// The same of a guide's block.
  std::string RunGuide(void (*block)(const LanguageModel&)) {
    const Client client = Client::Connect(server_->address(), {.api_key = key_}).value();
    const LanguageModel model = client.OpenLanguageModel("atlas").value();
    return Run([&](const std::string&, const std::string&) { block(model); });
  }

  TempFolder data_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<blobs::BlobStore> blobs_;
  std::unique_ptr<edits::EditStore> edits_;
  std::string key_;
  std::unique_ptr<server::Server> server_;
};

TEST_F(DocsTest, ReadmesExamplePrintsWhatItSays) {
  EXPECT_EQ(Run(README_md), " Paris Rome float32[1, 8, 128]\n");
}

TEST_F(DocsTest, QuickstartsExampleRuns) {
  EXPECT_THAT(Run(docs_quickstart_md), HasSubstr("Paris"));
}

TEST_F(DocsTest, ConnectingRuns) { EXPECT_EQ(Run(docs_client_md), " Paris\n"); }

TEST_F(DocsTest, NnsightUsersExampleRuns) {
  EXPECT_EQ(Run(docs_from_nnsight_md), "[1, 8, 2560][1, 8, 2560]\n");
}

TEST_F(DocsTest, ChatsExampleRuns) {
  EXPECT_THAT(Run(docs_chats_md),
              AllOf(StartsWith("Where is the Eiffel Tower?\n"), EndsWith(" Paris\n")));
}

TEST_F(DocsTest, BlobsExampleRuns) { EXPECT_EQ(Run(docs_blobs_md), "float32[1, 128]\n"); }

TEST_F(DocsTest, EditsExampleRuns) { EXPECT_EQ(Run(docs_edits_md), "quiet@1 1 11\n"); }

TEST_F(DocsTest, HostingYourOwnRuns) {
  const std::string archives = std::string(WEFT_SOURCE_DIR) + "/tests/exported/archives/";
  ASSERT_THAT(engine_->LoadModel("mlp", archives + "mlp.pt2"), IsOk());
  ASSERT_THAT(engine_->LoadModel("vision", archives + "vision.pt2"), IsOk());
  EXPECT_EQ(Run(docs_hosting_your_own_md), "[2, 8] [2, 8]\n");
  const std::string vision = Run(docs_hosting_your_own_md_2);
  EXPECT_THAT(vision, HasSubstr("6 channels, [1, 4]\n"));
  EXPECT_THAT(vision, HasSubstr("conv2d_0"));
}

TEST_F(DocsTest, InsideModulesRuns) {
  EXPECT_THAT(Run(docs_inside_md), HasSubstr("scaled_dot_product_attention_0"));
  EXPECT_THAT(Run(docs_inside_md), HasSubstr(" heads\n"));
}

TEST_F(DocsTest, ClientsExampleRuns) {
  EXPECT_THAT(Run(client_README_md), HasSubstr("[1, 8, 128]"));
}

TEST_F(DocsTest, GenerationGuideRuns) {
  const auto run = [&](void (*block)(const LanguageModel&)) { return RunGuide(block); };
  EXPECT_EQ(run(docs_generation_md_1), "[1, 11][1, 11]\n");
  EXPECT_THAT(run(docs_generation_md_2), HasSubstr("\nThe Eiffel Tower is in the city of"));
  EXPECT_EQ(run(docs_generation_md_3), "[2, 12][2]\n");
  EXPECT_THAT(run(docs_generation_md_4), ::testing::StartsWith(" Paris"));
  EXPECT_EQ(run(docs_generation_md_5), "4 steps, 12 tokens\n");
  EXPECT_EQ(run(docs_generation_md_6), " Paris\n");
  EXPECT_EQ(run(docs_generation_md_7), "2 of 3\n");
}

TEST_F(DocsTest, TracingGuideRuns) {
  const auto run = [&](void (*block)(const LanguageModel&)) { return RunGuide(block); };
  EXPECT_EQ(run(docs_tracing_md_1), " Paris [1, 8, 128]\n");
  EXPECT_EQ(run(docs_tracing_md_2), "2 2\n");
  EXPECT_EQ(run(docs_tracing_md_3), "5 rows\n");
  EXPECT_THAT(run(docs_tracing_md_4), HasSubstr("4 steps"));
  EXPECT_FALSE(run(docs_tracing_md_5).empty());
  EXPECT_FALSE(run(docs_tracing_md_6).empty());
  EXPECT_FALSE(run(docs_tracing_md_7).empty());
  EXPECT_THAT(run(docs_tracing_md_8), HasSubstr("points"));
  EXPECT_EQ(run(docs_tracing_md_9), " the Rome\n");
  EXPECT_THAT(run(docs_tracing_md_10), HasSubstr("passes"));
  EXPECT_THAT(run(docs_tracing_md_11), HasSubstr("transformer.h.0\n"));
  EXPECT_EQ(run(docs_tracing_md_12), "[1, 8][1, 8, 128]\n");
  EXPECT_EQ(run(docs_tracing_md_13), "[1, 2, 128]\n");
  EXPECT_THAT(run(docs_tracing_md_14), HasSubstr(", 128][1, "));
}

// Needs no library of Weft's: a client of another language reads the .proto files alone.
TEST_F(DocsTest, PythonExampleRuns) {
  const std::string source = WEFT_SOURCE_DIR;
  const std::string command = "WEFT_API_KEY=" + key_ + " /usr/bin/python3 " + source +
                              "/examples/python/trace.py " + server_->address() + " " + source +
                              "/proto 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 256> part;
  while (fgets(part.data(), part.size(), pipe) != nullptr) output += part.data();
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(output, " Rome\n");
}

}  // namespace
}  // namespace weft::testing
