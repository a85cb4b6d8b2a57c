#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <stdexcept>
#include <string>

#include "tests/client/recorder_fixture.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(RecorderTest, RecordsReadsAndSaves) {
  EXPECT_EQ(Text([&] {
              model_["h"][1].output().save("block");
              model_["h.0"]["mlp"].input().save();
              model_.output().save();
            }),
            PrintedInvoke(R"(
              %1 = read h.1.output
              save block = %1
              %2 = read h.0.mlp.input
              save save1 = %2
              %3 = read .output
              save save2 = %3)"));
}

TEST_F(RecorderTest, NamesUnnamedSavesApartFromNamedOnes) {
  Saved<> first, second;
  EXPECT_THAT(Text([&] {
                first = model_["h.0"].output().save();
                second = model_["h.0"].output().save("save0");
              }),
              AllOf(HasSubstr("save save0_ ="), HasSubstr("save save0 =")));
  EXPECT_EQ(first.name(), "save0_");
  EXPECT_EQ(second.name(), "save0");
}

TEST_F(RecorderTest, WritesToASliceOfASiteInOneStatement) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              model_["h.1"].output()[{Slice(), -1}] = h[{Slice(), 0}];
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = %1[:, 0]
              write h.1.output[:, -1] = %2)"));
}

TEST_F(RecorderTest, WritesToASliceOfANamedValueAreAssignments) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h[{Slice(), -1}] = h[0];
              h.save("h");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = %1[0]
              %1[:, -1] = %2
              save h = %1)"));
}

TEST_F(RecorderTest, AugmentedAssignmentToASliceReadsAndWritesIt) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h[{Slice(), -1}] *= 3.0;
              model_["h.1"].output()[{Slice(), -1}] -= 1;
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = %1[:, -1]
              %3 = aten::mul(%2, 3.0)
              %1[:, -1] = %3
              %4 = read h.1.output
              %5 = %4[:, -1]
              %6 = aten::sub(%5, 1)
              write h.1.output[:, -1] = %6)"));
}

TEST_F(RecorderTest, AugmentedAssignmentToAVariableIsInPlace) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h += 1;
              h /= h;
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::add_(%1, 1)
              %3 = aten::div_(%1, %1))"));
}

TEST_F(RecorderTest, AugmentedAssignmentToASiteReplacesIt) {
  EXPECT_EQ(Text([&] { model_["h.0"].output() *= 2.0; }), PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2.0)
              write h.0.output = %2)"));
}

TEST_F(RecorderTest, GivingAVariableAnotherValueWritesNothing) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h = h * 2.0;
              h.save("h");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2.0)
              save h = %2)"));
}

TEST_F(RecorderTest, ANumberFillsASite) {
  EXPECT_THAT(Text([&] { model_["h.0"].output() = 0.0; }),
              AllOf(HasSubstr("write h.0.output[...] ="), Not(HasSubstr("read"))));
}

TEST_F(RecorderTest, WritesIntoAStructureInOneStatement) {
  EXPECT_EQ(Text([&] {
              Var x = model_["h.0"].input();
              model_["h.0"].output()[0][{Slice(), -1}] = x;
              Var out = model_["h.1"].output();
              out["logits"][{Slice(), -1}] = x;
              Var item = out[1];
              item[0] = x;
            }),
            PrintedInvoke(R"(
              %1 = read h.0.input
              write h.0.output[0, :, -1] = %1
              %2 = read h.1.output
              %2["logits", :, -1] = %1
              %3 = %2[1]
              %3[0] = %1)"));
}

TEST_F(RecorderTest, KeepsAnIndexedValueThatIsUsedElsewhere) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              Var last = h[{Slice(), -1}];
              last.save("before");
              std::move(last) = 0.0;
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = %1[:, -1]
              save before = %2
              %3 = tensor(float32, [], [0.0])
              %1[:, -1] = %3)"));
}

TEST_F(RecorderTest, RecordsEveryKindOfIndex) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h[{None, Ellipsis{}, Slice(None, -1), Slice(1, None, 2), 3}].save("a");
              h[h > 0].save("b");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = %1[none, ..., :-1, 1::2, 3]
              save a = %2
              %3 = aten::gt(%1, 0)
              %4 = %1[%3]
              save b = %4)"));
}

TEST_F(RecorderTest, PutsNumbersWhereTorchTakesThem) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              (2 * h).save("a");
              (1.0 - h).save("b");
              (3.0 / h).save("c");
              (1 < h).save("d");
              (h == 1).save("e");
              (-h).save("f");
              where(h > 0, h, 0.5).save("g");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              save a = %2
              %3 = aten::neg(%1)
              %4 = aten::add(%3, 1.0)
              save b = %4
              %5 = aten::reciprocal(%1)
              %6 = aten::mul(%5, 3.0)
              save c = %6
              %7 = aten::gt(%1, 1)
              save d = %7
              %8 = aten::eq(%1, 1)
              save e = %8
              %9 = aten::neg(%1)
              save f = %9
              %10 = aten::gt(%1, 0)
              %11 = aten::where(%10, %1, 0.5)
              save g = %11)"));
}

TEST_F(RecorderTest, RecordsAnyOperatorByName) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              op("aten::gelu", {h}, {{"approximate", "tanh"}}).save("a");
              op("aten::permute", {h, {0, 2, 1}}).save("b");
              op("aten::to", {h, kFloat64, true, None, "x"}).save("c");
              cat({h, h}, -1).save("d");
              h.sum({0, 1}, true).save("e");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::gelu(%1, approximate="tanh")
              save a = %2
              %3 = aten::permute(%1, [0, 2, 1])
              save b = %3
              %4 = aten::to(%1, float64, true, none, "x")
              save c = %4
              %5 = aten::cat([%1, %1], dim=-1)
              save d = %5
              %6 = aten::sum(%1, [0, 1], keepdim=true)
              save e = %6)"));
}

TEST_F(RecorderTest, NamesArgumentsThatAreNotTheDefault) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              h.softmax(-1).save("a");
              h.topk(3, 1, /*largest=*/false).first.save("b");
              h.add(h, /*alpha=*/2).save("c");
              h.std(-1, /*unbiased=*/false).save("d");
              h.clamp(None, 1.0).save("e");
              rand({2, 3}).save("f");
              randint(9, {4}, kInt32).save("g");
              linalg_norm(h, "fro", {1, 2}).save("h");
              layer_norm(h, 4, None, h, 1e-6).save("i");
              h.argmax().save("j");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::softmax(%1, -1)
              save a = %2
              %3 = aten::topk(%1, 3, dim=1, largest=false)
              %4 = %3[0]
              save b = %4
              %5 = aten::add(%1, %1, alpha=2)
              save c = %5
              %6 = aten::std(%1, dim=[-1], unbiased=false)
              save d = %6
              %7 = aten::clamp(%1, max=1.0)
              save e = %7
              %8 = aten::rand([2, 3])
              save f = %8
              %9 = aten::randint(9, [4], dtype=int32)
              save g = %9
              %10 = aten::linalg_norm(%1, "fro", dim=[1, 2])
              save h = %10
              %11 = aten::layer_norm(%1, [4], bias=%1, eps=1e-06)
              save i = %11
              %12 = aten::argmax(%1)
              save j = %12)"));
}

TEST_F(RecorderTest, LeavesOutResultsOfAnOperatorThatNobodyUses) {
  EXPECT_EQ(Text([&] {
              auto [values, indices] = model_["h.0"].output().topk(5);
              indices.save("ids");
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = aten::topk(%1, 5)
              %3 = %2[1]
              save ids = %3)"));
}

TEST_F(RecorderTest, RecordsConstantsOnceInAnInvoke) {
  const Tensor direction = tensor({1.0, 2.0});
  const std::string text = Text(model_.Record([&](Tracer& trace) {
    for (int i = 0; i < 2; ++i) {
      trace.Invoke({1, 2}, [&] {
        Var h = model_["h.0"].output();
        (h * direction + direction).save();
      });
    }
  }));
  EXPECT_EQ(text, Printed(R"(
      invoke [1, 2] {
        %1 = read h.0.output
        %2 = tensor(float32, [2], [1.0, 2.0])
        %3 = aten::mul(%1, %2)
        %4 = aten::add(%3, %2)
        save save0 = %4
      }
      invoke [1, 2] {
        %5 = read h.0.output
        %6 = tensor(float32, [2], [1.0, 2.0])
        %7 = aten::mul(%5, %6)
        %8 = aten::add(%7, %6)
        save save1 = %8
      })"));
}

TEST_F(RecorderTest, RecordsTheRestOfTheLanguage) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              model_["h.1"].skip(h);
              Var logits = model_["lm_head"](h);
              model_["lm_head"].call({h}).save("again");
              Var weight = model_["lm_head"].param("weight");
              make_dict({{"logits", logits}, {"weight", weight}}).save("both");
              make_tuple({h, logits}).save("pair");
              Log(h, "hidden");
              model_.result().save("result");
              model_.ids().save("ids");
              model_.mask().save("mask");
              model_.positions().save("positions");
              model_["h.0"].visit(1).output().save("second");
              Stop();
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              skip h.1 = %1
              %2 = call lm_head(%1)
              %3 = call lm_head(%1)
              save again = %3
              %4 = param lm_head.weight
              %5 = {"logits": %2, "weight": %4}
              save both = %5
              %6 = (%1, %2)
              save pair = %6
              log "hidden" %1
              %7 = read result
              save result = %7
              %8 = read ids
              save ids = %8
              %9 = read mask
              save mask = %9
              %10 = read positions
              save positions = %10
              %11 = read h.0@1.output
              save second = %11
              stop)"));
}

TEST_F(RecorderTest, RecordsGradients) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              Var logits = model_.output();
              logits.sum().backward([&] {
                h.grad().save("g");
                h.grad() *= 2.0;
                h.grad()[{0, Slice()}] = 0.0;
              });
              logits.backward(logits, [&] { logits.grad().save("start"); });
            }),
            PrintedInvoke(R"(
              %1 = read h.0.output
              %2 = read .output
              %3 = aten::sum(%2)
              backward %3 {
                %5 = grad %1
                save g = %5
                %7 = grad %1
                %8 = aten::mul(%7, 2.0)
                grad %1 = %8
                %10 = grad %1
                %11 = 0.0
                %10[0, :] = %11
                grad %1 = %10
              }
              backward %2 from %2 {
                %15 = grad %2
                save start = %15
              })"));
}

TEST_F(RecorderTest, RefusesGradientsOutsideOfBackward) {
  EXPECT_THAT(Text([&] { model_["h.0"].output().grad().save(); }),
              AllOf(HasSubstr("only inside of `backward`"), HasSubstr("recorder_test.cc")));
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                h.sum().backward([&] { h.sum().backward([] {}); });
              }),
              HasSubstr("inside another"));
}

TEST_F(RecorderTest, RecordsSeveralInvokesAndEdgesBetweenThem) {
  const std::string text = Text(model_.Record([&](Tracer& trace) {
    Var clean;
    trace.Invoke("clean", [&] { clean = model_["h.0"].output(); });
    trace.Invoke({"one", "two"}, [&] { model_["h.0"].output() = clean; });
    trace.Invoke({{1, 2}, {3}}, [&] {});
    trace.InvokeAll([&] { model_.rows().save("rows"); });
  }));
  EXPECT_EQ(text, Printed(R"(
      invoke "clean" {
        %1 = read h.0.output
      }
      invoke ["one", "two"] {
        write h.0.output = %1
      }
      invoke [[1, 2], [3]] {
      }
      invoke {
        %2 = read rows
        save rows = %2
      })"));
}

// Misuse: a status that names the line, never a crash.

TEST_F(RecorderTest, NamesTheLineOfAStatementThatCannotBeRecorded) {
  int line = 0;
  const auto body = [&] {
    line = __LINE__ + 1;
    model_["h.7"].output().save();
  };
  const absl::Status status = model_.Record("hi", body).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const ErrorDetails error = GetError(status).value();
  EXPECT_EQ(error.file, "recorder_test.cc");
  EXPECT_EQ(error.line, line);
  EXPECT_EQ(error.statement, "read h.7.output");
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("no module \"h.7\""), HasSubstr("under h there are 0, 1")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("recorder_test.cc:" + std::to_string(line)));
}

TEST_F(RecorderTest, SuggestsNamesForAMisspeltModule) {
  EXPECT_THAT(Text([&] { model_["lm_haed"].output(); }),
              HasSubstr("no module \"lm_haed\"; the closest are lm_head"));
  EXPECT_THAT(Text([&] { model_["h"].output(); }), HasSubstr("\"h\" is never called"));
  EXPECT_THAT(Text([&] { model_["lm_head"].param("bias"); }),
              HasSubstr("no parameter \"lm_head.bias\""));
  EXPECT_THAT(Text([&] { model_["nothing"](tensor(1.0)); }), HasSubstr("no module \"nothing\""));
}

TEST_F(RecorderTest, RefusesAValueOfAnotherTrace) {
  Var kept;
  ASSERT_TRUE(model_.Record("hi", [&] { kept = model_["h.0"].output(); }).ok());
  int line = 0;
  const auto body = [&] {
    line = __LINE__ + 1;
    (kept * 2).save();
  };
  const absl::Status status = model_.Record("hi", body).status();
  EXPECT_EQ(GetError(status)->line, line);
  EXPECT_EQ(GetError(status)->message, "a value of another trace is used");
}

TEST_F(RecorderTest, RefusesAnOuterTracesValueInANestedTrace) {
  absl::Status inner;
  EXPECT_TRUE(model_
                  .Record("outer",
                          [&] {
                            Var h = model_["h.0"].output();
                            inner = model_.Record("inner", [&] { h.save(); }).status();
                            h.save();
                          })
                  .ok());
  EXPECT_THAT(std::string(inner.message()), HasSubstr("a value of another trace"));
}

TEST_F(RecorderTest, RefusesAVarThatNamesNothing) {
  EXPECT_THAT(Text([&] { Var().save(); }), HasSubstr("a Var that names no value"));
  EXPECT_THAT(Text([&] { model_["h.0"].output() = Var(); }),
              HasSubstr("a Var that names no value"));
}

TEST_F(RecorderTest, RefusesAssignmentToAResult) {
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                h* 2 = h;
              }),
              HasSubstr("assigning to it would change nothing"));
}

TEST_F(RecorderTest, RefusesASecondSaveOfAName) {
  int line = 0;
  const auto body = [&] {
    line = __LINE__ + 1;
    model_["h.0"].output().save("x");
    model_["h.1"].output().save("x");
  };
  const std::string text = Text(body);
  EXPECT_THAT(text, HasSubstr("x was saved before, at recorder_test.cc:" + std::to_string(line)));
  EXPECT_THAT(Text([&] { model_["h.0"].output().save("not a name"); }),
              HasSubstr("letters, digits"));
}

TEST_F(RecorderTest, RefusesStatementsOutsideOfAnInvoke) {
  EXPECT_THAT(Text(model_.Record([&](Tracer&) { model_["h.0"].output(); })),
              HasSubstr("outside of an invoke"));
  EXPECT_THAT(Text(model_.Record([&](Tracer&) {})), HasSubstr("no invoke"));
  EXPECT_THAT(Text(model_.Record(
                  [&](Tracer& trace) { trace.Invoke("a", [&] { trace.Invoke("b", [] {}); }); })),
              HasSubstr("an invoke cannot stand inside another"));
}

TEST_F(RecorderTest, RefusesAModuleOfAnotherModel) {
  LanguageModel twin = Client(backend_).OpenLanguageModel("twin").value();
  const auto refused = HasSubstr("a module of model \"twin\" is used in a trace of model \"toy\"");
  EXPECT_THAT(Text([&] { twin["h.0"].output(); }), refused);
  EXPECT_THAT(Text(model_.Record([&](Tracer& trace) {
                trace.Invoke("hi", [&] { trace.cache({twin["h"][0], "lm_head"}); });
              })),
              refused);
  for (const Module& root : {twin["h"][1], twin.root()}) {
    EXPECT_THAT(TextOf([&](Session& s) { s.Trace(root, tensor({1.0}), [] {}); }), refused);
  }
}

TEST_F(RecorderTest, AVisitIsOfTheModuleThatItIsGivenTo) {
  EXPECT_EQ(Text([&] {
              model_["h.0"].visit(1).site("output").save("outer");
              model_["h.0"].visit(1)["mlp"].visit(2).output().save("inner");
            }),
            PrintedInvoke(R"(
              %1 = read h.0@1.output
              save outer = %1
              %2 = read h.0.mlp@2.output
              save inner = %2)"));
}

TEST_F(RecorderTest, RefusesTheVisitOfAModuleAround) {
  const Module outer = model_["h.0"].visit(1);
  const auto refused =
      AllOf(HasSubstr("visit 1 was given to a module around \"h.0.mlp\""),
            HasSubstr("model[\"h.0.mlp\"].visit(1)"), HasSubstr("recorder_test.cc"));
  EXPECT_THAT(Text([&] { outer["mlp"].output(); }), refused);
  EXPECT_THAT(Text([&] { outer["mlp"].input() = 0.0; }), refused);
  EXPECT_THAT(Text([&] { outer["mlp"].skip(0.0); }), refused);
  EXPECT_THAT(Text([&] { outer["mlp"].source()["add_0"].output(); }), refused);
  EXPECT_THAT(Text([&] { outer.site("mlp.output"); }), refused);
  EXPECT_THAT(Text([&] { outer.get("mlp")->output(); }), refused);
  EXPECT_THAT(Text([&] { outer.children()[0].output(); }), refused);
  EXPECT_THAT(Text([&] { model_["h"].visit(1)[0]["mlp"].output(); }), refused);
}

TEST_F(RecorderTest, RefusesAVisitWhereAModuleIsMeantAsAWhole) {
  const auto refused = AllOf(HasSubstr("one visit of \"h.0\" is named"), HasSubstr("`.visit(1)`"));
  const Module visit = model_["h.0"].visit(1);
  EXPECT_THAT(Text(model_.Record(
                  [&](Tracer& trace) { trace.Invoke("hi", [&] { trace.cache({visit}); }); })),
              refused);
  EXPECT_THAT(TextOf([&](Session& s) { s.Trace(visit, tensor({1.0}), [] {}); }), refused);
  EXPECT_THAT(std::string(visit.Trace(tensor({1.0}), [] {}).status().message()), refused);
}

TEST_F(RecorderTest, ReportsTheFirstErrorAlone) {
  EXPECT_THAT(Text([&] {
                Var bad = model_["nowhere"].output();
                (bad * 2).save();
                model_["elsewhere"].output();
              }),
              AllOf(HasSubstr("nowhere"), Not(HasSubstr("elsewhere"))));
}

TEST_F(RecorderTest, DoesNothingOutsideOfATrace) {
  Var h = model_["h.0"].output();
  h[{Slice(), -1}] = 0.0;
  h += 1;
  auto [values, indices] = h.topk(2);
  Saved<> saved = (values + indices * 2).save();
  EXPECT_THAT(std::string(saved.status().message()), HasSubstr("outside of a trace"));
}

TEST_F(RecorderTest, LetsExceptionsOfTheLambdaThrough) {
  Saved<> saved;
  const auto body = [&] {
    saved = model_["h.0"].output().save();
    throw std::runtime_error("mine");
  };
  EXPECT_THROW(static_cast<void>(model_.Trace("hi", body)), std::runtime_error);
  EXPECT_TRUE(backend_->programs.empty());
  EXPECT_EQ(saved.status().code(), absl::StatusCode::kCancelled);
  // And nothing is left behind.
  EXPECT_EQ(Text([&] { model_["h.0"].output().save("a"); }),
            PrintedInvoke("%1 = read h.0.output\nsave a = %1"));
}

TEST_F(RecorderTest, SurvivesAnExceptionThatLeavesOneInvoke) {
  EXPECT_TRUE(model_
                  .Record([&](Tracer& trace) {
                    try {
                      trace.Invoke("a", [] { throw 1; });
                    } catch (int) {
                    }
                    trace.Invoke("b", [&] { model_["h.0"].output().save(); });
                  })
                  .ok());
}

}  // namespace
}  // namespace weft::client_test
