#include "server/limits/limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "server/limits/peer_throttle.h"
#include "tests/support/status_matchers.h"

namespace weft::limits {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

keys::Key KeyWith(const keys::KeyLimits& limits, const std::string& id = "abc") {
  keys::Key key;
  key.id = id;
  key.label = "me";
  key.limits = limits;
  return key;
}

double RetryAfter(const absl::Status& status) {
  return graph::FromStatus(status).retry_after_seconds;
}

class LimiterTest : public ::testing::Test {
 protected:
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  Limiter limiter_{[this] { return now_; }};
};

TEST_F(LimiterTest, RequestsOverTheirNumberAreToldWhenToComeBack) {
  const keys::Key key = KeyWith({.requests_per_minute = 5});
  for (int i = 0; i < 5; ++i) EXPECT_THAT(limiter_.TakeRequest(key), IsOk());
  const absl::Status refused = limiter_.TakeRequest(key);
  EXPECT_THAT(refused,
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("key abc (me)"), HasSubstr("5 requests a minute"),
                             HasSubstr("requests_per_minute"), HasSubstr("try again in 12 s"))));
  EXPECT_DOUBLE_EQ(RetryAfter(refused), 12);
  EXPECT_EQ(NameOf(refused), "requests_per_minute");
  // Refusals cost nothing: the time stays as it was told.
  now_ += absl::Seconds(11);
  EXPECT_DOUBLE_EQ(RetryAfter(limiter_.TakeRequest(key)), 1);
  now_ += absl::Seconds(1);
  EXPECT_THAT(limiter_.TakeRequest(key), IsOk());
  EXPECT_FALSE(limiter_.TakeRequest(key).ok());
}

TEST_F(LimiterTest, WhoWaitsAsLongAsToldIsServed) {
  // Limits whose fractions of a second do not come out even.
  for (const uint32_t limit : {1u, 7u, 59u, 601u, 100003u}) {
    const keys::Key key = KeyWith({.requests_per_minute = limit}, absl::StrCat("k", limit));
    for (uint32_t i = 0; i < limit; ++i) ASSERT_THAT(limiter_.TakeRequest(key), IsOk());
    for (int i = 0; i < 100; ++i) {
      const double wait = RetryAfter(limiter_.TakeRequest(key));
      ASSERT_GT(wait, 0);
      now_ += absl::Seconds(wait);
      ASSERT_THAT(limiter_.TakeRequest(key), IsOk()) << limit << " " << i;
    }
  }
}

TEST_F(LimiterTest, KeysDoNotShareWhatTheyMayTake) {
  const keys::Key one = KeyWith({.requests_per_minute = 1}, "one");
  const keys::Key two = KeyWith({.requests_per_minute = 1}, "two");
  EXPECT_THAT(limiter_.TakeRequest(one), IsOk());
  EXPECT_FALSE(limiter_.TakeRequest(one).ok());
  EXPECT_THAT(limiter_.TakeRequest(two), IsOk());
}

TEST_F(LimiterTest, AKeyWithoutLimitsIsNeverRefused) {
  const keys::Key key = KeyWith({});
  std::vector<RunSlot> slots;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_THAT(limiter_.TakeRequest(key), IsOk());
    EXPECT_THAT(limiter_.TakeTokens(key, uint64_t{1} << 40), IsOk());
    slots.push_back(*limiter_.StartRun(key));
  }
  EXPECT_THAT(CheckResultBytes(key, uint64_t{1} << 60), IsOk());
  EXPECT_THAT(CheckGeneratedTokens(key, 1 << 30), IsOk());
}

TEST_F(LimiterTest, AChangedLimitCountsAtOnce) {
  EXPECT_THAT(limiter_.TakeRequest(KeyWith({.requests_per_minute = 100})), IsOk());
  EXPECT_THAT(limiter_.TakeRequest(KeyWith({.requests_per_minute = 1})), IsOk());
  EXPECT_FALSE(limiter_.TakeRequest(KeyWith({.requests_per_minute = 1})).ok());
  EXPECT_THAT(limiter_.TakeRequest(KeyWith({})), IsOk());
}

TEST_F(LimiterTest, AClockThatGoesBackGivesNothing) {
  const keys::Key key = KeyWith({.requests_per_minute = 1});
  EXPECT_THAT(limiter_.TakeRequest(key), IsOk());
  now_ -= absl::Hours(1);
  EXPECT_FALSE(limiter_.TakeRequest(key).ok());
  now_ += absl::Hours(1) + absl::Minutes(1);
  EXPECT_THAT(limiter_.TakeRequest(key), IsOk());
}

TEST_F(LimiterTest, TokensGivenBackCanBeTakenAgainAndAreNoMoreThanAMinutesWorth) {
  const keys::Key key = KeyWith({.tokens_per_minute = 600});
  EXPECT_THAT(limiter_.TakeTokens(key, 500), IsOk());
  limiter_.GiveTokens(key, 500);
  EXPECT_THAT(limiter_.TakeTokens(key, 600), IsOk());
  EXPECT_FALSE(limiter_.TakeTokens(key, 1).ok());
  now_ += absl::Minutes(1);
  limiter_.GiveTokens(key, 600);
  EXPECT_THAT(limiter_.TakeTokens(key, 600), IsOk());
  EXPECT_FALSE(limiter_.TakeTokens(key, 1).ok());
}

TEST_F(LimiterTest, RunsTakeTheTokensOfTheirPlan) {
  const keys::Key key = KeyWith({.tokens_per_minute = 600});
  EXPECT_THAT(limiter_.TakeTokens(key, 500), IsOk());
  const absl::Status refused = limiter_.TakeTokens(key, 200);
  EXPECT_THAT(refused,
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("600 tokens a minute"), HasSubstr("tokens_per_minute"),
                             HasSubstr("try again in 10 s"))));
  EXPECT_DOUBLE_EQ(RetryAfter(refused), 10);
  EXPECT_THAT(limiter_.TakeTokens(key, 100), IsOk());
  // Before a run is parsed nobody knows its tokens, but none are left for any.
  EXPECT_EQ(NameOf(limiter_.StartRun(key).status()), "tokens_per_minute");
  now_ += absl::Seconds(1);
  EXPECT_THAT(limiter_.StartRun(key).status(), IsOk());
}

TEST_F(LimiterTest, ARunThatNeverFitsIsNotToldToComeBack) {
  const absl::Status refused = limiter_.TakeTokens(KeyWith({.tokens_per_minute = 600}), 601);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted,
                                AllOf(HasSubstr("601"), HasSubstr("600 tokens a minute"))));
  EXPECT_EQ(RetryAfter(refused), 0);
}

TEST_F(LimiterTest, RunsAtOnceAreBoundedUntilTheyEnd) {
  const keys::Key key = KeyWith({.concurrent_runs = 2});
  absl::StatusOr<RunSlot> one = limiter_.StartRun(key);
  ASSERT_THAT(one.status(), IsOk());
  {
    absl::StatusOr<RunSlot> two = limiter_.StartRun(key);
    ASSERT_THAT(two.status(), IsOk());
    const absl::Status refused = limiter_.StartRun(key).status();
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted,
                                  AllOf(HasSubstr("key abc (me)"), HasSubstr("2 runs at once"),
                                        HasSubstr("concurrent_runs"))));
    EXPECT_GT(RetryAfter(refused), 0);
  }
  absl::StatusOr<RunSlot> three = limiter_.StartRun(key);
  EXPECT_THAT(three.status(), IsOk());
  one->Release();
  one->Release();
  RunSlot moved = *limiter_.StartRun(key);
  EXPECT_FALSE(limiter_.StartRun(key).ok());
}

TEST_F(LimiterTest, BoundsOfOneRunNameThemselves) {
  const keys::Key key = KeyWith({.result_bytes = 1000, .run_seconds = 2.5, .generated_tokens = 10});
  EXPECT_THAT(CheckResultBytes(key, 1000), IsOk());
  EXPECT_THAT(CheckResultBytes(key, 1001),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("1001"), HasSubstr("1000 bytes"), HasSubstr("result_bytes"),
                             HasSubstr("key abc"))));
  EXPECT_THAT(CheckGeneratedTokens(key, 10), IsOk());
  EXPECT_THAT(CheckGeneratedTokens(key, 11),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("11"), HasSubstr("generated_tokens"))));
  EXPECT_THAT(RunTooLong(key), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                        AllOf(HasSubstr("2.5 s"), HasSubstr("run_seconds"))));
  EXPECT_EQ(NameOf(RunTooLong(key)), "run_seconds");
  EXPECT_EQ(NameOf(absl::InternalError("x")), "");
}

TEST_F(LimiterTest, ThreadsTakeExactlyWhatThereIs) {
  const keys::Key key = KeyWith(
      {.requests_per_minute = 1000, .tokens_per_minute = 3000, .concurrent_runs = 3}, "shared");
  std::atomic<int> requests = 0;
  std::atomic<int> tokens = 0;
  std::atomic<int> runs = 0;
  std::atomic<int> most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        if (limiter_.TakeRequest(key).ok()) ++requests;
        if (absl::StatusOr<RunSlot> slot = limiter_.StartRun(key); slot.ok()) {
          const int now = ++runs;
          int seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          if (limiter_.TakeTokens(key, 2).ok()) tokens += 2;
          --runs;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(requests, 1000);
  EXPECT_LE(tokens, 3000);
  EXPECT_LE(most, 3);
  EXPECT_GE(most, 1);
  // No run was left counted.
  std::vector<RunSlot> slots;
  now_ += absl::Minutes(1);
  for (int i = 0; i < 3; ++i) slots.push_back(*limiter_.StartRun(key));
  EXPECT_FALSE(limiter_.StartRun(key).ok());
}

TEST(PeerThrottleTest, HoldsWhoFailsOftenUntilTimeHasPassed) {
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  PeerThrottle throttle([&] { return now; });
  const auto fail = [&](const std::string& peer) { return throttle.CountFailure(peer); };
  for (int i = 0; i < PeerThrottle::kFree; ++i) {
    // A new port for each connection.
    EXPECT_EQ(fail(absl::StrCat("ipv4:10.0.0.7:", 50000 + i)), absl::ZeroDuration());
  }
  EXPECT_EQ(fail("ipv4:10.0.0.7:1"), PeerThrottle::kHold);
  EXPECT_EQ(fail("ipv4:10.0.0.8:1"), absl::ZeroDuration());
  EXPECT_EQ(fail("ipv6:%5B2001:db8::1%5D:1"), absl::ZeroDuration());
  now += absl::Minutes(1);
  EXPECT_EQ(fail("ipv4:10.0.0.7:2"), absl::ZeroDuration());
}

TEST(PeerThrottleTest, RemembersNoMoreAddressesThanItsBound) {
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  PeerThrottle throttle([&] { return now; });
  const auto fail = [&](size_t i) {
    return throttle.CountFailure(absl::StrCat("ipv4:a", i, ":1"));
  };
  for (size_t i = 0; i < PeerThrottle::kMaxPeers; ++i) fail(i);
  // Those beyond share an allowance.
  for (size_t i = 0; i < PeerThrottle::kFree; ++i) {
    EXPECT_EQ(fail(PeerThrottle::kMaxPeers + i), absl::ZeroDuration());
  }
  EXPECT_EQ(fail(2 * PeerThrottle::kMaxPeers), PeerThrottle::kHold);
  EXPECT_EQ(fail(0), absl::ZeroDuration());
  // Who has been quiet is forgotten, which makes room.
  now += absl::Minutes(1);
  EXPECT_EQ(fail(3 * PeerThrottle::kMaxPeers), absl::ZeroDuration());
}

}  // namespace
}  // namespace weft::limits
