#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/load_tensors.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kLora[] = WEFT_SOURCE_DIR "/tests/parity/lora/gpt2/";

std::map<std::string, std::string> Adapters() {
  return {{"plain", std::string(kLora) + "plain"}, {"rslora", std::string(kLora) + "rslora"}};
}

/// The tiny model with the adapters `plain` and `rslora` of the peft library.
class AdaptersTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_THAT(engine_->ReplaceModel("tiny", TinyFolder(), {.adapters = Adapters()}), IsOk());
    golden_ = LoadTensors(std::string(kLora) + "golden.safetensors").value();
  }

  Client Remote(const std::vector<std::string>& models = {"*"}) {
    return Client(NewBackend(NewKey({"trace"}, models)));
  }
  static Client Local() {
    return MakeLocalClient({.models = {{"tiny", TinyFolder()}},
                            .adapters = {{"tiny", Adapters()}},
                            .threads = 1})
        .value();
  }

  static Tensor Logits(const LanguageModel& model) {
    Saved<Tensor> logits;
    auto run = model.Trace({39, 72, 94, 86, 68, 69, 83},
                           [&] { logits = model["lm_head"].output().save(); });
    EXPECT_THAT(run, IsOk());
    return run.ok() ? *logits : Tensor();
  }

  std::map<std::string, Tensor> golden_;
};

TEST_F(AdaptersTest, AHandleTracesThroughTheAdapterThatItChose) {
  for (const Client& client : {Remote(), Local()}) {
    EXPECT_THAT(client.ListModels().value()[0].adapters, ElementsAre("plain", "rslora"));
    const LanguageModel plain = client.OpenLanguageModel("tiny", {.adapter = "plain"}).value();
    EXPECT_THAT(plain.description().summary.adapters, ElementsAre("plain", "rslora"));
    const LanguageModel other = plain.WithAdapter("rslora").value();
    const LanguageModel without = other.WithAdapter("").value();
    EXPECT_LT(RelativeDifference(Logits(plain), golden_.at("plain/single/result")), 1e-5);
    EXPECT_LT(RelativeDifference(Logits(other), golden_.at("rslora/single/result")), 1e-5);
    EXPECT_GT(RelativeDifference(Logits(without), golden_.at("plain/single/result")), 1e-2);
  }
}

TEST_F(AdaptersTest, AnEditThatWasRecordedWithOneGoesWithAny) {
  const LanguageModel plain = Local().OpenLanguageModel("tiny", {.adapter = "plain"}).value();
  const absl::StatusOr<LanguageModel> edited = plain.Edit([&] {
    plain["transformer.h"][0].output()[{Slice(), 0}] = 0.0;
  });
  ASSERT_THAT(edited, IsOk());
  EXPECT_GT(RelativeDifference(Logits(*edited), Logits(plain)), 1e-3);
  EXPECT_GT(RelativeDifference(Logits(*edited), Logits(edited->WithAdapter("rslora").value())),
            1e-3);
}

TEST_F(AdaptersTest, AnUnknownOneIsRefusedNamingThoseThereAre) {
  for (const Client& client : {Remote(), Local()}) {
    EXPECT_THAT(client.OpenLanguageModel("tiny", {.adapter = "none"}),
                StatusIs(absl::StatusCode::kNotFound,
                         AllOf(HasSubstr("`none`"), HasSubstr("there is plain, rslora"))));
    const Outcome unknown = RunOn(*client.backend(), R"(invoke [1] { save k = read lm_head.output }
trace adapter="none"
invoke [1] { save l = read lm_head.output })");
    EXPECT_THAT(unknown.status,
                StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("no adapter \"none\""),
                                                            HasSubstr("there is plain, rslora"),
                                                            HasSubstr("trace adapter=\"none\""))));
  }
  const std::string fingerprint = Remote().ListModels().value()[0].fingerprint;
  ASSERT_THAT(engine_->ReplaceModel("tiny", TinyFolder()), IsOk());
  EXPECT_NE(Remote().ListModels().value()[0].fingerprint, fingerprint);
  EXPECT_THAT(Remote().OpenLanguageModel("tiny", {.adapter = "plain"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("hosted without any")));
}

TEST_F(AdaptersTest, ProgramsOfOtherKeysWithoutItShareThePass) {
  const std::string body =
      R"(invoke [39, 72, 94, 86, 68, 69, 83] { save l = read lm_head.output })";
  const std::string adapted = "trace adapter=\"plain\"\n" + body;
  auto holder = NewBackend(NewKey());
  gate_.Close();
  auto held = std::async(std::launch::async, [&] { return RunOn(*holder, body); });
  EXPECT_TRUE(gate_.AwaitHeld());
  std::vector<std::future<Outcome>> waiting;
  for (const std::string& program : {body, adapted}) {
    // Outlives this turn of the loop: the run's events go on.
    auto queued = std::make_shared<absl::Notification>();
    waiting.push_back(std::async(std::launch::async, [this, program, queued] {
      auto backend = NewBackend(NewKey());
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
  gate_.Open();
  const Outcome alone = held.get(), beside = waiting[0].get(), with = waiting[1].get();
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  ASSERT_THAT(with.status, IsOk());
  EXPECT_THAT(gate_.sizes(), ElementsAre(1, 2));
  EXPECT_LT(RelativeDifference(beside.tensor("l"), alone.tensor("l")), 1e-5);
  EXPECT_LT(RelativeDifference(with.tensor("l"), golden_.at("plain/single/result")), 1e-5);
}

TEST_F(AdaptersTest, AKeyReachesThoseOfItsModels) {
  EXPECT_THAT(Remote({"tiny"}).OpenLanguageModel("tiny", {.adapter = "plain"}), IsOk());
  const Outcome other = RunOn(*Remote({"plain"}).backend(), R"(trace adapter="plain"
invoke [1] { save l = read lm_head.output })");
  EXPECT_THAT(other.status, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("tiny")));
}

TEST_F(AdaptersTest, AModelWhoseAdapterDoesNotFitIsNotLoaded) {
  EXPECT_THAT(engine_->LoadModel("two", TinyFolder(), {.adapters = {{"bad", TinyFolder()}}}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("adapter `bad`"), HasSubstr("adapter_config.json"))));
  EXPECT_THAT(engine_->GetModel("two"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("two")));
  EXPECT_THAT(engine_->LoadModel("two", WEFT_SOURCE_DIR "/tests/exported/archives/mlp.pt2",
                                 {.adapters = Adapters()}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("merge it into")));
  EXPECT_THAT(
      MakeLocalClient({.models = {{"tiny", TinyFolder()}}, .adapters = {{"t", Adapters()}}}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`t`")));
}

}  // namespace
}  // namespace weft::testing
