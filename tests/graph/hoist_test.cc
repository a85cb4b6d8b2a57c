#include "engine/graph/hoist.h"

#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/program_equality.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::weft::testing::IsOk;

Node At(NodeId parent, decltype(Node::kind) kind) {
  Node node;
  node.parent = parent;
  node.kind = std::move(kind);
  return node;
}

/// Two invokes that each add and save a constant of `elements` zeros, the same bytes.
Program WithConstants(int64_t elements) {
  const HostTensor zeros = HostTensor::Make(DType::kF32, {elements},
                                            std::string(static_cast<size_t>(elements) * 4, '\0'))
                               .value();
  Program program;
  program.nodes.push_back(At(kNoNode, Trace()));
  for (int i = 0; i < 2; ++i) {
    program.nodes.push_back(At(1, Invoke{Invoke::Tokens{{{1}}}}));
    const auto invoke = static_cast<NodeId>(program.nodes.size());
    program.nodes.push_back(At(invoke, Constant{zeros}));
    program.nodes.push_back(At(invoke, Save{i == 0 ? "a" : "b", invoke + 1}));
  }
  return program;
}

TEST(HoistTest, ALargeConstantOfTwoInvokesStandsOnceAtTheHead) {
  Program program = WithConstants(1024);
  HoistConstants(&program);
  EXPECT_THAT(Check(program), IsOk());
  ASSERT_EQ(program.nodes.size(), 6);
  EXPECT_TRUE(std::holds_alternative<Constant>(program.at(2).kind));
  EXPECT_EQ(program.at(2).parent, 1);
  EXPECT_EQ(std::get<Save>(program.at(4).kind).value, 2);
  EXPECT_EQ(std::get<Save>(program.at(6).kind).value, 2);
}

TEST(HoistTest, SmallOnesStayWhereTheyAreUsed) {
  Program program = WithConstants(8);
  const std::string before = PrintProgram(program);
  HoistConstants(&program);
  EXPECT_EQ(PrintProgram(program), before);
}

}  // namespace
}  // namespace weft::graph
