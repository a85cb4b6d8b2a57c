// Calls of modules out of band whose sites are visited, on GPT-2's shapes.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

LocalResult RunBody(const std::string& body) {
  return LocalModel::Tiny().Run(absl::StrCat("invoke [[1, 2, 3], [4, 5]] {\n", body, "\n}"));
}

absl::Status Refusal(const std::string& body) {
  return LocalModel::Tiny().Plan(absl::StrCat("invoke [[1, 2, 3]] {\n", body, "\n}")).status();
}

TEST(WatchedCallTest, ItsSitesAreVisitsBehindTheModelsOwn) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %lens = call watched transformer.ln_f(%h)
    %plain = call transformer.ln_f(%h)
    save h = %h
    save lens = %lens
    save plain = %plain
    save input = read transformer.ln_f@1.input
    save output = read transformer.ln_f@1.output
    save own = read transformer.ln_f.input
    save last = read transformer.h.2.output)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["lens"], run["plain"]);
  ExpectClose(run["output"], run["plain"]);
  ExpectClose(run["input"], run["h"]);
  ExpectClose(run["own"], run["last"]);
}

TEST(WatchedCallTest, WhatIsWrittenInsideChangesItAlone) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.h.1.mlp(%h)
    save before = read transformer.h.1.mlp.act@1.output
    write transformer.h.1.mlp.act@1.output[..., 0] = 5.0
    save after = read transformer.h.1.mlp.act@1.output
    save y = %y
    save own = read transformer.h.1.mlp.output
    %fc = call transformer.h.1.mlp.c_fc(%h)
    %act = call transformer.h.1.mlp.act(%fc)
    %changed = aten::clone(%act)
    %changed[..., 0] = 5.0
    save act = %act
    save changed = %changed
    save expected = call transformer.h.1.mlp.c_proj(%changed))");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["before"], run["act"]);
  ExpectClose(run["after"], run["changed"]);
  ExpectClose(run["y"], run["expected"]);
  ExpectClose(run["own"], RunBody("save own = read transformer.h.1.mlp.output")["own"]);
}

TEST(WatchedCallTest, ValuesInsideChangeWhatFollowsInIt) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.h.1.mlp(%h)
    %fc = read transformer.h.1.mlp.c_fc@1.output
    %half = aten::mul(%fc, 0.5)
    write transformer.h.1.mlp.c_proj@1.input = %half
    save y = %y
    save expected = call transformer.h.1.mlp.c_proj(%half))");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["y"], run["expected"]);
}

TEST(WatchedCallTest, CallsAreCountedAsTheyAreWritten) {
  const LocalResult run = RunBody(R"(
    %late = read transformer.h.2.output
    %early = read transformer.h.0.output
    %a = call watched transformer.ln_f(%late)
    %b = call watched transformer.ln_f(%early)
    save a = read transformer.ln_f@1.input
    save b = read transformer.ln_f@2.input
    save late = %late
    save early = %early)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["a"], run["late"]);
  ExpectClose(run["b"], run["early"]);
}

TEST(WatchedCallTest, AModuleThatLooksAtPromptsShowsItsChildren) {
  const LocalResult run = RunBody(R"(
    %x = read transformer.h.1.output
    %y = call watched transformer.h.2(%x)
    save y = %y
    save attn = read transformer.h.2.attn@1.output
    save own = read transformer.h.2.output
    save own_attn = read transformer.h.2.attn.output)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["y"], run["own"]);
  ExpectClose(run["attn/0"], run["own_attn/0"]);
}

TEST(WatchedCallTest, ItsResultIsWrittenWhereItsArgumentWasRead) {
  const LocalResult run = RunBody(R"(
    cache [transformer.h.1] as acts
    %h = read transformer.h.1.output
    %y = call watched transformer.h.2.mlp(%h)
    write transformer.h.1.output = %y
    save y = %y
    save again = read transformer.h.1.output
    save next = read transformer.h.2.input)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["again"], run["y"]);
  ExpectClose(run["next"], run["y"]);
  ExpectClose(run["acts/transformer.h.1.output"], run["y"]);
}

TEST(WatchedCallTest, OnlyTheTakenBranchMakesIt) {
  for (const bool taken : {true, false}) {
    const LocalResult run = RunBody(absl::StrCat(R"(
      %h = read transformer.h.0.output
      %c = tensor(bool, [], [)",
                                                 taken ? "true" : "false", R"(])
      %r = if %c {
        %y = call watched transformer.ln_f(%h)
        save inside = read transformer.ln_f@1.output
        yield %y
      } else {
        yield %h
      }
      save r = %r
      save h = %h
      save normed = call transformer.ln_f(%h))"));
    ASSERT_THAT(run.status, IsOk());
    ExpectClose(run["r"], run[taken ? "normed" : "h"]);
    EXPECT_EQ(run.saved.count("inside"), taken ? 1u : 0u);
  }
}

TEST(WatchedCallTest, EveryStepMakesItsOwn) {
  const LocalResult run = LocalModel::Tiny().Run(R"(
    generate max_new_tokens=3
    invoke [[1, 2, 3]] {
      steps [:] {
        %h = read transformer.h.0.output
        %y = call watched transformer.ln_f(%h)
        save h = %h
        save seen = read transformer.ln_f@1.input
        write transformer.ln_f@1.output[:] = 2.0
        save y = %y
      }
    })");
  ASSERT_THAT(run.status, IsOk());
  for (int step = 0; step < 3; ++step) {
    ExpectClose(run[absl::StrCat("seen/", step)], run[absl::StrCat("h/", step)]);
    const at::Tensor y = run[absl::StrCat("y/", step)];
    ExpectClose(y, at::full_like(y, 2.0));
  }
}

TEST(WatchedCallTest, ValuesInsideHaveGradients) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.h.1.mlp(%h)
    %act = read transformer.h.1.mlp.act@1.output
    %loss = aten::sum(%y)
    backward %loss {
      save inside = grad %act
      save argument = grad %h
    }
    %w = param transformer.h.1.mlp.c_proj.weight
    %ones = aten::ones_like(%y)
    %t = aten::t(%w)
    save expected = aten::matmul(%ones, %t))");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["inside"], run["expected"]);
  EXPECT_GT(run["argument"].abs().max().item<double>(), 0.0);
}

TEST(WatchedCallTest, RunsBesideOthers) {
  const std::string text = R"(invoke [[1, 2]] {
    %h = read transformer.h.0.output
    %y = call watched transformer.ln_f(%h)
    write transformer.ln_f@1.input[:, 0] = 0.0
    save y = %y
  })";
  LocalModel& model = LocalModel::Tiny();
  const std::vector<LocalResult> runs =
      model.RunTogether({text, "invoke [[3]] { save x = read lm_head.output }", text});
  const LocalResult alone = model.Run(text);
  ExpectClose(runs[0]["y"], alone["y"]);
  ExpectClose(runs[2]["y"], alone["y"]);
}

TEST(WatchedCallTest, RefusesWhatItDoesNotVisit) {
  EXPECT_THAT(Refusal("save x = read transformer.ln_f@1.output"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("transformer.ln_f")));
  const std::string call = R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.ln_f(%h)
    save y = %y
  )";
  EXPECT_THAT(Refusal(call + "save x = read transformer.ln_f@2.output"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("transformer.ln_f")));
  EXPECT_THAT(Refusal(call + "save x = read transformer.ln_f@1.op(layer_norm_0).output"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("inputs and outputs")));
}

TEST(WatchedCallTest, AModuleInsideIsSkipped) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.h.1.mlp(%h)
    %fc = read transformer.h.1.mlp.c_fc@1.output
    skip transformer.h.1.mlp.act@1 = %fc
    save act = read transformer.h.1.mlp.act@1.output
    save fc = %fc
    save y = %y
    save expected = call transformer.h.1.mlp.c_proj(%fc)
    save own = read transformer.h.1.mlp.output)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["act"], run["fc"]);
  ExpectClose(run["y"], run["expected"]);
  ExpectClose(run["own"], RunBody("save own = read transformer.h.1.mlp.output")["own"]);
}

TEST(WatchedCallTest, ASkippedBlockHasNoInsideAndWhatFollowsIsCountedOn) {
  const LocalResult run = RunBody(R"(
    %x = read transformer.h.1.output
    %y = call watched transformer.h.2(%x)
    %normed = read transformer.h.2.ln_1@1.output
    skip transformer.h.2.attn@1 = aten::mul(%normed, 0.0)
    save ln = read transformer.h.2.ln_2@1.input
    save mlp = read transformer.h.2.mlp@1.output
    save x = %x
    save y = %y)");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["ln"], run["x"]);
  ExpectClose(run["y"], run["x"] + run["mlp"]);
}

TEST(WatchedCallTest, RefusesSkipsThatOverlap) {
  const std::string call =
      "%h = read transformer.h.0.output\n%y = call watched transformer.h.1(%h)\n";
  const std::string skip = "skip transformer.h.1.mlp@1 = %h\n";
  const std::string read = "save x = read transformer.h.1.mlp.act@1.output\n";
  EXPECT_THAT(Refusal(call + skip + read),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("lies inside a module")));
  EXPECT_THAT(Refusal(call + read + skip),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("this skip overlaps")));
  EXPECT_THAT(Refusal(call + skip + skip),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("this skip overlaps")));
  EXPECT_THAT(Refusal(call + "skip transformer.h.1.mlp@1 = read transformer.h.2.output"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too late")));
}

TEST(WatchedCallTest, RefusesAWriteThatNeedsALaterValue) {
  EXPECT_THAT(Refusal(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.ln_f(%h)
    %late = read transformer.h.2.output
    write transformer.ln_f@1.input = %late
    save y = %y)"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("there too late")));
  EXPECT_THAT(Refusal(R"(
    %h = read transformer.h.0.output
    %y = call watched transformer.ln_f(%h)
    write transformer.ln_f@1.input = %y
    save y = %y)"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("there too late")));
}

TEST(WatchedCallTest, RefusesAValueOfAnotherShape) {
  EXPECT_THAT(LocalModel::Tiny()
                  .Check(R"(invoke [[1, 2, 3]] {
    %h = read transformer.h.0.output
    %y = call watched transformer.h.1.mlp(%h[:, -1])
    write transformer.h.1.mlp.act@1.output = %h
    save y = %y
  })")
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("replaces one of shape")));
}

}  // namespace
}  // namespace weft
