// The next token of each row: its logits and what is chosen from them as sites, and generations
// that draw it.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

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
using testing::LocalOptions;
using testing::LocalResult;
using testing::StatusIs;

constexpr int kNew = 6;
constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";
constexpr char kSampled[] = "do_sample=true temperature=1.5";

std::string Generate(const std::string& prompts, const std::string& body,
                     const std::string& options = "") {
  return absl::StrCat("generate max_new_tokens=", kNew, " eos_token_ids=[96] ", options,
                      "\ninvoke ", prompts, " {\n", body, "\n  save ids = read result\n}\n");
}

class NextTokenTest : public ::testing::Test {
 protected:
  LocalModel& model_ = LocalModel::Tiny();
  const std::map<std::string, at::Tensor> golden_ =
      LoadGolden(WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/generation.safetensors");
};

TEST_F(NextTokenTest, LogitsAndSamplesOfEachStepAreWhatItWasChosenFromAndWhatWas) {
  const std::pair<const char*, const char*> cases[] = {{kSingle, "plain"}, {kBatch, "batch"}};
  for (const auto& [prompts, name] : cases) {
    const LocalResult result = model_.Run(Generate(prompts, R"(
      steps [:] {
        save logits = read logits
        save samples = read samples
      })"));
    ASSERT_THAT(result.status, IsOk());
    const at::Tensor ids = golden_.at(absl::StrCat(name, "/ids"));
    for (int step = 0; step < kNew; ++step) {
      ExpectClose(result[absl::StrCat("logits/", step)],
                  golden_.at(absl::StrCat(name, "/logits/", step)).select(1, -1), 2e-5, name);
      // A row that has ended shows pads: 0 here, 96 there.
      const at::Tensor expected = ids.select(1, ids.size(1) - kNew + step);
      EXPECT_TRUE(at::equal(result[absl::StrCat("samples/", step)].masked_fill(expected == 96, 96),
                            expected))
          << name << " " << step;
    }
  }
}

TEST_F(NextTokenTest, APlainTraceHasThemOfWhatComesNext) {
  LocalModel pads_right("tests/parity/gpt2-tiny", /*pad_left=*/false);
  for (LocalModel* model : {&model_, &pads_right}) {
    const LocalResult result = model->Run(absl::StrCat("invoke ", kBatch, R"( {
      save logits = read logits
      save samples = read samples
      save all = read result
      save mask = read mask
    })"));
    ASSERT_THAT(result.status, IsOk());
    for (int64_t row = 0; row < 3; ++row) {
      const at::Tensor real = result["all"][row].index({result["mask"][row].to(at::kBool)});
      ExpectClose(result["logits"][row], real[real.size(0) - 1], 1e-6);
      EXPECT_TRUE(at::equal(result["samples"][row], real[real.size(0) - 1].argmax()));
    }
  }
}

TEST_F(NextTokenTest, AnEditOfTheLogitsSteersAndWhatTheModelReturnedStays) {
  const LocalResult result = model_.Run(Generate(kSingle, R"(
    steps [1] {
      %l = read logits
      %l[:, 42] = 1000.0
      save samples = read samples
      save p = read lm_head.output
    })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["samples/1"].item<int64_t>(), 42);
  EXPECT_EQ(result["ids"][0][7 + 1].item<int64_t>(), 42);
  EXPECT_TRUE(at::equal(result["ids"].narrow(1, 0, 8), golden_.at("plain/ids").narrow(1, 0, 8)));
  ExpectClose(result["p/1"], golden_.at("plain/logits/1"), 2e-5);
}

TEST_F(NextTokenTest, AWriteOfSamplesForcesTokensAndTheModelGoesOnWithThem) {
  const LocalResult forced = model_.Run(Generate(kSingle, R"(
    write samples = tensor(int64, [1], [5])
    steps [1] {
      save logits = read logits
      %s = read samples
      %s[0] = 7
    })"));
  ASSERT_THAT(forced.status, IsOk());
  EXPECT_EQ(forced["ids"][0][7].item<int64_t>(), 5);
  EXPECT_EQ(forced["ids"][0][8].item<int64_t>(), 7);
  const LocalResult plain =
      model_.Run("invoke [39, 72, 94, 86, 68, 69, 83, 5] { save logits = read logits }");
  ExpectClose(forced["logits/1"], plain["logits"]);
}

TEST_F(NextTokenTest, ATokenThatDoesNotExistCannotBeForced) {
  for (const char* token : {"97", "-1"}) {
    EXPECT_THAT(model_
                    .Run(Generate(
                        kSingle, absl::StrCat("write samples = tensor(int64, [1], [", token, "])")))
                    .status,
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("takes 0 to 96")));
  }
}

TEST_F(NextTokenTest, AForcedEndOfTextTokenEndsTheRow) {
  const LocalResult result = model_.Run(Generate(kBatch, R"(
    steps [2] {
      %s = read samples
      %s[1] = 96
    }
    steps [:] { save samples = read samples })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["samples/3"][1].item<int64_t>(), 0);  // a pad
  EXPECT_EQ(result["ids"][1][8 + 2].item<int64_t>(), 96);
  EXPECT_EQ(result["ids"][1][8 + 3].item<int64_t>(), 0);
}

TEST_F(NextTokenTest, LogitsComeBeforeSamplesAndAfterTheModel) {
  EXPECT_THAT(
      model_
          .Run(Generate(kSingle, R"(
    %s = read samples
    write logits = aten::mul(read logits, aten::sum(%s)))"))
          .status,
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("logits is visited before samples")));
  EXPECT_THAT(model_
                  .Run(Generate(kSingle, R"(
    %l = read logits
    write transformer.h.0.output = aten::mul(read transformer.h.0.output, aten::sum(%l)))"))
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("transformer.h.0.output is visited before logits")));
  // A later site can depend on an earlier one.
  EXPECT_THAT(model_
                  .Run(Generate(kSingle, R"(
    %h = read transformer.h.0.output
    steps [:] { %l = read logits  aten::add_(%l, 1.0) }
    write logits = aten::add(read logits, aten::mul(aten::sum(%h), 0.0)))"))
                  .status,
              IsOk());
}

TEST_F(NextTokenTest, AllRowsCanBeReadAndWrittenAtOnce) {
  const LocalResult result = model_.Run(
      absl::StrCat("generate max_new_tokens=4 eos_token_ids=[96]\ninvoke ", kSingle,
                   " { save a = read result  steps [:] { save own = read logits } }\n",
                   "invoke [[64, 65, 66], [1, 2, 3]] { save b = read result }\n", R"(invoke {
        steps [:] {
          save logits = read logits
          %l = read logits
          %l[1:, 42] = 1000.0
          save samples = read samples
        }
      })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["logits/0"].sizes(), at::IntArrayRef({3, 97}));
  ExpectClose(result["logits/3"][0], result["own/3"][0]);
  for (int64_t step = 0; step < 4; ++step) {
    EXPECT_EQ(result["b"][0][3 + step].item<int64_t>(), 42);
    EXPECT_EQ(result["samples/1"][2].item<int64_t>(), 42);
  }
  EXPECT_TRUE(at::equal(result["a"], golden_.at("plain/ids").narrow(1, 0, 7 + 4)));
}

TEST_F(NextTokenTest, ASampledTokenCanStopTheRun) {
  const at::Tensor ids = golden_.at("plain/ids")[0].narrow(0, 7, kNew);
  const auto wanted = ids[2].item<int64_t>();
  const auto first = ids.eq(wanted).nonzero()[0].item<int64_t>();
  const std::string body = absl::StrCat(
      "steps [:] { %s = read samples  save samples = %s  if aten::eq(%s, ", wanted, ") { stop } }");
  const LocalResult result = model_.Run(Generate(kSingle, body));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result.saved.contains(absl::StrCat("samples/", first)));
  EXPECT_FALSE(result.saved.contains(absl::StrCat("samples/", first + 1)));
}

TEST_F(NextTokenTest, AnOnlyReadOfThemRunsNoMoreStepsThanItNeeds) {
  const uint64_t passes = model_.hosted().passes();
  const LocalResult result =
      model_.Run(absl::StrCat("generate max_new_tokens=20 eos_token_ids=[96]\ninvoke ", kSingle,
                              " { steps [1] { save s = read samples } }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(model_.hosted().passes(), passes + 2);
  EXPECT_EQ(result["s/1"].item<int64_t>(), golden_.at("plain/ids")[0][8].item<int64_t>());
}

TEST_F(NextTokenTest, ATraceThatGoesBackwardsRefusesThem) {
  EXPECT_THAT(model_
                  .Run("invoke [1, 2] { %h = read lm_head.output  %l = read logits "
                       "backward aten::sum(%h) { save g = grad %h } }")
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no gradient")));
}

TEST_F(NextTokenTest, NaNThatIsWrittenThereEndsThatRunAlone) {
  const std::vector<LocalResult> results = model_.RunTogether(
      {Generate(kSingle,
                "steps [1] { %l = read logits  aten::mul_(%l, tensor(float32, [], "
                "[0x7fc00000])) }",
                kSampled),
       Generate(kSingle, "")});
  EXPECT_THAT(results[0].status,
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the logits are NaN")));
  ASSERT_THAT(results[1].status, IsOk());
  EXPECT_TRUE(at::equal(results[1]["ids"], golden_.at("plain/ids")));
}

TEST_F(NextTokenTest, OperatorsThereThatTakeTooLongInCompanyAreRunAloneInstead) {
  const std::string slow = Generate(kSingle, "steps [1] { %l = read logits  aten::mul_(%l, 2.0) }");
  LocalOptions options;
  options.run.shared_operator_seconds = 1e-12;
  const std::vector<LocalResult> together =
      model_.RunTogether({slow, Generate(kSingle, "")}, options);
  EXPECT_TRUE(together[0].evicted);
  EXPECT_THAT(together[0].status, IsOk());
  EXPECT_FALSE(together[1].evicted);
  EXPECT_TRUE(at::equal(together[1]["ids"], golden_.at("plain/ids")));
}

class DrawnTokensTest : public NextTokenTest {
 protected:
  /// The new tokens of one row.
  at::Tensor New(const at::Tensor& ids, int64_t row) {
    return ids[row].narrow(0, ids.size(1) - kNew, kNew);
  }
};

TEST_F(DrawnTokensTest, ARowsTokensAreTheSameAloneInABatchAndInCompany) {
  const std::vector<std::string> rows = {"[47, 64, 81, 72, 82, 94, 72, 82]", "[64, 65, 66]",
                                         "[87, 28, 19, 17, 26]"};
  for (const uint64_t seed : {0, 7, 123}) {
    const LocalOptions options = {.seed = seed};
    const at::Tensor batch = model_.Run(Generate(kBatch, "", kSampled), options)["ids"];
    const std::vector<LocalResult> together = model_.RunTogether(
        {Generate(rows[1], "", kSampled), Generate(kBatch, "", kSampled), Generate(kSingle, "")},
        options);
    EXPECT_TRUE(at::equal(together[1]["ids"], batch));
    EXPECT_TRUE(at::equal(New(together[0]["ids"], 0), New(batch, 1)));
    const LocalResult beside = model_.Run(absl::StrCat(Generate(kSingle, "", kSampled), "invoke ",
                                                       rows[2], " { save other = read result }"),
                                          options);
    EXPECT_TRUE(at::equal(New(beside["other"], 0), New(batch, 2)));
    for (int64_t row = 0; row < 3; ++row) {
      const at::Tensor alone = model_.Run(Generate(rows[row], "", kSampled), options)["ids"];
      EXPECT_TRUE(at::equal(New(alone, 0), New(batch, row))) << seed << " " << row;
    }
  }
}

TEST_F(DrawnTokensTest, AnotherSeedDrawsOthersAndTheSameTheSame) {
  const std::string text = Generate(kSingle, "", kSampled);
  const at::Tensor first = model_.Run(text, {.seed = 1})["ids"];
  EXPECT_TRUE(at::equal(first, model_.Run(text, {.seed = 1})["ids"]));
  EXPECT_FALSE(at::equal(first, model_.Run(text, {.seed = 2})["ids"]));
}

TEST_F(DrawnTokensTest, SequencesOfAPromptDifferAndTheFirstIsThatOfOne) {
  const std::string options = absl::StrCat(kSampled, " num_return_sequences=3");
  const std::string prompts = "[[64, 65, 66], [1, 2, 3, 4]]";
  const LocalResult several = model_.Run(Generate(prompts, "save rows = read ids", options));
  const at::Tensor ids = several["ids"], one = model_.Run(Generate(prompts, "", kSampled))["ids"];
  ASSERT_EQ(ids.sizes(), at::IntArrayRef({6, 4 + kNew}));
  EXPECT_EQ(several["rows"].sizes(), at::IntArrayRef({6, 4}));
  for (int64_t row = 0; row < 6; ++row) {
    EXPECT_TRUE(at::equal(ids[row].narrow(0, 0, 4), one[row / 3].narrow(0, 0, 4)));
    EXPECT_EQ(at::equal(New(ids, row), New(one, row / 3)), row % 3 == 0) << row;
  }
  EXPECT_FALSE(at::equal(New(ids, 1), New(ids, 2)));
}

TEST_F(DrawnTokensTest, PointsOfASweepDrawWithTheSameNumbers) {
  const LocalResult result = model_.Run(absl::StrCat(
      "generate max_new_tokens=", kNew, " eos_token_ids=[96] ", kSampled,
      "\nsweep %f in [1.0, 1.0, 9.0] { invoke ", kSingle,
      " { steps [:] { %l = read logits  aten::mul_(%l, %f) }  save ids = read result } }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["ids/0"], result["ids/1"]));
  EXPECT_FALSE(at::equal(result["ids/0"], result["ids/2"]));
  EXPECT_TRUE(at::equal(result["ids/0"], model_.Run(Generate(kSingle, "", kSampled))["ids"]));
}

TEST_F(DrawnTokensTest, AStopStringOfSeveralTokensEndsItsRow) {
  const at::Tensor ids = golden_.at("plain/ids")[0];
  const std::string stop =
      absl::StrCat("][", ids[8].item<int64_t>(), "][", ids[9].item<int64_t>(), "]");
  const auto length = [&](const std::string& options) {
    const LocalResult result = model_.Run(Generate(kSingle, "", options));
    EXPECT_THAT(result.status, IsOk());
    return result["ids"].size(1) - 7;
  };
  EXPECT_EQ(length(absl::StrCat("stop_strings=[\"", stop, "\"]")), 3);
  EXPECT_EQ(length(absl::StrCat("stop_strings=[\"no\", \"", stop, "\"] ")), 3);
  // As in transformers min_new_tokens is for tokens alone.
  EXPECT_EQ(length(absl::StrCat("stop_strings=[\"", stop, "\"] min_new_tokens=5")), 3);
}

TEST_F(NextTokenTest, LogitsThatAreAllMinusInfinityEndTheRun) {
  for (const char* options : {"", "min_new_tokens=3", kSampled}) {
    EXPECT_THAT(
        model_.Run(Generate(kSingle, "steps [1] { %l = read logits  %l[:] = -inf }", options))
            .status,
        StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("all logits are minus infinity")))
        << options;
  }
}

TEST_F(NextTokenTest, StatementsOfAnInvokeThatHasEndedAreNotRunAndOthersGoOn) {
  const std::string ends = R"(
      steps [1] { %s = read samples  %s[0] = 96 }
      %zero = tensor(float32, [], [0.0])
      %all = steps [:] carry %sum = %zero {
        %l = read logits
        save own = aten::argmax(%l[:, 1:], -1)
        save h = read transformer.h.1.output
        save ids_in = read ids
        log aten::matmul(%l, aten::transpose(%l, 0, 1))
        if aten::gt(aten::max(%l), -1000000.0) { save largest = aten::max(%l) }
        yield aten::add(%sum, aten::max(%l))
      }
      save all = %all
      steps [0:5] { save bounded = read samples })";
  const std::string goes_on = "save b = read result  steps [:] { save l = read logits }";
  const LocalResult both =
      model_.Run(absl::StrCat("generate max_new_tokens=6 eos_token_ids=[96]\ninvoke ", kSingle,
                              " { ", ends, " }\ninvoke [64, 65, 66] { ", goes_on, " }"));
  ASSERT_THAT(both.status, IsOk());
  const LocalResult alone = model_.Run(absl::StrCat(
      "generate max_new_tokens=6 eos_token_ids=[96]\ninvoke ", kSingle, " { ", ends, " }"));
  ASSERT_THAT(alone.status, IsOk());
  for (const char* name : {"own", "h", "ids_in", "largest", "bounded"}) {
    ExpectClose(both[absl::StrCat(name, "/1")].to(at::kDouble),
                alone[absl::StrCat(name, "/1")].to(at::kDouble), 1e-5, name);
    EXPECT_FALSE(both.saved.contains(absl::StrCat(name, "/2"))) << name;
  }
  ExpectClose(both["all"], alone["all"]);
  EXPECT_EQ(both.logs.size(), alone.logs.size());
  EXPECT_THAT(both.missing.at("bounded"), HasSubstr("2 of 5 selected steps gave one"));
  EXPECT_TRUE(both.saved.contains("l/5"));
}

TEST_F(NextTokenTest, WhatNeedsAValueOfAnInvokeThatHasEndedIsNotRun) {
  const LocalResult result = model_.Run(
      absl::StrCat("generate max_new_tokens=4 eos_token_ids=[96]\ninvoke ", kSingle, R"( {
        steps [0] { %s = read samples  %s[0] = 96 }
      }
      invoke [64, 65, 66] { save ids = read result  steps [:] { save l = read logits } })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["ids"].size(1), 3 + 4);
  EXPECT_TRUE(result.saved.contains("l/3"));
}

/// Also statements that look at no rows: what a carry holds, what was there before, logs, stops.
TEST_F(NextTokenTest, NothingOfAnInvokeThatHasEndedIsRun) {
  const std::string ends = R"(
      steps [1] { %s = read samples  %s[0] = 96 }
      %none = tensor(int64, [], [0])
      %first = aten::amax(read logits, 1)
      %n = steps [:] carry %count = %none {
        save seen = %first
        log %first
        yield aten::add(%count, 1)
      }
      save n = %n
      steps [3] { stop })";
  const std::string goes_on = "save b = read result  steps [:] { save l = read logits }";
  const std::string generate = "generate max_new_tokens=6 eos_token_ids=[96]\n";
  const LocalResult alone = model_.Run(absl::StrCat(generate, "invoke ", kSingle, " {", ends, "}"));
  const LocalResult both = model_.Run(absl::StrCat(generate, "invoke [64, 65, 66] { ", goes_on,
                                                   " }\ninvoke ", kSingle, " {", ends, "}"));
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(both.status, IsOk());
  EXPECT_EQ(alone["n"].item<int64_t>(), 2);
  EXPECT_EQ(both["n"].item<int64_t>(), 2);
  EXPECT_EQ(both.logs.size(), alone.logs.size());
  EXPECT_TRUE(both.saved.contains("seen/1"));
  EXPECT_FALSE(both.saved.contains("seen/2"));
  EXPECT_EQ(both["b"].size(1), 3 + 6);
  EXPECT_TRUE(both.saved.contains("l/5"));
  // The same for a point of a sweep.
  const LocalResult swept = model_.Run(absl::StrCat(generate, R"(
      sweep %s in [0, 2] { invoke )",
                                                    kSingle, R"( {
        %none = tensor(int64, [], [0])
        %high = tensor(float32, [1], [1000000.0])
        %n = steps [:] carry %count = %none {
          if aten::ge(%count, %s) { write logits[:, 96] = %high }
          yield aten::add(%count, 1)
        }
        save n = %n
        save ids = read result
      } })"));
  ASSERT_THAT(swept.status, IsOk());
  EXPECT_EQ(swept["n/0"].item<int64_t>(), 1);
  EXPECT_EQ(swept["n/1"].item<int64_t>(), 3);
}

TEST_F(NextTokenTest, RowsThatHaveEndedKeepTheirPlacesAmongAll) {
  const auto run = [this](const std::string& ends) {
    return model_.Run(absl::StrCat("generate max_new_tokens=4 eos_token_ids=[96]\ninvoke ", kSingle,
                                   " {", ends, R"(}
      invoke [64, 65, 66] {
        save ids = read result
        steps [1:] { %o = read transformer.h.1.output  save o = %o[0, 0, 0:2] }
      }
      invoke {
        %w = aten::cat([aten::zeros([1, 1, 32]), aten::ones([1, 1, 32])])
        %ten = tensor(float32, [2, 1], [10.0, 10.0])
        %none = tensor(int64, [2], [0, 0])
        steps [1:] {
          save before = read transformer.h.0.output
          write transformer.h.0.output[1] = aten::mul(%w[0], 2.0)
          save after = read transformer.h.0.output
          skip transformer.h.1 = %w
          %l = read logits
          write logits[:, 5] = %ten[:, 0]
          save logits = %l
          save samples = read samples
          save rows = read rows
          save mask = read mask
        }
        %sum = steps [1:] carry %acc = %none { yield aten::add(%acc, read samples) }
        save sum = %sum
      })"));
  };
  const LocalResult one = run("steps [0] { %s = read samples  %s[0] = 96 }"), both = run("");
  ASSERT_THAT(one.status, IsOk());
  ASSERT_THAT(both.status, IsOk());
  for (const char* step : {"/1", "/2", "/3"}) {
    const auto at = [step](const std::string& name) { return name + step; };
    EXPECT_TRUE(at::equal(one[at("o")], at::ones({2})));
    EXPECT_TRUE(at::equal(both[at("o")], at::ones({2})));
    for (const char* name : {"before", "after", "logits", "samples"}) {
      const at::Tensor &rows = one[at(name)], &all = both[at(name)];
      ASSERT_EQ(rows.sizes(), all.sizes()) << name;
      EXPECT_EQ(rows[0].count_nonzero().item<int64_t>(), 0) << name;
      ExpectClose(rows[1].to(at::kDouble), all[1].to(at::kDouble), 1e-5, at(name));
    }
    EXPECT_EQ(one[at("after")].count_nonzero().item<int64_t>(), 0);
    EXPECT_TRUE(at::equal(one[at("rows")], both[at("rows")]));
    EXPECT_TRUE(at::equal(one[at("mask")], at::tensor({0, 1}, at::kLong).view({2, 1})));
  }
  EXPECT_EQ(one["sum"].sizes(), at::IntArrayRef({2}));
  EXPECT_EQ(one["sum"][0].item<int64_t>(), 0);
  EXPECT_TRUE(at::equal(one["sum"][1], both["sum"][1]));
  EXPECT_TRUE(at::equal(one["ids"], both["ids"]));
}

TEST_F(NextTokenTest, TheNextTraceHasItsInputWhoeverEndedBefore) {
  const LocalResult result = model_.Run(
      absl::StrCat("generate max_new_tokens=3 eos_token_ids=[96]\n", "invoke ", kSingle, R"( {
        steps [0] { %s = read samples  %s[0] = 96 }
        save a = read result
      }
      invoke [64, 65, 66] { %b = read result  save b = %b }
      trace
      invoke (%b) { save ids = read ids  save h = read transformer.h.0.output })"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["a"].size(1), 7 + 1);
  EXPECT_EQ(result["b"].size(1), 3 + 3);
  EXPECT_TRUE(at::equal(result["ids"], result["b"]));
  EXPECT_EQ(result["h"].size(1), 3 + 3);
}

}  // namespace
}  // namespace weft
