#include "tests/support/program_equality.h"

#include <string>
#include <utility>

#include "engine/graph/text.h"
#include "gtest/gtest.h"

namespace weft::graph {
namespace {

std::string Difference(const std::string& a, const std::string& b) {
  return FirstDifference(ParseProgram(a).value(), ParseProgram(b).value());
}

TEST(FirstDifferenceTest, IsEmptyForTheSameProgramElsewhere) {
  EXPECT_EQ(Difference("invoke [1] { %a = read a.output }", "\ninvoke [1] {\n%a = read a.output }"),
            "");
  EXPECT_EQ(Difference("%a = tensor(float32, [1], [nan])", "%a = tensor(float32, [1], [nan])"), "");
}

TEST(FirstDifferenceTest, FindsWhatDiffersInOneStatement) {
  const std::pair<const char*, const char*> pairs[] = {
      {"read b.output", "read b.input"},
      {"read b.output", "read b@1.output"},
      {"%h[1:2]", "%h[1:2:1]"},
      {"%h[1]", "%h[2]"},
      {"%h[none]", "%h[...]"},
      {"%h[\"a\"]", "%h[\"b\"]"},
      {"%h[%g]", "%h[%h]"},
      {"aten::f(1)", "aten::f(1.0)"},
      {"aten::f(0.0)", "aten::f(-0.0)"},
      {"aten::f(1)", "aten::f(x=1)"},
      {"aten::f([1])", "aten::f([2])"},
      {"aten::f(true)", "aten::f(false)"},
      {"aten::f(int8)", "aten::f(uint8)"},
      {"aten::f(%h)", "aten::f(%g)"},
      {"aten::f(1)", "aten::g(1)"},
      {"%x = [%h]", "%x = (%h,)"},
      {"%x = tensor(int8, [1], [1])", "%x = tensor(int8, [1], [2])"},
      {"%x = tensor(float32, [], [0.0])", "%x = tensor(float32, [], [-0.0])"},
      {"%x = tensor(int8, [2, 1], [1, 2])", "%x = tensor(int8, [1, 2], [1, 2])"},
      {"%x = param a", "%x = param b"},
      {"call a(%h)", "call b(%h)"},
      {"write a.output[0] = %h", "write a.output[1] = %h"},
      {"write a.output = %h", "write a.output = %g"},
      {"%h[0] = %g", "%h[1] = %g"},
      {"skip a = %h", "skip a@1 = %h"},
      {"save a = %h", "save b = %h"},
      {"log %h", "log \"a\" %h"},
  };
  const std::string before = "invoke [1] { %h = read a.output %g = read b.output ";
  for (const auto& [a, b] : pairs) {
    EXPECT_EQ(Difference(before + a + "}", before + b + "}"), "node 5: value") << a << " | " << b;
  }
}

TEST(FirstDifferenceTest, FindsOtherNamesKindsInputsAndLengths) {
  EXPECT_EQ(Difference("invoke [1] { %a = read a.output }", "invoke [1] { %b = read a.output }"),
            "node 3: name");
  EXPECT_EQ(Difference("invoke [1] { %a = read a.output }", "invoke [1] { %a = param a }"),
            "node 3: kind");
  EXPECT_EQ(Difference("invoke [1] { }", "invoke [2] { }"), "node 2: value");
  EXPECT_EQ(Difference("invoke \"a\" { }", "invoke \"a\" no_special_tokens { }"), "node 2: value");
  EXPECT_EQ(Difference("invoke [1] { stop }", "invoke [1] { }"), "3 nodes, not 2");
}

}  // namespace
}  // namespace weft::graph
