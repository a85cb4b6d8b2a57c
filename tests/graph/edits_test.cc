#include "engine/graph/edits.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
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

/// The text of `program` with the edits applied, after it passed its check; or the error.
std::string Applied(const std::string& program, const std::vector<std::string>& edits,
                    const ProgramLimits& limits = {}) {
  const absl::StatusOr<Program> target = ParseProgram(program);
  if (!target.ok()) return std::string(target.status().message());
  std::vector<Program> parsed;
  for (const std::string& edit : edits) {
    absl::StatusOr<Program> next = ParseProgram(edit, "edit.weft");
    if (!next.ok()) return std::string(next.status().message());
    parsed.push_back(*std::move(next));
  }
  std::vector<Edit> stored;
  for (size_t i = 0; i < parsed.size(); ++i) {
    stored.push_back({absl::StrCat("e", i + 1), &parsed[i]});
  }
  const absl::StatusOr<Program> applied = ApplyEdits(*target, stored, limits);
  if (!applied.ok()) return std::string(applied.status().message());
  const absl::Status check = Check(*applied);
  return check.ok() ? PrintProgram(*applied) : "DOES NOT PASS " + std::string(check.message());
}

std::string Printed(const std::string& program) {
  const absl::StatusOr<Program> parsed = ParseProgram(program);
  return parsed.ok() ? PrintProgram(*parsed) : std::string(parsed.status().message());
}

absl::Status CheckText(const std::string& edit) {
  const absl::StatusOr<Program> parsed = ParseProgram(edit);
  return parsed.ok() ? CheckEdit("mine", *parsed) : parsed.status();
}

TEST(EditsTest, StatementsStandFirstInEachInvokeAndConstantsOnce) {
  EXPECT_EQ(Applied(R"(
                invoke [1] { %h = read h.1.output  save a = %h }
                invoke [2] { %k = read h.1.output  save b = %k })",
                    {"invoke { %x = read h.0.output  write h.0.output = aten::mul(%x, %x)  write "
                     "h.0.output[:, 0] = 0.5 }"}),
            Printed(R"(
                %9 = 0.5
                invoke [1] {
                  %x = read h.0.output
                  %1 = aten::mul(%x, %x)
                  write h.0.output = %1
                  write h.0.output[:, 0] = %9
                  %h = read h.1.output
                  save a = %h
                }
                invoke [2] {
                  %x_2 = read h.0.output
                  %2 = aten::mul(%x_2, %x_2)
                  write h.0.output = %2
                  write h.0.output[:, 0] = %9
                  %k = read h.1.output
                  save b = %k
                })"));
}

TEST(EditsTest, AConstantThatIsChangedInPlaceIsEachInvokesOwn) {
  EXPECT_EQ(
      Applied("invoke [1] { } invoke [2] { }",
              {"%c = 1.0 %d = 2.0 invoke { aten::add_(%c, %d)  write h.0.output[...] = %c }"}),
      Printed(R"(
                %d = 2.0
                invoke [1] { %c = 1.0  aten::add_(%c, %d)  write h.0.output[...] = %c }
                invoke [2] { %c_2 = 1.0  aten::add_(%c_2, %d)  write h.0.output[...] = %c_2 })"));
}

TEST(EditsTest, WhatStepsCarryIsAValueOfItsOwnWhereItChangesInPlace) {
  EXPECT_EQ(Applied("invoke [1] { save h = read h.0.output }", {R"(invoke {
                      %h = read h.0.output
                      %s = steps [:] carry %a = %h { aten::mul_(%a, 0.0)  yield %a }
                      aten::add_(%s, 1)
                      write h.1.input = %s
                    })"}),
            Printed(R"(
              invoke [1] {
                %h = read h.0.output
                %a = aten::clone(%h)
                aten::mul_(%a, 0.0)
                %s = aten::clone(%a)
                aten::add_(%s, 1)
                write h.1.input = %s
                save h = read h.0.output
              })"));
}

TEST(EditsTest, WhatIsSavedInABranchOfStepsIsAListToo) {
  EXPECT_THAT(Applied("invoke [1] { }",
                      {"invoke { steps [:] { %h = read h.0.output  if true { save x = %h } } }"}),
              HasSubstr("%7 = [%h]\n    save x = %7"));
}

TEST(EditsTest, NamesOfASweepAreTaken) {
  EXPECT_THAT(Applied("sweep %l in [0, 1] { invoke [1] { save x = read h.$l.output } }",
                      {"invoke { %l = read h.0.output  write h.0.output = aten::neg(%l) }"}),
              HasSubstr("%l_2 = read h.0.output"));
}

TEST(EditsTest, WhatIsNoTraceIsRefused) {
  Program program;
  Node node;
  node.kind = Invoke{Invoke::AllRows{}};
  program.nodes.push_back(node);
  node.kind = Steps{};
  node.parent = 1;
  program.nodes.push_back(node);
  EXPECT_THAT(CheckEdit("mine", program),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("begins with a trace")));
}

TEST(EditsTest, StackInOrder) {
  EXPECT_EQ(Applied("invoke [1] { %a = read h.1.output  save a = %a }",
                    {"invoke { %a = read h.0.output  write h.0.mlp.output = %a }",
                     "invoke { %a = read h.0.input  write h.0.mlp.output = %a }"}),
            Printed(R"(invoke [1] {
                %a_2 = read h.0.output
                write h.0.mlp.output = %a_2
                %a_3 = read h.0.input
                write h.0.mlp.output = %a_3
                %a = read h.1.output
                save a = %a
              })"));
}

TEST(EditsTest, AreNotWrittenIntoAnInvokeOfAllRows) {
  EXPECT_EQ(Applied("invoke [1] { } invoke { save a = read h.1.output }",
                    {"invoke { skip h.0.mlp = read h.0.input }"}),
            Printed("invoke [1] { skip h.0.mlp = read h.0.input } invoke { save a = read "
                    "h.1.output }"));
  EXPECT_THAT(Applied("invoke { save a = read h.1.output } invoke [1] { }",
                      {"invoke { skip h.0.mlp = read h.0.input }"}),
              AllOf(HasSubstr("see these before edit `e1`"),
                    HasSubstr("after the invokes whose rows it sees")));
}

TEST(EditsTest, GoIntoEveryTraceOfASessionThatCallsTheSameRoot) {
  EXPECT_EQ(Applied(R"(
                trace invoke [1] { save a = read h.1.output }
                trace root=h.1 invoke [1] { save b = read h.1.output }
                trace invoke [2] { save c = read h.1.output })",
                    {"invoke { write h.0.output[...] = 2.0 }"}),
            Applied(R"(
                trace %1 = 2.0
                invoke [1] { write h.0.output[...] = %1  save a = read h.1.output }
                trace root=h.1
                invoke [1] { save b = read h.1.output }
                trace %2 = 2.0
                invoke [2] { write h.0.output[...] = %2  save c = read h.1.output })",
                    {}));
}

TEST(EditsTest, UsesOfSweepsAndRegionsAreRenumbered) {
  EXPECT_EQ(Applied(R"(
                sweep %l in [0:3] {
                  invoke [1] { %x = read h.$l.output  save a = %x }
                })",
                    {"invoke { write h.0.output[...] = 2.0 }"}),
            Applied(R"(
                %1 = 2.0
                sweep %l in [0:3] {
                  invoke [1] { write h.0.output[...] = %1  %x = read h.$l.output  save a = %x }
                })",
                    {}));
}

TEST(EditsTest, ActInTheStepsThatTheyName) {
  const char* const edit = R"(invoke {
      %zero = 0.0
      %sum = steps [:] carry %acc = %zero {
        %x = read h.0.output
        write h.1.output = %x
        %n = aten::sum(%x)
        %next = aten::add(%acc, %n)
        yield %next
      }
      write h.0.mlp.output[:, 0] = %sum
    })";
  EXPECT_EQ(
      Applied("generate max_new_tokens=4 invoke [1] { %r = read result  save r = %r }", {edit}),
      Applied(R"(generate max_new_tokens=4
                %zero = 0.0
                invoke [1] {
                  %sum = steps [:] carry %acc = %zero {
                    %x = read h.0.output
                    write h.1.output = %x
                    %n = aten::sum(%x)
                    %next = aten::add(%acc, %n)
                    yield %next
                  }
                  write h.0.mlp.output[:, 0] = %sum
                  %r = read result
                  save r = %r
                })",
              {}));
  // A plain trace has one step, which is among them.
  EXPECT_EQ(Applied("invoke [1] { %r = read result  save r = %r }", {edit}), Printed(R"(
                %zero = 0.0
                invoke [1] {
                  %x = read h.0.output
                  write h.1.output = %x
                  %n = aten::sum(%x)
                  %next = aten::add(%zero, %n)
                  write h.0.mlp.output[:, 0] = %next
                  %r = read result
                  save r = %r
                })"));
}

TEST(EditsTest, StepsThatAPlainTraceDoesNotHaveAreLeftOut) {
  const auto edit = [](const std::string& steps) {
    return absl::StrCat("invoke { %z = 0.0  %s = steps ", steps,
                        " carry %a = %z { write h.0.output[...] = %a  yield %a }  "
                        "write h.1.output[...] = %s }");
  };
  const std::string plain = "invoke [1] { %r = read result  save r = %r }";
  const std::string left_out = Printed(R"(
      %z = 0.0
      invoke [1] { write h.1.output[...] = %z  %r = read result  save r = %r })");
  for (const char* steps : {"[1:]", "[2, 3]", "[2:8:3]"}) {
    EXPECT_EQ(Applied(plain, {edit(steps)}), left_out) << steps;
  }
  for (const char* steps : {"[:]", "[0, 3]", "[::2]", "[0:8]"}) {
    EXPECT_THAT(Applied(plain, {edit(steps)}), HasSubstr("write h.0.output")) << steps;
  }
}

TEST(EditsTest, SavesInStepsAreListsInAPlainTraceToo) {
  EXPECT_EQ(Applied("invoke [1] { }", {"invoke { steps [:] { save x = read h.0.output } }"}),
            Printed("invoke [1] { %1 = read h.0.output  %2 = [%1]  save x = %2 }"));
  EXPECT_THAT(Applied("invoke [1] { }", {"invoke { steps [1:] { save x = read h.0.output } }"}),
              AllOf(HasSubstr("edit `e1`"), HasSubstr("`x` would be saved in steps")));
}

TEST(EditsTest, SaveWhereOneInvokeDoes) {
  const std::string edit = "invoke { save acts = read h.0.output }";
  EXPECT_THAT(Applied("invoke [1] { }", {edit}), HasSubstr("save acts ="));
  EXPECT_THAT(Applied("invoke [1] { } invoke [2] { }", {edit}),
              AllOf(HasSubstr("edit `e1`"), HasSubstr("save `acts` in each of 2 invokes")));
  EXPECT_THAT(Applied("invoke [1] { save acts = read h.1.output }", {edit}),
              HasSubstr("the name `acts` is saved by the program as well"));
  EXPECT_THAT(Applied("invoke [1] { }", {edit, edit}),
              HasSubstr("the name `acts` is saved by edit `e1` as well"));
}

TEST(EditsTest, ErrorsNameTheEditAndItsLine) {
  const Program edit = ParseProgram("invoke {\n  %x = read h.0.output\n}", "mine.weft").value();
  const Program program = ParseProgram("invoke [1] { }").value();
  const Program applied = ApplyEdits(program, {{"probe", &edit}}).value();
  EXPECT_EQ(applied.at(3).source.file, "edit probe, mine.weft");
  EXPECT_EQ(applied.at(3).source.line, 2);
}

TEST(EditsTest, WhatIsNoEditIsRefused) {
  const auto refused = [](const std::string& why) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    AllOf(HasSubstr("edit `mine`"), HasSubstr(why)));
  };
  EXPECT_THAT(CheckText("invoke { write h.0.output[...] = 1.0 }"), IsOk());
  EXPECT_THAT(CheckText("invoke [1] { }"), refused("no input of its own"));
  EXPECT_THAT(CheckText("invoke { } invoke { }"), refused("one `invoke { }`"));
  EXPECT_THAT(CheckText("trace invoke { } trace invoke { }"), refused("one trace"));
  EXPECT_THAT(CheckText("%x = 1.0"), refused("no `invoke { }`"));
  EXPECT_THAT(CheckText("invoke { stop }"), refused("a stop in an edit"));
  EXPECT_THAT(CheckText("invoke { %h = read h.0.output  call watched h.1(%h) }"),
              refused("a watched call in an edit"));
  EXPECT_THAT(CheckText("generate max_new_tokens=2 invoke { }"), refused("no generation"));
  EXPECT_THAT(CheckText("trace adapter=\"a\" invoke { }"), refused("chooses no adapter"));
  EXPECT_THAT(CheckText("sweep %l in [0:2] { invoke { } }"), refused("no sweep"));
  EXPECT_THAT(CheckText("invoke { save x = read h.0.output  save x = read h.1.output }"),
              refused("`x` is already saved"));
}

TEST(EditsTest, CopiesAreBounded) {
  std::string many;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&many, "invoke [1] { }\n");
  std::string edit = "invoke {";
  for (int i = 0; i < 200; ++i) absl::StrAppend(&edit, " write h.0.output[...] = 1.0");
  edit += "}";
  EXPECT_THAT(Applied(many, {edit}), HasSubstr("more than 16384 nodes"));
  // Few statements that are long.
  const std::string text =
      absl::StrCat("invoke { %x = read h.0.output  aten::gelu(%x, approximate=\"",
                   std::string(100'000, 'a'), "\") }");
  EXPECT_THAT(Applied(many, {text}), HasSubstr("bytes"));
}

TEST(EditsTest, WithoutEditsAProgramIsAsItWas) {
  const std::string program = "invoke [1] { %x = read h.0.output  save x = %x }";
  EXPECT_EQ(Applied(program, {}), Printed(program));
}

}  // namespace
}  // namespace weft::graph
