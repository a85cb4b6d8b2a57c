#include "engine/graph/edited_program.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/graph/edit_name.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

Program Parsed(const std::string& text, const std::string& file = "program") {
  return ParseProgram(text, file).value();
}

TEST(EditNameTest, IsANameWithOrWithoutAVersion) {
  EXPECT_EQ(ParseEditName("steer").value(), (EditName{"steer", 0}));
  EXPECT_EQ(ParseEditName("a.b_c-3@12").value(), (EditName{"a.b_c-3", 12}));
  EXPECT_EQ((EditName{"steer", 2}.ToString()), "steer@2");
  EXPECT_EQ((EditName{"steer", 0}.ToString()), "steer");
  for (const char* const wrong : {"", "@2", "a b", "caf\xc3\xa9", "steer@", "steer@0", "steer@-1",
                                  "steer@+1", "steer@1@2", "steer@99999999999999999999", "../x"}) {
    EXPECT_THAT(ParseEditName(wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

/// A program with two edits, of which each has a constant and a write.
class EditedProgramTest : public ::testing::Test {
 protected:
  std::shared_ptr<const EditedProgram> Make() {
    return EditedProgram::Make(
               Parsed("invoke [1] { %h = read h.1.output save h = %h }", "mine"),
               {{"a@1", Parsed("invoke {\n write h.0.output[...] = 1.0 }", "a.weft")},
                {"b@2", Parsed("invoke {\n %x = read h.0.output\n %y = "
                               "aten::mul(%x, %x)\n write h.0.output = %y }",
                               "b.weft")}},
               {})
        .value();
  }
  /// The number of the statement whose text begins so.
  static NodeId Find(const EditedProgram& edited, const std::string& text) {
    for (NodeId id = 1; id <= edited.program().nodes.size(); ++id) {
      if (PrintStatement(edited.program(), id).find(text) != std::string::npos) return id;
    }
    ADD_FAILURE() << "no " << text << " in " << PrintProgram(edited.program());
    return kNoNode;
  }
  static Error About(NodeId node) {
    Error error;
    error.code = absl::StatusCode::kInternal;
    error.message = "broken";
    error.node = node;
    return error;
  }
};

TEST_F(EditedProgramTest, AnErrorAboutTheProgramHasItsNumber) {
  const auto edited = Make();
  EXPECT_THAT(edited->names(), ElementsAre("a@1", "b@2"));
  const NodeId save = Find(*edited, "save h");
  EXPECT_EQ(edited->Before(save), 4);
  const Error error = edited->Explain(About(save));
  EXPECT_EQ(error.node, 4);
  EXPECT_EQ(error.message, "broken");
  EXPECT_EQ(error.statement, "save h = %h");
}

TEST_F(EditedProgramTest, AnErrorAboutAnEditNamesItAndItsStatement) {
  const auto edited = Make();
  const NodeId mul = Find(*edited, "aten::mul");
  EXPECT_EQ(edited->Before(mul), kNoNode);
  Error about = About(mul);
  about.source = edited->program().at(mul).source;
  const Error error = edited->Explain(about);
  EXPECT_EQ(error.node, kNoNode);
  EXPECT_EQ(error.message, "edit `b@2`: broken");
  EXPECT_EQ(error.statement, "%y = aten::mul(%x, %x)");
  EXPECT_EQ(error.source.file, "edit b@2, b.weft");
  EXPECT_EQ(error.source.line, 3);
  EXPECT_THAT(std::string(ToStatus(error).message()),
              HasSubstr("at edit b@2, b.weft:3: %y = aten::mul(%x, %x)"));
}

TEST_F(EditedProgramTest, WhatIsAboutNoStatementStaysAsItIs) {
  const auto edited = Make();
  absl::Status limit = absl::ResourceExhaustedError("too much");
  limit.SetPayload("some/limit", absl::Cord("tokens"));
  EXPECT_EQ(edited->Explain(limit), limit);
  EXPECT_THAT(edited->Explain(absl::OkStatus()), IsOk());
  EXPECT_EQ(edited->Explain(About(1000)).node, 1000);
  // A payload that is no error's goes along.
  absl::Status status = ToStatus(About(Find(*edited, "save h")));
  status.SetPayload("some/limit", absl::Cord("tokens"));
  EXPECT_EQ(edited->Explain(status).GetPayload("some/limit"), absl::Cord("tokens"));
}

TEST_F(EditedProgramTest, AConflictNamesTheEditsStatement) {
  const auto edited =
      EditedProgram::Make(Parsed("invoke [1] { save h = read h.1.output }"),
                          {{"a@1", Parsed("invoke {\n save h = read h.0.output }", "a.weft")}}, {});
  ASSERT_THAT(edited, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("edit `a@1`"), HasSubstr("edit a@1, a.weft:2"))));
  EXPECT_EQ(FromStatus(edited.status()).node, kNoNode);
}

class CheckEditFitsTest : public ::testing::Test {
 protected:
  /// Tries an edit for a model of 64 tokens, for which `fits` says what fits. What it was tried in
  /// is in tried_.
  absl::Status Check(const std::string& edit, uint32_t tokens,
                     absl::FunctionRef<absl::Status(const Program&)> fits) {
    return CheckEditFits("e", Parsed(edit, "e.weft"), tokens, 64, {}, [&](const Program& program) {
      tried_.push_back(PrintProgram(program));
      return fits(program);
    });
  }
  static size_t TokensOf(const Program& program) {
    for (const Node& node : program.nodes) {
      const auto* invoke = std::get_if<Invoke>(&node.kind);
      if (invoke != nullptr) return std::get<Invoke::Tokens>(invoke->input).rows.at(0).size();
    }
    return 0;
  }

  std::vector<std::string> tried_;
};

TEST_F(CheckEditFitsTest, OneLengthMustDo) {
  const std::string edit = "invoke { write h.0.output[:, 20] = 1.0 }";
  std::vector<size_t> lengths;
  EXPECT_THAT(Check(edit, 0,
                    [&](const Program& program) {
                      lengths.push_back(TokensOf(program));
                      return lengths.back() > 20 ? absl::OkStatus()
                                                 : absl::InvalidArgumentError("too short");
                    }),
              IsOk());
  EXPECT_THAT(lengths, ElementsAre(16, 1, 64));
  lengths.clear();
  EXPECT_THAT(Check(edit, 30,
                    [&](const Program& program) {
                      lengths.push_back(TokensOf(program));
                      return absl::OkStatus();
                    }),
              IsOk());
  EXPECT_THAT(lengths, ElementsAre(30));
  EXPECT_THAT(Check(edit, 65, [](const Program&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 64")));
}

TEST_F(CheckEditFitsTest, AnErrorNumbersTheEditsStatements) {
  const absl::Status status = Check(
      "invoke {\n %x = read h.0.output\n write h.1.output = %x }", 0, [](const Program& program) {
        for (NodeId id = 1; id <= program.nodes.size(); ++id) {
          if (std::holds_alternative<Write>(program.at(id).kind)) {
            return StatementError(absl::StatusCode::kInvalidArgument, program, id, "no");
          }
        }
        return absl::OkStatus();
      });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("edit `e`: no"),
                                     HasSubstr("at e.weft:3: write h.1.output = %x"),
                                     HasSubstr("inputs of 16, 1 and 64 tokens"))));
  EXPECT_EQ(FromStatus(status).node, 4);
}

TEST_F(CheckEditFitsTest, WhatNoInputMendsIsToldAtOnce) {
  EXPECT_THAT(Check("invoke { write h.0.output[...] = 1.0 }", 0,
                    [](const Program&) { return absl::NotFoundError("no site"); }),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(tried_.size(), 1);
}

TEST_F(CheckEditFitsTest, StepsAreTriedInAGenerationThatHasThem) {
  const auto ok = [](const Program&) { return absl::OkStatus(); };
  ASSERT_THAT(Check("invoke { steps [3] { write h.0.output[...] = 1.0 } }", 0, ok), IsOk());
  EXPECT_THAT(tried_.back(), HasSubstr("generate max_new_tokens=5"));
  ASSERT_THAT(Check("invoke { steps [:] { write h.0.output[...] = 1.0 } }", 0, ok), IsOk());
  EXPECT_THAT(tried_.back(), HasSubstr("generate max_new_tokens=2"));
  // No longer than the model: of one token, which leaves most room for steps.
  ASSERT_THAT(Check("invoke { steps [1000] { write h.0.output[...] = 1.0 } }", 0, ok), IsOk());
  EXPECT_THAT(tried_.back(), HasSubstr("generate max_new_tokens=64"));
}

}  // namespace
}  // namespace weft::graph
