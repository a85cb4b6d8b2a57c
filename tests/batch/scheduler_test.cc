#include "engine/batch/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace weft::batch {
namespace {

using ::testing::ElementsAre;
using Names = std::vector<std::string>;

constexpr int64_t kMaxRows = 10;
constexpr uint64_t kMaxBytes = 1000;

class NamedWork : public Work {
 public:
  struct Options {
    int64_t rows = 1;
    uint64_t bytes = 0;
    bool alone = false;
    int priority = 0;
  };
  NamedWork(std::string name, const Options& options) : name_(std::move(name)), options_(options) {}

  int64_t rows() const override { return options_.rows; }
  uint64_t bytes() const override { return options_.bytes; }
  bool begun() const override { return begun_; }
  bool over() const override { return over_; }
  bool alone() const override { return options_.alone; }
  int priority() const override { return options_.priority; }
  void Moved(uint32_t position) override {
    absl::MutexLock lock(&mutex_);
    position_ = position;
  }

  void Begin() { begun_ = true; }
  void End() { over_ = true; }
  const std::string& name() const { return name_; }
  /// The last place that it was told.
  std::optional<uint32_t> position() const {
    absl::MutexLock lock(&mutex_);
    return position_;
  }

 private:
  const std::string name_;
  const Options options_;
  std::atomic<bool> begun_ = false, over_ = false;
  mutable absl::Mutex mutex_;
  std::optional<uint32_t> position_ ABSL_GUARDED_BY(mutex_);
};

/// Every pass stays until it is let go.
class SteppedWorker : public Worker {
 public:
  void RunPass(absl::Span<const std::shared_ptr<Work>> work) override {
    absl::MutexLock lock(&mutex_);
    Names names;
    for (const auto& each : work) {
      auto& named = static_cast<NamedWork&>(*each);
      named.Begin();
      names.push_back(named.name());
    }
    running_ = std::move(names);
    auto may_end = [this] { return let_go_ || let_all_go_; };
    mutex_.Await(absl::Condition(&may_end));
    let_go_ = false;
    running_.reset();
    ++finished_;
  }

  void Rest() override {
    absl::MutexLock lock(&mutex_);
    ++rests_;
  }

  /// Wait until it was told to rest so often.
  void AwaitRests(int rests) {
    absl::MutexLock lock(&mutex_);
    auto rested = [this, rests] { return rests_ >= rests; };
    mutex_.Await(absl::Condition(&rested));
  }
  int rests() {
    absl::MutexLock lock(&mutex_);
    return rests_;
  }
  /// Wait until a pass has begun; who is in it.
  Names Running() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &SteppedWorker::IsRunning));
    return *running_;
  }
  /// Let the pass that is running end, and wait for its end.
  void Finish() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &SteppedWorker::IsRunning));
    const int before = finished_;
    let_go_ = true;
    auto ended = [this, before] { return finished_ > before; };
    mutex_.Await(absl::Condition(&ended));
  }
  /// From now on no pass waits.
  void LetAllGo() {
    absl::MutexLock lock(&mutex_);
    let_all_go_ = true;
  }

 private:
  bool IsRunning() const { return running_.has_value() && !let_go_; }

  absl::Mutex mutex_;
  std::optional<Names> running_;
  bool let_go_ = false;
  bool let_all_go_ = false;
  int finished_ = 0;
  int rests_ = 0;
};

class SchedulerTest : public ::testing::Test {
 protected:
  /// A pass is running from the start, so that what is added waits.
  void SetUp() override {
    Add("first");
    EXPECT_THAT(worker_.Running(), ElementsAre("first"));
  }
  /// The scheduler waits for the pass that is running when it is destroyed.
  void TearDown() override { worker_.LetAllGo(); }

  std::shared_ptr<NamedWork> Add(const std::string& name, const NamedWork::Options& options = {}) {
    auto work = std::make_shared<NamedWork>(name, options);
    scheduler_.Add(work);
    return work;
  }
  /// End the pass that is running; who is in the next one.
  Names Next() {
    worker_.Finish();
    return worker_.Running();
  }

  SteppedWorker worker_;
  Scheduler scheduler_{worker_, kMaxRows, kMaxBytes};
};

TEST_F(SchedulerTest, PacksWhoeverWaitsIntoTheNextPassInOrderOfArrival) {
  Add("a");
  Add("b");
  Add("c");
  EXPECT_EQ(scheduler_.queued(), 3u);
  EXPECT_THAT(Next(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(scheduler_.queued(), 0u);
}

TEST_F(SchedulerTest, FillsAPassToItsRowsAndNoFurther) {
  Add("a", {.rows = 4});
  Add("b", {.rows = 6});
  Add("c", {.rows = 1});
  EXPECT_THAT(Next(), ElementsAre("a", "b"));
  EXPECT_THAT(Next(), ElementsAre("c"));
}

TEST_F(SchedulerTest, FillsAPassToItsBytesAndNoFurther) {
  Add("a", {.bytes = kMaxBytes / 2});
  Add("b", {.bytes = kMaxBytes / 2});
  Add("c", {.bytes = 1});
  Add("over", {.bytes = 2 * kMaxBytes});
  EXPECT_THAT(Next(), ElementsAre("a", "b"));
  EXPECT_THAT(Next(), ElementsAre("c"));
  EXPECT_THAT(Next(), ElementsAre("over"));
}

TEST_F(SchedulerTest, NobodyBeginsBesideThoseWhoKeepWhatItNeeds) {
  const auto alone = Add("alone", {.bytes = kMaxBytes / 2 - 1, .alone = true});
  const auto more = Add("more", {.bytes = kMaxBytes / 4, .alone = true});
  Add("large", {.bytes = kMaxBytes / 2});
  Add("small", {.bytes = 1});
  EXPECT_THAT(Next(), ElementsAre("alone"));
  scheduler_.Add(alone);
  EXPECT_THAT(Next(), ElementsAre("more"));
  scheduler_.Add(more);
  // Both keep theirs while they wait, so that `large` has no room, and `small` is behind it.
  EXPECT_THAT(Next(), ElementsAre("alone"));
  scheduler_.Add(alone);
  EXPECT_THAT(Next(), ElementsAre("more"));
  // That was its last.
  EXPECT_THAT(Next(), ElementsAre("large", "small"));
  EXPECT_THAT(Next(), ElementsAre("alone"));
}

TEST_F(SchedulerTest, WhoWaitsForMemoryPutsNobodyBeforeThoseWhoseTurnItIs) {
  const auto alone = Add("alone", {.bytes = kMaxBytes / 2, .alone = true});
  EXPECT_THAT(Next(), ElementsAre("alone"));
  const auto generation = Add("generation", {.bytes = kMaxBytes / 4});
  Add("large", {.bytes = kMaxBytes});
  scheduler_.Add(alone);
  EXPECT_THAT(Next(), ElementsAre("generation"));
  for (int i = 0; i < 3; ++i) {
    scheduler_.Continue(generation);
    EXPECT_THAT(Next(), ElementsAre("alone"));
    scheduler_.Add(alone);
    EXPECT_THAT(Next(), ElementsAre("generation"));
  }
  EXPECT_THAT(Next(), ElementsAre("alone"));
  EXPECT_THAT(Next(), ElementsAre("large"));
}

TEST_F(SchedulerTest, WhatIsLittleOrOverWaitsForNoMemory) {
  const auto generation = Add("generation", {.bytes = kMaxBytes});
  EXPECT_THAT(Next(), ElementsAre("generation"));
  Add("waits", {.bytes = kMaxBytes});
  Add("little");
  const auto over = Add("over", {.bytes = kMaxBytes});
  over->End();
  scheduler_.Continue(generation);
  EXPECT_THAT(Next(), ElementsAre("generation", "little", "over"));
  EXPECT_THAT(Next(), ElementsAre("waits"));
}

TEST_F(SchedulerTest, ThoseWhoGoOnTakeTurns) {
  std::vector<std::shared_ptr<NamedWork>> works;
  for (const char* name : {"a", "b", "c"}) {
    works.push_back(Add(name, {.rows = 6}));
    works.back()->Begin();
  }
  for (int round = 0; round < 3; ++round) {
    for (const auto& work : works) {
      EXPECT_THAT(Next(), ElementsAre(work->name()));
      scheduler_.Continue(work);
    }
  }
}

TEST_F(SchedulerTest, WhoTakesMoreThanThereIsBeginsByItself) {
  const auto over = Add("over", {.bytes = 2 * kMaxBytes});
  Add("small", {.bytes = 1});
  EXPECT_THAT(Next(), ElementsAre("over"));
  scheduler_.Continue(over);
  EXPECT_THAT(Next(), ElementsAre("over"));
  EXPECT_THAT(Next(), ElementsAre("small"));
}

TEST_F(SchedulerTest, RestsOnceWhereNothingComes) {
  EXPECT_EQ(worker_.rests(), 0);
  worker_.Finish();
  worker_.AwaitRests(1);
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(worker_.rests(), 1);
  Add("a");
  EXPECT_THAT(worker_.Running(), ElementsAre("a"));
  worker_.Finish();
  worker_.AwaitRests(2);
}

TEST_F(SchedulerTest, NobodyOvertakesWorkThatDoesNotFit) {
  Add("a", {.rows = 6});
  Add("large", {.rows = 7});
  Add("small", {.rows = 1});
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_THAT(Next(), ElementsAre("large", "small"));
}

TEST_F(SchedulerTest, WorkThatGoesOnGoesBeforeWhoWaitsToBegin) {
  const auto generation = Add("generation", {.rows = 2});
  EXPECT_THAT(Next(), ElementsAre("generation"));
  Add("a");
  scheduler_.Continue(generation);
  EXPECT_THAT(Next(), ElementsAre("generation", "a"));
}

TEST_F(SchedulerTest, WorkThatGoesOnPassesNobodyByForEver) {
  const auto generation = Add("generation", {.rows = 2});
  EXPECT_THAT(Next(), ElementsAre("generation"));
  Add("large", {.rows = kMaxRows});
  Add("alone", {.alone = true});
  Add("small");
  const auto go_on = [&] { scheduler_.Continue(generation); };
  go_on();
  EXPECT_THAT(Next(), ElementsAre("generation"));
  go_on();
  EXPECT_THAT(Next(), ElementsAre("large"));
  EXPECT_THAT(Next(), ElementsAre("generation"));
  go_on();
  EXPECT_THAT(Next(), ElementsAre("alone"));
  EXPECT_THAT(Next(), ElementsAre("generation", "small"));
}

TEST_F(SchedulerTest, WorkThatMustBeAloneSharesNoPass) {
  Add("a");
  Add("alone", {.alone = true});
  Add("b");
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_THAT(Next(), ElementsAre("alone"));
  EXPECT_THAT(Next(), ElementsAre("b"));
}

TEST_F(SchedulerTest, HigherPriorityGoesFirstAndEqualOnesInOrderOfArrival) {
  Add("low", {.priority = -1});
  Add("a");
  Add("b");
  Add("high", {.priority = 1});
  EXPECT_THAT(Next(), ElementsAre("high", "a", "b", "low"));
}

TEST_F(SchedulerTest, WorkWiderThanAPassHasOneOfItsOwn) {
  Add("a");
  Add("wide", {.rows = kMaxRows + 1});
  Add("b");
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_THAT(Next(), ElementsAre("wide"));
  EXPECT_THAT(Next(), ElementsAre("b"));
}

TEST_F(SchedulerTest, RemovedWorkNeverRuns) {
  Add("a");
  const auto removed = Add("removed");
  Add("b");
  EXPECT_TRUE(scheduler_.Remove(*removed));
  EXPECT_FALSE(scheduler_.Remove(*removed));
  EXPECT_EQ(removed.use_count(), 1);
  EXPECT_THAT(Next(), ElementsAre("a", "b"));
}

TEST_F(SchedulerTest, WorkThatRunsCannotBeRemoved) {
  const auto work = Add("a");
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_FALSE(scheduler_.Remove(*work));
}

TEST_F(SchedulerTest, EverybodyWhoWaitsIsToldItsPlace) {
  const auto a = Add("a");
  const auto b = Add("b");
  EXPECT_EQ(a->position(), 0u);
  EXPECT_EQ(b->position(), 1u);
  const auto high = Add("high", {.priority = 1});
  EXPECT_EQ(high->position(), 0u);
  EXPECT_EQ(a->position(), 1u);
  EXPECT_EQ(b->position(), 2u);
  EXPECT_TRUE(scheduler_.Remove(*a));
  EXPECT_EQ(b->position(), 1u);
}

TEST_F(SchedulerTest, ThoseLeftBehindByAPassMoveUp) {
  Add("a", {.rows = 10});
  const auto b = Add("b", {.rows = 10});
  const auto c = Add("c", {.rows = 10});
  EXPECT_EQ(c->position(), 2u);
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_EQ(b->position(), 0u);
  EXPECT_EQ(c->position(), 1u);
  EXPECT_THAT(Next(), ElementsAre("b"));
  EXPECT_THAT(Next(), ElementsAre("c"));
}

TEST_F(SchedulerTest, APassKeepsItsWorkAliveAndLetsItGoAtItsEnd) {
  std::weak_ptr<NamedWork> work = Add("a");
  EXPECT_THAT(Next(), ElementsAre("a"));
  EXPECT_FALSE(work.expired());
  Add("b");
  EXPECT_THAT(Next(), ElementsAre("b"));
  EXPECT_TRUE(work.expired());
}

TEST_F(SchedulerTest, NewBoundsHoldFromTheNextPassOn) {
  Add("wide", {.rows = 8});
  Add("more", {.rows = 2});
  scheduler_.SetBounds(4, kMaxBytes);
  // What waits already goes all the same, by itself.
  worker_.Finish();
  EXPECT_THAT(worker_.Running(), ElementsAre("wide"));
  Add("next", {.rows = 2});
  Add("last", {.rows = 1});
  worker_.Finish();
  EXPECT_THAT(worker_.Running(), ElementsAre("more", "next"));
}

TEST_F(SchedulerTest, NewBoundsEndNoWorkThatHasBegun) {
  const auto wide = Add("wide", {.rows = 8});
  EXPECT_THAT(Next(), ElementsAre("wide"));
  scheduler_.SetBounds(4, kMaxBytes);
  scheduler_.Add(wide);
  EXPECT_THAT(Next(), ElementsAre("wide"));
}

}  // namespace
}  // namespace weft::batch
