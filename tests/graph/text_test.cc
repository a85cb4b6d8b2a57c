#include "engine/graph/text.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/lint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/program_equality.h"
#include "tests/support/random_program.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::Status ParseStatus(const std::string& text) { return ParseProgram(text).status(); }
/// The statements stand inside an invoke that has %h.
std::string Inside(const std::string& statements) {
  return absl::StrCat("invoke [1, 2] {\n  %h = read a.output\n  ", statements, "\n}\n");
}
/// What PrintProgram gives for what was parsed from `text`.
std::string Reprint(const std::string& text) {
  absl::StatusOr<Program> program = ParseProgram(text);
  return program.ok() ? PrintProgram(*program) : std::string(program.status().message());
}

TEST(TextTest, PrintsTheCanonicalFormOfAnExperiment) {
  EXPECT_EQ(Reprint(R"(
    # The last token of layer 1, three times as large.
    trace "tripled"
    %zero = tensor( float32,[1,2],[0,-0.5] )
    invoke "The Eiffel Tower is in the city of" { %h = read transformer.h.1.output
      %s = aten::mul(%h[:, -1], 3.0) write transformer.h.1.output[:, -1] = %s
      %p = read lm_head.output
      save token = aten::argmax(%p[:,-1],dim=-1,keepdim=true,)
      aten::add_(%p, 1)
      stop }
  )"),
            R"(trace "tripled"
%zero = tensor(float32, [1, 2], [0.0, -0.5])
invoke "The Eiffel Tower is in the city of" {
  %h = read transformer.h.1.output
  %5 = %h[:, -1]
  %s = aten::mul(%5, 3.0)
  write transformer.h.1.output[:, -1] = %s
  %p = read lm_head.output
  %9 = %p[:, -1]
  %10 = aten::argmax(%9, dim=-1, keepdim=true)
  save token = %10
  %12 = aten::add_(%p, 1)
  stop
}
)");
}

TEST(TextTest, PrintsEveryKindOfStatement) {
  const std::string text = R"(invoke ["a \"quoted\" text\n", "b"] no_special_tokens { }
invoke [[1], [2, -3]] {
  %ids = read ids
  %mask = read mask
  %positions = read positions
  %result = read result
  %root = read @1.input
  %x = read transformer.h.0@2.output
  %w = param transformer.wte.weight
  %y = call transformer.ln_f(%x, flag=true)
  %list = [%x, [1, 2.0], "s", none]
  %tuple = (%x,)
  %empty = ()
  %dict = {"a b": %x, "c": float32}
  %i = %x[0, ..., none, 1:-2:3, ::2, :, %ids, "key"]
  %op = aten::sum(%x, [0, 1], dtype=float64, a=[[1], [%y]], b=inf, c=-inf, d=nan, e=1e+22)
  %x[:, -1] = %y
  write m.output = %y
  write m@1.output[0, :, -1] = %y
  skip transformer.h.1@3 = %y
  log %y
  log "label" %y
  save out = %op
}
invoke {
  %rows = read rows
  stop
}
)";
  EXPECT_EQ(Reprint(text), text);
}

TEST(TextTest, PrintsTensorsOfEveryDTypeExactly) {
  const std::string text = R"(%a = tensor(bool, [2], [true, false])
%b = tensor(uint8, [1], [255])
%c = tensor(int8, [1], [-128])
%d = tensor(int16, [1], [-32768])
%e = tensor(int32, [], [2147483647])
%f = tensor(int64, [1, 1], [-9223372036854775808])
%g = tensor(float16, [3], [0.099975586, 65504.0, 5.9604645e-08])
%h = tensor(bfloat16, [2], [3.390625, -inf])
%i = tensor(float32, [5], [0.1, -0.0, 1e-45, nan, 0x7fc00001])
%j = tensor(float64, [2], [0.1, 5e-324])
%k = tensor(complex64, [1], [(1.0, -2.0)])
%l = tensor(complex128, [1], [(nan, 0xfff8000000000000)])
%m = tensor(float32, [0, 3], [])
)";
  EXPECT_EQ(Reprint(text), text);
}

TEST(TextTest, ReadsBackWhatItPrints) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Program program = RandomProgram(seed);
    ASSERT_THAT(Check(program), IsOk()) << "seed " << seed;
    const std::string text = PrintProgram(program);
    const absl::StatusOr<Program> parsed = ParseProgram(text);
    ASSERT_THAT(parsed, IsOk()) << "seed " << seed << "\n" << text;
    ASSERT_EQ(FirstDifference(program, *parsed), "") << "seed " << seed << "\n" << text;
  }
}

TEST(TextTest, NestedCallsMakeUnnamedNodesInOrderOfEvaluation) {
  EXPECT_EQ(Reprint(Inside("%x = aten::add(aten::mul(%h, 2), aten::neg(read b.output[0]))")),
            R"(invoke [1, 2] {
  %h = read a.output
  %4 = aten::mul(%h, 2)
  %5 = read b.output
  %6 = %5[0]
  %7 = aten::neg(%6)
  %x = aten::add(%4, %7)
}
)");
}

TEST(TextTest, LiteralsBecomeScalars) {
  EXPECT_EQ(Reprint(Inside("write b.output[0] = 0.5 skip c = 3 %h[0] = true")),
            R"(invoke [1, 2] {
  %h = read a.output
  %4 = tensor(float32, [], [0.5])
  write b.output[0] = %4
  %6 = tensor(int64, [], [3])
  skip c = %6
  %8 = tensor(bool, [], [true])
  %h[0] = %8
}
)");
}

TEST(TextTest, IntegersAndFloatsStayApart) {
  EXPECT_THAT(Reprint(Inside("%x = aten::f(%h, 1, 1., 1.0, 1e0, -0, -0.0, 1e400)")),
              HasSubstr("this number does not fit a float"));
  EXPECT_THAT(Reprint(Inside("%x = aten::f(%h, 1, 1., 1.0, 1e0, -0, -0.0)")),
              HasSubstr("aten::f(%h, 1, 1.0, 1.0, 1.0, 0, -0.0)"));
}

TEST(TextTest, ChainedBracketsOfAWriteAreOneIndex) {
  EXPECT_THAT(Reprint(Inside("write b.output[0][\"k\"][:, -1] = %h")),
              HasSubstr("write b.output[0, \"k\", :, -1] = %h"));
  EXPECT_THAT(Reprint(Inside("%h[0][:, -1] = %h")), HasSubstr("  %h[0, :, -1] = %h"));
  // x[:][0] means x[0], not x[:, 0].
  EXPECT_THAT(ParseStatus(Inside("write b.output[:][0] = %h")),
              StatusIs(kInvalid, HasSubstr("only a lone integer or key")));
}

TEST(TextTest, AnOperatorInTheBracketsOfAnAssignmentIsOneNode) {
  const absl::StatusOr<Program> program = ParseProgram(
      "invoke [1] { %x = read h.0.output  %i = 1  %x[aten::add_(%i, 1), aten::neg(%i)] = 0.0 }");
  ASSERT_THAT(program, IsOk());
  const auto is_operator = [](const Node& node) {
    return std::holds_alternative<Operator>(node.kind);
  };
  EXPECT_EQ(std::count_if(program->nodes.begin(), program->nodes.end(), is_operator), 2);
}

TEST(TextTest, ChainedBracketsOfAValueAreOneNodeEach) {
  EXPECT_THAT(Reprint(Inside("%x = %h[0][:, -1]")), HasSubstr("  %4 = %h[0]\n  %x = %4[:, -1]\n"));
  EXPECT_THAT(Reprint(Inside("%h[0][1]")), HasSubstr("  %4 = %h[0]\n  %5 = %4[1]\n"));
}

TEST(TextTest, NumbersNameUnnamedValues) {
  const absl::StatusOr<Program> program =
      ParseProgram(Inside("%77 = aten::neg(%h) %5 = aten::neg(%77) save a = %5"));
  ASSERT_THAT(program, IsOk());
  EXPECT_EQ(program->at(4).name, "");
  EXPECT_EQ(std::get<Save>(program->at(6).kind).value, 5u);
  EXPECT_EQ(std::get<NodeRef>(std::get<Operator>(program->at(5).kind).arguments[0].value).id, 4u);
}

TEST(TextTest, ValuesOfAnEarlierInvokeMayBeUsed) {
  EXPECT_THAT(ParseStatus("invoke [1] { %h = read a.output } invoke [2] { write a.output = %h }"),
              IsOk());
  EXPECT_THAT(ParseStatus("invoke [1] { write a.output = %h } invoke [2] { %h = read a.output }"),
              StatusIs(kInvalid, HasSubstr("%h is not defined")));
}

TEST(TextTest, StatementsKnowTheirFileAndLine) {
  const absl::StatusOr<Program> program = ParseProgram(
      "# first\ninvoke [1] {\n\n  %h =\n    read a.output\n  save x = %h }\n", "steer.weft");
  ASSERT_THAT(program, IsOk());
  EXPECT_EQ(program->at(3).source.file, "steer.weft");
  EXPECT_EQ(program->at(2).source.line, 2u);
  EXPECT_EQ(program->at(3).source.line, 4u);
  EXPECT_EQ(program->at(4).source.line, 6u);
}

TEST(TextTest, PathsMayLookLikeKeywordsAndPoints) {
  EXPECT_THAT(Reprint("invoke [1] { read layer.0.output.output read mask.input read inf.output }"),
              AllOf(HasSubstr("read layer.0.output.output\n"), HasSubstr("read mask.input\n"),
                    HasSubstr("read inf.output\n")));
}

TEST(TextTest, NamespacesOfOperatorsMayBeWordsOfTheLanguage) {
  for (const char* word :
       {"read",  "call",  "param", "tensor", "inf",    "nan",   "true",   "none", "float32",
        "write", "save",  "log",   "stop",   "steps",  "grad",  "invoke", "if",   "else",
        "yield", "cache", "as",    "keep",   "inputs", "dtype", "blob"}) {
    const std::string call = absl::StrCat(word, "::", word, "(%h)");
    EXPECT_THAT(ParseStatus(Inside(absl::StrCat(call, " %x = ", call, " %y = aten::f(", call,
                                                ") save s = %h ", call, " cache as c ", call,
                                                " if %h { } ", call))),
                IsOk())
        << word;
  }
}

TEST(TextTest, ErrorsShowTheLineAndThePlace) {
  EXPECT_EQ(ParseStatus("invoke \"é\" {\n  %s = aten::mul(%h, 3.0)\n}").message(),
            "program:2:18: %h is not defined\n"
            "    %s = aten::mul(%h, 3.0)\n"
            "                   ^");
  const Error error = FromStatus(ParseStatus("invoke [1] {\n\n !"));
  EXPECT_EQ(error.source.file, "program");
  EXPECT_EQ(error.source.line, 3u);
}

TEST(TextTest, ColumnsCountCharacters) {
  EXPECT_THAT(ParseStatus("invoke \"日本\" ?"),
              StatusIs(kInvalid, HasSubstr("program:1:13: expected `{`\n"
                                           "  invoke \"日本\" ?\n"
                                           "              ^")));
}

struct Refusal {
  const char* name;
  const char* text;  // of the statements in an invoke, or a whole program if it starts with '!'
  const char* message;
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

std::string TextOf(const Refusal& refusal) {
  return refusal.text[0] == '!' ? std::string(refusal.text + 1) : Inside(refusal.text);
}

TEST(TextTest, PrintsEveryKindOfTraceAndInvoke) {
  const std::string text = R"(trace "a" root=transformer tuple_outputs=true adapter="a \"b\""
%c = blob(float32, [2, 3], "00ff010203040506070809000102030405060708090001020304050607080900")
invoke (%c, mask=%c) { }
invoke chat ["user": "Hi", "assistant": "Hello"] generation_prompt { }
generate "b" max_new_tokens=8 min_new_tokens=2 do_sample=true temperature=0.5 top_p=0.9 top_k=40 min_p=0.05 repetition_penalty=1.1 presence_penalty=0.5 frequency_penalty=-0.5 num_return_sequences=3 no_repeat_ngram_size=3 eos_token_ids=[1, 2] stop_strings=["\n", "."]
invoke chat ["user": ""] { }
invoke chat [["user": "Hi"], ["system": "Be brief.", "user": "Hi"]] { }
invoke chat ["user": "Hi", "assistant": "Hel"] continue_final_message { }
trace
invoke [1] { }
generate max_new_tokens=1
invoke [1] { }
generate max_new_tokens=1 num_return_sequences=2 num_beams=4 length_penalty=0.0 early_stopping=true
invoke [1] {
  %a = read beam_scores
}
generate max_new_tokens=1 num_beams=2 early_stopping=never
invoke [1] { }
)";
  EXPECT_EQ(Reprint(text), text);
}

TEST(TextTest, PrintsEveryKindOfSite) {
  const std::string text = R"(invoke [1] {
  %a = read h.0.inputs
  %b = read h.0.attn.q
  %c = read h.0.attn@1.k
  %d = read h.0.attn.v
  %e = read h.0.attn.scores
  %f = read h.0.attn.probs
  %g = read h.0.attn.z
  %h = read h.0.attn.op(linear_0).output
  %i = read .op(linear_0).inputs
  write h.0@2.op(mul_1).input[0] = %i
  %j = read op.q.output
  %k = call watched h.0(%j)
  %l = call watched(%j)
  %m = call watched watched(%j)
}
)";
  EXPECT_EQ(Reprint(text), text);
}

TEST(TextTest, PrintsSweepsWithEveryUseOfTheirParameters) {
  const std::string text = R"(%a = tensor(float32, [], [1.0])
%b = tensor(float32, [], [2.0])
sweep %l in [0:3], %v in [1.5, 2.0, nan], %s in ["attn", "mlp", "ln-1"], %t in [%a, %b, %a], %i in [3, 1, -1] {
  invoke "x" {
    %h = read transformer.h.$l.output
    %w = aten::mul(%h[0], %v, scale=[%t, [%i]], name=%s)
    %x = %h[:, %l]
    %y = %h[%l:, :%i, %l:%i:2]
    write transformer.h.$l.$s@1.output[%l, 0] = %x
    %z = [%v, %w, %y]
    save out = %z
  }
  invoke { }
}
sweep %l in [9223372036854775806, 9223372036854775807] {
  invoke [1] { }
}
)";
  std::string expected = text;
  expected.replace(expected.find("    %w = aten::mul(%h[0], "), 26,
                   "    %7 = %h[0]\n    %w = aten::mul(%7, ");
  EXPECT_EQ(Reprint(text), expected);
  EXPECT_THAT(Reprint("sweep %l in [10:0:-4], %m in [:3], %n in [1, 2.5, 3] { invoke [1] { } }"),
              HasSubstr("sweep %l in [10, 6, 2], %m in [0:3], %n in [1.0, 2.5, 3.0] {"));
}

TEST(TextTest, PrintsPromptsOfASweepAndPlainValues) {
  const std::string text = R"(sweep %p in [[1, 2], [3]], %s in ["a \"b\"", "c"] {
  invoke %p {
    %h = read transformer.h.0.output
    save h = %h
  }
  invoke %s no_special_tokens { }
}
invoke [1] {
  %text = "two\nlines"
  %number = int(-3)
  %real = float(0.5)
  %flag = bool(true)
  %all = {"text": %text, "number": 3, "none": none, "list": [1.5, true, "x"]}
  save all = %all
  log "label" %text
}
)";
  EXPECT_EQ(Reprint(text), text);
  EXPECT_EQ(Reprint("invoke [1] { aten::f(bool(false), int(1), dtype=bool) save x = \"t\" }"),
            Reprint("invoke [1] { %1 = bool(false) %2 = int(1) aten::f(%1, %2, dtype=bool) "
                    "%3 = \"t\" save x = %3 }"));
}

TEST(TextTest, PrintsEveryKindOfRegion) {
  const std::string text = R"(generate max_new_tokens=9
invoke [1] {
  %zero = tensor(float32, [], [0.0])
  steps [0:5] { }
  steps [3] {
    %h = read a.output
    save step = %h as float16 keep
  }
  steps [0, 2, 4] { }
  %acc, %n = steps [::2] carry %a = %zero, %b = %zero {
    %r = if %a {
      yield %b
    } else {
      %s = if %b {
        yield %a
      } else {
        yield %b
      }
      yield %s
    }
    yield %r, %a
  }
  if %acc { }
  if %n { } else {
    stop
  }
  cache as all
  cache [a, b.0] as some dtype=bfloat16 inputs
  save sum = %acc keep
}
)";
  EXPECT_EQ(Reprint(text), text);
}

TEST(TextTest, ExpressionsOfARegionsHeadComeBeforeIt) {
  EXPECT_EQ(Reprint(Inside("%1, %2 = steps [:1] carry %a = 0, %b = aten::neg(%h), { "
                           "yield aten::add(%a, 1), %b } if aten::gt(%1, 2) { log 3.0 }")),
            R"(invoke [1, 2] {
  %h = read a.output
  %4 = tensor(int64, [], [0])
  %5 = aten::neg(%h)
  %11, %12 = steps [:1] carry %a = %4, %b = %5 {
    %9 = aten::add(%a, 1)
    yield %9, %b
  }
  %13 = aten::gt(%11, 2)
  if %13 {
    %16 = tensor(float32, [], [3.0])
    log %16
  }
}
)");
}

TEST(TextTest, ParametersOfASweepMayBeNamedAgainAfterIt) {
  EXPECT_THAT(ParseStatus("sweep %l in [1] { invoke [1] { } } sweep %l in [2] { invoke [1] { } } "
                          "invoke [1] { %l = read a.output save x = %l }"),
              IsOk());
}

TEST(TextTest, RangesMayReachAsFarAsIntegersDo) {
  const absl::StatusOr<Program> program = ParseProgram(
      "sweep %l in [-9223372036854775808:9223372036854775807:9223372036854775807], "
      "%m in [9223372036854775807:-9223372036854775808:-9223372036854775808] { invoke [1] { } }");
  ASSERT_THAT(program, IsOk());
  const auto& sweep = std::get<Sweep>(program->at(2).kind);
  EXPECT_EQ(std::get<0>(sweep.parameters[0].values),
            (std::vector<int64_t>{INT64_MIN, -1, INT64_MAX - 1}));
  EXPECT_EQ(std::get<0>(sweep.parameters[1].values), (std::vector<int64_t>{INT64_MAX, -1}));
}

class WrongSyntaxTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(WrongSyntaxTest, SayingWhatWasExpected) {
  EXPECT_THAT(ParseStatus(TextOf(GetParam())), StatusIs(kInvalid, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    TextTest, WrongSyntaxTest,
    ::testing::Values(
        Refusal{"StatementOutsideAnInvoke", "!%x = read a.output",
                "outside an invoke; only constants"},
        Refusal{"UnknownHeader", "!hello",
                "expected `invoke`, `sweep`, a header (`trace`, `generate`), or a constant"},
        Refusal{"OpenInvoke", "!invoke [1] {",
                "expected a statement or `}`, but the text ends here"},
        Refusal{"NoInput", "!invoke 3 { }",
                "expected a prompt, a list of prompts, token ids, `chat`, tensors in `(`, or `{`"},
        Refusal{"EmptyInput", "!invoke [] { }", "at least one prompt or token"},
        Refusal{"MixedInput", "!invoke [1, \"a\"] { }", "expected an integer"},
        Refusal{"LateHeader", "!%c = 1.0\ngenerate max_new_tokens=3 invoke [1] { }",
                "a trace's header stands before its constants"},
        Refusal{"UnknownOption", "!generate max_tokens=3",
                "a generation has no option `max_tokens`"},
        Refusal{"OptionOfAGeneration", "!trace top_k=3", "a trace has no option `top_k`"},
        Refusal{"SecondOption", "!generate top_k=3 top_k=4", "`top_k` is given twice"},
        Refusal{"NegativeOption", "!generate top_k=-1", "from 0 to 4294967295"},
        Refusal{"FloatOption", "!generate top_k=1.5", "expected an integer"},
        Refusal{"TextOption", "!generate do_sample=1", "expected `true` or `false`"},
        Refusal{"SweepOfStatements", "!sweep %l in [1] { %h = read a.output }",
                "a sweep encloses invokes"},
        Refusal{"OpenSweep", "!sweep %l in [1] { invoke [1] { }", "expected `invoke` or `}`"},
        Refusal{"SweepInAnInvoke", "sweep %l in [1] { }", "`sweep` cannot stand inside an invoke"},
        Refusal{"SweepOfANumber", "!sweep %1 in [1] { }", "expected a name of letters"},
        Refusal{"SweepWithoutValues", "!sweep %l in [] { }", "needs at least one value"},
        Refusal{"SweepOfMixedValues", "!sweep %l in [1, \"a\"] { }", "expected a number"},
        Refusal{"EmptyRange", "!sweep %l in [3:3] { }", "this range is empty"},
        Refusal{"StandingRange", "!sweep %l in [3:9:0] { }", "a range's step is not 0"},
        Refusal{"LongRange", "!sweep %l in [-9223372036854775808:9223372036854775807] { }",
                "more than 65536 values"},
        Refusal{"LongRanges", "!sweep %a in [0:40000], %b in [40000:0:-1] { }",
                "more than 65536 values"},
        Refusal{"SecondParameter", "!sweep %l in [1], %l in [2] { }", "%l is already defined"},
        Refusal{"ParameterOfAValue", "!%l = 1 sweep %l in [1] { }", "%l is already defined"},
        Refusal{"ValueOfAParameter", "!sweep %l in [1] { invoke [1] { %l = read ids } }",
                "%l is already defined"},
        Refusal{"ParameterAsAValue", "!sweep %l in [1] { invoke [1] { save x = %l } }",
                "%l is a parameter of the sweep"},
        Refusal{"ParameterAfterItsSweep",
                "!sweep %l in [1] { invoke [1] { } } invoke [1] { aten::f(%l) }",
                "%l is not defined"},
        Refusal{"ComponentWithoutSweep", "%x = read h.$l.output",
                "`$l` is not a parameter of a sweep around this"},
        Refusal{"PartOfAComponent", "!sweep %l in [1] { invoke [1] { read h.a$l.output } }",
                "expected a module's path"},
        Refusal{"SweptSkip", "!sweep %l in [1] { invoke [1] { skip h.$l = 1 } }",
                "only in the path of a site"},
        Refusal{"SweptCall", "!sweep %l in [1] { invoke [1] { call h.$l(1) } }",
                "only in the path of a site"},
        Refusal{"TensorsThatAreNumbers", "!invoke (1) { }", "expected a value such as %x"},
        Refusal{"OpenTensors", "!%c = 1 invoke (%c { }", "expected `,` or `)`"},
        Refusal{"ChatWithoutRoles", "!invoke chat [\"Hi\"] { }", "expected `:`"},
        Refusal{"ChatAmongChats", "!invoke chat [[\"a\": \"b\"], \"c\": \"d\"] { }",
                "expected `[`"},
        Refusal{"BlobWithoutHash", "%x = blob(float32, [2], \"abc\")",
                "a blob is named by its SHA-256"},
        Refusal{"BlobOfOtherDigits",
                "%x = blob(float32, [2], "
                "\"zz00000000000000000000000000000000000000000000000000000000000000\")",
                "64 hexadecimal digits"},
        Refusal{"UnknownPoint", "%x = read a.keys", "expected a site"},
        Refusal{"OperationWithoutPoint", "%x = read a.op(mul_0)", "of the operation"},
        Refusal{"OperationWithoutName", "%x = read a.op().output", "an operation of the module"},
        Refusal{"SaveOfUnknownDType", "save x = %h as float", "`float` is not a dtype"},
        Refusal{"CacheWithoutName", "cache [a]", "expected `as`"},
        Refusal{"CacheOfNothing", "cache [] as x", "`cache as NAME`"},
        Refusal{"StepsWithoutSelection", "steps { }", "expected `[`"},
        Refusal{"StepsOfValues", "steps [%h] { }", "by a range a:b or by numbers"},
        Refusal{"StepsOfRanges", "steps [0:1, 3:4] { }", "by a range a:b or by numbers"},
        Refusal{"OpenSteps", "steps [0] {", "the text ends here"},
        Refusal{"CarryWithoutValue", "steps [:] carry %a { }", "expected `=`"},
        Refusal{"CarryOfAName", "steps [:] carry %h = %h { }", "%h is already defined"},
        Refusal{"IfWithoutBranch", "if %h else { }", "expected `{`"},
        Refusal{"ElseWithoutIf", "else { }", "expected a statement"},
        Refusal{"YieldOfNothing", "yield }", "expected a value"},
        Refusal{"ManyNamesOfOneValue", "%a, %b = read b.output",
                "`steps` or `if`, which alone yield more than one value"},
        Refusal{"ResultOfAName", "%h = if %h { yield %h } else { yield %h }",
                "%h is already defined"},
        Refusal{"NestedInvoke", "invoke [1] { }", "`invoke` cannot stand inside an invoke"},
        Refusal{"OpenText", "!invoke \"abc\n", "no closing quote"},
        Refusal{"UnknownEscape", "!invoke \"\\q\" { }", "unknown escape"},
        Refusal{"SurrogateEscape", "!invoke \"\\u{d800}\" { }", "a code point of Unicode"},
        Refusal{"BadUtf8", "!invoke \"\xff\" { }", "not valid UTF-8"},
        Refusal{"SecondDefinition", "%h = read b.output", "%h is already defined"},
        Refusal{"SecondNumber", "%1 = read b.output %1 = read c.output", "%1 is already defined"},
        Refusal{"Alias", "%x = %h", "has a name already"},
        Refusal{"NameOfDigitsAndLetters", "%1x = read b.output", "expected a value's name"},
        Refusal{"LoneValue", "%h", "expected `=` or `[`"},
        Refusal{"NoNamespace", "%x = mul(%h, 2)", "with their namespace, aten::mul"},
        Refusal{"OddOperator", "%x = aten::a:b(%h)", "expected an operator, such as aten::mul"},
        Refusal{"NoSite", "%x = read b.weight", "expected a site"},
        Refusal{"NoPoint", "%x = read transformer", "expected a site"},
        Refusal{"EmptyComponent", "%x = read a..b.output", "expected a module's path"},
        Refusal{"BadVisit", "%x = read a@b.output", "the number of a visit"},
        Refusal{"LargeVisit", "%x = read a@4294967296.output", "the number of a visit"},
        Refusal{"SkipOfTheRoot", "skip = %h", "expected a module's path"},
        Refusal{"EmptyIndex", "%x = %h[]", "expected an index between the brackets"},
        Refusal{"FloatIndex", "%x = %h[1.5]", "expected an integer, not a float"},
        Refusal{"TwoDots", "%x = %h[..]", "expected `...`"},
        Refusal{"LongInteger", "%x = aten::f(9223372036854775808)", "does not fit 64 bits"},
        Refusal{"NoExponent", "%x = aten::f(1e)", "exponent has no digits"},
        Refusal{"NumberAndLetters", "%x = aten::f(1a)", "this is not a number"},
        Refusal{"NoComma", "%x = aten::f(1 2)", "expected `,` or `)`"},
        Refusal{"OpenCall", "%x = aten::f(1", "expected `,` or `)`"},
        Refusal{"ListOfLists", "%x = aten::f([[[1]]])", "lists nest deeper than 2"},
        Refusal{"NamedItem", "%x = aten::f([a=1])", "expected a value"},
        Refusal{"TupleOfOne", "%x = (%h)", "a tuple of one is written (%a,)"},
        Refusal{"DictKey", "%x = {a: %h}", "expected a text in double quotes"},
        Refusal{"UnknownDType", "%x = tensor(float, [], [1.0])",
                "`float` is not a dtype; there are bool"},
        Refusal{"TensorOfOtherSize", "%x = tensor(float32, [3], [1.0])", "takes 12 bytes, but 4"},
        Refusal{"TensorTooLarge", "%x = tensor(float32, [4294967296, 4294967296, 4], [])",
                "too large to count"},
        Refusal{"NegativeSize", "%x = tensor(float32, [-1], [])", "has a negative size"},
        Refusal{"ElementTooLarge", "%x = tensor(uint8, [1], [256])", "does not fit uint8"},
        Refusal{"BitsTooLarge", "%x = tensor(float16, [1], [0x10000])", "does not fit float16"},
        Refusal{"ElidedTensor", "%x = tensor(float32, [3], [1.0, ...])",
                "shortened when it was printed"},
        Refusal{"UnnamedTensor", "tensor(float32, [], [1.0])", "needs a name"},
        Refusal{"NestedBackward", "backward %h { backward %h { } }", "inside another"},
        Refusal{"OpenBackward", "backward %h { %g = grad %h", "expected"},
        Refusal{"GradOfNumber", "backward %h { %g = grad 3 }", "grad %h"},
        Refusal{"GradWithoutValue", "backward %h { grad %h }", "expected `=`"},
        Refusal{"SaveOfADType", "save x = float32", "expected a value"},
        Refusal{"SaveOfNumberName", "save 3 = %h", "expected a name for the saved value"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TextTest, TheSeedsOfTheFuzzProgramsArePrograms) {
  int seeds = 0;
  for (const char* name : {"parse_text", "validate"}) {
    const std::filesystem::path folder = std::string(WEFT_SOURCE_DIR "/tests/fuzz/corpus/") + name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path());
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const absl::StatusOr<Program> program = ParseProgram(text, entry.path().filename());
      ASSERT_THAT(program, IsOk());
      EXPECT_THAT(Check(*program), IsOk()) << entry.path();
      ++seeds;
    }
  }
  EXPECT_GE(seeds, 7);
}

TEST(TextTest, NestingIsBounded) {
  std::string deep = "%h";
  for (int i = 0; i < 1000; ++i) deep = absl::StrCat("aten::neg(", deep, ")");
  EXPECT_THAT(ParseStatus(Inside("%x = " + deep)),
              StatusIs(kInvalid, HasSubstr("expressions nest deeper than 16")));
  EXPECT_THAT(ParseStatus(Inside("%x = " + std::string(100000, '('))),
              StatusIs(kInvalid, HasSubstr("nest deeper than")));
  EXPECT_THAT(ParseStatus(Inside("%x = " + std::string(100000, '['))),
              StatusIs(kInvalid, HasSubstr("nest deeper than")));
}

TEST(TextTest, NestingOfRegionsIsBounded) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "if %h {";
  EXPECT_THAT(ParseStatus(Inside(deep)),
              StatusIs(kInvalid, HasSubstr("regions nest deeper than 16")));
}

TEST(TextTest, ErrorsShowPartOfALongLine) {
  const std::string text = Inside("%x = aten::f(" + std::string(100000, '1') + ")");
  EXPECT_LT(ParseStatus(text).message().size(), 500u);
}

TEST(TextTest, TheExampleOfTheContractsPageIsAProgram) {
  std::ifstream file(WEFT_SOURCE_DIR "/proto/README.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  const size_t begin = page.find("```\n");
  ASSERT_NE(begin, std::string::npos);
  const size_t end = page.find("```", begin + 4);
  const absl::StatusOr<Program> program = ParseProgram(page.substr(begin + 4, end - begin - 4));
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(Check(*program), IsOk());
  EXPECT_EQ(program->nodes.size(), 10u);
}

TEST(TextTest, StatementsAreShortAndReadAsWritten) {
  const absl::StatusOr<Program> program = ParseProgram(R"(
    invoke "The Eiffel Tower is in the city of which is far away from here, or is it not so far?" {
      %h = read a.output
      %s = aten::mul(%h[:, -1], 3.0)
      write a.output[:, -1] = 0.5
      %t = tensor(int64, [12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    })");
  ASSERT_THAT(program, IsOk());
  EXPECT_EQ(PrintStatement(*program, 2),
            "invoke \"The Eiffel Tower is in the city of which is far away from he...\" { }");
  EXPECT_EQ(PrintStatement(*program, 4), "%h[:, -1]");
  EXPECT_EQ(PrintStatement(*program, 5), "%s = aten::mul(%h[:, -1], 3.0)");
  EXPECT_EQ(PrintStatement(*program, 7), "write a.output[:, -1] = 0.5");
  EXPECT_EQ(PrintStatement(*program, 8), "%t = tensor(int64, [12], [1, 2, 3, 4, 5, 6, 7, 8, ...])");
  EXPECT_EQ(PrintStatement(*program, 99), "");
}

TEST(TextTest, StatementsOfRegionsAreTheirHeads) {
  const absl::StatusOr<Program> program = ParseProgram(R"(
    generate "g" max_new_tokens=2
    sweep %l in [1, 5, 2, 8, 3, 9, 4, 7, 6, 11, 10, 13, 12, 15, 14, 17, 16, 19] {
      invoke [1] {
        %h = read h.$l.output
        %s, %t = steps [:%l] carry %a = %h, %b = %h { yield %b, %a }
        if %s[0] { } else { }
      }
    })");
  ASSERT_THAT(program, IsOk());
  EXPECT_EQ(PrintStatement(*program, 1), "generate \"g\" max_new_tokens=2");
  EXPECT_EQ(PrintStatement(*program, 2),
            "sweep %l in [1, 5, 2, 8, 3, 9, 4, 7, 6, 11, 10, 13, 12, 15, 14, 17, ...] { }");
  EXPECT_EQ(PrintStatement(*program, 4), "%h = read h.$l.output");
  EXPECT_EQ(PrintStatement(*program, 5), "steps [:%l] carry %a = %h, %b = %h { }");
  EXPECT_EQ(PrintStatement(*program, 6), "%a = carry 0");
  EXPECT_EQ(PrintStatement(*program, 8), "yield %b, %a");
  EXPECT_EQ(PrintStatement(*program, 10), "%t = result 1 of steps [:%l] carry %a = %h, %b = %h");
  EXPECT_EQ(PrintStatement(*program, 12), "if %s[0] { }");
  EXPECT_EQ(PrintStatement(*program, 14), "else { }");
}

TEST(TextTest, StatementsOfUncheckedProgramsArePrinted) {
  Program program;
  program.nodes.resize(12);
  program.nodes[3].kind = RegionResult{99, 1};
  program.nodes[4].kind = RegionResult{5, 1};
  program.nodes[5].kind = Steps{.initial = {9, 99}};
  program.nodes[6].kind = Read{{.module = "a.$", .op = "b c", .parameters = {{1, {7, 3}}}}};
  program.nodes[7].kind = Sweep{{{"x y", std::vector<NodeRef>{{0}}}}};
  program.nodes[8].kind =
      Operator{"aten::f", {{.value = SweepUse{8, 0}}, {.value = SweepUse{8, 9}}}};
  program.nodes[9].kind = Invoke{Invoke::Tensors{{{"a b", 99}}}};
  program.nodes[10].kind = Yield{{0, 99}};
  program.nodes[11].kind = Branch{};
  for (NodeId id = 4; id <= 12; ++id) {
    EXPECT_THAT(PrintStatement(program, id), Not(HasSubstr("\n"))) << id;
    (void)PrintProgram(program);
  }
  program.nodes[0].kind = Operator{"bad\nname", {{.value = NodeRef{7}}, {.value = NodeRef{1}}}};
  program.nodes[1].kind = Read{{.module = "a b\xff"}};
  program.nodes[2].kind = Save{"x y", 0};
  EXPECT_THAT(PrintStatement(program, 1), AllOf(HasSubstr("%7"), Not(HasSubstr("\n"))));
  EXPECT_EQ(PrintStatement(program, 2), "read \"a b\xEF\xBF\xBD\".output");
  EXPECT_EQ(PrintStatement(program, 3), "save \"x y\" = %0");
}

TEST(TextTest, LongConstantsAreElidedOnRequest) {
  const absl::StatusOr<Program> program =
      ParseProgram("%t = tensor(int64, [3], [1, 2, 3])\ninvoke [1] { }");
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(PrintProgram(*program, 2), HasSubstr("tensor(int64, [3], [1, 2, ...])"));
  EXPECT_THAT(PrintProgram(*program, 3), HasSubstr("tensor(int64, [3], [1, 2, 3])"));
}

}  // namespace
}  // namespace weft::graph
