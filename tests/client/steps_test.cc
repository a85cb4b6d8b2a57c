#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <stdexcept>
#include <string>

#include "tests/client/recorder_fixture.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class StepsTest : public RecorderTest {
 protected:
  /// A generation of at most four tokens.
  std::string Generated(absl::FunctionRef<void(Tracer&)> body) {
    return TextOf([&](Session& session) { session.Generate("hi", {.max_new_tokens = 4}, body); });
  }
  static std::string PrintedGeneration(const std::string& statements) {
    return Printed("generate max_new_tokens=4\ninvoke \"hi\" {\n" + statements + "\n}\n");
  }
};

TEST_F(StepsTest, RecordsTheOptionsOfAGeneration) {
  EXPECT_EQ(TextOf([&](Session& session) {
              session.Generate("hi",
                               {.max_new_tokens = 8,
                                .min_new_tokens = 2,
                                .do_sample = true,
                                .temperature = 0.7,
                                .top_k = 5,
                                .eos_token_ids = {3},
                                .stop_strings = {"."}},
                               [&] { model_.result().save("ids"); });
            }),
            Printed(R"(
              generate max_new_tokens=8 min_new_tokens=2 do_sample=true temperature=0.7 top_k=5
                eos_token_ids=[3] stop_strings=["."]
              invoke "hi" {
                %1 = read result
                save ids = %1
              })"));
  EXPECT_THAT(TextOf([&](Session& session) { session.Generate("hi", {}, [] {}); }),
              HasSubstr("at least one token"));
}

TEST_F(StepsTest, RecordsStatementsOfSteps) {
  EXPECT_EQ(Generated([&](Tracer& trace) {
              Var before = model_["h.0"].output();
              trace.steps(Slice(1, None, 2), [&] { (model_["h.0"].output() + before).save("a"); });
              trace.steps({2, 0, 2}, [&] { model_["h.1"].output() = 0.0; });
              trace.all([&] { model_["lm_head"].output().save({.name = "b", .dtype = kFloat16}); });
            }),
            PrintedGeneration(R"(
              %1 = read h.0.output
              steps [1::2] {
                %2 = read h.0.output
                %3 = aten::add(%2, %1)
                save a = %3
              }
              steps [0, 2] {
                write h.1.output[...] = 0.0
              }
              steps [:] {
                %4 = read lm_head.output
                save b = %4 as float16
              })"));
}

TEST_F(StepsTest, CarriesAValueFromStepToStep) {
  EXPECT_EQ(Generated([&](Tracer& trace) {
              Carry total(0.0);
              Var before = total;
              trace.all([&] {
                total = total + model_["h.0"].output().sum();
                Log(total, "so far");
              });
              total.save("total");
              before.save("before");
            }),
            PrintedGeneration(R"(
              %zero = 0.0
              %result = steps [:] carry %total = %zero {
                %h = read h.0.output
                %sum = aten::sum(%h)
                %next = aten::add(%total, %sum)
                log "so far" %next
                yield %next
              }
              save total = %result
              save before = %zero)"));
}

TEST_F(StepsTest, CarriesOnlyWhatTheStepsUse) {
  const std::string text = Generated([&](Tracer& trace) {
    Carry used(0.0), unused(1.0), set(2.0);
    trace.steps(Slice(0, 2), [&] { model_["h.0"].output() *= used; });
    trace.steps(Slice(2, 4), [&] { set = model_["h.0"].output().sum(); });
    (used + unused + set).save("all");
  });
  // One each.
  EXPECT_THAT(text, AllOf(ContainsRegex(R"(steps \[0:2\] carry %[0-9]+ = %[0-9]+ \{)"),
                          ContainsRegex(R"(steps \[2:4\] carry %[0-9]+ = %[0-9]+ \{)")));
}

TEST_F(StepsTest, ChoosesBetweenStatements) {
  EXPECT_EQ(Text(model_.Record([&](Tracer& trace) {
              trace.Invoke("hi", [&] {
                Var h = model_["h.0"].output();
                If(h.sum() > 0, [&] { model_["h.1"].output() = h; }).Else([&] { trace.stop(); });
                If(h.any(), [&] { h.save("h"); });
              });
            })),
            PrintedInvoke(R"(
              %h = read h.0.output
              %sum = aten::sum(%h)
              %c = aten::gt(%sum, 0)
              if %c {
                write h.1.output = %h
              } else {
                stop
              }
              %any = aten::any(%h)
              if %any {
                save h = %h
              })"));
}

TEST_F(StepsTest, ChoosesBetweenValues) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              Var chosen = If(
                  h.any(), [&] { return h * 2; }, [&] { return h; });
              chosen.save("chosen");
              auto [a, b] = If(
                  h.all(), [&] { return std::pair(h, h + 1); },
                  [&] { return std::pair(h + 2, h); });
              b.save("b");
            }),
            PrintedInvoke(R"(
              %h = read h.0.output
              %any = aten::any(%h)
              %chosen = if %any {
                %double = aten::mul(%h, 2)
                yield %double
              } else {
                yield %h
              }
              save chosen = %chosen
              %all = aten::all(%h)
              %a, %b = if %all {
                %one = aten::add(%h, 1)
                yield %h, %one
              } else {
                %two = aten::add(%h, 2)
                yield %two, %h
              }
              save b = %b)"));
}

TEST_F(StepsTest, ACarryIsSetByOneSideOfAnIf) {
  EXPECT_EQ(Generated([&](Tracer& trace) {
              Carry count(0);
              trace.all([&] { If(model_["h.0"].output().any(), [&] { count += 1; }); });
              count.save("count");
            }),
            PrintedGeneration(R"(
              %zero = 0
              %result = steps [:] carry %count = %zero {
                %h = read h.0.output
                %any = aten::any(%h)
                %chosen = if %any {
                  %more = aten::add(%count, 1)
                  yield %more
                } else {
                  yield %count
                }
                yield %chosen
              }
              save count = %result)"));
}

TEST_F(StepsTest, BothSidesOfAnIfMaySaveOneName) {
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                If(h.any(), [&] { h.save("x"); }).Else([&] { (h * 2).save("x"); });
              }),
              Not(HasSubstr("ERROR")));
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                If(h.any(), [&] { h.save("x"); });
                h.save("x");
              }),
              HasSubstr("was saved before"));
}

TEST_F(StepsTest, RecordsABlockForEachStep) {
  EXPECT_EQ(Generated([&](Tracer& trace) {
              trace.each_step(Slice(2, None),
                              [&](int64_t step) { model_["h"][step - 2].output().save(); });
            }),
            PrintedGeneration(R"(
              steps [2] {
                %1 = read h.0.output
                save save0 = %1
              }
              steps [3] {
                %2 = read h.1.output
                save save1 = %2
              })"));
}

TEST_F(StepsTest, AStepHasANumber) {
  EXPECT_EQ(Generated([&](Tracer& trace) {
              trace.steps(Slice(1, None, 2), [&](Step& step) {
                Log(step.number());
                (step.number() > 2).save("late");
              });
            }),
            PrintedGeneration(R"(
              %first = 1
              steps [1::2] carry %number = %first {
                log %number
                %late = aten::gt(%number, 2)
                save late = %late
                %next = aten::add(%number, 2)
                yield %next
              })"));
}

// Misuse.

TEST_F(StepsTest, RefusesAValueOutsideOfWhereItIs) {
  EXPECT_THAT(
      Generated([&](Tracer& trace) {
        Var h;
        trace.all([&] { h = model_["h.0"].output(); });
        h.save();
      }),
      AllOf(HasSubstr("a value of `steps`"), HasSubstr("weft::Carry"), HasSubstr("steps_test.cc")));
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output(), inside;
                If(h.any(), [&] { inside = h * 2; });
                inside.save();
              }),
              HasSubstr("one side of an If"));
}

TEST_F(StepsTest, RefusesStepsThatThereCannotBe) {
  EXPECT_THAT(Generated([](Tracer& trace) { trace.steps(-1, [] {}); }), HasSubstr("no step -1"));
  EXPECT_THAT(Generated([](Tracer& trace) { trace.steps(Slice(None, -1), [] {}); }),
              HasSubstr("counted from the first"));
  EXPECT_THAT(Generated([](Tracer& trace) { trace.steps(Slice(0, 2, -1), [] {}); }),
              HasSubstr("counted from the first"));
  EXPECT_THAT(Generated([](Tracer& trace) { trace.all([&] { trace.all([] {}); }); }),
              HasSubstr("inside other `steps`"));
  EXPECT_THAT(Generated([](Tracer& trace) { trace.steps({}, [] {}); }), HasSubstr("no step"));
}

TEST_F(StepsTest, RefusesToChangeAValueFromOutside) {
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                If(h.any(), [&] { h *= 2; });
              }),
              HasSubstr("write to its site"));
  EXPECT_THAT(Generated([&](Tracer& trace) {
                Var h = model_["h.0"].output();
                trace.all([&] { h[0] = 0.0; });
              }),
              HasSubstr("is not changed inside"));
}

TEST_F(StepsTest, RefusesRegionsWhereTheyCannotStand) {
  EXPECT_THAT(
      Text(model_.Record([](Tracer& trace) { trace.Invoke("hi", [&] { trace.all([] {}); }); })),
      HasSubstr("stand in a generation"));
  EXPECT_THAT(Generated([&](Tracer& trace) {
                If(model_["h.0"].output().any(), [&] { trace.all([] {}); });
              }),
              HasSubstr("not inside of an If"));
  EXPECT_THAT(Generated([&](Tracer& trace) {
                trace.all([&] { model_["h.0"].output().sum().backward([] {}); });
              }),
              HasSubstr("keeps nothing to go backwards through"));
  EXPECT_THAT(
      Generated([&](Tracer& trace) { If(model_["h.0"].output().any(), [&] { trace.cache(); }); }),
      HasSubstr("a cache stands inside"));
}

TEST_F(StepsTest, RefusesStatementsBetweenAnIfAndItsEnd) {
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                auto&& kept = If(h.any(), [] {});
                h.save();
                kept.Else([] {});
              }),
              HasSubstr("between an If and its end"));
}

TEST_F(StepsTest, RefusesSidesThatGiveDifferentNumbersOfValues) {
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                If(
                    h.any(),
                    [&] {
                      return std::vector<Var>{h, h};
                    },
                    [&] { return std::vector<Var>{h}; });
              }),
              HasSubstr("gives 2 values and the other 1"));
}

TEST_F(StepsTest, SurvivesExceptionsThatLeaveRegions) {
  EXPECT_THAT(Generated([&](Tracer& trace) {
                Var h = model_["h.0"].output();
                for (int i = 0; i < 2; ++i) {
                  try {
                    trace.all([&] {
                      If(model_["h.0"].output().any(), [&] {
                        if (i == 0) throw std::runtime_error("mine");
                      });
                    });
                  } catch (const std::runtime_error&) {
                  }
                }
                h.save("h");
              }),
              AllOf(Not(HasSubstr("ERROR")), HasSubstr("}\n  save h")));
}

TEST_F(StepsTest, DoesNothingOutsideOfATrace) {
  Carry carry(0.0);
  carry = carry + 1;
  bool ran = false;
  If(carry, [&] { ran = true; }).Else([&] { ran = true; });
  Var value = If(
      carry, [&] { return Var(carry); }, [&] { return Var(carry); });
  EXPECT_FALSE(ran);
  EXPECT_FALSE(value.save().has_value());
}

}  // namespace
}  // namespace weft::client_test
