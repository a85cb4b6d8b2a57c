#include "engine/graph/lint.h"

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;

Program Parse(const std::string& text) { return ParseProgram(text).value(); }
absl::Status CheckText(const std::string& text, const ProgramLimits& limits = {}) {
  return Check(Parse(text), limits);
}

/// Two invokes, each with a read and a save: node 3 is the first read, node 6 the second.
Program Sample() {
  return Parse(
      "invoke [1] { %a = read a.output save x = %a } "
      "invoke [2] { %b = read b.output save y = %b }");
}

TEST(CheckTest, AcceptsValuesOfOtherInvokes) {
  EXPECT_THAT(CheckText("invoke [1] { %a = read a.output } invoke \"\" { write a.output = %a }"),
              IsOk());
}

TEST(CheckTest, RefusesAnEmptyProgram) {
  EXPECT_THAT(Check(Program()), StatusIs(kInvalid, HasSubstr("the program is empty")));
  EXPECT_THAT(CheckText(""), StatusIs(kInvalid, HasSubstr("the trace has no invoke")));
}

TEST(CheckTest, RefusesAProgramThatDoesNotBeginWithItsTrace) {
  Program program = Sample();
  program.nodes.erase(program.nodes.begin());
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("begins with its trace")));
}

TEST(CheckTest, EachTraceNeedsAnInvoke) {
  Program program = Sample();
  program.nodes.push_back({.kind = Trace()});
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("the trace has no invoke")));
  EXPECT_THAT(
      CheckText("trace \"a\" trace \"b\" invoke [1] { }"),
      StatusIs(kInvalid, HasSubstr("the trace has no invoke\n  at program:1: trace \"a\"")));
}

TEST(CheckTest, AllRowsAreThoseOfOtherInvokesOfTheSamePlace) {
  const std::string all = "invoke { %a = read a.output save x = %a } ";
  EXPECT_THAT(CheckText(all), StatusIs(kInvalid, HasSubstr("of its trace, and there are none")));
  EXPECT_THAT(CheckText(absl::StrCat("invoke [1] { } sweep %x in [0:2] { ", all, "}")),
              StatusIs(kInvalid, HasSubstr("of its sweep, and there are none")));
  EXPECT_THAT(CheckText(absl::StrCat(all, "sweep %x in [0:2] { invoke [1] { } }")),
              StatusIs(kInvalid, HasSubstr("of its trace, and there are none")));
  EXPECT_THAT(CheckText(absl::StrCat("sweep %x in [0:2] { invoke [1] { } ", all, "}")), IsOk());
}

TEST(CheckTest, LaterTracesUseValuesOfEarlierOnes) {
  EXPECT_THAT(CheckText("%c = 1.0 invoke [1] { %h = read a.output } "
                        "trace invoke [1] { save x = aten::add(%h, %c) }"),
              IsOk());
}

TEST(CheckTest, RefusesATraceInsideAnotherNode) {
  Program program = Sample();
  program.nodes[4].kind = Trace();
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a trace stands inside another node")));
}

TEST(CheckTest, RefusesParentsThatAreNotContainersBefore) {
  for (NodeId parent : {NodeId{0}, NodeId{3}, NodeId{4}, NodeId{99}}) {
    Program program = Sample();
    program.nodes[3].parent = parent;
    EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("container"))) << parent;
  }
}

TEST(CheckTest, RefusesAnInvokeInsideAnInvoke) {
  Program program = Sample();
  program.nodes[4].parent = 2;
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("an invoke stands in its trace")));
}

TEST(CheckTest, RefusesStatementsOutsideAnInvoke) {
  Program program = Sample();
  program.nodes[2].parent = 1;
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("outside an invoke; only constants")));
}

TEST(CheckTest, RefusesStatementsOfAnInvokeThatHasEnded) {
  Program program = Sample();
  program.nodes[6].parent = 2;
  EXPECT_THAT(Check(program), StatusIs(kInvalid, AllOf(HasSubstr("must stand together"),
                                                       HasSubstr("save y = %b"))));
}

TEST(CheckTest, RefusesUsesOfWhatDoesNotExistYet) {
  for (NodeId used : {NodeId{0}, NodeId{4}, NodeId{6}, NodeId{99}}) {
    Program program = Sample();
    std::get<Save>(program.nodes[3].kind).value = used;
    EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("this uses node"))) << used;
  }
}

TEST(CheckTest, RefusesAssignmentsToWhatDoesNotExistYet) {
  for (const std::string text : {"invoke [1] { %a = read a.output %a[0] = %a }",
                                 "invoke [1] { %a = read a.output if %a { %a[0] = %a } }"}) {
    for (NodeId target : {NodeId{0}, NodeId{2}, NodeId{6}, NodeId{99}}) {
      Program program = Parse(text);
      std::get<Assign>(program.nodes.back().kind).target = target;
      EXPECT_FALSE(Check(program).ok()) << text << target;
    }
  }
}

TEST(CheckTest, RefusesUsesOfWhatYieldsNoValue) {
  Program program = Sample();
  std::get<Save>(program.nodes[3].kind).value = 2;
  EXPECT_THAT(Check(program),
              StatusIs(kInvalid, HasSubstr("`invoke [1] { }`, which yields no value")));
}

TEST(CheckTest, FindsUsesInsideListsAndIndexes) {
  Program program = Sample();
  program.nodes.push_back({.parent = 5, .kind = Index{3, {NodeRef{9}}}});
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("this uses node 9")));
  program.nodes.back().kind =
      Operator{"aten::cat", {{.value = Argument::List{{.value = NodeRef{2}}}}}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("yields no value")));
}

TEST(CheckTest, RefusesNamesThatAreNotNames) {
  for (const char* name : {"1a", "a b", "a.b", "é", "%a"}) {
    Program program = Sample();
    program.nodes[2].name = name;
    EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a value's name is letters"))) << name;
    program = Sample();
    std::get<Save>(program.nodes[3].kind).name = name;
    EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a saved name is letters"))) << name;
  }
}

TEST(CheckTest, RefusesANameOfWhatYieldsNoValue) {
  Program program = Sample();
  program.nodes[3].name = "x";
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("has a name but yields no value")));
}

TEST(CheckTest, RefusesSecondNamesShowingTheFirst) {
  Program program = Sample();
  program.nodes[5].name = "a";
  EXPECT_THAT(Check(program),
              StatusIs(kInvalid, HasSubstr("%a is already the value of `%a = read a.output`")));
  EXPECT_THAT(CheckText("invoke [1] { %a = read a.output save x = %a save x = %a }"),
              StatusIs(kInvalid, AllOf(HasSubstr("`x` is already saved by `save x = %a`"),
                                       HasSubstr("at program:1: save x = %a"))));
}

TEST(CheckTest, RefusesInvokesWithoutInput) {
  Program program = Sample();
  program.nodes[1].kind = Invoke{Invoke::Prompts()};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("at least one prompt")));
  program.nodes[1].kind = Invoke{Invoke::Tokens()};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("at least one row")));
  program.nodes[1].kind = Invoke{Invoke::Tokens{{{1}, {}}}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a row of tokens is empty")));
}

TEST(CheckTest, AllRowsNeedsAnotherInvoke) {
  EXPECT_THAT(CheckText("invoke { %m = read mask }"),
              StatusIs(kInvalid, HasSubstr("the rows of the other invokes of its trace")));
  EXPECT_THAT(CheckText("invoke { %m = read mask } invoke [1] { }"), IsOk());
}

TEST(CheckTest, RefusesStatementsAfterStop) {
  EXPECT_THAT(
      CheckText("invoke [1] { %a = read a.output stop save x = %a }"),
      StatusIs(kInvalid, AllOf(HasSubstr("written after `stop`"), HasSubstr("save x = %a"))));
  EXPECT_THAT(CheckText("invoke [1] { stop } invoke [2] { }"),
              StatusIs(kInvalid, HasSubstr("written after `stop`")));
}

TEST(CheckTest, RefusesBadUtf8) {
  Program program = Sample();
  program.nodes[1].kind = Invoke{Invoke::Prompts{{"\xff"}}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a prompt is not valid UTF-8")));
}

TEST(CheckTest, RefusesSitesThatTheTextFormCannotSay) {
  Program program = Sample();
  program.nodes[2].kind = Read{{.module = "a..b"}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("names joined by dots")));
  program.nodes[2].kind = Read{{.module = "a", .point = Point::kIds}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("belongs to the invoke")));
  program.nodes[2].kind = Operator{"mul", {}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("has a namespace, such as aten::mul")));
}

TEST(CheckTest, RefusesArgumentsOutOfOrder) {
  EXPECT_THAT(CheckText("invoke [1] { %a = aten::f(x=1, 2) }"),
              StatusIs(kInvalid, HasSubstr("by position follows one by name")));
  EXPECT_THAT(CheckText("invoke [1] { %a = aten::f(x=1, x=2) }"),
              StatusIs(kInvalid, HasSubstr("`x` is given twice")));
  EXPECT_THAT(CheckText("invoke [1] { %a = {\"k\": 1, \"k\": 2} }"),
              StatusIs(kInvalid, HasSubstr("given twice")));
}

TEST(CheckTest, RefusesListsNestedDeeperThanTheContractSays) {
  Argument argument;
  for (int i = 0; i < 1000; ++i) {
    Argument outer;
    outer.value = Argument::List{std::move(argument)};
    argument = std::move(outer);
  }
  Program program = Sample();
  program.nodes[2].kind = Operator{"aten::f", {std::move(argument)}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("lists nest deeper than 2")));
}

TEST(CheckTest, RefusesTwoEllipses) {
  EXPECT_THAT(CheckText("invoke [1] { %a = read a.output %b = %a[..., ...] }"),
              StatusIs(kInvalid, HasSubstr("more than one `...`")));
}

TEST(CheckTest, RefusesTensorsWhoseBytesDoNotFit) {
  Program program = Sample();
  HostTensor tensor = HostTensor::Make(DType::kF32, {2}, std::string(8, '\0')).value();
  tensor.shape = {3};
  program.nodes[2].kind = Constant{tensor};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("takes 12 bytes, but 8 were given")));
}

TEST(CheckTest, LimitsNodes) {
  EXPECT_THAT(Check(Sample(), {.nodes = 7}), IsOk());
  EXPECT_THAT(Check(Sample(), {.nodes = 6}),
              StatusIs(kExhausted, HasSubstr("the program has 7 nodes; at most 6")));
}

TEST(CheckTest, LimitsConstants) {
  const std::string text =
      "%a = tensor(int64, [2], [1, 2]) %b = tensor(int64, [1], [3]) "
      "invoke [1] { }";
  EXPECT_THAT(CheckText(text, {.constant_bytes = 24}), IsOk());
  EXPECT_THAT(CheckText(text, {.constant_bytes = 23}),
              StatusIs(kExhausted, AllOf(HasSubstr("take 24 bytes"), HasSubstr("%b = tensor"))));
}

TEST(CheckTest, LimitsArgumentsWithThoseInLists) {
  const std::string text = "invoke [1] { %a = aten::f([1, 2], 3) }";
  EXPECT_THAT(CheckText(text, {.arguments = 4}), IsOk());
  EXPECT_THAT(CheckText(text, {.arguments = 3}), StatusIs(kExhausted, HasSubstr("4 arguments")));
}

TEST(CheckTest, TakesLinearTime) {
  // Quadratic work on these would take minutes.
  Program program = Parse("invoke [1] { %a = read a.output }");
  for (int i = 0; i < 500000; ++i) {
    Node node{.parent = 2, .kind = Operator{"aten::neg", {{.value = NodeRef{NodeId(3 + i)}}}}};
    program.nodes.push_back(std::move(node));
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Check(program), StatusIs(kExhausted, HasSubstr("500003 nodes")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(100));
  EXPECT_THAT(Check(program, {.nodes = 1000000}), IsOk());
}

TEST(CheckTest, TakesLinearTimeWithRegions) {
  Program program = Parse("generate max_new_tokens=2 invoke [1] { %a = read a.output }");
  for (int i = 0; i < 100000; ++i) {
    const auto steps = static_cast<NodeId>(program.nodes.size() + 1);
    program.nodes.push_back({.parent = 2, .kind = Steps{.initial = {3}}});
    program.nodes.push_back({.parent = steps, .kind = Carry{0}});
    program.nodes.push_back({.parent = steps, .kind = Yield{{steps + 1}}});
    program.nodes.push_back({.parent = 2, .kind = RegionResult{steps, 0}});
  }
  EXPECT_THAT(Check(program, {.nodes = 1000000}), IsOk());
}

auto Warning(const std::string& message, const std::string& statement) {
  return AllOf(Field(&Error::message, HasSubstr(message)),
               Field(&Error::statement, HasSubstr(statement)));
}

TEST(LintTest, IsSilentWhereNothingIsOdd) {
  EXPECT_THAT(Lint(Parse(R"(invoke [1] {
    %a = read a.output
    write a.output = aten::mul(%a, 2)
    save before = %a
    aten::add_(%a, 1)
  })")),
              IsEmpty());
}

TEST(LintTest, FindsValuesThatNothingUses) {
  EXPECT_THAT(Lint(Parse("invoke [1] { %a = read a.output %b = aten::mul(%a, 2) save x = %a }")),
              ElementsAre(Warning("nothing uses this value", "%b = aten::mul(%a, 2)")));
}

TEST(LintTest, FindsReadsThatAWriteOvertakes) {
  EXPECT_THAT(Lint(Parse("invoke [1] { %a = read a.output write a.output[0] = 0.0 save x = %a }")),
              ElementsAre(Warning("does not see it", "%a = read a.output")));
  EXPECT_THAT(Lint(Parse("invoke [1] { %a = read a.output save x = %a write a.output[0] = 0.0 }")),
              IsEmpty());
}

TEST(LintTest, ReadsAndWritesOfOtherStepsAreApart) {
  EXPECT_THAT(Lint(Parse("generate max_new_tokens=3 invoke [1] { %a = read a.output "
                         "steps [1:] { write a.output[0] = 0.0 } save x = %a }")),
              IsEmpty());
}

TEST(LintTest, FindsWhatNoStepReads) {
  EXPECT_THAT(Lint(Parse("generate max_new_tokens=3 invoke [1] { %z = read a.output "
                         "%r, %s = steps [:] carry %a = %z, %b = %z { yield %a, %a } "
                         "save x = %s }")),
              ElementsAre(Warning("no step reads this carry", "%b = carry 1")));
}

TEST(LintTest, FindsResultsThatNothingUses) {
  EXPECT_THAT(Lint(Parse("invoke [1] { %c = read a.output save x = %c "
                         "%r, %s = if %c { yield %c, %c } else { yield %c, %c } }")),
              ElementsAre(Warning("nothing uses this value", "%s = result 1 of if %c")));
}

TEST(LintTest, FindsParametersThatNothingUses) {
  EXPECT_THAT(Lint(Parse("sweep %a in [1], %b in [1], %c in [1], %d in [1], %e in [1], %f in [1] { "
                         "invoke [1] { %h = read h.$a.output %x = aten::f(%h[%b:, %c], [%d]) "
                         "%h[:%e] = %x save x = %h } }")),
              ElementsAre(Warning("nothing uses the parameter %f", "sweep %a in [1]")));
}

TEST(LintTest, FindsSweepsThatSaveNothing) {
  EXPECT_THAT(Lint(Parse("sweep %l in [1] { invoke [1] { %h = read h.$l.output log %h } } "
                         "invoke [1] { cache as x }")),
              ElementsAre(Warning("nothing is saved in this sweep", "sweep %l in [1]")));
}

TEST(LintTest, FindsProgramsThatSaveNothing) {
  EXPECT_THAT(Lint(Parse("invoke [1] { %a = read a.output log %a }")),
              ElementsAre(Warning("the program saves nothing", "")));
}

}  // namespace
}  // namespace weft::graph
