// Edits that a key keeps on the server, through the real client.
#include <optional>
#include <thread>

#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Input kPrompt = {5, 11, 17};
const GenerateOptions kFour = {.max_new_tokens = 4, .eos_token_ids = {96}};

/// The same client code, behind a connection and in process.
class EditsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    key_ = NewKey();
    remote_ = Client(NewBackend(key_));
    local_ = MakeLocalClient({.models = {{"tiny", TinyFolder()}}, .threads = 1}).value();
  }

  void Both(const std::function<void(const Client&, const LanguageModel&)>& body) {
    body(*remote_, Open(*remote_));
    body(*local_, Open(*local_));
  }
  static LanguageModel Open(const Client& client) {
    return client.OpenLanguageModel("tiny").value();
  }

  /// In every step, the last token of layer 0 is made larger.
  static void Steer(const LanguageModel& model, Tracer& trace, double factor) {
    trace.all([&] { model["transformer.h"][0].output()[{Slice(), -1}] *= factor; });
  }
  static EditVersion StoreSteer(const LanguageModel& model, double factor) {
    return model.StoreEdit("steer", [&](Tracer& trace) { Steer(model, trace, factor); }).value();
  }

  /// Logits of the last token, of each step of a generation.
  static std::vector<Tensor> LogitsOf(const LanguageModel& model) {
    SavedList<Tensor> logits;
    const auto run = model.Generate(kPrompt, kFour, [&](Tracer& trace) {
      trace.all([&] { logits = model["lm_head"].output()[{Slice(), -1}].save(); });
    });
    EXPECT_THAT(run, IsOk());
    std::vector<Tensor> steps;
    for (size_t i = 0; i < logits.size(); ++i) steps.push_back(logits[i]);
    return steps;
  }
  static Tensor LogitsOfTrace(const LanguageModel& model) {
    const auto logits = model(kPrompt);
    EXPECT_THAT(logits, IsOk());
    return logits.value_or(Tensor());
  }

  std::string key_;
  std::optional<Client> remote_, local_;
};

TEST_F(EditsTest, ActInAPlainTraceAsThoseOfAHandleDo) {
  Both([](const Client&, const LanguageModel& model) {
    const EditVersion stored = StoreSteer(model, 3.0);
    EXPECT_EQ(stored.ToString(), "steer@1");
    EXPECT_EQ(stored.model, "tiny");
    const LanguageModel expected =
        model.Edit([&](Tracer& trace) { Steer(model, trace, 3.0); }).value();
    const Tensor steered = LogitsOfTrace(model.WithEdits({"steer"}));
    EXPECT_LT(RelativeDifference(steered, LogitsOfTrace(expected)), 1e-6);
    EXPECT_GT(RelativeDifference(steered, LogitsOfTrace(model)), 1e-3);
  });
}

TEST_F(EditsTest, ActInEveryStepOfAGeneration) {
  Both([](const Client&, const LanguageModel& model) {
    StoreSteer(model, 3.0);
    const LanguageModel expected =
        model.Edit([&](Tracer& trace) { Steer(model, trace, 3.0); }).value();
    const std::vector<Tensor> steered = LogitsOf(model.WithEdits({"steer"}));
    const std::vector<Tensor> same = LogitsOf(expected);
    ASSERT_EQ(steered.size(), 4);
    ASSERT_EQ(same.size(), 4);
    for (size_t step = 0; step < 4; ++step) {
      EXPECT_LT(RelativeDifference(steered[step], same[step]), 1e-6) << step;
    }
    // The later steps have it of themselves: with it in step 0 alone they are others.
    const LanguageModel once =
        model.Edit([&] {
               model["transformer.h"][0].output()[{Slice(), -1}] *= 3.0;
             })
            .value();
    EXPECT_GT(RelativeDifference(steered[1], LogitsOf(once)[1]), 1e-3);
  });
}

TEST_F(EditsTest, ARunSaysWhichVersionsItHad) {
  Both([](const Client&, const LanguageModel& model) {
    StoreSteer(model, 3.0);
    EXPECT_EQ(StoreSteer(model, 2.0).version, 2);
    EXPECT_EQ(StoreSteer(model, 2.0).version, 2) << "the same once more is the same version";
    Saved<Tensor> logits;
    const auto run = model.WithEdits({"steer@1", "steer"}).Trace(kPrompt, [&] {
      logits = model["lm_head"].output().save();
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(run->edits, ElementsAre("steer@1", "steer@2"));
    const LanguageModel sixfold =
        model.Edit([&](Tracer& trace) { Steer(model, trace, 6.0); }).value();
    EXPECT_LT(RelativeDifference(*logits, LogitsOfTrace(sixfold)), 1e-6);
    const auto report = model.WithEdits({"steer"}).Validate(
        kPrompt, [&] { logits = model["lm_head"].output().save(); });
    ASSERT_THAT(report, IsOk());
    EXPECT_THAT(report->edits, ElementsAre("steer@2"));
  });
}

TEST_F(EditsTest, ARunHasWhatWasTheLatestWhenItWasAccepted) {
  const LanguageModel model = Open(*remote_);
  StoreSteer(model, 3.0);
  const Tensor expected = LogitsOfTrace(model.WithEdits({"steer"}));
  gate_.Close();
  absl::StatusOr<Tensor> logits;
  std::thread run([&] { logits = model.WithEdits({"steer"})(kPrompt); });
  const bool held = gate_.AwaitHeld();
  StoreSteer(model, 0.0);
  const auto deleted = remote_->DeleteEdit("tiny", "steer");
  gate_.Open();
  run.join();
  ASSERT_TRUE(held);
  EXPECT_EQ(deleted.value_or(0), 2);
  ASSERT_THAT(logits, IsOk());
  EXPECT_TRUE(Identical(*logits, expected));
}

TEST_F(EditsTest, AreListedShownAndDeleted) {
  Both([](const Client& client, const LanguageModel& model) {
    StoreSteer(model, 3.0);
    StoreSteer(model, 2.0);
    ASSERT_THAT(client.StoreEdit("tiny", "quiet",
                                 Program::Parse("invoke { write transformer.h.1.mlp.output[...] "
                                                "= 0.0 }")
                                     .value()),
                IsOk());
    const auto names = [&] {
      std::vector<std::string> names;
      const EditList list = client.ListEdits("tiny").value();
      for (const EditVersion& edit : list.edits) {
        names.push_back(edit.ToString());
      }
      return names;
    };
    EXPECT_THAT(names(), ElementsAre("quiet@1", "steer@1", "steer@2"));
    EXPECT_THAT(client.ListEdits("other")->edits, IsEmpty());
    EXPECT_EQ(client.ListEdits()->edits.size(), 3);
    EXPECT_THAT(client.GetEdit("tiny", "steer@1")->program.text(), HasSubstr("3.0"));
    EXPECT_THAT(client.GetEdit("tiny", "steer")->program.text(), HasSubstr("2.0"));
    EXPECT_EQ(client.DeleteEdit("tiny", "steer@2").value_or(0), 1);
    EXPECT_EQ(client.GetEdit("tiny", "steer")->version.ToString(), "steer@1");
    EXPECT_THAT(client.GetEdit("tiny", "steer@2"),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version 2; it has 1")));
    // A number that is gone never means another edit.
    EXPECT_EQ(StoreSteer(model, 9.0).version, 3);
    EXPECT_EQ(client.DeleteEdit("tiny", "steer").value_or(0), 2);
    EXPECT_THAT(names(), ElementsAre("quiet@1"));
    EXPECT_THAT(model.WithEdits({"steer"})(kPrompt),
                StatusIs(absl::StatusCode::kNotFound,
                         AllOf(HasSubstr("no edit `steer`"), HasSubstr("quiet"))));
    EXPECT_THAT(model.WithEdits({"steer@x"})(kPrompt),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("steer@2")));
    EXPECT_EQ(client.DeleteEdit("tiny", "quiet").value_or(0), 1);
  });
}

TEST_F(EditsTest, ComeBeforeThoseOfTheHandle) {
  Both([](const Client&, const LanguageModel& model) {
    ASSERT_THAT(model.StoreEdit("two",
                                [&] {
                                  model["transformer.h"][0].output()[{0, 0}] = 2.0;
                                }),
                IsOk());
    LanguageModel both = model.WithEdits({"two"});
    ASSERT_THAT(both.EditInPlace([&] {
      both["transformer.h"][0].output()[{0, 0}] += 1.0;
    }),
                IsOk());
    EXPECT_THAT(both.edits(), ElementsAre("two", "1"));
    Saved<Tensor> first;
    ASSERT_THAT(both.Trace(kPrompt,
                           [&] {
                             first = both["transformer.h"][0].output()[{0, 0}].save();
                           }),
                IsOk());
    EXPECT_EQ(first->at<float>({5}), 3);
    both.ClearEdits();
    EXPECT_THAT(both.edits(), IsEmpty());
  });
}

TEST_F(EditsTest, WhatTheySaveComesWithTheRun) {
  Both([](const Client&, const LanguageModel& model) {
    ASSERT_THAT(model.StoreEdit("watch",
                                [&](Tracer& trace) {
                                  trace.all([&] {
                                    model["transformer.h"][0].output()[{0, -1, 0}].save("seen");
                                  });
                                }),
                IsOk());
    const LanguageModel watched = model.WithEdits({"watch"});
    const auto run = watched.Generate(kPrompt, kFour, [] {});
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run->saves.at("seen").size(), 4) << run->saves.at("seen").Type();
  });
}

TEST_F(EditsTest, WhatDoesNotFitTheModelIsNotStored) {
  Both([](const Client& client, const LanguageModel&) {
    const auto store = [&](const std::string& text, const StoreEditOptions& options = {}) {
      const absl::StatusOr<Program> program = Program::Parse(text, "mine.weft");
      return program.ok() ? client.StoreEdit("tiny", "bad", *program, options).status()
                          : program.status();
    };
    EXPECT_THAT(store("invoke {\n  %h = read transformer.h.7.output\n save h = %h }"),
                StatusIs(absl::StatusCode::kNotFound,
                         AllOf(HasSubstr("edit `bad`"), HasSubstr("mine.weft:2"),
                               HasSubstr("transformer.h.7"))));
    EXPECT_THAT(store("invoke { %x = aten::no_such_thing(1.0) save x = %x }"),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("no_such_thing")));
    EXPECT_THAT(store("%c = tensor(float32, [3], [1, 2, 3]) invoke {\n"
                      "  write transformer.h.0.output[:, -1] = %c }"),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("edit `bad`"), HasSubstr("mine.weft:2"))));
    EXPECT_THAT(store("invoke [1] { }"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no input of its own")));
    EXPECT_THAT(client.ListEdits()->edits, IsEmpty());
    // For inputs of three tokens alone, which somebody has to say.
    const std::string three = "invoke { write transformer.h.0.output = aten::zeros([1, 3, 32]) }";
    EXPECT_THAT(store(three), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tokens")));
    EXPECT_THAT(store(three, {.tokens = 3}), IsOk());
    // Later steps have one token each, however long the input is.
    EXPECT_THAT(store("invoke { steps [1:] { write transformer.h.0.output[:, 1] = 0.0 } }"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mine.weft:1")));
    EXPECT_THAT(store("invoke { steps [1:] { write transformer.h.0.output[:, 0] = 0.0 } }"),
                IsOk());
    // For long ones alone.
    EXPECT_THAT(store("invoke { write transformer.h.0.output[:, 20] = 0.0 }"), IsOk());
  });
}

TEST_F(EditsTest, ErrorsNameTheEditAndItsStatement) {
  Both([](const Client& client, const LanguageModel& model) {
    ASSERT_THAT(client.StoreEdit("tiny", "far",
                                 Program::Parse("invoke {\n %h = read transformer.h.0.output\n"
                                                " %x = %h[:, 9]\n save x = %x }",
                                                "far.weft")
                                     .value()),
                IsOk());
    Saved<Tensor> logits;
    const auto run =
        model.WithEdits({"far"}).Trace(kPrompt, [&] { logits = model["lm_head"].output().save(); });
    ASSERT_FALSE(run.ok());
    EXPECT_THAT(std::string(run.status().message()),
                AllOf(HasSubstr("edit `far@1`"), HasSubstr("edit far@1, far.weft:3"),
                      HasSubstr("%x = %h[:, 9]")));
    EXPECT_EQ(GetError(run.status())->node, 0);
  });
}

TEST_F(EditsTest, ErrorsAtRunTimeNameTheEditAndItsStatement) {
  Both([](const Client& client, const LanguageModel& model) {
    // Which row it takes is known only there.
    ASSERT_THAT(client.StoreEdit("tiny", "row",
                                 Program::Parse("%t = tensor(float32, [2], [1, 2]) invoke {\n"
                                                " %i = aten::argmax(read ids, dim=1)\n"
                                                " %j = aten::add(%i, 2)\n"
                                                " %x = aten::index_select(%t, 0, %j)\n"
                                                " save x = %x }",
                                                "row.weft")
                                     .value()),
                IsOk());
    Saved<Tensor> logits;
    const auto run =
        model.WithEdits({"row"}).Trace(kPrompt, [&] { logits = model["lm_head"].output().save(); });
    ASSERT_FALSE(run.ok());
    EXPECT_THAT(
        std::string(run.status().message()),
        AllOf(HasSubstr("edit `row@1`"), HasSubstr("row.weft:4"), HasSubstr("aten::index_select")));
  });
}

TEST_F(EditsTest, ErrorsOfTheProgramNumberItsOwnStatements) {
  Both([](const Client& client, const LanguageModel& model) {
    StoreSteer(model, 3.0);
    const Program program = Program::Parse(
                                "invoke [5, 11] { %h = read transformer.h.0.output  %x = %h[:, 9] "
                                "save x = %x }")
                                .value();
    const RunSettings plain;
    RunSettings edited;
    edited.edits = {"steer"};
    const auto run = [&](const RunSettings& settings) {
      return client.backend()->Run("tiny", program, settings, [](const RunEvent&) {});
    };
    const absl::Status without = run(plain), with = run(edited);
    ASSERT_FALSE(without.ok());
    EXPECT_EQ(with, without);
    ASSERT_TRUE(GetError(with).has_value());
    EXPECT_EQ(GetError(with)->node, 4);
    EXPECT_EQ(client.backend()->Validate("tiny", program, edited).status(), without);
  });
}

TEST_F(EditsTest, AnotherKeySeesNone) {
  StoreSteer(Open(*remote_), 3.0);
  const Client other(NewBackend(NewKey()));
  const LanguageModel model = Open(other);
  EXPECT_THAT(other.ListEdits()->edits, IsEmpty());
  EXPECT_THAT(other.GetEdit("tiny", "steer"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(other.DeleteEdit("tiny", "steer"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(model.WithEdits({"steer"})(kPrompt),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("it has none")));
  EXPECT_EQ(StoreSteer(model, 9.0).version, 1);
  EXPECT_EQ(remote_->ListEdits()->edits.size(), 1);
}

TEST_F(EditsTest, SurviveARestart) {
  StoreSteer(Open(*remote_), 3.0);
  const Tensor before = LogitsOfTrace(Open(*remote_).WithEdits({"steer"}));
  server_.reset();
  edits_.reset();
  StartService({});
  remote_ = Client(NewBackend(key_));
  EXPECT_TRUE(Identical(LogitsOfTrace(Open(*remote_).WithEdits({"steer@1"})), before));
}

TEST_F(EditsTest, OfAModelThatIsGoneAreListedAndDoNotRun) {
  const LanguageModel model = Open(*remote_);
  StoreSteer(model, 3.0);
  ASSERT_THAT(engine_->UnloadModel("tiny"), IsOk());
  EXPECT_EQ(remote_->ListEdits("tiny")->edits.size(), 1);
  EXPECT_THAT(remote_->GetEdit("tiny", "steer"), IsOk());
  EXPECT_THAT(model.WithEdits({"steer"})(kPrompt),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tiny")));
  EXPECT_THAT(model.StoreEdit("more", [&] { model["transformer.h"][0].output() = 0.0; }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tiny")));
  EXPECT_EQ(remote_->DeleteEdit("tiny", "steer").value_or(0), 1);
}

TEST_F(EditsTest, HoldLargeConstants) {
  Both([](const Client& client, const LanguageModel& model) {
    // One that stays with the edit, and one that is too large for a request.
    for (const int64_t elements : {int64_t{100} << 10, int64_t{2} << 20}) {
      std::vector<float> values(static_cast<size_t>(elements), 0.5F);
      const Tensor large = Tensor::From(std::move(values));
      ASSERT_THAT(model.StoreEdit("large", [&] { weft::constant(large).sum().save("sum"); }),
                  IsOk());
      const auto run = model.WithEdits({"large"}).Trace(
          kPrompt, [&] { model["lm_head"].output().save("logits"); });
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(run->Get("sum")->tensor().item(), static_cast<double>(elements) / 2);
    }
    EXPECT_LE(client.ListBlobs()->blobs.size(), 1);
  });
}

}  // namespace
}  // namespace weft::testing
