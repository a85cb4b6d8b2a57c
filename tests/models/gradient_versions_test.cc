// Whose gradient a gradient is: values that are another value's tensor, versions of a site.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"
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
  return LocalModel::Tiny().Run(absl::StrCat("invoke [[1, 2, 3]] {\n", body, "\n}"));
}

TEST(GradientVersionsTest, AnOperatorThatReturnsItsArgumentHasAGradientOfItsOwn) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %same = aten::to(%h, dtype=float32)
    %a = aten::sum(%h)
    %b = aten::sum(%same)
    %twice = aten::mul(%b, 2.0)
    %loss = aten::add(%a, %twice)
    backward %loss {
      save same = grad %same
      save h = grad %h
    })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["same"], at::full({1, 3, 32}, 2.0f));
  ExpectClose(run["h"], at::full({1, 3, 32}, 3.0f));
}

TEST(GradientVersionsTest, EveryPassOfASweepHasTheGradientsOfTheFirst) {
  const auto program = testing::ParseAndCheck(R"(sweep %s in [1.0, 2.0, 3.0] {
    invoke [1, 2, 3] {
      %h = read transformer.h.0.output
      %l = aten::sum(aten::mul(%h, %s))
    }
    invoke {
      %a = read transformer.h.0.output
      backward aten::add(%l, aten::sum(aten::mul(%a, 3.0))) { save g = grad %a }
    }
  })");
  ASSERT_THAT(program, IsOk());
  LocalModel& model = LocalModel::Tiny();
  for (const int64_t points : {1, 2, 3}) {
    const std::vector<int64_t> per_pass = {points};
    const absl::StatusOr<plan::Plan> plan =
        plan::MakePlan(*program, model.spec(), testing::CountRows(*program), per_pass);
    ASSERT_THAT(plan, IsOk());
    const LocalResult run = model.RunPlanned(*plan, *program);
    ASSERT_THAT(run.status, IsOk());
    for (int point = 0; point < 3; ++point) {
      ExpectClose(run[absl::StrCat("g/", point)], at::full({1, 3, 32}, 4.0 + point));
    }
  }
}

TEST(GradientVersionsTest, TwoReadsWithoutAWriteBetweenThemAreOneVersion) {
  const LocalResult run = RunBody(R"(
    %first = read transformer.h.0.output
    %second = read transformer.h.0.output
    %loss = aten::sum(%first)
    backward %loss { save g = grad %second })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["g"], at::ones({1, 3, 32}));
}

TEST(GradientVersionsTest, WhatIsMadeOfTheFirstOfTwoReadsComesBeforeBoth) {
  const LocalResult run = RunBody(R"(
    %first = read transformer.h.0.output
    %made = aten::mul(%first, 3.0)
    %second = read transformer.h.0.output
    %loss = aten::sum(%made)
    backward %loss {
      save made = grad %made
      save second = grad %second
      save first = grad %first
    })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["made"], at::ones({1, 3, 32}));
  ExpectClose(run["second"], at::full({1, 3, 32}, 3.0f));
  ExpectClose(run["first"], run["second"]);
}

TEST(GradientVersionsTest, WhatIsAssignedToAllOfAValueHasAGradient) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %row = %h[:, 1]
    %made = aten::mul(%row, 3.0)
    %h[:] = %made
    %loss = aten::sum(%h)
    backward %loss {
      save h = grad %h
      save made = grad %made
    })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["h"], at::ones({1, 3, 32}));
  ExpectClose(run["made"], at::full({1, 32}, 3.0f));  // which all three rows have become
}

TEST(GradientVersionsTest, TwoNamesOfOneItemHaveOneGradient) {
  const LocalResult run = RunBody(R"(
    %attention = read transformer.h.0.attn.output
    %first = %attention[0]
    %second = %attention[0]
    %zeros = aten::zeros_like(%first)
    %loss = aten::sum(read result)
    backward %loss {
      grad %first = %zeros
      save second = grad %second
    })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["second"], at::zeros({1, 3, 32}));
}

/// The model goes on with what the name means, and so does whoever reads there next.
TEST(GradientVersionsTest, AReadAfterAChangeInPlaceIsTheChangedVersion) {
  const LocalResult run = RunBody(R"(
    %first = read transformer.h.0.output
    %first[:, 0] = 2.0
    %second = read transformer.h.0.output
    %made = aten::mul(%first, 3.0)
    %attention = read transformer.h.1.attn.output
    %item = %attention[0]
    %item[:, 0] = 2.0
    %again = read transformer.h.1.attn.output
    %of_again = %again[0]
    %of_item = aten::mul(%item, 5.0)
    %a = aten::sum(%made)
    %b = aten::sum(%of_item)
    %loss = aten::add(%a, %b)
    backward %loss {
      save of_again = grad %of_again
      save second = grad %second
      save first = grad %first
    })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["of_again"], at::full({1, 3, 32}, 5.0f));
  ExpectClose(run["second"], run["first"]);
  const LocalResult without = RunBody(R"(
    %first = read transformer.h.0.output
    %first[:, 0] = 2.0
    %attention = read transformer.h.1.attn.output
    %item = %attention[0]
    %item[:, 0] = 2.0
    %of_item = aten::mul(%item, 5.0)
    %loss = aten::sum(%of_item)
    backward %loss { save first = grad %first })");
  ASSERT_THAT(without.status, IsOk());
  ExpectClose(run["first"], at::add(without["first"], 3.0));
}

/// A branch that is not taken changes nothing that is read behind it.
TEST(GradientVersionsTest, AChangeInABranchIsNoVersionOutsideOfIt) {
  const LocalResult run = RunBody(R"(
    %plain = read transformer.h.0.output
    %zero = aten::sum(aten::zeros_like(%plain))
    %never = aten::gt(%zero, 1.0)
    if %never {
      %inside = read transformer.h.0.output
      %inside[:, 0] = 2.0
    }
    %after = read transformer.h.0.output
    save plain = %plain
    save after = %after
    %loss = aten::sum(read result)
    backward %loss { save g = grad %after })");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["after"], run["plain"]);
}

TEST(GradientVersionsTest, AWriteInABranchThatIsNotTakenMakesNoVersion) {
  const auto gradient = [](const std::string& least) {
    const LocalResult run = RunBody(absl::StrCat(R"(
    %first = read transformer.h.0.output
    %sum = aten::sum(aten::zeros_like(%first))
    if aten::gt(%sum, )",
                                                 least, R"() {
      write transformer.h.0.output = aten::mul(%first, 1.0)
    }
    %second = read transformer.h.0.output
    %loss = aten::add(aten::sum(%first), aten::mul(aten::sum(%second), 4.0))
    backward %loss { save g = grad %second })"));
    EXPECT_THAT(run.status, IsOk());
    return run["g"];
  };
  ExpectClose(gradient("1.0"), at::full({1, 3, 32}, 5.0f));
  ExpectClose(gradient("-1.0"), at::full({1, 3, 32}, 4.0f));
}

/// What is written at a site by somebody else stays, whether or not the program goes backwards.
TEST(GradientVersionsTest, AChangeOfAPartLeavesWhatOthersWroteMeanwhile) {
  const std::string statements = R"(
    %h = read transformer.h.0.output
    %other = aten::full_like(%h, 0.5)
    write transformer.h.0.output = %other
    %h[:, 0] = 2.0
    %now = read transformer.h.0.output
    save now = %now
    %r = read result
    save r = %r
    %loss = aten::sum(%r)
  )";
  const LocalResult plain = RunBody(statements);
  const LocalResult back = RunBody(statements + "backward %loss { save g = grad %now }");
  ASSERT_THAT(plain.status, IsOk());
  ASSERT_THAT(back.status, IsOk());
  at::Tensor expected = at::full({1, 3, 32}, 0.5f);
  expected.select(1, 0).fill_(2.0);
  ExpectClose(plain["now"], expected);
  ExpectClose(back["now"], expected);
  ExpectClose(back["r"], plain["r"]);
  // Of what the name means now, the part alone is what the model goes on with.
  const LocalResult part = RunBody(statements + "backward %loss { save n = grad %now }");
  const LocalResult name = RunBody(statements + "backward %loss { save h = grad %h }");
  ASSERT_THAT(part.status, IsOk());
  ASSERT_THAT(name.status, IsOk());
  ExpectClose(name["h"].select(1, 0), part["n"].select(1, 0));
  ExpectClose(name["h"].narrow(1, 1, 2), at::zeros({1, 2, 32}));
}

/// Nobody goes backwards then, and what was read for it is written as anywhere else.
TEST(GradientVersionsTest, ABackwardOfWhichNothingIsUsedChangesNothing) {
  const std::string statements = R"(
    %h = read transformer.h.1.input
    write transformer.h.1.input = aten::mul(%h, 0.5)
    %r = read result
    save r = %r
  )";
  const LocalResult plain = RunBody(statements);
  const LocalResult back =
      RunBody(statements + "%loss = aten::sum(%r) backward %loss { %g = grad %h }");
  ASSERT_THAT(plain.status, IsOk());
  ASSERT_THAT(back.status, IsOk());
  ExpectClose(back["r"], plain["r"]);
}

TEST(GradientVersionsTest, TwoReadsOfAllRowsAreOneVersion) {
  const LocalResult run = LocalModel::Tiny().Run(R"(
    invoke {
      %first = read transformer.h.0.output
      %second = read transformer.h.0.output
      %loss = aten::sum(%first)
      backward %loss { save g = grad %second }
    }
    invoke [[1, 2, 3], [4, 5, 6]] {})");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["g"], at::ones({2, 3, 32}));
}

/// As that of any view, it is a view of the gradient of what was split.
TEST(GradientVersionsTest, APieceOfASplitHasItsPartOfTheWholesGradient) {
  const auto run = [](const std::string& write) {
    return RunBody(absl::StrCat(R"(
      %before = read transformer.h.0.output
      %h = read transformer.h.1.input
      %part = %h[:, :, 16:]
      %pieces = aten::split(%h, 16, -1)
      %piece = %pieces[1]
      %zero = tensor(float32, [], [0.0])
      %loss = aten::sum(read result)
      backward %loss {
        save h = grad %h
        save piece = grad %piece
        )",
                                write, "\n save before = grad %before }"));
  };
  const LocalResult plain = run("");
  ASSERT_THAT(plain.status, IsOk());
  ExpectClose(plain["piece"], plain["h"].narrow(-1, 16, 16));
  EXPECT_GT(plain["piece"].abs().max().item<float>(), 0);
  const LocalResult whole = run("grad %part = %zero"), piece = run("grad %piece = %zero");
  ASSERT_THAT(whole.status, IsOk());
  ASSERT_THAT(piece.status, IsOk());
  ExpectClose(piece["before"], whole["before"]);
  EXPECT_FALSE(at::allclose(piece["before"], plain["before"]));
}

/// Rows beside it get zeros, and zeros times a derivative that is not finite are NaN.
TEST(GradientVersionsTest, NothingComesBackFromRowsThatTheLossIsNotOf) {
  const std::string first = R"(invoke [[1, 2, 3]] {
    %h = read transformer.h.0.output
    %root = aten::sqrt(aten::relu(aten::neg(aten::abs(%h))))
    %loss = aten::sum(read result)
    backward %loss { save g = grad %h  save none = grad %root }
  })";
  const LocalResult alone =
      LocalModel::Tiny().Run(std::string(first).replace(first.find("save none"), 22, ""));
  const LocalResult beside = LocalModel::Tiny().Run(absl::StrCat(
      first,
      "\ninvoke [[4, 5, 6]] { write transformer.h.1.output = %root  save r = read result }"));
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  EXPECT_TRUE(at::isfinite(beside["g"]).all().item<bool>());
  ExpectClose(beside["g"], alone["g"]);
  ExpectClose(beside["none"], at::zeros({1, 3, 32}));
}

/// What another invoke writes may be made by an operator without a derivative, which refuses to be
/// gone through as soon as numbers come back, be it with zeros.
TEST(GradientVersionsTest, AnOperatorWithoutADerivativeRefusesOnlyALossOfTheRowsItsResultIsIn) {
  const auto run = [](const std::string& of_first, const std::string& of_second) {
    return LocalModel::Tiny().Run(absl::StrCat(R"(
      invoke [[1, 2, 3]] {
        %h = read transformer.h.0.output
        %floor = aten::floor_divide(%h, 2)
        )",
                                               of_first, R"(
      }
      invoke [[4, 5, 6]] {
        write transformer.h.1.output = aten::mul(%floor, 0.5)
        save r = read result
        )",
                                               of_second, "\n}"));
  };
  const std::string loss = R"(
    %loss = aten::sum(read result)
    backward %loss { save g = grad %h })";
  const LocalResult first = run(loss, "");
  const LocalResult alone = RunBody("%h = read transformer.h.0.output" + loss);
  ASSERT_THAT(first.status, IsOk());
  ASSERT_THAT(alone.status, IsOk());
  ExpectClose(first["g"], alone["g"]);
  EXPECT_THAT(run("", loss).status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("derivative for aten::floor_divide is not implemented")));
  const std::string within = R"(
    %loss = aten::sum(aten::mul(%floor, 0.0))
    backward %loss { save g = grad %h })";
  EXPECT_THAT(run(within, "").status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("backward %loss")));
}

/// A zero that the loss itself gives meets a derivative that is not finite.
TEST(GradientVersionsTest, ZerosComeBackFromRowsThatTheLossIsOf) {
  const std::string body = R"(
    %h = read transformer.h.0.output
    write transformer.h.1.output = aten::sqrt(aten::mul(%h, 0.0))
    %loss = aten::sum(aten::mul(read transformer.h.1.output, 0.0))
    backward %loss { save g = grad %h })";
  const LocalResult alone = RunBody(body);
  const LocalResult beside = LocalModel::Tiny().Run(
      absl::StrCat("invoke [[1, 2, 3]] {", body, "} invoke [[4, 5, 6]] { save r = read result }"));
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  EXPECT_TRUE(alone["g"].isnan().all().item<bool>());
  EXPECT_TRUE(beside["g"].isnan().all().item<bool>());
  EXPECT_TRUE(beside["r"].isfinite().all().item<bool>());
}

/// The rows of the first invoke have a graph for its own gradient, and lie in one tensor with those
/// of the second: autograd sees a way from the operator to the second's embedding.
TEST(GradientVersionsTest, AnOperatorWithoutADerivativeRefusesOnlyWhatItDependsOn) {
  const auto run = [](const std::string& asked) {
    return LocalModel::Tiny().Run(absl::StrCat(R"(
      invoke [[1, 2, 3]] {
        %h = read transformer.h.0.output
        %own = aten::sum(%h)
        backward %own { save ones = grad %h }
        %floor = aten::floor_divide(read transformer.h.1.output, 0.5)
      }
      invoke [[4, 5, 6]] {
        %embedded = read transformer.wte.output
        %both = aten::add(aten::sum(read result), aten::sum(aten::mul(%floor, 3.0)))
        backward %both { save g = grad )",
                                               asked, " }\n}"));
  };
  const LocalResult alone = LocalModel::Tiny().Run(R"(invoke [[4, 5, 6]] {
    %embedded = read transformer.wte.output
    %loss = aten::sum(read result)
    backward %loss { save g = grad %embedded } })");
  const LocalResult beside = run("%embedded");
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  ExpectClose(beside["g"], alone["g"]);
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("derivative for aten::floor_divide is not implemented"));
  EXPECT_THAT(run("%h").status, refused);
  // And where what is asked for becomes rows of the first.
  const LocalResult steered = LocalModel::Tiny().Run(R"(
    invoke [[4, 5, 6]] {
      %embedded = read transformer.wte.output
      %part = aten::mul(%embedded, 0.5)
    }
    invoke [[1, 2, 3]] {
      write transformer.h.0.output = %part
      %floor = aten::floor_divide(read transformer.h.1.output, 0.5)
      %loss = aten::sum(aten::mul(%floor, 3.0))
      backward %loss { save g = grad %embedded }
    })");
  EXPECT_THAT(steered.status, refused);
}

/// What is written where nothing comes is no zero, and what else comes is not stopped.
TEST(GradientVersionsTest, WhatIsWrittenInPlaceOfAStoppedGradientGoesOn) {
  const std::string first = R"(
    %h = read transformer.h.0.output
    %three = aten::mul(%h, 3.0)
    %loss = aten::sum(read result)
    backward %loss { )";
  const LocalResult alone = RunBody(first + "save g = grad %h }");
  const auto beside = [&](const std::string& gradients) {
    return LocalModel::Tiny().Run(absl::StrCat("invoke [[1, 2, 3]] {", first, gradients, R"( } }
      invoke [[4, 5, 6]] {
        write transformer.h.1.output = aten::floor_divide(%three, 2)
        save r = read result
      })"));
  };
  const LocalResult behind = beside("%g = grad %h  grad %h = aten::mul(%g, 2.0)  save g = grad %h");
  const LocalResult there = beside(R"(
      save read = grad %three
    }
    backward %loss {
      %none = grad %three
      grad %three = aten::add(%none, 1.0)
      save g = grad %h)");
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(behind.status, IsOk());
  ASSERT_THAT(there.status, IsOk());
  ExpectClose(behind["g"], at::mul(alone["g"], 2.0));
  ExpectClose(there["read"], at::zeros({1, 3, 32}));
  ExpectClose(there["g"], at::add(alone["g"], 3.0));
}

/// Though it is computed while autograd goes.
TEST(GradientVersionsTest, WhatIsMadeOfAGradientAndAValueHasAGradient) {
  const LocalResult run = RunBody(R"(
    %h = read transformer.h.0.output
    %loss = aten::sum(read result)
    backward %loss {
      %g = grad %h
      %product = aten::mul(%g, %h)
      save g = %g
    }
    %half = aten::mul(%g, 0.5)
    %other = aten::mul(%half, %h)
    %second = aten::add(aten::sum(%product), aten::sum(%other))
    backward %second { save gg = grad %h }
  )");
  ASSERT_THAT(run.status, IsOk());
  EXPECT_GT(run["g"].abs().max().item<float>(), 0);
  ExpectClose(run["gg"], at::mul(run["g"], 1.5));
}

/// What the model goes on with is the new value alone.
TEST(GradientVersionsTest, TheLossDoesNotDependOnWhatWasReplaced) {
  const LocalResult run = RunBody(R"(
    %early = read transformer.h.0.output
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::mul(%early, 0.5)
    %r = read result
    %loss = aten::sum(%r)
    backward %loss { save g = grad %early  save none = grad %h }
  )");
  EXPECT_THAT(run.status, StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("does not depend on this value")));
}

/// An item of a structure was made with that, and not where it is first named.
TEST(GradientVersionsTest, ItemsOfAChangedStructureHaveTheirPlaceInTheOrder) {
  const LocalResult run = RunBody(R"(
    %in = read transformer.h.1.attn.op(narrow_0).inputs
    %x = %in[0][0]
    %y = aten::sigmoid(%x)
    %x[:, -1] = aten::mul(%x[:, 0], 0.5)
    %z = aten::sigmoid(aten::mul(%y, 2.0))
    %r = read result
    %loss = aten::add(aten::sum(%r), aten::sum(%z))
    backward %loss { save gx = grad %x  save gz = grad %z }
  )");
  ASSERT_THAT(run.status, IsOk());
  ExpectClose(run["gz"], at::ones_like(run["gz"]));
  EXPECT_GT(run["gx"].abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace weft
