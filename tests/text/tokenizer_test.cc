#include "engine/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::text {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/text/";

nlohmann::json Golden() {
  std::ifstream file(std::string(kFolder) + "golden.json");
  return nlohmann::json::parse(file);
}

std::shared_ptr<const Tokenizer> Load() {
  return Tokenizer::LoadTokenizer(std::string(kFolder) + "tokenizer.json").value();
}

std::vector<int64_t> Ids(const nlohmann::json& json) { return json.get<std::vector<int64_t>>(); }

/// Write `contents` to a file of this test and return its path.
std::string WriteFile(const std::string& name, const std::string& contents) {
  const std::string path = testing::TempDir() + "tokenizer_test_" + name;
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

TEST(TokenizerTest, EncodesAsPythonsTokenizers) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  const nlohmann::json golden = Golden();
  for (const nlohmann::json& row : golden["cases"]) {
    const std::string text = row["text"];
    EXPECT_EQ(tokenizer->Encode(text, false).value(), Ids(row["ids"])) << text;
    EXPECT_EQ(tokenizer->Encode(text, true).value(), Ids(row["ids_with_special"])) << text;
  }
}

TEST(TokenizerTest, DecodesAsPythonsTokenizers) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  const nlohmann::json golden = Golden();
  for (const nlohmann::json& row : golden["cases"]) {
    const std::vector<int64_t> ids = Ids(row["ids_with_special"]);
    EXPECT_EQ(tokenizer->Decode(ids, false).value(), row["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer->Decode(ids, true).value(),
              row["decoded_without_special"].get<std::string>());
  }
  const nlohmann::json& half = golden["half_character"];
  EXPECT_EQ(tokenizer->Decode(Ids(half["ids"])).value(), half["decoded"].get<std::string>());
  EXPECT_EQ(tokenizer->Decode({}).value(), "");
}

TEST(TokenizerTest, IgnoresTruncationAndPaddingSavedInTheFile) {
  const std::vector<int64_t> ids =
      Load()->Encode("The Eiffel Tower is in the city of Paris").value();
  EXPECT_GT(ids.size(), 4u);
  EXPECT_LT(ids.size(), 64u);
}

TEST(TokenizerTest, MapsTokensToIdsAndBack) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  const nlohmann::json golden = Golden();
  EXPECT_EQ(tokenizer->vocab_size(), golden["vocab_size"].get<int64_t>());
  EXPECT_EQ(tokenizer->TokenToId("Ġthe"), golden["the"].get<int64_t>());
  EXPECT_EQ(tokenizer->TokenToId("<|endoftext|>"), golden["endoftext"].get<int64_t>());
  EXPECT_EQ(tokenizer->TokenToId("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->TokenToId("\xFF"), std::nullopt);
  for (int64_t id = 0; id < tokenizer->vocab_size(); ++id) {
    EXPECT_EQ(tokenizer->TokenToId(tokenizer->IdToToken(id).value()), id);
  }
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8NamingTheByte) {
  const absl::Status status = Load()->Encode("Par\xC3is").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not UTF-8 at byte 3"));
}

TEST(TokenizerTest, RefusesIdsOutsideTheVocabularyByName) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  const int64_t size = tokenizer->vocab_size();
  for (const int64_t id : {int64_t{-1}, size, int64_t{1} << 32, std::numeric_limits<int64_t>::min(),
                           std::numeric_limits<int64_t>::max()}) {
    const absl::Status status = tokenizer->Decode({0, id}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("token id " + std::to_string(id)), HasSubstr("position 1 of 2")));
    EXPECT_EQ(tokenizer->IdToToken(id).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerTest, NamesAFileThatIsMissing) {
  const absl::Status status = Tokenizer::LoadTokenizer("no/such/tokenizer.json").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no/such/tokenizer.json"));
}

class BrokenTokenizerTest : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BrokenTokenizerTest, IsRefusedNamingTheFile) {
  const std::string path = WriteFile(GetParam().first, GetParam().second);
  const absl::Status status = Tokenizer::LoadTokenizer(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

INSTANTIATE_TEST_SUITE_P(
    Files, BrokenTokenizerTest,
    testing::Values(std::pair("empty", ""), std::pair("text", "not json"),
                    std::pair("cut", R"({"version": "1)"), std::pair("nothing", "{}"),
                    std::pair("bytes", "\xFF\xFE\x01"),
                    std::pair("model", R"({"version": "1.0", "model": {"type": "Other"}})")),
    [](const auto& info) { return std::string(info.param.first); });

TEST(TokenizerTest, APanicIsAnErrorNamingTheFile) {
  // A merge that is shorter than the prefix that its second half would lose.
  const std::string path = WriteFile("panic", R"({"version": "1.0", "added_tokens": [],
      "model": {"type": "BPE", "continuing_subword_prefix": "########",
      "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
  const absl::Status status = Tokenizer::LoadTokenizer(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(path), HasSubstr("panicked")));
}

TEST(TokenizerTest, IsSharedByThreads) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "ThreadSanitizer does not see the Rust library's locks";
#endif
#endif
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  const nlohmann::json golden = Golden();
  std::vector<std::thread> threads;
  std::vector<int> differences(4, 0);
  for (int& count : differences) {
    threads.emplace_back([&tokenizer, &golden, &count] {
      for (int round = 0; round < 20; ++round) {
        for (const nlohmann::json& row : golden["cases"]) {
          const std::vector<int64_t> expected = Ids(row["ids"]);
          if (tokenizer->Encode(row["text"].get<std::string>(), false).value() != expected) ++count;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(differences, testing::Each(0));
}

}  // namespace
}  // namespace weft::text
