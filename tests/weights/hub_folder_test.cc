#include "engine/weights/hub_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/support/temp_folder.h"

namespace weft::weights {
namespace {

using testing::TempFolder;

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr char kVariants[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-variants/";

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

/// A folder with empty weights that opens, to be spoiled.
class HubFolderTest : public ::testing::Test {
 protected:
  HubFolderTest() {
    folder_.Write("config.json", R"({"model_type": "gpt2"})");
    folder_.Write("tokenizer.json", "{}");
    folder_.Write("model.safetensors", "");
  }
  void Remove(const std::string& name) { std::filesystem::remove(folder_.File(name)); }

  TempFolder folder_;
};

TEST_F(HubFolderTest, FindsTheFilesOfAFolder) {
  auto folder = HubFolder::Open(folder_.path());
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->path(), folder_.path());
  EXPECT_EQ(folder->tokenizer_path(), folder_.File("tokenizer.json"));
  EXPECT_THAT(folder->weight_paths(), ElementsAre(folder_.File("model.safetensors")));
  EXPECT_EQ(folder->config().Get<std::string>("model_type").value(), "gpt2");
}

TEST(HubFolderOnDiskTest, FindsTheShardsOfAnIndex) {
  auto folder = HubFolder::Open(std::string(kVariants) + "sharded");
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_THAT(folder->weight_paths(), ElementsAre(EndsWith("model-00001-of-00002.safetensors"),
                                                  EndsWith("model-00002-of-00002.safetensors")));
}

TEST_F(HubFolderTest, PrefersTheSingleFileOverAnIndex) {
  folder_.Write("model.safetensors.index.json", "not looked at");
  auto folder = HubFolder::Open(folder_.path());
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_THAT(folder->weight_paths(), ElementsAre(folder_.File("model.safetensors")));
}

TEST_F(HubFolderTest, NamesEachFileThatIsMissing) {
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    std::string kept = folder_.File("kept");
    std::filesystem::rename(folder_.File(name), kept);
    absl::Status status = HubFolder::Open(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(MessageOf(status), HasSubstr(folder_.File(name) + " is missing"));
    std::filesystem::rename(kept, folder_.File(name));
  }
}

TEST_F(HubFolderTest, RefusesAPickleAndSaysTheWayOut) {
  Remove("model.safetensors");
  for (const char* name : {"pytorch_model.bin.index.json", "pytorch_model.bin"}) {
    folder_.Write(name, "");
    absl::Status status = HubFolder::Open(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(MessageOf(status), HasSubstr(folder_.File(name)));
    EXPECT_THAT(MessageOf(status), HasSubstr("save_pretrained"));
  }
}

TEST(HubFolderOnDiskTest, NamesAFolderThatIsMissing) {
  absl::Status status = HubFolder::Open("no/such/folder").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr("no/such/folder"));
}

TEST_F(HubFolderTest, NamesAShardThatIsMissing) {
  Remove("model.safetensors");
  folder_.Write("one.safetensors", "");
  folder_.Write("model.safetensors.index.json",
                R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  absl::Status status = HubFolder::Open(folder_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr(folder_.File("two.safetensors") + " is missing"));
}

TEST_F(HubFolderTest, RefusesAnIndexThatReachesOutsideItsFolder) {
  Remove("model.safetensors");
  for (const char* file : {"\"../x\"", "\"/etc/passwd\"", "\"..\"", "\"\"", "\"a\\u0000\"", "7"}) {
    folder_.Write("model.safetensors.index.json",
                  std::string(R"({"weight_map": {"a": )") + file + "}}");
    absl::Status status = HubFolder::Open(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(MessageOf(status), HasSubstr("must be the name of a file in the same folder"));
  }
}

TEST_F(HubFolderTest, RefusesAnIndexWithoutAMap) {
  Remove("model.safetensors");
  for (const char* index : {"{}", R"({"weight_map": {}})", R"({"weight_map": []})"}) {
    folder_.Write("model.safetensors.index.json", index);
    absl::Status status = HubFolder::Open(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << index;
    EXPECT_THAT(MessageOf(status), HasSubstr("has no \"weight_map\""));
  }
}

TEST_F(HubFolderTest, RefusesAConfigurationThatIsNoObject) {
  std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  for (const std::string& config :
       {std::string(""), std::string("{"), std::string("[]"), std::string("\"\xff\""), deep}) {
    folder_.Write("config.json", config);
    absl::Status status = HubFolder::Open(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << config.substr(0, 20);
    EXPECT_THAT(MessageOf(status), HasSubstr(folder_.File("config.json")));
  }
}

TEST(ModelConfigTest, ReadsFieldsByType) {
  auto config = ModelConfig::Parse(
      "c.json", R"({"i": -3, "d": 0.5, "one": 1, "b": true, "s": "gelu", "null": null})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->Get<int64_t>("i").value(), -3);
  EXPECT_EQ(config->Get<double>("d").value(), 0.5);
  EXPECT_EQ(config->Get<double>("one").value(), 1.0);
  EXPECT_EQ(config->Get<bool>("b").value(), true);
  EXPECT_EQ(config->Get<std::string>("s").value(), "gelu");
  EXPECT_EQ(config->GetOr<int64_t>("i", 7).value(), -3);
  EXPECT_EQ(config->GetOr<int64_t>("absent", 7).value(), 7);
  EXPECT_EQ(config->GetOr<int64_t>("null", 7).value(), 7);
  EXPECT_TRUE(config->Has("i"));
  EXPECT_FALSE(config->Has("null"));
  EXPECT_FALSE(config->Has("absent"));
}

TEST(ModelConfigTest, NamesTheFileTheFieldAndTheTypeThatIsWrong) {
  auto config = ModelConfig::Parse(
      "c.json", R"({"i": "3", "d": true, "b": 1, "s": null, "big": 9223372036854775808})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(MessageOf(config->Get<int64_t>("i").status()),
              HasSubstr("c.json: field \"i\" must be an integer of 64 bits, but is"));
  EXPECT_THAT(MessageOf(config->GetOr<int64_t>("i", 1).status()), HasSubstr("\"i\""));
  EXPECT_THAT(MessageOf(config->Get<double>("d").status()), HasSubstr("must be a number"));
  EXPECT_THAT(MessageOf(config->Get<bool>("b").status()), HasSubstr("must be true or false"));
  EXPECT_THAT(MessageOf(config->Get<std::string>("s").status()),
              HasSubstr("c.json has no field \"s\", which must be a string"));
  EXPECT_EQ(config->Get<int64_t>("big").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace weft::weights
