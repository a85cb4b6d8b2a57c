#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "tests/client/recorder_fixture.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class SweepTest : public RecorderTest {
 protected:
  std::string Swept(absl::FunctionRef<void(Tracer&)> body) { return Text(model_.Record(body)); }
};

TEST_F(SweepTest, FillsInPathsIndicesBoundsAndOperands) {
  EXPECT_EQ(Swept([&](Tracer& trace) {
              trace.sweep(Range(2), Values({0.5, 2.0}), [&](Param layer, Param factor) {
                trace.Invoke("hi", [&] {
                  Var h = model_["h"][layer]["mlp"].output();
                  h[{Slice(), layer}] *= factor;
                  (factor * h[{Slice(layer, None)}]).save("x");
                  model_["h"][layer].output() = h;
                });
              });
            }),
            Printed(R"(
              sweep %p0 in [0, 1], %p1 in [0.5, 2.0] {
                invoke "hi" {
                  %h = read h.$p0.mlp.output
                  %a = %h[:, %p0]
                  %b = aten::mul(%a, %p1)
                  %h[:, %p0] = %b
                  %c = %h[%p0:]
                  %d = aten::mul(%c, %p1)
                  save x = %d
                  write h.$p0.output = %h
                }
              })"));
}

TEST_F(SweepTest, SweepsOverNamesTensorsAndValues) {
  const std::string text = Swept([&](Tracer& trace) {
    Var clean;
    trace.Invoke("clean", [&] { clean = model_["h.0"].output(); });
    trace.sweep(Values({"h.0", "h.1"}), Values(std::vector<Arg>{clean, tensor({1.0})}),
                [&](Param name, Param value) {
                  trace.Invoke("hi", [&] { model_["h.0"].output() = value; });
                  static_cast<void>(name);
                });
    trace.sweep(Values({"mlp"}), [&](Param name) {
      trace.Invoke("hi", [&] { model_["h.0"][name].output().save(); });
    });
  });
  EXPECT_THAT(text, AllOf(Not(HasSubstr("ERROR")), HasSubstr("aten::clone("),
                          HasSubstr("read h.0.$p2.output")));
}

TEST_F(SweepTest, AGridHasEveryCombination) {
  const auto grid = Grid(Range(1, 7, 3), Values({"a", "b"}));
  EXPECT_THAT(std::get<std::vector<int64_t>>(grid[0].value()), ElementsAre(1, 1, 4, 4));
  EXPECT_THAT(std::get<std::vector<std::string>>(grid[1].value()), ElementsAre("a", "b", "a", "b"));
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.sweep(Grid(Range(2), Range(2)), [&](Param layer, Param token) {
                  trace.Invoke("hi", [&] { model_["h"][layer].output()[{0, token}].save(); });
                });
              }),
              AllOf(HasSubstr("[0, 0, 1, 1]"), HasSubstr("[0, 1, 0, 1]")));
}

TEST_F(SweepTest, RefusesWhatIsNotThereAtOnePoint) {
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.sweep(Range(3), [&](Param layer) {
                  trace.Invoke("hi", [&] { model_["h"][layer].output().save(); });
                });
              }),
              AllOf(HasSubstr("no module \"h.2\""), HasSubstr("at point 2")));
}

TEST_F(SweepTest, RefusesSweepsThatAreNone) {
  const auto invoke = [&](Tracer& trace) { trace.Invoke("hi", [] {}); };
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.sweep(Range(2), Range(3), [&](Param, Param) { invoke(trace); });
              }),
              AllOf(HasSubstr("2 and 3 values"), HasSubstr("Grid")));
  EXPECT_THAT(Swept([&](Tracer& trace) { trace.sweep(Range(0), [&](Param) { invoke(trace); }); }),
              HasSubstr("no values"));
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.sweep(Range(2),
                            [&](Param) { trace.sweep(Range(2), [&](Param) { invoke(trace); }); });
              }),
              HasSubstr("outside of invokes and of other sweeps"));
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.Invoke("hi", [&] { trace.sweep(Range(2), [&](Param) {}); });
              }),
              HasSubstr("outside of invokes"));
  EXPECT_THAT(Swept([&](Tracer& trace) {
                Var inside;
                trace.sweep(Range(2), [&](Param) {
                  trace.Invoke("hi", [&] { inside = model_["h.0"].output(); });
                });
                trace.Invoke("hi", [&] { inside.save(); });
              }),
              HasSubstr("another at each of its points"));
  EXPECT_THAT(Swept([&](Tracer& trace) {
                trace.sweep(Range(2), [&](Param layer) {
                  trace.Invoke("hi", [&] { model_["h"][layer].skip(0.0); });
                });
              }),
              HasSubstr("cannot choose the module that is skipped"));
}

TEST_F(SweepTest, RefusesAParameterOutsideOfItsSweep) {
  EXPECT_THAT(Swept([&](Tracer& trace) {
                std::vector<Param> kept;
                trace.sweep(Range(2), [&](Param layer) {
                  kept.push_back(layer);
                  trace.Invoke("hi", [] {});
                });
                trace.Invoke("hi", [&] { (model_["h.0"].output() * kept[0]).save(); });
              }),
              HasSubstr("outside of its sweep"));
}

// Sessions and inputs.

TEST_F(SweepTest, ASessionIsOneProgram) {
  EXPECT_EQ(
      TextOf([&](Session& session) {
        Var clean;
        session.Label("clean").Trace("one", [&] { clean = model_["h.0"].output(); });
        session.Generate({1, 2}, {.max_new_tokens = 2}, [&] { model_["h.0"].output() = clean; });
        session.Trace(model_["h"][0], tensor({{1.0}}), [&] { model_.result().save("r"); });
        session.Trace(model_["h.0"], Inputs{{"", clean}, {"scale", 2.0}}, [] {});
      }),
      Printed(R"(
              trace "clean"
              invoke "one" {
                %clean = read h.0.output
              }
              generate max_new_tokens=2
              invoke [1, 2] {
                write h.0.output = %clean
              }
              trace root=h.0
              %x = tensor(float32, [1, 1], [1.0])
              invoke (%x) {
                %r = read result
                save r = %r
              }
              trace root=h.0
              %scale = 2.0
              invoke (%clean, scale=%scale) {
              })"));
  EXPECT_THAT(TextOf([](Session&) {}), HasSubstr("no trace"));
  EXPECT_THAT(
      TextOf([&](Session& session) { session.Trace("a", [&] { session.Trace("b", [] {}); }); }),
      HasSubstr("a trace stands inside another"));
}

TEST_F(SweepTest, TakesEveryKindOfInput) {
  EXPECT_EQ(Swept([&](Tracer& trace) {
              trace.Invoke(Input("hi").without_special_tokens(), [] {});
              trace.Invoke(tensor({1, 2}), [] {});
              trace.Invoke(tensor({{1, 2}, {3, 4}}).to(kInt32), [] {});
              trace.Invoke(Chat{{"user", "Hello"}}, [] {});
              trace.Invoke(Chat{{"user", "Hello"}, {"assistant", "Hel"}}, [] {});
              trace.Invoke(Input(Chat{{"user", "Hello"}}).ending(ChatEnd::kClosed), [] {});
              trace.Invoke(Input::Chats{Chat{{"user", "a"}}, Chat{{"user", "b"}}}, [] {});
              trace.Invoke([&] { model_.rows().save("rows"); });
              trace.barrier(2)();
            }),
            Printed(R"(
              invoke "hi" no_special_tokens {
              }
              invoke [1, 2] {
              }
              invoke [[1, 2], [3, 4]] {
              }
              invoke chat ["user": "Hello"] generation_prompt {
              }
              invoke chat ["user": "Hello", "assistant": "Hel"] continue_final_message {
              }
              invoke chat ["user": "Hello"] {
              }
              invoke chat [["user": "a"], ["user": "b"]] generation_prompt {
              }
              invoke {
                %1 = read rows
                save rows = %1
              })"));
  EXPECT_THAT(Swept([](Tracer& trace) { trace.Invoke(tensor({1.0}), [] {}); }),
              HasSubstr("float32[1] is no input of a language model"));
  EXPECT_THAT(TextOf([&](Session& session) { session.Trace(model_["h.0"], "text", [] {}); }),
              HasSubstr("takes no prompt"));
  EXPECT_THAT(Swept([](Tracer& trace) {
                trace.Invoke(Input::Chats{Chat{{"user", "a"}}, Chat{{"assistant", "b"}}}, [] {});
              }),
              HasSubstr("ending(weft::ChatEnd::kPrompt)"));
}

TEST_F(SweepTest, CachesModules) {
  EXPECT_EQ(Text(model_.Record([&](Tracer& trace) {
              trace.Invoke("hi", [&] {
                trace.cache({model_["h"][0], "lm_head"},
                            {.name = "acts", .dtype = kFloat16, .include_inputs = true});
                trace.cache();
              });
            })),
            PrintedInvoke(R"(
              cache [h.0, lm_head] as acts dtype=float16 inputs
              cache as cache1)"));
  EXPECT_THAT(Text(model_.Record(
                  [&](Tracer& trace) { trace.Invoke("hi", [&] { trace.cache({"nowhere"}); }); })),
              HasSubstr("no module \"nowhere\""));
}

}  // namespace
}  // namespace weft::client_test
