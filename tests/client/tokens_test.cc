#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "tests/client/recorder_fixture.h"

namespace weft::client_test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class TokensTest : public RecorderTest {
 protected:
  std::string Padded(absl::FunctionRef<void()> body) {
    return Text(model_.Record({"one", "longer"}, body));
  }
  static std::string PrintedPadded(const std::string& statements) {
    return Printed("invoke [\"one\", \"longer\"] {\n" + statements + "\n}\n");
  }
};

TEST_F(TokensTest, IsAnIndexWhereNoRowHasPads) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h.token(0).save("first");
              h.token(-1) *= 2.0;
              h.token({0, -1}).save("ends");
              h.token(-2, None).save("tail");
              h.token(Slice(1, -1)).save("middle");
              model_["h.1"].output().token(0) = 0.0;
            }),
            PrintedInvoke(R"(
              %h = read h.0.output
              %1 = %h[:, 0]
              save first = %1
              %2 = %h[:, -1]
              %3 = aten::mul(%2, 2.0)
              %h[:, -1] = %3
              %ends = tensor(int64, [2], [0, -1])
              %5 = %h[:, %ends]
              save ends = %5
              %tail = tensor(int64, [2], [-2, -1])
              %7 = %h[:, %tail]
              save tail = %7
              %8 = %h[:, 1:-1]
              save middle = %8
              %9 = 0.0
              write h.1.output[:, 0] = %9)"));
  // Rows of one length, too.
  EXPECT_THAT(
      Text(model_.Record({{1, 2}, {3, 4}}, [&] { model_["h.0"].output().token(1).save(); })),
      HasSubstr("[:, 1]"));
}

TEST_F(TokensTest, FindsRealTokensByTheMask) {
  EXPECT_EQ(Padded([&] {
              Var h = model_["h.0"].output();
              h.token(1).save("second");
              h.token(-1).save("last");
            }),
            PrintedPadded(R"(
              %h = read h.0.output
              %mask = read mask
              %start = aten::argmax(%mask, 1)
              %count = aten::sum(%mask, [1])
              %ones = aten::ones_like(%start)
              %sums = aten::cumsum(%ones, 0)
              %row = aten::sub(%sums, 1)
              %known = aten::gt(%count, 1)
              %place = aten::add(%start, 1)
              %token = aten::where(%known, %place, 1099511627776)
              %second = %h[%row, %token]
              save second = %second
              %back = aten::add(%count, -1)
              %known2 = aten::ge(%back, 0)
              %place2 = aten::add(%start, %back)
              %token2 = aten::where(%known2, %place2, 1099511627776)
              %last = %h[%row, %token2]
              save last = %last)"));
}

TEST_F(TokensTest, WritesRealTokensToTheSite) {
  EXPECT_THAT(Padded([&] { model_["h.0"].output().token(0) = 0.0; }),
              HasSubstr("write h.0.output[%"));
  EXPECT_THAT(Padded([&] {
                Var h = model_["h.0"].output();
                h.token(0) *= 2.0;
              }),
              ContainsRegex(R"(
  %[0-9]+\[%[0-9]+, %[0-9]+\] = %)"));
}

TEST_F(TokensTest, WhatIsWrittenToATokensRowReachesTheSite) {
  // Though the row is a copy.
  EXPECT_THAT(Padded([&] {
                Var row = model_["h.0"].output().token(0);
                row[{Slice(), 3}] = 0.0;
              }),
              ContainsRegex(R"(%[0-9]+\[:, 3\] = %[0-9]+
  write h\.0\.output\[%[0-9]+, %[0-9]+\] = %)"));
  EXPECT_THAT(Padded([&] {
                Var row = model_["h.0"].output().token(0);
                Var flat = row.view({-1});
                flat += 1;
              }),
              HasSubstr("write h.0.output[%"));
}

TEST_F(TokensTest, ReadsTheMaskOfEachStepAndBeforeAnIf) {
  const std::string text = TextOf([&](Session& session) {
    session.Generate({"one", "longer"}, {.max_new_tokens = 2}, [&](Tracer& trace) {
      Var h = model_["h.0"].output();
      If(h.any(), [&] { h.token(0).save("a"); });
      h.token(0).save("b");
      trace.all([&] { model_["h.0"].output().token(-1).save("c"); });
    });
  });
  size_t reads = 0;
  for (size_t at = text.find("read mask"); at != std::string::npos;
       at = text.find("read mask", at + 1)) {
    ++reads;
  }
  EXPECT_EQ(reads, 2u) << text;
  EXPECT_LT(text.find("read mask"), text.find("if %")) << text;
}

TEST_F(TokensTest, SweepsOverTokens) {
  const auto swept = [&](const Input& input, const Values& tokens) {
    return Text(model_.Record([&](Tracer& trace) {
      trace.sweep(tokens, [&](Param token) {
        trace.Invoke(input, [&] { model_["h.0"].output().token(token).save(); });
      });
    }));
  };
  EXPECT_THAT(swept("hi", Range(-2, 2)), HasSubstr("[:, %p0]"));
  EXPECT_THAT(swept({"one", "longer"}, Range(2)), ContainsRegex(R"(aten::add\(%[0-9]+, %p0\))"));
  EXPECT_THAT(swept({"one", "longer"}, Range(-2, 2)), HasSubstr("counts from one side"));
}

TEST_F(TokensTest, RefusesWhatDependsOnTheRow) {
  EXPECT_THAT(Padded([&] { model_["h.0"].output().token(1, -1).save(); }),
              HasSubstr("different numbers of tokens"));
  EXPECT_THAT(Text(model_.Record([&](Tracer& trace) {
                Var h;
                trace.Invoke("a", [&] { h = model_["h.0"].output(); });
                trace.Invoke("b", [&] { h.token(0).save(); });
              })),
              HasSubstr("the invoke that it stands in"));
}

}  // namespace
}  // namespace weft::client_test
