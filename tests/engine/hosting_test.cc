#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "engine/graph/text.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

constexpr char kProgram[] = "invoke [1, 2, 3] { %p = read lm_head.output  save p = %p }";

std::string Tiny() { return std::string(WEFT_SOURCE_DIR) + "/tests/parity/gpt2-tiny"; }

/// A run, and its end.
struct Running {
  std::shared_ptr<Job> job;
  absl::Notification ended;
  bool completed = false;

  bool Await() { return ended.WaitForNotificationWithTimeout(absl::Seconds(60)); }
};

class HostingTest : public ::testing::Test {
 protected:
  HostingTest() {
    EngineOptions options;
    options.threads = 1;
    options.before_pass = [this](const std::vector<std::string>&) {
      absl::MutexLock lock(&mutex_);
      ++held_;
      mutex_.Await(absl::Condition(&open_));
      --held_;
      return absl::OkStatus();
    };
    engine_ = Engine::Create(options).value();
  }
  ~HostingTest() override { SetOpen(true); }

  void SetUp() override { ASSERT_THAT(engine_->LoadModel("tiny", Tiny()), IsOk()); }

  void SetOpen(bool open) {
    absl::MutexLock lock(&mutex_);
    open_ = open;
  }
  /// Wait until a pass stands before its start.
  bool AwaitHeld() {
    absl::MutexLock lock(&mutex_);
    const auto held = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return held_ > 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&held), absl::Seconds(60));
  }

  absl::StatusOr<std::shared_ptr<Running>> Submit() {
    auto running = std::make_shared<Running>();
    absl::StatusOr<std::shared_ptr<Job>> job =
        engine_->Submit("tiny", graph::ParseProgram(kProgram).value(), {}, [running](Event event) {
          running->completed = running->completed || std::holds_alternative<Completed>(event);
          if (running->completed || std::holds_alternative<Failed>(event)) {
            running->ended.Notify();
          }
        });
    if (!job.ok()) return job.status();
    running->job = *std::move(job);
    return running;
  }

  /// The model's description goes when the model does.
  std::weak_ptr<const ModelInfo> Watch() { return engine_->GetModel("tiny").value(); }
  static bool AwaitGone(const std::weak_ptr<const ModelInfo>& watched) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      if (watched.expired()) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }

  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Engine> engine_;
};

TEST_F(HostingTest, RunsInFlightFinishWhenTheirModelIsUnloaded) {
  SetOpen(false);
  auto first = Submit();
  auto queued = Submit();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(queued, IsOk());
  ASSERT_TRUE(AwaitHeld());
  const std::weak_ptr<const ModelInfo> watched = Watch();
  ASSERT_THAT(engine_->UnloadModel("tiny"), IsOk());
  EXPECT_THAT(engine_->ListModels(), IsEmpty());
  EXPECT_THAT(Submit(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("tiny")));
  EXPECT_THAT(engine_->UnloadModel("tiny"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(watched.expired());
  SetOpen(true);
  EXPECT_TRUE((*first)->Await() && (*first)->completed);
  EXPECT_TRUE((*queued)->Await() && (*queued)->completed);
  EXPECT_TRUE(AwaitGone(watched));
  // The job outlives its model.
  (*first)->job->Cancel();
}

TEST_F(HostingTest, AQueuedRunOfAnUnloadedModelCanBeCancelled) {
  SetOpen(false);
  auto first = Submit();
  ASSERT_THAT(first, IsOk());
  ASSERT_TRUE(AwaitHeld());
  auto queued = Submit();
  ASSERT_THAT(queued, IsOk());
  const std::weak_ptr<const ModelInfo> watched = Watch();
  ASSERT_THAT(engine_->UnloadModel("tiny"), IsOk());
  (*queued)->job->Cancel();
  EXPECT_TRUE((*queued)->Await());
  EXPECT_FALSE((*queued)->completed);
  SetOpen(true);
  EXPECT_TRUE((*first)->Await() && (*first)->completed);
  EXPECT_TRUE(AwaitGone(watched));
}

TEST_F(HostingTest, AnEngineEndsWithRunsOfUnloadedModels) {
  SetOpen(false);
  auto first = Submit();
  auto queued = Submit();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(queued, IsOk());
  ASSERT_TRUE(AwaitHeld());
  ASSERT_THAT(engine_->UnloadModel("tiny"), IsOk());
  SetOpen(true);
  engine_.reset();
  EXPECT_TRUE((*first)->ended.HasBeenNotified());
  EXPECT_TRUE((*queued)->ended.HasBeenNotified());
}

TEST_F(HostingTest, AReplacementIsLoadedBeforeTheOldModelGoes) {
  SetOpen(false);
  auto old = Submit();
  ASSERT_THAT(old, IsOk());
  ASSERT_TRUE(AwaitHeld());
  const std::weak_ptr<const ModelInfo> watched = Watch();
  EXPECT_THAT(engine_->ReplaceModel("tiny", "/no/such/folder"), ::testing::Not(IsOk()));
  EXPECT_EQ(engine_->GetModel("tiny").value(), watched.lock());
  ASSERT_THAT(engine_->ReplaceModel("tiny", Tiny()), IsOk());
  EXPECT_NE(engine_->GetModel("tiny").value(), watched.lock());
  auto fresh = Submit();
  ASSERT_THAT(fresh, IsOk());
  SetOpen(true);
  EXPECT_TRUE((*old)->Await() && (*old)->completed);
  EXPECT_TRUE((*fresh)->Await() && (*fresh)->completed);
  EXPECT_TRUE(AwaitGone(watched));
  EXPECT_THAT(engine_->ReplaceModel("other", Tiny()), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(HostingTest, NewLimitsHoldForNewRunsEvenOfKnownPrograms) {
  auto before = Submit();
  ASSERT_THAT(before, IsOk());
  EXPECT_TRUE((*before)->Await());
  const Limits wide = engine_->limits();
  for (const auto& narrow : std::vector<void (*)(Limits*)>{
           [](Limits* l) { l->result_bytes = 1; }, [](Limits* l) { l->pass_tokens = 2; },
           [](Limits* l) { l->nodes = 1; }, [](Limits* l) { l->value_elements = 1; }}) {
    Limits limits = wide;
    narrow(&limits);
    engine_->SetLimits(limits);
    EXPECT_THAT(Submit(), ::testing::Not(IsOk()));
  }
  engine_->SetLimits(wide);
  auto after = Submit();
  ASSERT_THAT(after, IsOk());
  EXPECT_TRUE((*after)->Await() && (*after)->completed);
  // A model that is loaded later has them too.
  Limits limits = wide;
  limits.nodes = 1;
  engine_->SetLimits(limits);
  ASSERT_THAT(engine_->ReplaceModel("tiny", Tiny()), IsOk());
  EXPECT_THAT(Submit(), ::testing::Not(IsOk()));
}

TEST_F(HostingTest, AModelWithoutItsWeightsIsShownAndValidatesAndRunsNothing) {
  ASSERT_THAT(engine_->ReplaceModel("tiny", Tiny(), {.dispatch = false}), IsOk());
  const auto info = engine_->GetModel("tiny");
  ASSERT_THAT(info.status(), IsOk());
  EXPECT_EQ((*info)->summary.device, "meta");
  EXPECT_GT((*info)->summary.parameters, 1000u);
  const auto validation = engine_->Validate("tiny", graph::ParseProgram(kProgram).value(), {});
  ASSERT_THAT(validation.status(), IsOk());
  EXPECT_EQ(validation->saves.size(), 1u);
  EXPECT_THAT(Submit(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                 HasSubstr("weights of this model were not loaded")));
}

TEST_F(HostingTest, ADeviceThatIsNotThereIsRefusedBeforeAnythingIsLoaded) {
  EXPECT_THAT(engine_->LoadModel("other", Tiny(), {.device = "cuda:77"}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no device cuda:77")));
  EXPECT_THAT(engine_->LoadModel("other", Tiny(), {.device = "abacus"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is no device")));
  EXPECT_THAT(engine_->LoadModel("other", Tiny(), {.device_map = {{"transformer.h.99", "cpu"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("transformer.h.99")));
}

}  // namespace
}  // namespace weft
