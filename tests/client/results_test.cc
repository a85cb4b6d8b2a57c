#include "client/cli/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "client/cli/commands.h"
#include "engine/weights/safetensors.h"

namespace weft::cli {
namespace {

using ::testing::HasSubstr;

Value Structure() {
  return Value(
      Value::Dict{{{"logits", Value(tensor({0.1, 2.0}))},
                   {"rest", Value(Value::Tuple{{Value(), Value(Value::Variant(int64_t{3}))}})}}});
}

TEST(ResultsTest, DescribesEachLeafOnALine) {
  EXPECT_EQ(Describe("out", Structure()),
            "out.logits  float32[2]  [0.1, 2]\n"
            "out.rest.0  none  None\n"
            "out.rest.1  int  3\n");
  EXPECT_EQ(Describe("ids", Value(tensor({1, 2, 3, 4, 5, 6, 7, 8, 9}))),
            "ids  int64[9]  [1, 2, 3, 4, 5, 6, 7, 8, ...]\n");
  EXPECT_EQ(Describe("x", Value(tensor(1.5))), "x  float32[]  1.5\n");
}

TEST(ResultsTest, ItemsOfListsAndCachesHaveTheirPlaceInTheirName) {
  EXPECT_EQ(Describe("h", Value(Value::List{{Value(tensor(1.0)), Value(tensor(2.0))}})),
            "h.0  float32[]  1\n"
            "h.1  float32[]  2\n");
  EXPECT_EQ(Describe("acts", Value(Value::Dict{{{"h.0.output", Value(tensor(1.0))},
                                                {"h.0@1.output", Value(tensor(2.0))}}})),
            "acts.h.0.output  float32[]  1\n"
            "acts.h.0@1.output  float32[]  2\n");
}

TEST(ResultsTest, JsonKeepsTypesAndNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToJson(Value(tensor({0.1f, inf, -inf, std::nanf("")})), true).dump(),
            R"({"data":[0.1,"Infinity","-Infinity","NaN"],"dtype":"float32","shape":[4],)"
            R"("type":"tensor"})");
  EXPECT_EQ(ToJson(Value(tensor({true})), false).dump(),
            R"({"dtype":"bool","shape":[1],"type":"tensor"})");
  EXPECT_EQ(ToJson(Structure(), false)["entries"]["rest"].dump(),
            R"({"items":[{"type":"none"},{"type":"int","value":3}],"type":"tuple"})");
}

TEST(ResultsTest, WritesTensorsToAFileAndTheRestToItsMetadata) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "weft_results_test.safetensors").string();
  RunResult result;
  result.fingerprint = "f1";
  result.saves["out"] = Structure();
  result.saves["half"] = Value(tensor({1.0}).to(kBFloat16));
  result.missing["late"] = absl::OutOfRangeError("never came");
  ASSERT_TRUE(WriteResults(path, "toy", result).ok());
  absl::StatusOr<weights::SafetensorsFile> file = weights::SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_NE(file->FindTensor("out.logits"), nullptr);
  EXPECT_EQ(file->FindTensor("half")->dtype, "BF16");
  EXPECT_EQ(file->metadata().at("weft.model"), "toy");
  EXPECT_THAT(file->metadata().at("out.rest.1"), HasSubstr("3"));
  EXPECT_THAT(file->metadata().at("missing.late"), HasSubstr("never came"));
  std::filesystem::remove(path);
}

TEST(CommandsTest, ReadsTimes) {
  EXPECT_EQ(*ParseTime("5"), absl::Seconds(5));
  EXPECT_EQ(*ParseTime("500ms"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseTime("30d"), absl::Hours(720));
  for (const char* wrong : {"", "0", "-1s", "soon", "5 s", "nan"}) {
    EXPECT_FALSE(ParseTime(wrong).ok()) << wrong;
  }
}

TEST(CommandsTest, ExitCodesTellErrorsApart) {
  EXPECT_EQ(CodeOf(absl::InvalidArgumentError("")), kRefused);
  EXPECT_EQ(CodeOf(absl::PermissionDeniedError("")), kPermission);
  EXPECT_EQ(CodeOf(absl::UnauthenticatedError("")), kPermission);
  EXPECT_EQ(CodeOf(absl::DeadlineExceededError("")), kUnavailable);
  EXPECT_EQ(CodeOf(absl::InternalError("")), kOther);
}

}  // namespace
}  // namespace weft::cli
