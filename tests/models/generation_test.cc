// Generations, step by step: against transformers' generate(), alone and in company.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr int kNew = 6;
constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";

class GenerationTest : public ::testing::Test {
 protected:
  /// A generation with eos 96 and this in its one invoke.
  static std::string Generate(const std::string& prompts, const std::string& body) {
    return absl::StrCat("generate max_new_tokens=", kNew, " eos_token_ids=[96]\ninvoke ", prompts,
                        " {\n", body, "\n  save ids = read result\n}\n");
  }
  void ExpectGolden(const LocalResult& result, const std::string& golden_case,
                    const std::map<std::string, std::string>& names) {
    ASSERT_THAT(result.status, IsOk());
    // Pads are nobody's: here they are 0, in the golden file 96.
    const at::Tensor golden_ids = golden_.at(golden_case + "/ids");
    EXPECT_TRUE(at::equal(result["ids"].masked_fill(golden_ids == 96, 96), golden_ids))
        << result["ids"] << golden_ids;
    for (const auto& [name, golden] : names) {
      for (int step = 0; step < kNew; ++step) {
        ExpectClose(result[absl::StrCat(name, "/", step)],
                    golden_.at(absl::StrCat(golden_case, "/", golden, "/", step)), 2e-5,
                    absl::StrCat(golden_case, " ", name, " in step ", step));
      }
    }
  }

  LocalModel& model_ = LocalModel::Tiny();
  const std::map<std::string, at::Tensor> golden_ =
      LoadGolden(WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/generation.safetensors");
};

TEST_F(GenerationTest, WhatTheLastStepWritesIsWrittenThoughNothingFollowsIt) {
  for (const char* steps : {"1", "3"}) {
    const LocalResult result = model_.Run(absl::StrCat("generate max_new_tokens=", steps, R"(
      invoke [6] { save s = read transformer.h.2.output }
      invoke [[2], [11]] {
        %h = read transformer.h.0.output
        write transformer.h.1.input = %h
      })"));
    EXPECT_THAT(result.status, IsOk()) << steps;
  }
}

TEST_F(GenerationTest, EveryStepIsThatOfTransformers) {
  ExpectGolden(model_.Run(Generate(kSingle, R"(
    steps [:] {
      save h = read transformer.h.1.output
      save p = read lm_head.output
    })")),
               "plain", {{"h", "transformer.h.1"}, {"p", "logits"}});
}

TEST_F(GenerationTest, ALeftPaddedBatchIsThatOfTransformers) {
  const LocalResult result = model_.Run(Generate(kBatch, R"(
    steps [1:] { save h = read transformer.h.1.output }
    steps [:] { save p = read lm_head.output })"));
  ExpectGolden(result, "batch", {{"p", "logits"}});
  for (int step = 1; step < kNew; ++step) {
    ExpectClose(result[absl::StrCat("h/", step)],
                golden_.at(absl::StrCat("batch/transformer.h.1/", step)), 2e-5);
  }
}

TEST_F(GenerationTest, AWriteInEveryStepIsThatOfAHook) {
  ExpectGolden(model_.Run(Generate(kSingle, R"(
    steps [:] {
      %h = read transformer.h.0.output
      aten::mul_(%h, 1.5)
      save p = read lm_head.output
    })")),
               "scaled", {{"p", "logits"}});
}

TEST_F(GenerationTest, AWriteInOneStepChangesWhatFollows) {
  ExpectGolden(model_.Run(Generate(kSingle, R"(
    steps [2] {
      %h = read transformer.h.1.output
      write transformer.h.1.output[:, -1] = aten::neg(%h[:, -1])
    }
    steps [:] { save p = read lm_head.output })")),
               "late", {{"p", "logits"}});
}

TEST_F(GenerationTest, ASkippedBlockHasNoKeysAndValues) {
  ExpectGolden(model_.Run(Generate(kSingle, R"(
    steps [:] {
      skip transformer.h.1 = read transformer.h.1.input
      save p = read lm_head.output
    })")),
               "skipped", {{"p", "logits"}});
}

TEST_F(GenerationTest, StatementsOutsideOfStepsAreOfTheFirst) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    save h = read transformer.h.1.output
    save p = read lm_head.output)"));
  ExpectClose(result["h"], golden_.at("plain/transformer.h.1/0"));
  // Of a prompt the head computes the last token alone, as transformers' does.
  ExpectClose(result["p"], golden_.at("plain/logits/0"));
}

TEST_F(GenerationTest, TwoGenerationsAndATraceShareTheirPassesAndEqualTheirOwn) {
  const std::string one = Generate(kSingle, "steps [:] { save p = read lm_head.output }");
  const std::string other = Generate(kBatch, R"(
    steps [:] { %h = read transformer.h.0.output  aten::mul_(%h, 1.25) })");
  const std::string trace = "invoke [64, 65, 66] { save p = read result }";
  const LocalResult alone = model_.Run(other), plain = model_.Run(trace);
  const uint64_t before = model_.hosted().passes();
  const std::vector<LocalResult> together = model_.RunTogether({one, other, trace});
  EXPECT_EQ(model_.hosted().passes(), before + kNew);
  ExpectGolden(together[0], "plain", {{"p", "logits"}});
  ASSERT_THAT(together[1].status, IsOk());
  EXPECT_TRUE(at::equal(together[1]["ids"], alone["ids"]));
  ExpectClose(together[2]["p"], plain["p"]);
}

TEST_F(GenerationTest, InvokesOfDifferentLengthsGenerateSideBySide) {
  const LocalResult both = model_.Run(
      absl::StrCat("generate max_new_tokens=6 eos_token_ids=[96]\ninvoke ", kSingle,
                   " { save a = read result }\ninvoke [64, 65, 66] { save b = read result }\n"
                   "invoke { steps [1:3] { save h = read transformer.h.1.output } }"));
  ASSERT_THAT(both.status, IsOk());
  EXPECT_TRUE(at::equal(both["a"], golden_.at("plain/ids")));
  EXPECT_TRUE(at::equal(both["b"][0], golden_.at("batch/ids")[1].narrow(0, 5, 3 + kNew)));
  EXPECT_EQ(both["h/1"].sizes(), at::IntArrayRef({2, 1, 32}));
  ExpectClose(both["h/2"][0], golden_.at("plain/transformer.h.1/2")[0]);
}

TEST_F(GenerationTest, OnlyTheStepsThatAnybodyNeedsAreRunAndTheLastEndsEarly) {
  const uint64_t passes = model_.hosted().passes(), calls = model_.hosted().module_calls();
  const LocalResult result =
      model_.Run(absl::StrCat("generate max_new_tokens=20 eos_token_ids=[96]\ninvoke ", kSingle,
                              " { steps [1] { save h = read transformer.h.0.output } }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(model_.hosted().passes(), passes + 2);
  const uint64_t two = model_.hosted().module_calls() - calls;
  const LocalResult whole =
      model_.Run(absl::StrCat("generate max_new_tokens=2 eos_token_ids=[96]\ninvoke ", kSingle,
                              " { save ids = read result }"));
  ASSERT_THAT(whole.status, IsOk());
  EXPECT_LT(two, model_.hosted().module_calls() - calls - two);
}

TEST_F(GenerationTest, ACarryGoesFromStepToStep) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    %zero = aten::zeros([1, 32])
    %sum, %count = steps [1:5] carry %acc = %zero, %n = tensor(float32, [], [0.0]) {
      %h = read transformer.h.1.output
      %next = aten::add(%acc, %h[:, -1])
      save before = %acc
      yield %next, aten::add(%n, 1.0)
    }
    save sum = %sum
    save count = %count)"));
  ASSERT_THAT(result.status, IsOk());
  at::Tensor sum = at::zeros({1, 32});
  for (int step = 1; step < 5; ++step) {
    ExpectClose(result[absl::StrCat("before/", step)], sum);
    sum = sum + golden_.at(absl::StrCat("plain/transformer.h.1/", step)).select(1, -1);
  }
  ExpectClose(result["sum"], sum);
  EXPECT_EQ(result["count"].item<float>(), 4.0F);
}

TEST_F(GenerationTest, ACarryWhoseStepsNeverComeKeepsItsFirstValue) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    %last = steps [50:60] carry %acc = tensor(float32, [], [7.0]) {
      save never = %acc
      yield aten::add(%acc, 1.0)
    }
    save last = %last)"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["last"].item<float>(), 7.0F);
  EXPECT_THAT(result.missing.at("never"), HasSubstr("0 of 10 selected steps gave one"));
}

TEST_F(GenerationTest, ASweepSaysWhichStepsThereAreAtEachPoint) {
  const auto run = [this](const std::string& range, const std::string& sweep) {
    return model_.Run(absl::StrCat("generate max_new_tokens=4 min_new_tokens=4\n", sweep, "invoke ",
                                   kSingle, " { steps ", range, R"( {
          save before = read lm_head.output
          write lm_head.output[:, :, 5] = 1000.0
        }
        save ids = read result
      })",
                                   sweep.empty() ? "" : "}"));
  };
  const LocalResult swept = run("[%a:%b]", "sweep %a in [0, 3, 1], %b in [2, 4, 2] {");
  ASSERT_THAT(swept.status, IsOk());
  const char* const kRanges[] = {"[0:2]", "[3:4]", "[1:2]"};
  for (int point = 0; point < 3; ++point) {
    const LocalResult alone = run(kRanges[point], "");
    ASSERT_THAT(alone.status, IsOk());
    EXPECT_TRUE(at::equal(swept[absl::StrCat("ids/", point)], alone["ids"])) << point;
    for (const auto& [name, value] : alone.saved) {
      if (!absl::StartsWith(name, "before/")) continue;
      ExpectClose(swept[absl::StrCat("before/", point, name.substr(6))], alone[name]);
    }
  }
  EXPECT_THAT(run("[%a:%b]", "sweep %a in [0, 3], %b in [2, 3] {").status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("at a point of the sweep this range selects no step: 3:3")));
  EXPECT_THAT(run("[%a:]", "sweep %a in [0, -1] {").status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("counted from 0")));
}

TEST_F(GenerationTest, ACarryWithAWriteSteersByWhatCameBefore) {
  // What is written in a step is what the step before has left.
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    steps [0:3] carry %last = aten::zeros([1, 32]) {
      %h = read transformer.h.1.output
      %new = aten::clone(%h[:, -1])
      write transformer.h.1.output[:, -1] = aten::add(%last, %new)
      save written = read transformer.h.1.output
      yield %new
    })"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["written/0"], golden_.at("plain/transformer.h.1/0"));
  EXPECT_FALSE(at::allclose(result["written/1"], golden_.at("plain/transformer.h.1/1")));
}

TEST_F(GenerationTest, AnEndOfTextTokenEndsItAndTheMissingStepsAreSaid) {
  const int64_t third = golden_.at("plain/ids")[0][7 + 2].item<int64_t>();
  const LocalResult result = model_.Run(
      absl::StrCat("generate max_new_tokens=6 eos_token_ids=[", third, "]\ninvoke ", kSingle,
                   " { save ids = read result  steps [0:6] { save h = read lm_head.output } }"));
  ASSERT_THAT(result.status, IsOk());
  const int64_t first_at = [&] {
    for (int64_t i = 7; i < 7 + kNew; ++i) {
      if (golden_.at("plain/ids")[0][i].item<int64_t>() == third) return i;
    }
    return int64_t{-1};
  }();
  EXPECT_TRUE(at::equal(result["ids"], golden_.at("plain/ids").narrow(1, 0, first_at + 1)));
  EXPECT_THAT(result.missing.at("h"),
              HasSubstr(absl::StrCat(first_at - 6, " of 6 selected steps gave one")));
}

/// Also of an invoke that has ended while another went on.
TEST_F(GenerationTest, AfterItModulesAreCalledWithWholePrompts) {
  const int64_t third = golden_.at("plain/ids")[0][7 + 2].item<int64_t>();
  const LocalResult result = model_.Run(
      absl::StrCat("generate max_new_tokens=6 eos_token_ids=[", third, "]\ninvoke ", kSingle, R"( {
        %in = read transformer.h.1.input
        save out = read transformer.h.1.output
        %after = steps [:] carry %x = %in { yield %x }
        save again = call transformer.h.1(%after)
        save norm = call transformer.ln_f(%after)
      }
      invoke [64, 65, 66] { save ids = read result })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["ids"].size(1), 3 + 6);
  ExpectClose(result["again"], result["out"]);
  EXPECT_EQ(result["norm"].sizes(), result["out"].sizes());
}

TEST_F(GenerationTest, ACallBehindTheHeadHasAllTokensOfItsPrompt) {
  const LocalResult result =
      model_.Run(absl::StrCat("generate max_new_tokens=1\ninvoke ", kSingle, R"( {
        %in = read transformer.h.1.input
        save out = read transformer.h.1.output
        %zero = aten::mul(aten::mean(read lm_head.output), 0.0)
        save again = call transformer.h.1(aten::add(%in, %zero))
      })"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["again"], result["out"]);
}

TEST_F(GenerationTest, ACallOfAStepsTokenSeesThatTokenAlonePadsOrNot) {
  const std::string calls =
      "generate max_new_tokens=3\n"
      "invoke $ { steps [1:3] { save y = call transformer.h.1(read transformer.h.1.input) } }";
  const auto run = [&](const std::string& prompts) {
    std::string text = calls;
    return model_.Run(text.replace(text.find('$'), 1, prompts));
  };
  const LocalResult both = run("[[64], [1, 2, 3]]");
  ASSERT_THAT(both.status, IsOk());
  const LocalResult one = run("[64]"), three = run("[1, 2, 3]");
  for (const std::string step : {"y/1", "y/2"}) {
    ExpectClose(both[step].narrow(0, 0, 1), one[step]);
    ExpectClose(both[step].narrow(0, 1, 1), three[step]);
  }
}

TEST_F(GenerationTest, StatementsOfSeveralRegionsMeetInTheirOrderAtASite) {
  const LocalResult result =
      model_.Run(absl::StrCat("generate max_new_tokens=3\ninvoke ", kSingle, R"( {
        steps [:] {
          %h = read transformer.h.1.output
          %y = call watched transformer.h.0.mlp(%h)
          save y = %y
          write transformer.h.1.output = %y
        }
        steps [:] { save r = read transformer.h.1.output }
      })"));
  ASSERT_THAT(result.status, IsOk());
  for (const std::string step : {"/0", "/1", "/2"}) {
    EXPECT_TRUE(at::equal(result["r" + step], result["y" + step])) << step;
  }
}

TEST_F(GenerationTest, AConditionalStopComesAfterWhatIsWrittenBeforeIt) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    steps [:] { save h = read transformer.h.0.output }
    save all = read result
    if aten::gt(aten::max(read lm_head.output), -1000000000.0) { stop }
    save late = read result)"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["all"], golden_.at("plain/ids")));
  EXPECT_TRUE(result.saved.contains("h/3"));
  EXPECT_THAT(result.missing.at("late"), HasSubstr("stopped"));
}

TEST_F(GenerationTest, ARunThatBeginsItsNextTraceLeavesTheTokensOfOthersAlone) {
  // So many that the segments before them are given back to the system.
  std::string invokes;
  for (int i = 0; i < 3000; ++i) absl::StrAppend(&invokes, "invoke [1] { }\n");
  const std::string session =
      absl::StrCat("trace invoke [64, 65] { save l = read lm_head.output }\ntrace\n", invokes);
  const std::string generation = Generate(kSingle, "");
  for (const bool first : {true, false}) {
    std::vector<std::string> programs = {session, generation, session};
    if (!first) programs = {generation, session};
    const std::vector<LocalResult> results = model_.RunTogether(programs);
    for (size_t i = 0; i < programs.size(); ++i) {
      ASSERT_THAT(results[i].status, IsOk());
      if (programs[i] != generation) continue;
      EXPECT_TRUE(at::equal(results[i]["ids"], golden_.at("plain/ids")));
    }
  }
}

TEST_F(GenerationTest, NaNLogitsEndTheRunThatMadeThemAlone) {
  const std::string broken = Generate(kSingle, R"(
    steps [1] {
      %h = read transformer.h.1.output
      aten::mul_(%h, tensor(float32, [], [0x7fc00000]))
    })");
  const std::string fine = Generate(kSingle, "");
  const std::vector<LocalResult> results = model_.RunTogether({broken, fine});
  EXPECT_THAT(results[0].status,
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the logits are NaN")));
  ASSERT_THAT(results[1].status, IsOk());
  EXPECT_TRUE(at::equal(results[1]["ids"], golden_.at("plain/ids")));
}

TEST_F(GenerationTest, AStopInsideABranchEndsItAndWhatFollowsIsReported) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    steps [:] carry %n = tensor(int64, [], [0]) {
      save h = read transformer.h.0.output
      if aten::ge(%n, 2) { stop }
      save late = read transformer.h.2.output
      yield aten::add(%n, 1)
    })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result.saved.contains("h/2"));
  EXPECT_FALSE(result.saved.contains("h/3"));
  EXPECT_TRUE(result.saved.contains("late/1"));
  EXPECT_FALSE(result.saved.contains("late/2"));
  EXPECT_THAT(result.missing.at("late"), HasSubstr("2 of 3 selected steps that came gave one"));
  EXPECT_FALSE(result.saved.contains("ids"));
  EXPECT_THAT(result.missing.at("ids"), HasSubstr("stopped"));
}

TEST_F(GenerationTest, AStopInOneRegionComesAfterWhatIsWrittenBeforeItInAnother) {
  const LocalResult result =
      model_.Run(absl::StrCat("generate max_new_tokens=5\ninvoke ", kSingle, R"( {
        steps [0:3] {
          save h = read transformer.h.1.output
          save l = read logits
          save t = read samples
        }
        steps [:] { save every = read samples }
        steps [2] { stop }
      })"));
  ASSERT_THAT(result.status, IsOk());
  for (const char* name : {"h/2", "l/2", "t/2", "every/2"}) {
    EXPECT_TRUE(result.saved.contains(name)) << name;
  }
  EXPECT_FALSE(result.saved.contains("every/3"));
  EXPECT_TRUE(result.missing.empty());
}

TEST_F(GenerationTest, AListThatLacksItemsSaysSo) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    %none = tensor(int64, [], [0])
    steps [:] carry %n = %none {
      if aten::lt(%n, 2) { save early = read transformer.h.1.output }
      if aten::lt(%n, 9) { save always = read transformer.h.1.output }
      yield aten::add(%n, 1)
    }
    steps [10:12] { cache [lm_head] as never })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result.saved.contains("early/1"));
  EXPECT_EQ(result.missing.size(), 2U);
  EXPECT_THAT(result.missing.at("early"), HasSubstr("2 of 6 selected steps that came gave one"));
  EXPECT_THAT(result.missing.at("never"), HasSubstr("0 of 2 selected steps gave one"));
}

TEST_F(GenerationTest, InvokesAndPointsThatSelectTheSameStepsAreManyAsOthers) {
  const auto run = [this](const std::string& values) {
    return model_.Run(absl::StrCat(
        "generate max_new_tokens=3\nsweep %s in ", values, " { invoke [64, 65, 66] { steps [1:] {",
        " %v = aten::mul(aten::ones([1]), %s)", " write transformer.h.1.output[:, :, 0] = %v",
        " save h = read transformer.h.2.output }",
        " cache [lm_head] as c  save ids = read result } }"));
  };
  const LocalResult all = run("[0:70]"), last = run("[69:70]");
  ASSERT_THAT(all.status, IsOk());
  ASSERT_THAT(last.status, IsOk());
  ExpectClose(all["h/69/2"], last["h/0/2"], 1e-5);
  EXPECT_TRUE(at::equal(all["ids/69"], last["ids/0"]));
  // Of invokes that are written each by itself, too; `invoke { }` sees what was written before it.
  std::string invokes;
  for (int i = 0; i < 70; ++i) {
    absl::StrAppend(
        &invokes, "invoke [64, 65, 66] { steps [1:] { save h", i,
        " = read transformer.h.1.output } steps [2] {",
        " write transformer.h.1.output = aten::mul(read transformer.h.1.output, 0.0) } ",
        "steps [1:] { save z", i, " = read transformer.h.1.output } }\n");
  }
  const LocalResult many = model_.Run(
      absl::StrCat("generate max_new_tokens=3\n", invokes,
                   "invoke { steps [1:] { save zeros = read transformer.h.1.output } }"));
  ASSERT_THAT(many.status, IsOk());
  EXPECT_GT(many["h69/2"].abs().max().item<float>(), 0.0F);
  EXPECT_GT(many["z69/1"].abs().max().item<float>(), 0.0F);
  EXPECT_EQ(many["z69/2"].abs().max().item<float>(), 0.0F);
  EXPECT_EQ(many["zeros/2"].abs().max().item<float>(), 0.0F);
}

TEST_F(GenerationTest, StepsRefuseWhatIsThereOnlyAfterThem) {
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("after the last"));
  const std::string result = R"(
    %n = steps [:] carry %c = tensor(int64, [], [0]) { yield aten::add(%c, 1) }
  )";
  for (const char* region : {"steps [:] { save n = %n }", "steps [1:] { log %n }",
                             "steps [:] { %m = aten::add(%n, 1)  save m = %m }",
                             "steps [:] { if aten::ge(%n, 1) { stop } }",
                             "%k = steps [:] carry %d = tensor(int64, [], [0]) "
                             "{ yield aten::add(%n, %d) }  save k = %k"}) {
    EXPECT_THAT(model_.Run(Generate(kSingle, absl::StrCat(result, region))).status, refused)
        << region;
  }
}

TEST_F(GenerationTest, BackwardIsRefused) {
  EXPECT_THAT(model_
                  .Run(Generate(kSingle, R"(
    %h = read transformer.h.1.output
    backward aten::sum(%h) { save g = grad %h })"))
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("generation")));
}

}  // namespace
}  // namespace weft
