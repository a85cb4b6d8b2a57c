// How many rows a generation brings into its passes, as the server's metrics count them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "engine/engine.h"
#include "engine/graph/text.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;

class PromptRowsTest : public ::testing::Test {
 protected:
  PromptRowsTest() {
    EngineOptions options;
    options.threads = 1;
    options.after_pass = [this](const PassReport& report) {
      absl::MutexLock lock(&mutex_);
      rows_.push_back(report.rows);
    };
    engine_ = Engine::Create(options).value();
  }
  void SetUp() override {
    ASSERT_THAT(engine_->LoadModel("tiny", WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny"), IsOk());
  }

  /// The rows of each pass of a program of two prompts of four tokens.
  std::vector<uint64_t> RowsOf(const std::string& options, const std::string& body = "") {
    {
      absl::MutexLock lock(&mutex_);
      rows_.clear();
    }
    auto ended = std::make_shared<absl::Notification>();
    const auto job = engine_->Submit(
        "tiny",
        graph::ParseProgram(absl::StrCat("generate max_new_tokens=4 eos_token_ids=[96] ", options,
                                         " invoke [[1, 2, 3, 4], [64, 65, 66, 67]] { ", body,
                                         " save ids = read result }"))
            .value(),
        {}, [ended](Event event) {
          EXPECT_FALSE(std::holds_alternative<Failed>(event));
          if (std::holds_alternative<Completed>(event) || std::holds_alternative<Failed>(event)) {
            ended->Notify();
          }
        });
    EXPECT_THAT(job, IsOk());
    if (!job.ok()) return {};
    EXPECT_TRUE(ended->WaitForNotificationWithTimeout(absl::Seconds(60)));
    absl::MutexLock lock(&mutex_);
    return rows_;
  }

  absl::Mutex mutex_;
  std::vector<uint64_t> rows_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Engine> engine_;
};

TEST_F(PromptRowsTest, SequencesOfAPromptPassItOnce) {
  const std::string drawn = "temperature=2 min_new_tokens=4 ";
  EXPECT_THAT(RowsOf(drawn), ElementsAre(8, 2, 2, 2));
  EXPECT_THAT(RowsOf(drawn + "num_return_sequences=5"), ElementsAre(8, 10, 10, 10));
  EXPECT_THAT(RowsOf(drawn + "num_return_sequences=5", "save l = read logits  save i = read ids"),
              ElementsAre(8, 10, 10, 10));
  EXPECT_THAT(RowsOf(drawn + "num_return_sequences=5",
                     "steps [1:] { save h = read transformer.h.1.output }"),
              ElementsAre(8, 10, 10, 10));
}

TEST_F(PromptRowsTest, WhereSomebodyLooksEachPassesItsOwn) {
  EXPECT_THAT(RowsOf("temperature=2 min_new_tokens=4 num_return_sequences=5",
                     "save h = read transformer.h.1.output"),
              ElementsAre(40, 10, 10, 10));
}

TEST_F(PromptRowsTest, BeamsOfAPromptPassItOnce) {
  EXPECT_THAT(RowsOf("num_beams=3 min_new_tokens=4"), ElementsAre(8, 6, 6, 6));
}

}  // namespace
}  // namespace weft
