#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "engine/graph/content_hash.h"
#include "engine/weights/safetensors.h"
#include "server/blobs/blob_store.h"
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
using ::testing::HasSubstr;
using testing::IsOk;

/// `weft blobs` through a running server.
class BlobsCommandTest : public ::testing::Test {
 protected:
  BlobsCommandTest() {
    keys_ = *keys::KeyStore::Open(folder_.path());
    store_ = *blobs::BlobStore::Open(folder_.path());
    secret_ = keys_->Create({.label = "me"})->secret;
    server::ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = *server::Server::Start(options, &engine_, keys_.get(), nullptr, store_.get());
    const std::vector<weights::TensorToWrite> tensors = {
        {"layer.direction", "F32", {2}, absl::string_view("12345678", 8)},
        {"ids", "I64", {1, 1}, absl::string_view("abcdefgh", 8)}};
    EXPECT_THAT(weights::WriteSafetensors(file_, tensors), IsOk());
  }

  CommandOutput Blobs(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "blobs");
    arguments.insert(arguments.end(), {"--target", server_->address(), "--api-key", secret_});
    return testing::RunWeft(std::move(arguments));
  }

  static std::string HashOf(const std::string& bytes) {
    return graph::ContentHash::ToText(graph::ContentHash::Of(bytes.data(), bytes.size()).value());
  }

  testing::TempFolder folder_;
  const std::string file_ = folder_.File("tensors.safetensors");
  testing::FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<blobs::BlobStore> store_;
  std::string secret_;
  std::unique_ptr<server::Server> server_;
};

TEST_F(BlobsCommandTest, UploadPrintsWhatNamesEachTensorInAProgram) {
  const CommandOutput uploaded = Blobs({"upload", file_});
  EXPECT_EQ(uploaded.code, kOk) << uploaded.err;
  EXPECT_THAT(
      uploaded.out,
      AllOf(HasSubstr("layer.direction  blob(float32, [2], \"" + HashOf("12345678") + "\")"),
            HasSubstr("ids  blob(int64, [1, 1], \"" + HashOf("abcdefgh") + "\")")));
  const CommandOutput listed = Blobs({"list"});
  EXPECT_THAT(listed.out, AllOf(HasSubstr(HashOf("12345678") + "  8 bytes  until 20"),
                                HasSubstr("2 blobs, 16 bytes of 4 GiB")));
}

TEST_F(BlobsCommandTest, UploadsOnlyWhatIsNamed) {
  const CommandOutput uploaded = Blobs({"upload", file_, "ids", "--json"});
  EXPECT_EQ(uploaded.code, kOk) << uploaded.err;
  const json tensors = json::parse(uploaded.out);
  EXPECT_EQ(tensors, json({{"ids",
                            {{"type", "blob"},
                             {"dtype", "int64"},
                             {"shape", {1, 1}},
                             {"sha256", HashOf("abcdefgh")}}}}));
  const json list = json::parse(Blobs({"list", "--json"}).out);
  ASSERT_EQ(list["blobs"].size(), 1);
  EXPECT_EQ(list["blobs"][0]["sha256"], HashOf("abcdefgh"));
  EXPECT_EQ(list["quota_bytes"], uint64_t{4} << 30);
  const CommandOutput refused = Blobs({"upload", file_, "other"});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.err, HasSubstr("has no tensor other"));
}

TEST_F(BlobsCommandTest, NamesInBracketsAreNotLists) {
  const std::string file = folder_.File("brackets.safetensors");
  EXPECT_THAT(weights::WriteSafetensors(file, {{"a", "F32", {1}, "1234"},
                                               {"[a]", "F32", {1}, "5678"},
                                               {"[a,b]", "F32", {1}, "90ab"}}),
              IsOk());
  const CommandOutput uploaded = Blobs({"upload", file, "[a]", "[a,b]", "--json"});
  EXPECT_EQ(uploaded.code, kOk) << uploaded.err;
  const json tensors = json::parse(uploaded.out);
  EXPECT_EQ(tensors.size(), 2);
  EXPECT_EQ(tensors["[a]"]["sha256"], HashOf("5678"));
  EXPECT_EQ(tensors["[a,b]"]["sha256"], HashOf("90ab"));
  EXPECT_EQ(Blobs({"delete"}).code, kUsage);
}

TEST_F(BlobsCommandTest, DeletesByHash) {
  Blobs({"upload", file_});
  EXPECT_EQ(Blobs({"delete", HashOf("12345678"), HashOf("abcdefgh")}).code, kOk);
  EXPECT_THAT(Blobs({"list"}).out, HasSubstr("0 blobs"));
  const CommandOutput gone = Blobs({"delete", HashOf("12345678")});
  EXPECT_EQ(gone.code, kRefused);
  EXPECT_THAT(gone.err, HasSubstr("no blob " + HashOf("12345678")));
  EXPECT_THAT(Blobs({"delete", "abc"}).err, HasSubstr("64 hexadecimal digits"));
}

TEST_F(BlobsCommandTest, AFullQuotaIsToldWithTheTensorsName) {
  secret_ = keys_->Create({.limits = {.blob_bytes = 100000}})->secret;
  const CommandOutput refused = Blobs({"upload", file_});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.err, AllOf(HasSubstr(": a blob of 8 bytes"), HasSubstr("blob_bytes")));
}

}  // namespace
}  // namespace weft::cli
