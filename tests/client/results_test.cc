#include "client/cli/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <limits>
#include <streambuf>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "client/cli/command_line.h"
#include "client/cli/commands.h"
#include "client/cli/running.h"
#include "engine/weights/safetensors.h"
#include "tests/support/environment.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

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

TEST(ResultsTest, IntegersAreExact) {
  EXPECT_EQ(Describe("n", Value(tensor({1234567, -2147483647}).to(kInt32))),
            "n  int32[2]  [1234567, -2147483647]\n");
  EXPECT_EQ(Describe("n", Value(tensor({255}).to(kUInt8))), "n  uint8[1]  [255]\n");
  EXPECT_EQ(Describe("n", Value(tensor(int64_t{9007199254740993}))),
            "n  int64[]  9007199254740993\n");
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

TEST(ResultsTest, SaysBeforehandWhereNoFileCanBeWritten) {
  const testing::TempFolder folder;
  EXPECT_THAT(CheckWritable(folder.File("new.st")), IsOk());
  EXPECT_THAT(CheckWritable(folder.Write("old.st", "old")), IsOk());
  EXPECT_THAT(CheckWritable("weft_results_test.st"), IsOk());
  const auto refuses = [](const std::string& path, const std::string& why) {
    EXPECT_THAT(CheckWritable(path), StatusIs(absl::StatusCode::kInvalidArgument,
                                              AllOf(HasSubstr(path), HasSubstr(why))));
  };
  refuses(folder.path(), "not a regular file");
  refuses("/dev/null", "not a regular file");
  refuses(folder.File("no/new.st"), "there is no folder " + folder.File("no"));
  refuses(folder.File("old.st/new.st"), "there is no folder");
}

TEST(InterruptTest, TheFirstSignalCancelsAndTheNextEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto interrupt_twice = [](int first, int second) {
    Cancellation cancellation;
    absl::Notification cancelled;
    const std::shared_ptr<void> told = cancellation.OnCancel([&] { cancelled.Notify(); });
    InterruptScope scope(cancellation);
    kill(getpid(), first);
    cancelled.WaitForNotification();
    kill(getpid(), second);
    absl::Notification().WaitForNotification();
  };
  EXPECT_EXIT(interrupt_twice(SIGTERM, SIGTERM), ::testing::ExitedWithCode(128 + SIGTERM), "");
  EXPECT_EXIT(interrupt_twice(SIGTERM, SIGINT), ::testing::ExitedWithCode(128 + SIGINT), "");
  EXPECT_EXIT(interrupt_twice(SIGINT, SIGTERM), ::testing::ExitedWithCode(128 + SIGTERM),
              "cancelling");
}

TEST(InterruptTest, AFileIsWrittenThoughNobodyReadsStandardOutput) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto print_to_nobody = [] {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    close(ends[0]);
    InterruptScope scope(Cancellation(), /*survives_closed_pipes=*/true);
    ASSERT_EQ(write(ends[1], "x", 1), -1);
    std::cerr << "written";
  };
  EXPECT_EXIT(print_to_nobody(), ::testing::KilledBySignal(SIGPIPE), "written");
}

/// What is read from nobody until a signal comes.
class SignalBuffer final : public std::streambuf {
  int_type underflow() override {
    kill(getpid(), SIGTERM);
    return traits_type::eof();
  }
};

TEST(InterruptTest, ASignalEndsWhatWaitsForStandardInput) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto weft = [](std::vector<std::string> arguments) {
    testing::Environment environment;
    testing::ForgetConfiguration(&environment, "/nonexistent");
    arguments.insert(arguments.begin(), "weft");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    SignalBuffer input;
    std::cin.rdbuf(&input);
    _exit(Main(static_cast<int>(argv.size()), argv.data(), nullptr));
  };
  EXPECT_EXIT(weft({"run", "-"}), ::testing::KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(weft({"generate", "m", "-"}), ::testing::KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(weft({"generate", "m", "a", "--program", "-"}), ::testing::KilledBySignal(SIGTERM),
              "");
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
