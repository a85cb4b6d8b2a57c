// Edits that a handle stores, and what it scans and calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/client/family_backend.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

class EditsTest : public ::testing::Test {
 protected:
  EditsTest() { backend_->events = {event::Completed{}}; }

  static std::string Printed(const std::string& text) {
    absl::StatusOr<Program> program = Program::Parse(text);
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  /// The program that was sent for a trace that reads h.1.
  std::string Sent(const LanguageModel& model) {
    const auto run = model.Trace("hi", [&] { model["h.1"].output().save("x"); });
    return run.ok() ? backend_->programs.back() : "ERROR " + std::string(run.status().message());
  }
  LanguageModel Zeroed() {
    return model_.Edit([&] { model_["h.0"].output() = 0.0; }, {.name = "zero"}).value();
  }

  std::shared_ptr<FamilyBackend> backend_ = std::make_shared<FamilyBackend>();
  LanguageModel model_ = Client(backend_).OpenLanguageModel("toy").value();
  testing::TempFolder folder_;
};

TEST_F(EditsTest, ActFirstInEveryInvokeOfLaterTraces) {
  const LanguageModel edited = Zeroed();
  EXPECT_EQ(Sent(edited), Printed(R"(
      %1 = 0.0
      invoke "hi" {
        write h.0.output[...] = %1
        %2 = read h.1.output
        save x = %2
      })"));
  ASSERT_THAT(edited.Trace([&](Tracer& trace) {
    trace.Invoke("a", [&] { edited["h.1"].output().save("a"); });
    trace.Invoke("b", [&] { edited["h.1"].output().save("b"); });
  }),
              IsOk());
  EXPECT_EQ(backend_->programs.back(), Printed(R"(
      %1 = 0.0
      invoke "a" {
        write h.0.output[...] = %1
        %2 = read h.1.output
        save a = %2
      }
      invoke "b" {
        write h.0.output[...] = %1
        %3 = read h.1.output
        save b = %3
      })"));
}

TEST_F(EditsTest, LeaveTheFirstHandleAsItWas) {
  const LanguageModel edited = Zeroed();
  EXPECT_THAT(model_.edits(), IsEmpty());
  EXPECT_THAT(edited.edits(), ElementsAre("zero"));
  EXPECT_EQ(Sent(model_), Printed(R"(invoke "hi" { %1 = read h.1.output  save x = %1 })"));
}

TEST_F(EditsTest, StackInOrder) {
  LanguageModel edited = Zeroed();
  ASSERT_THAT(edited.EditInPlace([&] {
    edited["h.0"].output()[{Slice(), 0}] = edited["h.0.mlp"].output()[{Slice(), -1}];
  }),
              IsOk());
  EXPECT_THAT(edited.edits(), ElementsAre("zero", "2"));
  EXPECT_EQ(Sent(edited), Printed(R"(
      %1 = 0.0
      invoke "hi" {
        write h.0.output[...] = %1
        %2 = read h.0.mlp.output
        %3 = %2[:, -1]
        write h.0.output[:, 0] = %3
        %4 = read h.1.output
        save x = %4
      })"));
  edited.ClearEdits();
  EXPECT_THAT(edited.edits(), IsEmpty());
  EXPECT_EQ(Sent(edited), Sent(model_));
}

TEST_F(EditsTest, ActInWhatIsValidatedRunAndCalledToo) {
  const LanguageModel edited = Zeroed();
  const auto read = [&] { edited["h.1"].output().save("x"); };
  ASSERT_THAT(edited.Validate("hi", read), IsOk());
  ASSERT_THAT(edited.Scan("hi", read), IsOk());
  ASSERT_THAT(edited.Run(edited.Record("hi", read).value()), IsOk());
  backend_->events = {event::Result{"_result", Value(tensor(2.5))}, event::Completed{}};
  EXPECT_EQ(edited("hi")->item(), 2.5);
  ASSERT_EQ(backend_->programs.size(), 4);
  for (const std::string& program : backend_->programs) {
    EXPECT_THAT(program, HasSubstr("write h.0.output[...]"));
  }
}

TEST_F(EditsTest, ActInTheStepsThatTheyName) {
  const LanguageModel edited =
      model_.Edit([&](Tracer& edit) { edit.all([&] { model_["h.0"].output() = 0.0; }); }).value();
  ASSERT_THAT(
      edited.Generate("hi", {.max_new_tokens = 3}, [&] { edited["h.1"].output().save("x"); }),
      IsOk());
  EXPECT_EQ(backend_->programs.back(), Printed(R"(
      generate max_new_tokens=3
      %1 = 0.0
      invoke "hi" {
        steps [:] { write h.0.output[...] = %1 }
        %2 = read h.1.output
        save x = %2
      })"));
  // In the one step of a trace as well.
  EXPECT_THAT(Sent(edited), HasSubstr("write h.0.output[...]"));
}

TEST_F(EditsTest, ABlockForEachStepNamesItsSteps) {
  const auto body = [&](int64_t step) { model_["h"][step].output() = 0.0; };
  const auto every = model_.Edit([&](Tracer& edit) { edit.each_step(body); });
  EXPECT_THAT(every, StatusIs(absl::StatusCode::kInvalidArgument,
                              AllOf(HasSubstr("how many there will be is unknown"),
                                    HasSubstr("each_step(Slice(0, 8)"))));
  const LanguageModel edited =
      model_.Edit([&](Tracer& edit) { edit.each_step(Slice(0, 2), body); }).value();
  ASSERT_THAT(
      edited.Generate("hi", {.max_new_tokens = 3}, [&] { edited["h.1"].output().save("x"); }),
      IsOk());
  EXPECT_EQ(backend_->programs.back(), Printed(R"(
      generate max_new_tokens=3
      %1 = 0.0
      %2 = 0.0
      invoke "hi" {
        steps [0] { write h.0.output[...] = %1 }
        steps [1] { write h.1.output[...] = %2 }
        %3 = read h.1.output
        save x = %3
      })"));
}

TEST_F(EditsTest, ThoseOfTheServerAreNamedWithEachRun) {
  class Recording : public FamilyBackend {
   public:
    absl::StatusOr<EditVersion> StoreEdit(const std::string& model, const std::string& name,
                                          const Program& edit,
                                          const StoreEditOptions& options) override {
      stored = absl::StrCat(model, " ", name, " ", options.tokens, "\n", edit.text());
      return EditVersion{model, name, 4};
    }
    absl::Status Run(const std::string& model, const Program& program, const RunSettings& settings,
                     absl::FunctionRef<void(RunEvent)> on_event) override {
      edits = settings.edits;
      return FamilyBackend::Run(model, program, settings, on_event);
    }
    std::string stored;
    std::vector<std::string> edits;
  };
  const auto backend = std::make_shared<Recording>();
  backend->events = {event::Accepted{.edits = {"steer@4", "more@1"}}, event::Completed{}};
  const LanguageModel model = Client(backend).OpenLanguageModel("toy").value();
  const auto stored = model.StoreEdit("steer", [&] { model["h.0"].output() = 0.0; }, {.tokens = 3});
  ASSERT_THAT(stored, IsOk());
  EXPECT_EQ(stored->ToString(), "steer@4");
  EXPECT_EQ(backend->stored,
            "toy steer 3\n" + Printed("invoke { %1 = 0.0 write h.0.output[...] = %1 }"));
  LanguageModel edited = model.WithEdits({"steer"});
  ASSERT_THAT(edited.EditInPlace([&] { edited["h.1"].output() = 1.0; }), IsOk());
  EXPECT_THAT(edited.edits(), ElementsAre("steer", "1"));
  EXPECT_THAT(model.edits(), IsEmpty());
  const auto run = edited.Trace("hi", [] {}, {.edits = {"more"}});
  ASSERT_THAT(run, IsOk());
  EXPECT_THAT(backend->edits, ElementsAre("steer", "more"));
  EXPECT_THAT(run->edits, ElementsAre("steer@4", "more@1"));
  EXPECT_THAT(backend->programs.back(), HasSubstr("write h.1.output"));
  EXPECT_THAT(model.StoreEdit("no name", [] {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("letters, digits")));
}

TEST_F(EditsTest, SavesComeWithTheRun) {
  Saved<> saved;
  const LanguageModel edited =
      model_.Edit([&] { saved = model_["h.0"].output().save("acts"); }).value();
  EXPECT_THAT(std::string(saved.status().message()), HasSubstr("RunResult::saves"));
  backend_->events = {event::Result{"acts", Value(tensor(1.0))}, event::Completed{}};
  const auto run = edited.Trace("hi", [&] { edited["h.1"].output() = 0.0; });
  ASSERT_THAT(run, IsOk());
  EXPECT_EQ(run->Get("acts")->tensor().item(), 1.0);
  EXPECT_THAT(edited.Trace([&](Tracer& trace) {
    trace.Invoke("a", [] {});
    trace.Invoke("b", [] {});
  }),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("edit `1`"), HasSubstr("in each of 2 invokes"))));
}

TEST_F(EditsTest, AClashTellsTheHandlesWhy) {
  const LanguageModel edited = model_.Edit([&] { model_["h.0"].output().save("x"); }).value();
  Saved<> saved;
  const auto run = edited.Trace("hi", [&] { saved = edited["h.1"].output().save("x"); });
  EXPECT_THAT(run, StatusIs(absl::StatusCode::kInvalidArgument,
                            HasSubstr("the name `x` is saved by the program as well")));
  EXPECT_EQ(saved.status(), run.status());
}

TEST_F(EditsTest, WhatCannotBeAnEditIsRefused) {
  EXPECT_THAT(model_.Edit([&] { Stop(); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a stop in an edit")));
  EXPECT_THAT(model_.Edit([&] { model_["nowhere"].output() = 0.0; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no module")));
  EXPECT_THAT(model_.edits(), IsEmpty());
}

TEST_F(EditsTest, GoThroughAFile) {
  LanguageModel edited = Zeroed();
  ASSERT_THAT(edited.EditInPlace([&] { edited["h.1"].output() *= 2.0; }), IsOk());
  ASSERT_THAT(edited.ExportEdits("quiet", folder_.path()), IsOk());
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/quiet/__default__.weft"));

  LanguageModel other = model_;
  ASSERT_THAT(other.ImportEdits("quiet", folder_.path()), IsOk());
  EXPECT_THAT(other.edits(), ElementsAre("zero", "2"));
  EXPECT_EQ(Sent(other), Sent(edited));
  ASSERT_THAT(other.ImportEdits("quiet", folder_.path()), IsOk());
  EXPECT_THAT(other.edits(), ElementsAre("zero", "2", "zero", "2")) << "behind its own";
}

TEST_F(EditsTest, FilesThatHoldNoneAreRefused) {
  EXPECT_THAT(model_.ExportEdits("none", folder_.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no edits to export")));
  EXPECT_THAT(model_.ImportEdits("none", folder_.path()), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(model_.ImportEdits("../none", folder_.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("without `/`")));
  std::filesystem::create_directories(folder_.path() + "/bad");
  std::ofstream(folder_.path() + "/bad/__default__.weft") << "invoke { }\n";
  EXPECT_THAT(model_.ImportEdits("bad", folder_.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("holds no edits")));
  std::ofstream(folder_.path() + "/bad/typo.weft") << "# edit one\ninvoke {\n  %1 = raed h\n}\n";
  EXPECT_THAT(model_.ImportEdits("bad", folder_.path(), "typo"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("typo.weft:3")));
}

TEST_F(EditsTest, AScanTellsTypesAndCost) {
  class Scanned : public FamilyBackend {
   public:
    absl::StatusOr<ValidationReport> Validate(const std::string&, const Program&,
                                              const RunSettings&) override {
      return ValidationReport{.saves = {{"h", "float32[1, 9, 48]"}, {"pair", "(int64[2], none)"}},
                              .warnings = {{.message = "careful"}},
                              .estimate = {.tokens = 9, .result_bytes = 1744}};
    }
  };
  const LanguageModel model = Client(std::make_shared<Scanned>()).OpenLanguageModel("toy").value();
  const auto scan = model.Scan("hi", [&] { model["h.0"].output().save("h"); });
  ASSERT_THAT(scan, IsOk());
  EXPECT_EQ(scan->cost.tokens, 9);
  EXPECT_EQ(scan->warnings[0].message, "careful");
  EXPECT_EQ(scan->Get("h")->dtype, kFloat32);
  EXPECT_EQ(scan->Get("h")->shape, (Shape{1, 9, 48}));
  EXPECT_EQ(scan->Get("h")->bytes, 1 * 9 * 48 * 4);
  EXPECT_EQ(scan->Get("pair")->type, "(int64[2], none)");
  EXPECT_EQ(scan->Get("pair")->dtype, std::nullopt);
  EXPECT_THAT(scan->Get("other"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace weft::client_test
