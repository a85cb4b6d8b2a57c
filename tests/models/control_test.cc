// Branches, sweeps, sessions and caches: what runs, when, and in how many passes.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
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

class ControlTest : public ::testing::Test {
 protected:
  uint64_t passes() const { return model_.hosted().passes(); }
  LocalModel& model_ = LocalModel::Tiny();
};

// --- if -----------------------------------------------------------------------------------------

constexpr char kBranches[] = R"(invoke [64, 65, 66] {
    %h = read transformer.h.0.output
    %c = aten::THAN(aten::sum(aten::square(%h)), 0.0)
    %r = if %c {
      write transformer.h.1.output = aten::mul(%h, 2.0)
      save x = aten::neg(%h)
      yield aten::add(%h, 1.0)
    } else {
      write transformer.h.2.output[:, -1] = 0.0
      save x = %h
      yield %h
    }
    save r = %r
    save p = read result
  })";

TEST_F(ControlTest, OnlyTheBranchThatIsTakenRuns) {
  const LocalResult yes = model_.Run(absl::StrReplaceAll(kBranches, {{"THAN", "gt"}}));
  const LocalResult no = model_.Run(absl::StrReplaceAll(kBranches, {{"THAN", "lt"}}));
  const LocalResult written = model_.Run(R"(invoke [64, 65, 66] {
    %h = read transformer.h.0.output
    save h = %h
    write transformer.h.1.output = aten::mul(%h, 2.0)
    save p = read result })");
  const LocalResult cut = model_.Run(R"(invoke [64, 65, 66] {
    write transformer.h.2.output[:, -1] = 0.0
    save p = read result })");
  ASSERT_THAT(yes.status, IsOk());
  ASSERT_THAT(no.status, IsOk());
  ExpectClose(yes["x"], -written["h"]);
  ExpectClose(yes["r"], written["h"] + 1);
  ExpectClose(yes["p"], written["p"]);
  ExpectClose(no["x"], written["h"]);
  ExpectClose(no["r"], written["h"]);
  ExpectClose(no["p"], cut["p"]);
}

TEST_F(ControlTest, AWriteInABranchThatIsDecidedTooLateIsRefused) {
  EXPECT_THAT(model_
                  .Run(R"(invoke [64, 65, 66] {
      %c = aten::any(aten::gt(read transformer.h.1.output, 0.0))
      if %c { write transformer.h.0.output[:, -1] = 0.0 }
    })")
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("transformer.h.0.output is visited before "
                                 "transformer.h.1.output")));
}

TEST_F(ControlTest, AReadInABranchThatIsDecidedLaterIsMade) {
  const LocalResult result = model_.Run(R"(invoke [64, 65, 66] {
    %c = aten::gt(aten::sum(aten::square(read transformer.h.1.output)), 0.0)
    if %c { save early = aten::mul(read transformer.h.0.output, 1.0) }
    save h = read transformer.h.0.output
  })");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["early"], result["h"]);
}

TEST_F(ControlTest, ABranchThatIsNotTakenIsReported) {
  const LocalResult result = model_.Run(R"(invoke [64, 65, 66] {
    if aten::lt(aten::sum(aten::square(read transformer.h.0.output)), 0.0) {
      save x = read transformer.h.1.output
    }
  })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_FALSE(result.saved.contains("x"));
  EXPECT_THAT(result.missing.at("x"), HasSubstr("its branch was not taken"));
}

TEST_F(ControlTest, BranchesNestAndBothMustHold) {
  const LocalResult result = model_.Run(R"(invoke [64, 65, 66] {
    %s = aten::sum(aten::square(read transformer.h.0.output))
    if aten::gt(%s, 0.0) {
      if aten::lt(%s, 0.0) { save never = %s } else { save inner = %s }
    } else {
      if aten::gt(%s, 0.0) { save wrong = %s }
    }
  })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result.saved.contains("inner"));
  EXPECT_FALSE(result.saved.contains("never"));
  EXPECT_FALSE(result.saved.contains("wrong"));
}

TEST_F(ControlTest, BranchesThatYieldDifferentShapesAreRefused) {
  EXPECT_THAT(model_
                  .Run(R"(invoke [64, 65, 66] {
      %h = read transformer.h.0.output
      %r = if aten::any(aten::gt(%h, 0.0)) { yield %h } else { yield aten::clone(%h[:, -1]) }
      save r = %r
    })")
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("one branch yields")));
}

TEST_F(ControlTest, ARegionChangesNothingInPlaceFromOutside) {
  EXPECT_THAT(model_
                  .Run(R"(invoke [64, 65, 66] {
      %h = read transformer.h.0.output
      if aten::any(aten::gt(%h, 0.0)) { aten::mul_(%h, 2.0) }
    })")
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("outside of this branch")));
}

// --- sweeps -------------------------------------------------------------------------------------

TEST_F(ControlTest, ASweepIsItsPointsOneByOneInOnePass) {
  const uint64_t before = passes();
  const LocalResult sweep = model_.Run(R"(
    invoke [87, 28, 19] { %clean = read transformer.h.0.output }
    sweep %l in [0, 1, 2], %t in [2, 0, 1], %f in [0.5, 1.0, 2.0] {
      invoke [64, 65, 66] {
        write transformer.h.$l.output[:, %t] = aten::mul(%clean[:, %t], %f)
        save p = read result
      }
    })");
  EXPECT_EQ(passes(), before + 1);
  ASSERT_THAT(sweep.status, IsOk());
  const int tokens[] = {2, 0, 1};
  const char* factors[] = {"0.5", "1.0", "2.0"};
  for (int point = 0; point < 3; ++point) {
    const LocalResult one =
        model_.Run(absl::StrCat("invoke [87, 28, 19] { %clean = read transformer.h.0.output }\n",
                                "invoke [64, 65, 66] { write transformer.h.", point, ".output[:, ",
                                tokens[point], "] = aten::mul(%clean[:, ", tokens[point], "], ",
                                factors[point], ")\n save p = read result }"));
    ASSERT_THAT(one.status, IsOk());
    ExpectClose(sweep[absl::StrCat("p/", point)], one["p"]);
  }
}

TEST_F(ControlTest, PointsNeverSeeEachOthersWrites) {
  const LocalResult sweep = model_.Run(R"(
    sweep %f in [0.0, 1.0] {
      invoke [64, 65, 66] {
        %h = read transformer.h.0.output
        aten::mul_(%h, %f)
        save h = %h
      }
      invoke { save all = read transformer.h.0.output }
    })");
  ASSERT_THAT(sweep.status, IsOk());
  EXPECT_EQ(sweep["h/0"].abs().max().item<float>(), 0.0F);
  EXPECT_GT(sweep["h/1"].abs().max().item<float>(), 0.0F);
  EXPECT_EQ(sweep["all/0"].size(0), 1);
  ExpectClose(sweep["all/1"], sweep["h/1"]);
}

TEST_F(ControlTest, AValueFromBeforeASweepIsNotChangedInIt) {
  EXPECT_THAT(model_
                  .Run(R"(
      invoke [64, 65, 66] { %h = aten::mul(read transformer.h.0.output, 1.0) }
      sweep %f in [0.0, 1.0] { invoke [64, 65] { aten::mul_(%h, %f)  save h = %h } })")
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("outside of this `sweep`")));
}

// --- sessions -----------------------------------------------------------------------------------

TEST_F(ControlTest, ValuesFlowFromTraceToTrace) {
  const uint64_t before = passes();
  const LocalResult session = model_.Run(R"(
    trace "first"
    invoke [87, 28, 19] { %h = read transformer.h.1.output  save h = %h }
    trace "second"
    invoke [64, 65, 66] { write transformer.h.0.output = %h  save p = read result }
    generate "third" max_new_tokens=2 eos_token_ids=[96]
    invoke [64, 65, 66] {
      write transformer.h.0.output = aten::mul(%h, 1.0)
      save ids = read result
    })");
  EXPECT_EQ(passes(), before + 4);
  ASSERT_THAT(session.status, IsOk());
  const LocalResult one = model_.Run(R"(
    invoke [87, 28, 19] { %h = read transformer.h.1.output }
    invoke [64, 65, 66] { write transformer.h.2.output = %h  save p = read result })");
  ASSERT_THAT(one.status, IsOk());
  EXPECT_FALSE(at::allclose(session["p"], one["p"]));
  const at::Tensor next = session["p"].select(1, -1).argmax(-1);
  EXPECT_EQ(session["ids"][0][3].item<int64_t>(), next.item<int64_t>());
}

TEST_F(ControlTest, AnEarlierTraceMayWriteAtALaterSiteThanItReads) {
  // In one trace this would be too late.
  const LocalResult session = model_.Run(R"(
    trace "first"
    invoke [64, 65, 66] { %h = read transformer.h.2.output }
    trace "second"
    invoke [64, 65, 66] { write transformer.h.0.output = %h  save h = read transformer.h.0.output
                          save first = %h })");
  ASSERT_THAT(session.status, IsOk());
  ExpectClose(session["h"], session["first"]);
}

TEST_F(ControlTest, AFailureSaysInWhichTraceAndKeepsWhatCameBefore) {
  const LocalResult session = model_.Run(R"(
    trace "first"
    invoke [64, 65, 66] { save h = read transformer.h.0.output }
    trace "second"
    invoke [64, 65, 66] {
      %ids = aten::add(read ids, aten::mul(aten::argmax(read transformer.h.0.input, -1), 0))
      write transformer.wte.input = aten::add(read ids, 1000)
      save p = read result
    })");
  EXPECT_EQ(session.status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(session.status.message()), HasSubstr("transformer.wte.input"));
  EXPECT_TRUE(session.saved.contains("h"));
}

TEST_F(ControlTest, GradientsTakeValuesOfEarlierTraces) {
  const LocalResult session = model_.Run(R"(
    trace "first"
    invoke [87, 28, 19] { %h = read transformer.h.0.output }
    trace "second"
    invoke [64, 65, 66] {
      %own = read transformer.h.0.output
      %loss = aten::sum(aten::mul(read transformer.h.1.output, %h))
      backward %loss { save g = grad %own }
    })");
  ASSERT_THAT(session.status, IsOk());
  EXPECT_GT(session["g"].abs().max().item<float>(), 0.0F);
}

// --- caches -------------------------------------------------------------------------------------

TEST_F(ControlTest, ACacheHoldsWhatTheModelGoesOnWith) {
  const LocalResult result = model_.Run(R"(invoke [64, 65, 66] {
    cache [transformer.h.0, transformer.h.1.mlp, lm_head] as c inputs
    aten::mul_(read transformer.h.0.output, 2.0)
    save h = read transformer.h.0.output
    save p = read lm_head.output
  })");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["c/transformer.h.0.output"], result["h"]);
  ExpectClose(result["c/lm_head.output"], result["p"]);
  EXPECT_TRUE(result.saved.contains("c/transformer.h.1.mlp.input"));
  EXPECT_FALSE(result.saved.contains("c/transformer.h.2.output"));
}

TEST_F(ControlTest, ACacheOfAGenerationHoldsEveryVisitOfEveryStep) {
  const LocalResult result = model_.Run(R"(generate max_new_tokens=3 eos_token_ids=[96]
    invoke [64, 65, 66] {
      cache [transformer.h.1] as c dtype=float16
      save ids = read result
    })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["c/transformer.h.1.output"].sizes(), at::IntArrayRef({1, 3, 32}));
  EXPECT_EQ(result["c/transformer.h.1@1.output"].sizes(), at::IntArrayRef({1, 1, 32}));
  EXPECT_EQ(result["c/transformer.h.1@2.output"].scalar_type(), at::kHalf);
}

TEST_F(ControlTest, ASaveConvertsOnlyFloats) {
  const LocalResult result = model_.Run(R"(invoke [64, 65, 66] {
    save both = (read transformer.h.0.output, read ids) as float16
  })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["both/0"].scalar_type(), at::kHalf);
  EXPECT_EQ(result["both/1"].scalar_type(), at::kLong);
}

}  // namespace
}  // namespace weft
