#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "tests/client/fake_backend.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TraceTest : public ::testing::Test {
 protected:
  TraceTest()
      : backend_(std::make_shared<FakeBackend>()),
        model_(Client(backend_).OpenLanguageModel("toy").value()) {}

  std::shared_ptr<FakeBackend> backend_;
  LanguageModel model_;
};

TEST_F(TraceTest, FillsInWhatWasSaved) {
  backend_->events = {
      event::Accepted{"job1", "toy-1", {{.message = "careful"}}},
      event::Queued{2},
      event::Running{},
      event::Log{"label", "text"},
      event::Result{"save0", Value(tensor({1.0, 2.0}))},
      event::Result{"flag", Value(Value::Variant(true))},
      event::Completed{"toy-1", {.tokens = 7}},
  };
  Saved<> hidden;
  Saved<bool> flag;
  std::vector<uint32_t> positions;
  TraceOptions options;
  options.seed = 5;
  options.on_event = [&](const RunEvent& event) {
    if (const auto* queued = std::get_if<event::Queued>(&event)) {
      positions.push_back(queued->position);
    }
  };
  absl::StatusOr<RunResult> run = model_.Trace(
      "hi",
      [&] {
        hidden = model_["h.0"].output().save();
        flag = model_["h.1"].output().any().save("flag");
      },
      options);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_THAT(hidden->span<float>(), ElementsAre(1.0f, 2.0f));
  EXPECT_EQ(hidden.name(), "save0");
  EXPECT_TRUE(*flag);
  EXPECT_EQ(run->job_id, "job1");
  EXPECT_EQ(run->fingerprint, "toy-1");
  EXPECT_EQ(run->cost.tokens, 7u);
  ASSERT_EQ(run->log.size(), 1u);
  EXPECT_EQ(run->log[0].text, "text");
  ASSERT_EQ(run->warnings.size(), 1u);
  EXPECT_EQ(run->warnings[0].message, "careful");
  EXPECT_THAT(positions, ElementsAre(2u));
  EXPECT_EQ(backend_->settings[0].seed, 5u);
  EXPECT_EQ(run->Get("save0")->tensor().numel(), 2);
  EXPECT_EQ(run->Get("other").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TraceTest, GivesTheReasonOfAMissingSave) {
  backend_->events = {event::Missing{"a", absl::OutOfRangeError("step 3 never came")},
                      event::Completed{}};
  Saved<> a, b;
  absl::StatusOr<RunResult> run = model_.Trace("hi", [&] {
    a = model_["h.0"].output().save("a");
    b = model_["h.0"].output().save("b");
  });
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(a.value().status(), absl::OutOfRangeError("step 3 never came"));
  EXPECT_EQ(run->missing.at("a").code(), absl::StatusCode::kOutOfRange);
  // A backend that forgets a save is at fault, and that is said.
  EXPECT_EQ(b.status().code(), absl::StatusCode::kInternal);
}

TEST_F(TraceTest, AFailedRunGivesItsErrorAndWhatCameBefore) {
  backend_->events = {event::Result{"a", Value(tensor(1.0))}};
  backend_->end = absl::DeadlineExceededError("out of time");
  Saved<> a, b;
  absl::StatusOr<RunResult> run = model_.Trace("hi", [&] {
    a = model_["h.0"].output().save("a");
    b = model_["h.0"].output().save("b");
  });
  EXPECT_EQ(run.status(), absl::DeadlineExceededError("out of time"));
  EXPECT_TRUE(a.has_value());
  EXPECT_EQ(b.value().status(), run.status());
}

TEST_F(TraceTest, SendsNothingWhenRecordingFailed) {
  Saved<> saved;
  absl::StatusOr<RunResult> run =
      model_.Trace("hi", [&] { saved = model_["nowhere"].output().save(); });
  EXPECT_FALSE(run.ok());
  EXPECT_EQ(saved.status(), run.status());
  EXPECT_TRUE(backend_->programs.empty());
}

TEST_F(TraceTest, ASaveSaysWhyItCannotBeRead) {
  Saved<> never;
  EXPECT_THAT(std::string(never.status().message()), HasSubstr("never assigned"));
  Saved<> recorded;
  ASSERT_TRUE(model_.Record("hi", [&] { recorded = model_["h.0"].output().save(); }).ok());
  EXPECT_THAT(std::string(recorded.status().message()), HasSubstr("has not run"));
  EXPECT_DEATH(*recorded, "has not run");
  backend_->events = {event::Result{"save0", Value(Value::Tuple{{Value(tensor(1.0)), Value()}})},
                      event::Completed{}};
  ASSERT_TRUE(model_.Trace("hi", [&] { recorded = model_["h.0"].output().save(); }).ok());
  EXPECT_THAT(std::string(recorded.status().message()),
              HasSubstr("a tuple ((float32[], none)), not a Tensor"));
  Saved<Value> any = recorded;
  EXPECT_EQ((*any)[0].tensor().item(), 1.0);
  EXPECT_TRUE((*any)[1].is_none());
}

TEST_F(TraceTest, ValidatesWithoutRunning) {
  Saved<> saved;
  absl::StatusOr<ValidationReport> report =
      model_.Validate("hi", [&] { saved = model_["h.0"].output().save(); });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->fingerprint, "toy-1");
  EXPECT_THAT(backend_->programs, ElementsAre(HasSubstr("read h.0.output")));
  EXPECT_FALSE(saved.has_value());
}

TEST_F(TraceTest, EncodesAndDecodes) {
  EXPECT_THAT(*model_.Encode("ab"), ElementsAre('a', 'b'));
  EXPECT_EQ(*model_.Decode(tensor({97, 98})), "ab");
  EXPECT_EQ(*model_.Decode(tensor({97, 0, 98})), std::string("a\0b", 3));
  EXPECT_EQ(*model_.Decode(tensor({97, 0, 98}), {.skip_special_tokens = true}), "ab");
  EXPECT_THAT(*model_.Tokens("ab"), ElementsAre("a", "b"));
  EXPECT_THAT(*model_.DecodeRows(tensor({{97, 98}, {99, 100}})), ElementsAre("ab", "cd"));
  EXPECT_EQ(model_.Decode(tensor({1.0})).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CancellationTest, CallsWhoeverListens) {
  Cancellation cancellation;
  int calls = 0;
  std::shared_ptr<void> first = cancellation.OnCancel([&] { ++calls; });
  std::shared_ptr<void> gone = cancellation.OnCancel([&] { calls += 100; });
  gone.reset();
  Cancellation copy = cancellation;
  copy.Cancel();
  copy.Cancel();
  EXPECT_TRUE(cancellation.cancelled());
  std::shared_ptr<void> late = cancellation.OnCancel([&] { calls += 10; });
  EXPECT_EQ(calls, 11);
}

}  // namespace
}  // namespace weft::client_test
