// What Check says of sweeps, regions, and the other kinds that go with them. Programs that the text
// form cannot say are made by changing one that it can.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;

Program Parse(const std::string& text) { return ParseProgram(text).value(); }
absl::Status CheckText(const std::string& text, const ProgramLimits& limits = {}) {
  return Check(Parse(text), limits);
}
/// The statements stand in an invoke of a generation, which has %h.
std::string Generation(const std::string& statements) {
  return absl::StrCat("generate max_new_tokens=8\ninvoke [1] {\n%h = read a.output\n", statements,
                      "\n}\n");
}
/// The statements stand in an invoke in a sweep of %l (integers), %s (names), %v (floats).
std::string Swept(const std::string& statements) {
  return absl::StrCat("%c = 1.0 sweep %l in [0:2], %s in [\"a\", \"b.c\"], %v in [0.5, 1.5] { ",
                      "invoke [1] { %h = read a.output ", statements, " } }");
}

struct Case {
  const char* name;
  std::string text;
  const char* message;
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class AcceptedTest : public ::testing::TestWithParam<Case> {};
TEST_P(AcceptedTest, Is) { EXPECT_THAT(CheckText(GetParam().text), IsOk()); }

INSTANTIATE_TEST_SUITE_P(
    CheckRegionTest, AcceptedTest,
    ::testing::Values(
        Case{"StepsOfEveryKind",
             Generation("steps [0:5] { } steps [:] { } steps [1, 3] { } "
                        "steps [2:9:3] { save x = read a.output }"),
             ""},
        Case{"ValuesFromOutsideARegion",
             Generation("steps [1] { %x = aten::add(%h, read ids) if %x { save y = %h } }"), ""},
        Case{"ResultsOfARegion",
             Generation("%r = steps [:] carry %a = %h { yield aten::add(%a, 1) } save x = %r"), ""},
        Case{"AResultLeftOut",
             Generation("%r = steps [:] carry %a = %h, %b = %h { yield %b, %a } save x = %r"), ""},
        Case{"AssignmentInsideARegion",
             Generation("steps [:] carry %a = %h { %x = read b.output %x[0] = %a %a[0] = %x "
                        "yield %x }"),
             ""},
        Case{
            "OneNameInBothBranches",
            Generation("if %h { save x = %h } else { if %h { save x = %h } else { save x = %h } }"),
            ""},
        Case{"StopInABranch", Generation("if %h { save x = %h stop } save y = %h"), ""},
        Case{"YieldAfterStop",
             Generation("%r = if %h { stop yield %h } else { yield %h } save y = %r"), ""},
        Case{"ValuesOfABranchYielded",
             Generation("%r = if %h { %x = read b.output yield %x } else { yield %h } save y = %r"),
             ""},
        Case{"CachesInStepsAndInvokes", Generation("cache as all steps [1:] { cache [a] as some }"),
             ""},
        Case{"ValuesOfInvokesOfOneSweep",
             "sweep %l in [1] { invoke [1] { %x = read a.output } invoke [2] { save y = %x } }",
             ""},
        Case{"EveryUseOfASweep",
             Swept("aten::f(%l, %s, [%v]) %h[%l] %h[%l:, :%l] read h.$l.output save x = %h"), ""},
        Case{"ASweptRangeOfSteps",
             "generate max_new_tokens=9 sweep %l in [1] { invoke [1] { steps [%l:] { } } }", ""},
        Case{"SweepInTensors", "%c = 1 sweep %t in [%c] { invoke (%c) { aten::f(%t) } }", ""},
        Case{"Generations",
             "generate max_new_tokens=1048576 min_new_tokens=1 top_p=1 min_p=0.5 "
             "temperature=2 repetition_penalty=1.2 do_sample=true invoke [1] { }",
             ""}),
    [](const auto& info) { return std::string(info.param.name); });

class RefusedTest : public ::testing::TestWithParam<Case> {};
TEST_P(RefusedTest, SayingWhy) {
  EXPECT_THAT(CheckText(GetParam().text),
              StatusIs(kInvalid, AllOf(HasSubstr(GetParam().message), HasSubstr("at program:"))));
}

INSTANTIATE_TEST_SUITE_P(
    CheckRegionTest, RefusedTest,
    ::testing::Values(
        // Places.
        Case{"StepsOfAPlainTrace", "invoke [1] { steps [0] { } }", "`steps` stand in a generation"},
        Case{"StepsInSteps", Generation("steps [0] { steps [1] { } }"),
             "`steps` cannot stand inside `steps`"},
        Case{"StepsInABranch", Generation("if %h { steps [1] { } }"),
             "`steps` stand in an invoke, not inside an `if`"},
        Case{"StepsInBackward", Generation("backward %h { steps [1] { } }"),
             "`steps` cannot stand inside `backward`"},
        Case{"IfInBackward", Generation("backward %h { if %h { } }"),
             "an `if` cannot stand inside `backward`"},
        Case{"BackwardInSteps", Generation("steps [1] { backward %h { } }"),
             "`backward` cannot stand inside `steps`"},
        Case{"BackwardInABranch", Generation("if %h { backward %h { } }"),
             "from a loss that the branches yield"},
        Case{"CacheInABranch", Generation("if %h { cache as x }"),
             "a cache cannot stand inside an `if`"},
        Case{"CacheInBackward", Generation("backward %h { cache as x }"),
             "a cache stands before `backward`"},
        Case{"GradientInSteps", Generation("steps [1] { %g = grad %h }"),
             "inside `backward %loss { ... }`"},
        Case{"NestedTooDeep",
             Generation(
                 "if %h { if %h { if %h { if %h { if %h { if %h { if %h { if %h { } } } } } } } }"),
             "containers nest deeper than 16"},
        // Yields and results.
        Case{"YieldInAnInvoke", Generation("yield %h"),
             "`yield` ends `steps` or a branch of an `if`"},
        Case{"YieldWithoutCarry", Generation("steps [:] { yield %h }"),
             "these steps carry 0 values, and 1 are yielded"},
        Case{"CarryWithoutYield", Generation("steps [:] carry %a = %h { log %a }"),
             "these steps carry 1 values and do not end with `yield`"},
        Case{"YieldOfTooFew", Generation("steps [:] carry %a = %h, %b = %h { yield %a }"),
             "these steps carry 2 values, and 1 are yielded"},
        Case{"StatementAfterYield", Generation("steps [:] carry %a = %h { yield %a log %a }"),
             "this stands after `yield`"},
        Case{"SidesOfDifferentNumber", Generation("if %h { yield %h } else { yield %h, %h }"),
             "the same number of values: here 1 and 2"},
        Case{"YieldWithoutElse", Generation("%r = if %h { yield %h }"),
             "add `else { ... yield ... }`"},
        Case{"YieldOnOneSide", Generation("if %h { } else { yield %h }"), "here 0 and 1"},
        Case{"TooManyResults", Generation("%a, %b = if %h { yield %h } else { yield %h }"),
             "this is result 1 of a region that yields 1 values"},
        // Which values are seen where.
        Case{"ValueOfStepsOutside", Generation("steps [1] { %x = read b.output } save y = %x"),
             "which is made inside `steps` and not seen outside it"},
        Case{"ValueOfABranchOutside", Generation("if %h { %x = read b.output } save y = %x"),
             "which is made in a branch of an `if`"},
        Case{"ValueOfTheOtherBranch",
             Generation("if %h { %x = read b.output } else { save y = %x }"),
             "which is made in a branch of an `if`"},
        Case{"CarryOutside", Generation("steps [:] carry %a = %h { yield %a } save y = %a"),
             "which is made inside `steps`"},
        Case{"ValueOfStepsInALaterTrace",
             Generation("steps [1] { %x = read b.output }") + "trace invoke [1] { save y = %x }",
             "which is made inside `steps`"},
        Case{"ValueOfASweepOutside", Swept("%x = read b.output") + " invoke [1] { save y = %x }",
             "of a sweep only its saves are seen outside it"},
        // In place.
        Case{"AssignmentFromSteps", Generation("steps [1] { %h[0] = 0.0 }"),
             "a region makes no new version of a name from outside it"},
        Case{"AssignmentFromABranch", Generation("if %h { %h[0] = 0.0 }"), "yield the new value"},
        Case{"AssignmentFromAnInnerBranch",
             Generation("if %h { %x = read b.output if %h { %x[0] = 0.0 } }"),
             "a region makes no new version"},
        Case{"AssignmentFromASweep",
             "invoke [1] { %x = read b.output } sweep %l in [1] { invoke [1] { %x[0] = 1.0 } }",
             "use an operator that makes a new value"},
        // Names.
        Case{"SaveInOneBranchAndAfter", Generation("if %h { save x = %h } save x = %h"),
             "the name `x` is already saved by `save x = %h`"},
        Case{"SaveTwiceInABranch", Generation("if %h { save x = %h save x = %h }"),
             "already saved"},
        Case{"SaveInTwoIfs", Generation("if %h { save x = %h } if %h { } else { save x = %h }"),
             "already saved"},
        Case{"SaveInTheOuterBranch", Generation("if %h { save x = %h if %h { save x = %h } }"),
             "already saved"},
        Case{"CacheOfASavedName", Generation("save x = %h cache as x"),
             "the name `x` is already saved by `save x = %h`"},
        Case{"SaveOfALaterTrace", Generation("save x = %h") + "trace invoke [1] { save x = %h }",
             "already saved"},
        // Stops.
        Case{"AfterStopInABranch", Generation("if %h { stop save x = %h }"),
             "written after `stop`"},
        Case{"AfterStopInSteps", Generation("steps [2] { stop } save x = %h"),
             "written after `stop`"},
        Case{"TraceAfterStop", Generation("stop") + "trace invoke [1] { }", "written after `stop`"},
        // Selections.
        Case{"StepsDescending", Generation("steps [3, 1] { }"), "in ascending order"},
        Case{"StepsTwice", Generation("steps [1, 1] { }"), "in ascending order"},
        Case{"NegativeStep", Generation("steps [-1, 1] { }"), "counted from 0"},
        Case{"NegativeRange", Generation("steps [-3:] { }"), "steps are counted from 0"},
        Case{"EmptyRange", Generation("steps [3:3] { }"), "selects no step"},
        Case{"RangeBackwards", Generation("steps [0:9:-1] { }"), "is at least 1"},
        // Sweeps.
        Case{"EmptySweep", "sweep %l in [1] { } invoke [1] { }",
             "a sweep encloses at least one invoke"},
        Case{"SweepOfTwoLengths", "sweep %l in [1, 2], %m in [1] { invoke [1] { } }",
             "%l has 2, and %m has 1"},
        Case{"FloatAsIndex", Swept("%x = %h[%v]"), "its values must be integers"},
        Case{"NameAsBound", Swept("%x = %h[:%s]"), "%s is an index or a bound here"},
        Case{"FloatInAPath", Swept("read h.$v.output"), "$v is a part of a path here"},
        Case{"PathInAPath", Swept("read h.$s.output"), "or names without dots"},
        Case{"NegativeInAPath", "sweep %l in [-1] { invoke [1] { read h.$l.output } }",
             "integers from 0"},
        // Other kinds.
        Case{"NoNewTokens", "generate invoke [1] { }", "max_new_tokens is from 1 to 1048576"},
        Case{"TooManyNewTokens", "generate max_new_tokens=1048577 invoke [1] { }",
             "max_new_tokens is from 1 to 1048576"},
        Case{"MinOverMax", "generate max_new_tokens=1 min_new_tokens=2 invoke [1] { }",
             "min_new_tokens is 2"},
        Case{"NegativeTemperature", "generate max_new_tokens=1 temperature=-1 invoke [1] { }",
             "temperature is 0"},
        Case{"InfiniteTemperature", "generate max_new_tokens=1 temperature=inf invoke [1] { }",
             "temperature is 0"},
        Case{"LargeTopP", "generate max_new_tokens=1 top_p=1.5 invoke [1] { }",
             "top_p is a probability above 0 and at most 1, not 1.5"},
        Case{"NanMinP", "generate max_new_tokens=1 min_p=nan invoke [1] { }",
             "min_p is a probability above 0 and at most 1, not nan"},
        Case{"NegativePenalty", "generate max_new_tokens=1 repetition_penalty=-1 invoke [1] { }",
             "repetition_penalty is above 0, not -1"},
        Case{"NegativeEos", "generate max_new_tokens=1 eos_token_ids=[-1] invoke [1] { }",
             "which is no token"},
        Case{"EmptyStopString", "generate max_new_tokens=1 stop_strings=[\"\"] invoke [1] { }",
             "a text of stop_strings is empty"},
        Case{"LargePresencePenalty",
             "generate max_new_tokens=1 presence_penalty=2.5 invoke [1] { }",
             "presence_penalty is from -2 to 2, not 2.5"},
        Case{"NanFrequencyPenalty",
             "generate max_new_tokens=1 frequency_penalty=nan invoke [1] { }",
             "frequency_penalty is from -2 to 2, not nan"},
        Case{"TooManySequences",
             "generate max_new_tokens=1 do_sample=true num_return_sequences=1025 invoke [1] { }",
             "num_return_sequences is at most 1024, not 1025"},
        Case{"SeveralSequencesOfTheLikeliest",
             "generate max_new_tokens=1 num_return_sequences=2 invoke [1] { }",
             "without sampling all of them would be the same"},
        Case{"ManyBeams", "generate max_new_tokens=1 num_beams=257 invoke [1] { }",
             "num_beams is at most 256, not 257"},
        Case{"BeamsThatSample",
             "generate max_new_tokens=1 num_beams=2 temperature=1 invoke [1] { }",
             "a beam search takes the likeliest"},
        Case{"MoreSequencesThanBeams",
             "generate max_new_tokens=1 num_beams=2 num_return_sequences=3 invoke [1] { }",
             "num_return_sequences is 3, more than the 2 of num_beams"},
        Case{"LargeLengthPenalty",
             "generate max_new_tokens=1 num_beams=2 length_penalty=-17 invoke [1] { }",
             "length_penalty is from -16 to 16, not -17"},
        Case{"NanLengthPenalty",
             "generate max_new_tokens=1 num_beams=2 length_penalty=nan invoke [1] { }",
             "length_penalty is from -16 to 16"},
        Case{"LengthPenaltyWithoutBeams",
             "generate max_new_tokens=1 length_penalty=0 invoke [1] { }",
             "length_penalty is for a beam search"},
        Case{"EarlyStoppingWithoutBeams",
             "generate max_new_tokens=1 num_beams=1 early_stopping=never invoke [1] { }",
             "early_stopping is for a beam search"},
        Case{"ManyEndsOfBeams",
             absl::StrCat("generate max_new_tokens=1 num_beams=2 eos_token_ids=[",
                          absl::StrJoin(std::vector<int>(17, 1), ","), "] invoke [1] { }"),
             "a beam search has at most 16 eos_token_ids, not 17"},
        Case{"LongNgram", "generate max_new_tokens=1 no_repeat_ngram_size=65 invoke [1] { }",
             "no_repeat_ngram_size is at most 64, not 65"},
        Case{"BeamScoresOfNoSearch",
             "generate max_new_tokens=1 invoke [1] { save s = read beam_scores }",
             "`beam_scores` are of a beam search, and this trace is none"},
        Case{"BeamScoresOfATrace", "invoke [1] { save s = read beam_scores }",
             "begin it with `generate num_beams=N`"},
        Case{"ReadInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { save h = read h.0.output }",
             "leave out num_beams, or trace the ids that the search has found"},
        Case{"WriteInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { write samples = 1 }",
             "shows `result` and `beam_scores` alone"},
        Case{"SkipInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { skip h.0 = 1.0 }",
             "shows `result` and `beam_scores` alone"},
        Case{"CacheInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { cache as c }",
             "shows `result` and `beam_scores` alone"},
        Case{"StepsInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { steps [:] { } }",
             "shows `result` and `beam_scores` alone"},
        Case{"IdsInABeamSearch",
             "generate max_new_tokens=2 num_beams=2 invoke [1] { save i = read ids }",
             "shows `result` and `beam_scores` alone"},
        Case{"LongStopString",
             absl::StrCat("generate max_new_tokens=1 stop_strings=[\"", std::string(257, 'a'),
                          "\"] invoke [1] { }"),
             "has 257 bytes; at most 256"},
        Case{"ManyStopStrings",
             absl::StrCat("generate max_new_tokens=1 stop_strings=[",
                          absl::StrJoin(std::vector<std::string>(17, "\"a\""), ","),
                          "] invoke [1] { }"),
             "there are 17 stop_strings; at most 16"},
        Case{"NoTensors", "invoke () { }", "at least one tensor"},
        Case{"TensorByPositionLast", "%c = 1 invoke (a=%c, %c) { }", "follows one by name"},
        Case{"TensorTwice", "%c = 1 invoke (a=%c, a=%c) { }", "the input `a` is given twice"},
        Case{"EmptyChat", "invoke chat [] { }", "at least one message"},
        Case{"EmptyChatAmongChats", "invoke chat [[\"a\": \"b\"], []] { }", "at least one message"},
        Case{"ChatWithTwoEnds",
             "invoke chat [\"a\": \"b\"] generation_prompt continue_final_message { }",
             "ends either with the generation prompt or with a message to go on with"},
        Case{"ChatWithALongRole",
             absl::StrCat("invoke chat [\"", std::string(257, 'a'), "\": \"\"] { }"),
             "a role has 257 bytes"},
        Case{"ChatWithoutRole", "invoke chat [\"\": \"Hi\"] { }", "needs a role"},
        Case{"AttentionOfAnOperation", "invoke [1] { read a.op(linear_0).q }",
             "not attention's points"},
        Case{"SaveAsIntegers", Generation("save x = %h as int64"), "not to int64"},
        Case{"CacheAsIntegers", Generation("cache as x dtype=bool"), "not to bool"},
        Case{"CacheOfOneTwice", Generation("cache [a, a] as x"), "the module a is cached twice"}),
    [](const auto& info) { return std::string(info.param.name); });

/// `steps` with one carry is node 4: the carry 5, a read 6, the yield 7, the result 8. An `if` is
/// node 9: its branches 10 and 12, their yields 11 and 13, its result 14.
Program Regions() {
  return Parse(
      Generation("%r = steps [:] carry %a = %h { %x = read b.output yield %a } "
                 "%s = if %h { yield %h } else { yield %r }"));
}

struct Change {
  const char* name;
  void (*apply)(Program*);
  const char* message;
};
void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

class MisplacedTest : public ::testing::TestWithParam<Change> {};
TEST_P(MisplacedTest, IsRefused) {
  Program program = Regions();
  ASSERT_THAT(Check(program), IsOk());
  GetParam().apply(&program);
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    CheckRegionTest, MisplacedTest,
    ::testing::Values(
        Change{"CarryInAnInvoke", [](Program* p) { p->nodes[2].kind = Carry{0}; },
               "a carry stands directly in `steps`"},
        Change{"CarryOfAHigherIndex", [](Program* p) { p->nodes[4].kind = Carry{1}; },
               "this is carry 1 of steps that carry 1 values"},
        Change{"CarryAfterStatements",
               [](Program* p) { std::swap(p->nodes[4].kind, p->nodes[5].kind); },
               "`steps` begin with their carries"},
        Change{"CarryTwice", [](Program* p) { p->nodes[5].kind = Carry{0}; },
               "`steps` begin with their carries"},
        Change{"CarryLeftOut", [](Program* p) { p->nodes[4].kind = Read{{.module = "c"}}; },
               "`steps` begin with their carries"},
        Change{"YieldOfNothing", [](Program* p) { std::get<Yield>(p->nodes[6].kind).values = {}; },
               "`yield` needs at least one value"},
        Change{"ResultOfAValue",
               [](Program* p) { std::get<RegionResult>(p->nodes[7].kind).region = 3; },
               "which is not a region before it"},
        Change{"ResultOfALaterRegion",
               [](Program* p) { std::get<RegionResult>(p->nodes[7].kind).region = 9; },
               "which is not a region before it"},
        Change{"ResultOfARegionBefore",
               [](Program* p) { std::get<RegionResult>(p->nodes[13].kind).region = 4; },
               "right after it, in order"},
        Change{"ResultOutOfOrder",
               [](Program* p) { std::get<RegionResult>(p->nodes[7].kind).index = 1; },
               "right after it, in order"},
        Change{"ResultInsideItsRegion",
               [](Program* p) {
                 p->nodes[5].kind = RegionResult{4, 0};
               },
               "right after it, in order"},
        Change{"BranchOutsideAnIf", [](Program* p) { p->nodes[2].kind = Branch(); },
               "a branch stands in its `if`"},
        Change{"ElseFirst", [](Program* p) { std::get<Branch>(p->nodes[9].kind).otherwise = true; },
               "one branch, and after it at most one `else`"},
        Change{"TwoBranches",
               [](Program* p) { std::get<Branch>(p->nodes[11].kind).otherwise = false; },
               "one branch, and after it at most one `else`"},
        Change{"StatementBesideTheBranches",
               [](Program* p) {
                 p->nodes[11].kind = Log{3, ""};
               },
               "outside of its branches"},
        Change{"IfWithoutBranches", [](Program* p) { p->nodes.resize(9); },
               "this `if` has no branch"},
        Change{"StatementOfAnEndedRegion", [](Program* p) { p->nodes[13].parent = 4; },
               "the statements of one `steps` must stand together"},
        Change{"NoOperation", [](Program* p) { std::get<Read>(p->nodes[2].kind).site.op = "a b"; },
               "an operation is named such as linear_0"},
        Change{
            "UnknownPoint",
            [](Program* p) { std::get<Read>(p->nodes[2].kind).site.point = static_cast<Point>(9); },
            "the site's point 9 is unknown"},
        Change{
            "ComponentWithoutSweep",
            [](Program* p) {
              std::get<Read>(p->nodes[2].kind).site = {.module = "$", .parameters = {{0, {1, 0}}}};
            },
            "uses a parameter of node 1, which is not a sweep around it"},
        Change{"RootWithoutPath",
               [](Program* p) { std::get<Trace>(p->nodes[0].kind).root = "a..b"; },
               "names joined by dots"},
        Change{"InvokeOfNothing",
               [](Program* p) {
                 p->nodes[1].kind = Invoke{Invoke::Tensors{{{"", 3}}}};
               },
               "this uses node 3 before it exists"}),
    [](const auto& info) { return std::string(info.param.name); });

/// The sweep is node 3 and its invoke 4; node 6 indexes, node 7 reads a filled-in path.
Program Sweeping() { return Parse(Swept("%x = %h[%l] %y = read h.$l.b.output save z = %y")); }

TEST(CheckSweepTest, PromptsAreTextsOrRowsOfIds) {
  EXPECT_THAT(CheckText("sweep %p in [[1, 2], [3]], %s in [\"a\", \"b\"] { "
                        "invoke %p { save x = read ids } invoke %s { save y = read ids } }"),
              IsOk());
  EXPECT_THAT(CheckText("sweep %l in [1, 2] { invoke %l { save x = read ids } }"),
              StatusIs(kInvalid, HasSubstr("its values must be texts, or rows of token ids")));
  EXPECT_THAT(CheckText("sweep %p in [[1], [2]] { invoke %p { aten::f(%p) } }"),
              StatusIs(kInvalid, HasSubstr("a row of token ids, which can be a prompt alone")));
  EXPECT_THAT(CheckText("sweep %p in [[1], []] { invoke %p { } }"),
              StatusIs(kInvalid, HasSubstr("a row of tokens is empty")));
}

TEST(CheckSweepTest, RefusesUsesOfOtherSweeps) {
  for (NodeId sweep : {NodeId{0}, NodeId{1}, NodeId{4}, NodeId{99}}) {
    Program program = Sweeping();
    std::get<Index>(program.nodes[5].kind).terms = {SweepUse{sweep, 0}};
    EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("which is not a sweep around it")));
  }
  Program program = Sweeping();
  program.nodes.push_back({.parent = 1, .kind = Invoke{Invoke::Tokens{{{1}}}}});
  program.nodes.push_back({.parent = 9, .kind = Operator{"aten::f", {{.value = SweepUse{3, 0}}}}});
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("which is not a sweep around it")));
}

TEST(CheckSweepTest, RefusesParametersThatASweepDoesNotHave) {
  Program program = Sweeping();
  std::get<Index>(program.nodes[5].kind).terms = {SweepUse{3, 3}};
  EXPECT_THAT(Check(program),
              StatusIs(kInvalid, HasSubstr("this uses parameter 3 of a sweep that has 3")));
}

TEST(CheckSweepTest, RefusesPathsWhoseGapsAreNotItsParameters) {
  const SweepUse use{3, 0};
  const auto check = [&](const std::string& module, std::vector<PathParameter> parameters) {
    Program program = Sweeping();
    auto& site = std::get<Read>(program.nodes[6].kind).site;
    site.module = module;
    site.parameters = std::move(parameters);
    return Check(program);
  };
  EXPECT_THAT(check("h.$.b.$", {{1, use}, {3, use}}), IsOk());
  constexpr char kGaps[] = "each `$` in a site's path is a component";
  EXPECT_THAT(check("h.0", {{1, use}}), StatusIs(kInvalid, HasSubstr(kGaps)));
  EXPECT_THAT(check("h.$", {{0, use}}), StatusIs(kInvalid, HasSubstr(kGaps)));
  EXPECT_THAT(check("h.$", {{1, use}, {1, use}}), StatusIs(kInvalid, HasSubstr(kGaps)));
  EXPECT_THAT(check("$.$", {{1, use}, {0, use}}), StatusIs(kInvalid, HasSubstr(kGaps)));
  EXPECT_THAT(check("$.$", {{0, use}}), StatusIs(kInvalid, HasSubstr(kGaps)));
  EXPECT_THAT(check("h.$", {}), StatusIs(kInvalid, HasSubstr("names joined by dots")));
  EXPECT_THAT(check("h.a$", {{1, use}}), StatusIs(kInvalid, HasSubstr("names joined by dots")));
}

TEST(CheckSweepTest, RefusesWhatDoesNotStandInASweep) {
  Program program = Sweeping();
  program.nodes.insert(program.nodes.begin() + 3,
                       {.parent = 3, .kind = Constant{std::get<Constant>(program.at(2).kind)}});
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a sweep encloses invokes alone")));
  program = Sweeping();
  program.nodes.push_back({.parent = 3, .kind = program.at(3).kind});
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a sweep stands inside another")));
  program.nodes.back().parent = 4;
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("a sweep stands in its trace")));
}

TEST(CheckSweepTest, ParametersAreNamedApartFromValues) {
  Program program = Sweeping();
  auto& parameters = std::get<Sweep>(program.nodes[2].kind).parameters;
  parameters[0].name = "c";
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("%c is already defined")));
  parameters[0].name = "1";
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("is not a name")));
  parameters[0].name = "x";
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("already a parameter of the sweep")));
  parameters = {};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("at least one parameter")));
}

TEST(CheckSweepTest, RefusesASliceWithTwoBounds) {
  Program program = Sweeping();
  std::get<Index>(program.nodes[5].kind).terms = {
      Slice{.start = 1, .start_parameter = SweepUse{3}}};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("not both")));
}

TEST(CheckBlobTest, HasAShapeAndAHashButNoBytes) {
  const std::string text = absl::StrCat("%c = blob(float32, [1048576, 4096], \"",
                                        std::string(64, 'a'), "\") invoke [1] { }");
  EXPECT_THAT(CheckText(text, {.constant_bytes = 4}), IsOk());
  Program program = Parse(text);
  auto& constant = std::get<Constant>(program.nodes[1].kind);
  constant.tensor.shape = {-1};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("has a negative size")));
  constant.tensor.shape = {int64_t{1} << 62, 4};
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("too large to count")));
  constant.tensor.shape = {2};
  constant.tensor.dtype = static_cast<DType>(99);
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("unknown dtype")));
  constant.tensor.dtype = DType::kF32;
  constant.blob = "short";
  EXPECT_THAT(Check(program), StatusIs(kInvalid, HasSubstr("the 32 bytes of its SHA-256")));
}

TEST(CheckLimitsTest, CountsValuesOfSweeps) {
  const std::string text =
      "sweep %l in [0:5] { invoke [1] { } } sweep %l in [0:5], %m in [5:10] { invoke [1] { } }";
  EXPECT_THAT(CheckText(text, {.list_items = 15}), IsOk());
  EXPECT_THAT(CheckText(text, {.list_items = 14}),
              StatusIs(kExhausted, HasSubstr("sweeps have 15 values up to here; at most 14")));
}

TEST(CheckLimitsTest, CountsListsAndArguments) {
  const ProgramLimits limits{.arguments = 2, .list_items = 2};
  for (const std::string& text :
       {Generation("cache [a, b, c] as x"), Generation("steps [1, 2, 3] { }"),
        std::string("invoke chat [\"a\": \"\", \"b\": \"\", \"c\": \"\"] { }"),
        std::string("invoke chat [[\"a\": \"\"], [\"b\": \"\"], [\"c\": \"\"]] { }"),
        std::string("generate max_new_tokens=1 eos_token_ids=[1, 2, 3] invoke [1] { }"),
        Generation("if %h { yield %h, %h, %h } else { yield %h, %h, %h }"),
        Generation("steps [:] carry %a = %h, %b = %h, %c = %h { yield %a, %a, %a }"),
        std::string("%c = 1 invoke (%c, %c, %c) { }")}) {
    EXPECT_THAT(CheckText(text, limits), StatusIs(kExhausted, HasSubstr("at most 2"))) << text;
    EXPECT_THAT(CheckText(text), IsOk()) << text;
  }
}

TEST(ProgramTest, KnowsWhatStandsAroundANode) {
  const Program program = Parse(
      "trace invoke [1] { } generate max_new_tokens=1 sweep %l in [1] { invoke [1] { %h = read ids "
      "steps [0] { if %h { log %h } } backward %h { %g = grad %h } } }");
  // 3 generate, 4 sweep, 5 invoke, 6 read, 7 steps, 8 if, 9 branch, 10 log, 11 backward, 12 grad.
  EXPECT_EQ(program.TraceOf(2), 1u);
  EXPECT_EQ(program.TraceOf(10), 3u);
  EXPECT_EQ(program.TraceOf(3), 3u);
  EXPECT_EQ(program.SweepOf(2), kNoNode);
  EXPECT_EQ(program.SweepOf(10), 4u);
  EXPECT_EQ(program.InvokeOf(10), 5u);
  EXPECT_EQ(program.InvokeOf(4), kNoNode);
  EXPECT_EQ(program.StepsOf(10), 7u);
  EXPECT_EQ(program.StepsOf(7), 7u);
  EXPECT_EQ(program.StepsOf(6), kNoNode);
  EXPECT_EQ(program.BackwardOf(12), 11u);
  EXPECT_EQ(program.BackwardOf(11), kNoNode);
  EXPECT_EQ(program.BackwardOf(10), kNoNode);
  EXPECT_EQ(program.BackwardOf(99), kNoNode);
  EXPECT_EQ(program.TraceOf(99), kNoNode);
}

TEST(ProgramTest, OddParentsEndTheSearch) {
  Program program;
  program.nodes.resize(2);
  program.nodes[0] = {.parent = 2, .kind = Stop()};
  program.nodes[1] = {.parent = 2, .kind = Stop()};
  EXPECT_EQ(program.InvokeOf(1), kNoNode);
  EXPECT_EQ(program.BackwardOf(2), kNoNode);
  EXPECT_EQ(program.TraceOf(2), kNoNode);
}

}  // namespace
}  // namespace weft::graph
