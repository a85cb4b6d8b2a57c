#include "server/canary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "engine/graph/text.h"
#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"

namespace weft::server {
namespace {

using testing::FakeEngine;
using testing::FakeJob;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// A canary that is stepped by hand, over jobs that wait until a test ends them.
class CanaryTest : public ::testing::Test {
 protected:
  CanaryTest() {
    engine_.AddSite("atlas", "lm_head", graph::DType::kF32);
    engine_.on_submit = [this](const std::shared_ptr<FakeJob>& job,
                               const FakeEngine::Submission& submission) {
      if (!refuse_.ok()) return refuse_;
      job->Accept();
      jobs_[submission.model].push_back(job);
      submissions_.push_back(submission);
      return absl::OkStatus();
    };
  }

  absl::Time Step(absl::Duration later) {
    now_ += later;
    return canary_.Step(now_);
  }

  void End(const std::shared_ptr<FakeJob>& job, bool nan) {
    job->Emit(Result{.name = "canary",
                     .value = {*graph::HostTensor::Make(graph::DType::kBool, {},
                                                        std::string(1, nan ? '\1' : '\0'))}});
    job->Complete();
  }

  FakeEngine engine_;
  absl::Status refuse_;
  std::map<std::string, std::vector<std::shared_ptr<FakeJob>>> jobs_;
  std::vector<FakeEngine::Submission> submissions_;
  std::map<std::string, bool> well_;
  bool all_well_ = false;
  std::shared_ptr<metrics::Metrics> metrics_ = std::make_shared<metrics::Metrics>();
  absl::Time now_ = absl::Now();
  Canary canary_{&engine_,
                 {.period = absl::Seconds(10), .timeout = absl::Seconds(60)},
                 [this](const std::string& model, bool well, bool all_well) {
                   well_[model] = well;
                   all_well_ = all_well;
                 },
                 metrics_};
};

TEST_F(CanaryTest, SendsOneTokenThroughTheWholeModelAheadOfTheQueue) {
  Step(absl::ZeroDuration());
  ASSERT_THAT(submissions_, SizeIs(1));
  EXPECT_THAT(graph::PrintProgram(submissions_[0].program), HasSubstr("read lm_head.output"));
  EXPECT_GT(submissions_[0].options.priority, 0);
  EXPECT_TRUE(submissions_[0].options.exclusive);
  EXPECT_TRUE(well_.at("atlas"));
}

TEST_F(CanaryTest, SendsTheNextWhenOneIsBackAndThePeriodHasPassed) {
  Step(absl::ZeroDuration());
  Step(absl::Seconds(15));  // not back yet
  EXPECT_THAT(jobs_["atlas"], SizeIs(1));
  End(jobs_["atlas"][0], false);
  Step(absl::Seconds(1));
  EXPECT_THAT(jobs_["atlas"], SizeIs(2));
  End(jobs_["atlas"][1], false);
  Step(absl::Seconds(9));
  EXPECT_THAT(jobs_["atlas"], SizeIs(2));
  Step(absl::Seconds(1));
  EXPECT_THAT(jobs_["atlas"], SizeIs(3));
  EXPECT_EQ(metrics_->OfModel("atlas").canaries_passed.Value(), 2);
}

TEST_F(CanaryTest, FailureMakesIllAndSuccessMakesWell) {
  Step(absl::ZeroDuration());
  jobs_["atlas"][0]->Fail(absl::StatusCode::kInternal, "a kernel broke");
  Step(absl::Seconds(1));
  EXPECT_FALSE(well_.at("atlas"));
  EXPECT_EQ(metrics_->OfModel("atlas").serving.Value(), 0);
  Step(absl::Seconds(10));
  End(jobs_["atlas"][1], false);
  Step(absl::Seconds(1));
  EXPECT_TRUE(well_.at("atlas"));
  EXPECT_EQ(metrics_->OfModel("atlas").serving.Value(), 1);
}

TEST_F(CanaryTest, NanMakesIll) {
  Step(absl::ZeroDuration());
  End(jobs_["atlas"][0], true);
  Step(absl::Seconds(1));
  EXPECT_FALSE(well_.at("atlas"));
}

TEST_F(CanaryTest, RefusalMakesIll) {
  refuse_ = absl::InternalError("no");
  Step(absl::ZeroDuration());
  EXPECT_FALSE(well_.at("atlas"));
  refuse_ = absl::OkStatus();
  Step(absl::Seconds(10));
  End(jobs_["atlas"][0], false);
  Step(absl::Seconds(1));
  EXPECT_TRUE(well_.at("atlas"));
}

TEST_F(CanaryTest, OneThatIsNotBackInTimeMakesIllUntilTheNextIs) {
  Step(absl::ZeroDuration());
  const absl::Time again = Step(absl::Seconds(59));
  EXPECT_LE(again, now_ + absl::Seconds(1));
  EXPECT_TRUE(well_.at("atlas"));
  Step(absl::Seconds(1));
  EXPECT_FALSE(well_.at("atlas"));
  EXPECT_TRUE(jobs_["atlas"][0]->cancelled());
  EXPECT_EQ(metrics_->OfModel("atlas").canaries_late.Value(), 1);
  Step(absl::Seconds(1));  // its cancellation has come back: the next is sent
  ASSERT_THAT(jobs_["atlas"], SizeIs(2));
  EXPECT_EQ(metrics_->OfModel("atlas").canaries_failed.Value(), 0);
  End(jobs_["atlas"][1], false);
  Step(absl::Seconds(1));
  EXPECT_TRUE(well_.at("atlas"));
}

TEST_F(CanaryTest, OneIllModelLeavesTheOthersWell) {
  engine_.AddModel("gpt2");
  engine_.AddSite("gpt2", "lm_head", graph::DType::kF32);
  Step(absl::ZeroDuration());
  EXPECT_TRUE(all_well_);
  End(jobs_["atlas"][0], false);
  jobs_["gpt2"][0]->Fail(absl::StatusCode::kInternal, "a kernel broke");
  Step(absl::Seconds(1));
  EXPECT_TRUE(well_.at("atlas"));
  EXPECT_FALSE(well_.at("gpt2"));
  EXPECT_FALSE(all_well_);
}

TEST_F(CanaryTest, AsksNothingWhenItIsOff) {
  bool well = false;
  Canary off(
      &engine_, {.period = absl::ZeroDuration()},
      [&](const std::string&, bool is_well, bool) { well = is_well; }, nullptr);
  off.Step(now_);
  off.Step(now_ + absl::Hours(1));
  EXPECT_TRUE(well);
  EXPECT_THAT(submissions_, SizeIs(0));
}

}  // namespace
}  // namespace weft::server
