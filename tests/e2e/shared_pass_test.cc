#include <cmath>
#include <future>
#include <thread>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kFirst[] = R"(invoke [5, 11, 17, 23] {
  %h = read transformer.h.1.output
  %p = read lm_head.output
  save h = %h
  save p = %p
})";
constexpr char kSecond[] = R"(invoke [7, 3, 2, 9, 40, 41, 42] {
  %h = read transformer.h.0.output
  write transformer.h.0.output[:, -1] = aten::mul(%h[:, -1], 3.0)
  %p = read lm_head.output
  save p = %p
})";

class SharedPassTest : public ServiceTest {
 protected:
  /// Hold a first run at the gate, queue `programs` behind it, each from a key of its own, then let
  /// go: they share the next pass.
  std::vector<Outcome> RunTogether(const std::vector<std::string>& programs) {
    gate_.Close();
    auto holder = NewBackend(NewKey());
    auto held = std::async(std::launch::async, [&] { return RunOn(*holder, kFirst); });
    EXPECT_TRUE(gate_.AwaitHeld());
    std::vector<std::future<Outcome>> waiting;
    std::vector<std::shared_ptr<Backend>> backends;
    for (const std::string& program : programs) {
      backends.push_back(NewBackend(NewKey()));
      // Outlives this turn of the loop: the run's events go on.
      auto queued = std::make_shared<absl::Notification>();
      waiting.push_back(
          std::async(std::launch::async, [this, queued, program, backend = backends.back()] {
            Outcome outcome = RunOn(*backend, program, {}, "tiny", [queued](const RunEvent& event) {
              if (std::holds_alternative<event::Queued>(event) && !queued->HasBeenNotified()) {
                queued->Notify();
              }
            });
            if (!queued->HasBeenNotified()) queued->Notify();
            return outcome;
          }));
      queued->WaitForNotification();
    }
    passes_before_ = passes();
    gate_.Open();
    EXPECT_THAT(held.get().status, IsOk());
    std::vector<Outcome> outcomes;
    for (auto& future : waiting) outcomes.push_back(future.get());
    return outcomes;
  }

  uint64_t passes_before_ = 0;
};

TEST_F(SharedPassTest, ProgramsOfTwoKeysShareOnePassAndEqualSolo) {
  auto backend = NewBackend(NewKey());
  const Outcome first = RunOn(*backend, kFirst);
  const Outcome second = RunOn(*backend, kSecond);
  ASSERT_THAT(first.status, IsOk());
  ASSERT_THAT(second.status, IsOk());

  const std::vector<Outcome> together = RunTogether({kFirst, kSecond});
  ASSERT_THAT(together[0].status, IsOk());
  ASSERT_THAT(together[1].status, IsOk());
  // One for the run that was held, one for both of these.
  EXPECT_EQ(passes() - passes_before_, 2);
  EXPECT_LT(RelativeDifference(together[0].tensor("h"), first.tensor("h")), 1e-5);
  EXPECT_LT(RelativeDifference(together[0].tensor("p"), first.tensor("p")), 1e-5);
  EXPECT_LT(RelativeDifference(together[1].tensor("p"), second.tensor("p")), 1e-5);
}

TEST_F(SharedPassTest, TwoInvokesOfOneProgramShareOnePassAndEqualSolo) {
  auto backend = NewBackend(NewKey());
  const Outcome a = RunOn(*backend, "invoke [5, 11, 17] { %p = read lm_head.output  save a = %p }");
  const Outcome b =
      RunOn(*backend, "invoke [7, 3, 2, 9, 40] { %p = read lm_head.output  save b = %p }");
  const uint64_t before = passes();
  const Outcome both = RunOn(*backend, R"(
    invoke [5, 11, 17] { %p = read lm_head.output  save a = %p }
    invoke [7, 3, 2, 9, 40] { %q = read lm_head.output  save b = %q })");
  ASSERT_THAT(both.status, IsOk());
  EXPECT_EQ(passes() - before, 1);
  EXPECT_LT(RelativeDifference(both.tensor("a"), a.tensor("a")), 1e-5);
  EXPECT_LT(RelativeDifference(both.tensor("b"), b.tensor("b")), 1e-5);
}

TEST_F(SharedPassTest, AnIdOutOfRangeEndsOnlyItsOwnRun) {
  auto backend = NewBackend(NewKey());
  const Outcome solo = RunOn(*backend, kFirst);
  const std::vector<Outcome> together = RunTogether({kFirst, R"(invoke [1, 2, 3] {
    %bad = tensor(int64, [1, 3], [1, 1000000, 2])
    write transformer.wte.input = %bad
    %p = read lm_head.output
    save p = %p
  })"});
  EXPECT_THAT(together[1].status,
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("1000000 is out of range")));
  ASSERT_THAT(together[0].status, IsOk());
  EXPECT_LT(RelativeDifference(together[0].tensor("p"), solo.tensor("p")), 1e-5);
}

TEST_F(SharedPassTest, NaNsStayInTheRowsOfTheRunThatWroteThem) {
  auto backend = NewBackend(NewKey());
  const Outcome solo = RunOn(*backend, kFirst);
  const std::vector<Outcome> together = RunTogether({R"(invoke [1, 2, 3] {
    write transformer.h.0.output[:, 1] = nan
    %p = read lm_head.output
    save p = %p
  })",
                                                     kFirst});
  ASSERT_THAT(together[0].status, IsOk());
  ASSERT_THAT(together[1].status, IsOk());
  const auto logits = together[0].tensor("p").span<float>();
  const size_t vocabulary = logits.size() / 3;
  EXPECT_TRUE(std::isnan(logits[vocabulary])) << "its own save shows the NaN that it wrote";
  for (float value : together[1].tensor("p").span<float>()) ASSERT_TRUE(std::isfinite(value));
  EXPECT_LT(RelativeDifference(together[1].tensor("p"), solo.tensor("p")), 1e-5);
}

TEST_F(SharedPassTest, ABrokenSharedPassIsRunAgainOneByOne) {
  auto backend = NewBackend(NewKey());
  const Outcome solo = RunOn(*backend, kFirst);
  gate_.BreakShared();
  const std::vector<Outcome> together = RunTogether({kFirst, kSecond});
  ASSERT_THAT(together[0].status, IsOk());
  ASSERT_THAT(together[1].status, IsOk());
  EXPECT_LT(RelativeDifference(together[0].tensor("p"), solo.tensor("p")), 1e-5);
  // solo; held; both, which breaks; each alone.
  EXPECT_THAT(gate_.sizes(), ElementsAre(1, 1, 2, 1, 1));
}

TEST_F(SharedPassTest, ARunWhoseOwnPassBreaksEndsWithTheReason) {
  auto backend = NewBackend(NewKey());
  gate_.BreakEvery();
  EXPECT_THAT(RunOn(*backend, kFirst).status,
              StatusIs(absl::StatusCode::kInternal, HasSubstr("the test broke this pass")));
}

TEST_F(SharedPassTest, AnExclusiveRunHasAPassOfItsOwn) {
  gate_.Close();
  auto backend = NewBackend(NewKey());
  RunSettings exclusive;
  exclusive.exclusive = true;
  auto held = std::async(std::launch::async, [&] { return RunOn(*backend, kFirst); });
  ASSERT_TRUE(gate_.AwaitHeld());
  auto own = std::async(std::launch::async, [&] { return RunOn(*backend, kFirst, exclusive); });
  auto other = std::async(std::launch::async, [&] { return RunOn(*backend, kSecond); });
  gate_.Open();
  EXPECT_THAT(held.get().status, IsOk());
  EXPECT_THAT(own.get().status, IsOk());
  EXPECT_THAT(other.get().status, IsOk());
  EXPECT_THAT(gate_.sizes(), ElementsAre(1, 1, 1));
}

TEST_F(SharedPassTest, AnExactRunGivesTheSameBitsInCompany) {
  auto backend = NewBackend(NewKey());
  RunSettings exact;
  exact.exact = true;
  constexpr char kGenerates[] =
      "generate max_new_tokens=3\ninvoke [5, 11, 17] { steps [:] { save p = read lm_head.output } "
      "}";
  const Outcome alone = RunOn(*backend, kFirst, exact);
  const Outcome alone_generated = RunOn(*backend, kGenerates, exact);
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(alone_generated.status, IsOk());
  gate_.Close();
  auto held = std::async(std::launch::async, [&] { return RunOn(*backend, kFirst); });
  ASSERT_TRUE(gate_.AwaitHeld());
  auto generated =
      std::async(std::launch::async, [&] { return RunOn(*backend, kGenerates, exact); });
  auto again = std::async(std::launch::async, [&] { return RunOn(*backend, kFirst, exact); });
  auto other = std::async(std::launch::async, [&] { return RunOn(*backend, kSecond); });
  gate_.Open();
  EXPECT_THAT(held.get().status, IsOk());
  EXPECT_THAT(other.get().status, IsOk());
  for (const auto& [one, two] :
       {std::pair(again.get(), alone), std::pair(generated.get(), alone_generated)}) {
    ASSERT_THAT(one.status, IsOk());
    ASSERT_EQ(one.saves.size(), two.saves.size());
    for (const auto& [name, value] : two.saves) {
      EXPECT_TRUE(Identical(one.tensor(name), two.tensor(name))) << name;
    }
  }
}

TEST_F(SharedPassTest, AValueOfOneInvokePatchesAnother) {
  auto backend = NewBackend(NewKey());
  const Outcome patched = RunOn(*backend, R"(
    invoke [5, 11, 17] { %h = read transformer.h.1.output  %p = read lm_head.output  save source = %p[:, -1] }
    invoke [7, 3, 2, 9] {
      write transformer.h.1.output[:, -1] = %h[:, -1]
      %q = read transformer.h.1.output
      save patched = %q[:, -1]
    })");
  ASSERT_THAT(patched.status, IsOk());
  const Outcome source = RunOn(
      *backend, "invoke [5, 11, 17] { %h = read transformer.h.1.output  save h = %h[:, -1] }");
  EXPECT_LT(RelativeDifference(patched.tensor("patched"), source.tensor("h")), 1e-5);
}

}  // namespace
}  // namespace weft::testing
