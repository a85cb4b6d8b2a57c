#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Generations, sweeps, sessions, caches and tokens, from the client's C++ to the numbers: behind a
// connection and in process.
class ExperimentsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    remote_ = Client(NewBackend(NewKey({"trace", "weights"}))).OpenLanguageModel("tiny").value();
    local_ = MakeLocalClient({.models = {{"tiny", TinyFolder()}}, .threads = 1})
                 .value()
                 .OpenLanguageModel("tiny")
                 .value();
  }

  void Both(const std::function<void(const LanguageModel&)>& body) {
    {
      SCOPED_TRACE("remote");
      body(*remote_);
    }
    SCOPED_TRACE("local");
    body(*local_);
  }

  /// What one site of one prompt gives alone.
  static Tensor Alone(const LanguageModel& model, const std::vector<int64_t>& ids,
                      const std::string& module) {
    Saved<Tensor> value;
    EXPECT_THAT(model.Trace(ids, [&] { value = model[module].output().save(); }), IsOk());
    return value.has_value() ? *value : Tensor();
  }

  static constexpr double kTolerance = 1e-5;
  std::optional<LanguageModel> remote_, local_;
};

TEST_F(ExperimentsTest, StepsComeAsTheyAreDoneAndAsLists) {
  Both([](const LanguageModel& model) {
    SavedList<Tensor> logits;
    Saved<Tensor> ids, third;
    std::vector<uint32_t> steps;
    TraceOptions options;
    options.on_event = [&](const RunEvent& event) {
      const auto* result = std::get_if<event::Result>(&event);
      if (result != nullptr && result->name == "p") steps.push_back(result->step.value_or(99));
    };
    ASSERT_THAT(model.Generate(
                    {5, 11, 17}, {.max_new_tokens = 4, .eos_token_ids = {96}},
                    [&](Tracer& trace) {
                      trace.all([&] { logits = model["lm_head"].output().token(-1).save("p"); });
                      trace.steps(2, [&] { third = model["lm_head"].output().token(-1).save(); });
                      ids = model.result().save();
                    },
                    options),
                IsOk());
    ASSERT_TRUE(logits.has_value()) << logits.status();
    ASSERT_EQ(logits.size(), 4u);
    EXPECT_THAT(steps, ElementsAre(0u, 1u, 2u, 3u));
    EXPECT_LT(RelativeDifference(*third, logits[2]), 1e-7);
    ASSERT_EQ(ids->size(1), 7);
    for (int64_t step = 0; step < 4; ++step) {
      const auto row = logits[step].span<float>();
      EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(),
                ids->at<int64_t>({0, 3 + step}));
    }
  });
}

TEST_F(ExperimentsTest, ACarryAddsUpWhatStepsGive) {
  Both([](const LanguageModel& model) {
    SavedList<Tensor> sums;
    Saved<Tensor> total, count;
    ASSERT_THAT(model.Generate({5, 11, 17}, {.max_new_tokens = 3, .eos_token_ids = {96}},
                               [&](Tracer& trace) {
                                 Carry sum(0.0), positive(0);
                                 trace.all([&] {
                                   Var h = model["transformer.h"][1].output().token(-1).sum();
                                   sums = h.save();
                                   sum += h;
                                   If(h > 0.0, [&] { positive += 1; });
                                 });
                                 total = sum.save();
                                 count = positive.save();
                               }),
                IsOk());
    double expected = 0;
    int64_t above = 0;
    for (const Tensor& sum : sums) {
      expected += sum.item();
      above += sum.item() > 0 ? 1 : 0;
    }
    EXPECT_NEAR(total->item(), expected, 1e-3);
    EXPECT_EQ(count->item<int64_t>(), above);
  });
}

TEST_F(ExperimentsTest, AListSaysWhichStepsNeverCame) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> ids;
    ASSERT_THAT(model.Generate({5, 11, 17}, {.max_new_tokens = 1, .eos_token_ids = {96}},
                               [&] { ids = model.result().save(); }),
                IsOk());
    const int64_t first = ids->at<int64_t>({0, 3});
    SavedList<Tensor> list;
    Saved<Tensor> late;
    absl::StatusOr<RunResult> run = model.Generate(
        {5, 11, 17}, {.max_new_tokens = 3, .eos_token_ids = {first}}, [&](Tracer& trace) {
          trace.steps(Slice(0, 3), [&] { list = model["lm_head"].output().save(); });
          trace.steps(2, [&] { late = model["lm_head"].output().save("late"); });
        });
    ASSERT_THAT(run, IsOk());
    ASSERT_TRUE(list.has_value()) << list.status();
    EXPECT_EQ(list.size(), 1u);
    EXPECT_THAT(std::string(list.incomplete().message()), HasSubstr("step"));
    EXPECT_FALSE(late.has_value());
    EXPECT_EQ(run->missing.count("late"), 1u);
  });
}

TEST_F(ExperimentsTest, BlocksForEachStepMayDiffer) {
  Both([](const LanguageModel& model) {
    std::vector<Saved<Tensor>> blocks;
    SavedList<Tensor> all;
    ASSERT_THAT(
        model.Generate({5, 11, 17}, {.max_new_tokens = 3, .eos_token_ids = {96}},
                       [&](Tracer& trace) {
                         trace.each_step([&](int64_t step) {
                           blocks.push_back(model["transformer.h"][step].output().save());
                         });
                         trace.all([&] { all = model["transformer.h"][1].output().save(); });
                       }),
        IsOk());
    ASSERT_EQ(blocks.size(), 3u);
    EXPECT_LT(RelativeDifference(*blocks[1], all[1]), 1e-7);
    EXPECT_EQ(blocks[0]->size(1), 3);
    EXPECT_EQ(blocks[2]->size(1), 1);
  });
}

TEST_F(ExperimentsTest, AnIfChoosesOnTheServer) {
  Both([](const LanguageModel& model) {
    for (const double threshold : {-1.0, 1e9}) {
      Saved<Tensor> h, chosen;
      Saved<Tensor> then;
      absl::StatusOr<RunResult> run = model.Trace({5, 11, 17}, [&] {
        Var x = model["transformer.h"][1].output();
        h = x.save();
        Var large = x.norm() > threshold;
        chosen = If(
                     large, [&] { return x * 2.0; }, [&] { return x * 3.0; })
                     .save();
        If(large, [&] { then = x.save("then"); });
      });
      ASSERT_THAT(run, IsOk());
      const float factor = threshold < 0 ? 2 : 3;
      EXPECT_NEAR(chosen->span<float>()[5], factor * h->span<float>()[5], 1e-5);
      EXPECT_EQ(then.has_value(), threshold < 0);
      EXPECT_EQ(run->missing.count("then"), threshold < 0 ? 0u : 1u);
    }
  });
}

TEST_F(ExperimentsTest, AConditionalStopTellsWhatDidNotRun) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> before, after;
    absl::StatusOr<RunResult> run = model.Trace({5, 11, 17}, [&](Tracer& trace) {
      Var h = model["transformer.h"][0].output();
      before = h.save();
      If(h.norm() > -1.0, [&] { trace.stop(); });
      after = model["transformer.h"][2].output().save();
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_TRUE(before.has_value()) << before.status();
    EXPECT_THAT(std::string(after.status().message()), HasSubstr("stop"));
  });
}

TEST_F(ExperimentsTest, ASweepIsEachOfItsPoints) {
  Both([](const LanguageModel& model) {
    SavedList<Tensor> swept;
    ASSERT_THAT(model.Trace([&](Tracer& trace) {
      Var clean;
      trace.Invoke({7, 8, 9}, [&] { clean = model["transformer.h"][0].output(); });
      trace.sweep(Grid(Range(3), Values({0.5, 2.0})), [&](Param layer, Param factor) {
        trace.Invoke({5, 11, 17}, [&] {
          Var h = model["transformer.h"][layer].output();
          h.token(-1) += clean.row(0)[{-1}] * factor;
          swept = model["lm_head"].output().token(-1).save();
        });
      });
    }),
                IsOk());
    ASSERT_EQ(swept.size(), 6u);
    for (int64_t point = 0; point < 6; ++point) {
      Saved<Tensor> alone;
      ASSERT_THAT(model.Trace([&](Tracer& trace) {
        Var clean;
        trace.Invoke({7, 8, 9}, [&] { clean = model["transformer.h"][0].output(); });
        trace.Invoke({5, 11, 17}, [&] {
          Var h = model["transformer.h"][point / 2].output();
          h[{Slice(), -1}] += clean[{0, -1}] * (point % 2 == 0 ? 0.5 : 2.0);
          alone = model["lm_head"].output()[{Slice(), -1}].save();
        });
      }),
                  IsOk());
      EXPECT_LT(RelativeDifference(swept[point], *alone), kTolerance) << point;
    }
  });
}

TEST_F(ExperimentsTest, ASessionUsesValuesOfEarlierTraces) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> patched, ids;
    absl::StatusOr<RunResult> run = model.Session([&](Session& session) {
      Var clean;
      session.Trace({7, 8, 9}, [&] { clean = model["transformer.h"][1].output(); });
      session.Trace({5, 11, 17}, [&] {
        model["transformer.h"][1].output() = clean;
        patched = model["lm_head"].output().save();
      });
      session.Generate({5, 11, 17}, {.max_new_tokens = 2, .eos_token_ids = {96}}, [&] {
        model["transformer.h"][1].output() = clean;
        ids = model.result().save();
      });
    });
    ASSERT_THAT(run, IsOk());
    // The blocks after it see the clean run's values alone.
    const Tensor clean = Alone(model, {7, 8, 9}, "lm_head");
    EXPECT_LT(RelativeDifference(*patched, clean), kTolerance);
    EXPECT_EQ(ids->size(1), 5);
  });
}

TEST_F(ExperimentsTest, ErrorsOfASessionNameItsTrace) {
  Both([](const LanguageModel& model) {
    const absl::Status status =
        model
            .Session([&](Session& session) {
              session.Trace({7, 8, 9}, [] {});
              session.Label("second").Trace(
                  {5, 11}, [&] { model["transformer.h"][1].output() = model["lm_head"].output(); });
            })
            .status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("in trace 2 of 2 (second)"));
  });
}

TEST_F(ExperimentsTest, ACacheHasWhatTheModelGoesOnWith) {
  Both([](const LanguageModel& model) {
    SavedCache acts;
    SavedList<Tensor> last;
    ASSERT_THAT(
        model.Generate(
            {5, 11, 17}, {.max_new_tokens = 2, .eos_token_ids = {96}},
            [&](Tracer& trace) {
              acts = trace.cache({model["transformer.h"][1], "lm_head"}, {.include_inputs = true});
              model["transformer.h"][1].output() *= 2.0;
              trace.all([&] { last = model["lm_head"].output().save(); });
            }),
        IsOk());
    ASSERT_TRUE(acts.status().ok()) << acts.status();
    EXPECT_THAT(acts.keys(), ElementsAre("transformer.h.1", "lm_head"));
    EXPECT_EQ(acts["lm_head"].visits(), 2u);
    EXPECT_LT(RelativeDifference(*acts["lm_head"].output(1), last[1]), 1e-7);
    // After the write.
    const Tensor before = Alone(model, {5, 11, 17}, "transformer.h.1");
    const Tensor after = *acts["transformer"]["h"][1].output(0);
    EXPECT_NEAR(after.span<float>()[3], 2 * before.span<float>()[3], 1e-4);
    EXPECT_EQ(acts["transformer.h.1"].input(0)->shape(), before.shape());
    EXPECT_THAT(std::string(acts["transformer.h.0"].output().status().message()),
                HasSubstr("was not cached"));
  });
}

TEST_F(ExperimentsTest, TokensAreThoseOfEachRowWhateverItsPads) {
  const std::vector<std::vector<int64_t>> rows = {{5, 11, 17, 23, 29}, {7, 8}, {40, 41, 42}};
  Both([&](const LanguageModel& model) {
    Saved<Tensor> first, second, last, ends, tail;
    ASSERT_THAT(model.Trace(rows,
                            [&] {
                              Var h = model["transformer.h"][1].output();
                              first = h.token(0).save();
                              second = h.token(1).save();
                              last = h.token(-1).save();
                              ends = h.token({0, -1}).save();
                              tail = h.token(-2, None).save();
                            }),
                IsOk());
    for (int64_t row = 0; row < 3; ++row) {
      const Tensor alone = Alone(model, rows[row], "transformer.h.1")[0];
      const int64_t tokens = alone.size(0);
      EXPECT_LT(RelativeDifference((*first)[row], alone[0]), kTolerance) << row;
      EXPECT_LT(RelativeDifference((*second)[row], alone[1]), kTolerance) << row;
      EXPECT_LT(RelativeDifference((*last)[row], alone[tokens - 1]), kTolerance) << row;
      EXPECT_LT(RelativeDifference((*ends)[row][0], alone[0]), kTolerance) << row;
      EXPECT_LT(RelativeDifference((*ends)[row][1], alone[tokens - 1]), kTolerance) << row;
      EXPECT_LT(RelativeDifference((*tail)[row][0], alone[tokens - 2]), kTolerance) << row;
    }
  });
}

TEST_F(ExperimentsTest, WritesToTokensAreThoseOfEachRow) {
  const std::vector<std::vector<int64_t>> rows = {{5, 11, 17, 23, 29}, {7, 8}};
  const auto change = [](const LanguageModel& model) {
    Var h = model["transformer.h"][0].output();
    h.token(0) *= 3.0;
    Var row = h.token(-1);
    row[{Slice(), 4}] = 1.0;  // through the row, into the site
    model["transformer.h"][1].output().token(0)[{Slice(), 2}] = 0.0;
    return model["lm_head"].output().token(-1);
  };
  Both([&](const LanguageModel& model) {
    Saved<Tensor> together;
    ASSERT_THAT(model.Trace(rows, [&] { together = change(model).save(); }), IsOk());
    for (int64_t row = 0; row < 2; ++row) {
      Saved<Tensor> alone;
      ASSERT_THAT(model.Trace(rows[row], [&] { alone = change(model).save(); }), IsOk());
      EXPECT_LT(RelativeDifference((*together)[row], (*alone)[0]), kTolerance) << row;
      const Tensor plain = Alone(model, rows[row], "lm_head")[0];
      EXPECT_GT(RelativeDifference((*alone)[0], plain[plain.size(0) - 1]), 1e-3);
    }
  });
}

TEST_F(ExperimentsTest, ATokenThatARowLacksIsAnError) {
  Both([](const LanguageModel& model) {
    for (const int64_t token : {2, -3}) {
      Saved<Tensor> value;
      const absl::Status status =
          model
              .Trace({{5, 11, 17}, {7, 8}},
                     [&] { value = model["transformer.h"][0].output().token(token).save(); })
              .status();
      EXPECT_FALSE(status.ok()) << token;
      EXPECT_FALSE(value.has_value()) << token;
    }
  });
}

TEST_F(ExperimentsTest, InputsOfEveryKindAreTheSameRows) {
  Both([](const LanguageModel& model) {
    std::vector<Saved<Tensor>> saved(4);
    ASSERT_THAT(model.Trace([&](Tracer& trace) {
      const auto save = [&](Saved<Tensor>* to) {
        return [&model, to] { *to = model["lm_head"].output().save(); };
      };
      trace.Invoke({5, 11, 17}, save(&saved[0]));
      trace.Invoke(tensor({5, 11, 17}), save(&saved[1]));
      trace.Invoke(tensor({{5, 11, 17}}).to(kInt32), save(&saved[2]));
      trace.Invoke(save(&saved[3]));
    }),
                IsOk());
    EXPECT_LT(RelativeDifference(*saved[1], *saved[0]), kTolerance);
    EXPECT_LT(RelativeDifference(*saved[2], *saved[0]), kTolerance);
    EXPECT_EQ(saved[3]->size(0), 3);
  });
}

TEST_F(ExperimentsTest, WhatEarlierTracesComputeIsWhatLaterOnesBeginWith) {
  Both([](const LanguageModel& model) {
    const Module block = model["transformer.h"][1];
    Saved<Tensor> expected, out, ids, logits, again;
    ASSERT_THAT(model.Session([&](Session& session) {
      Var hidden, generated;
      session.Trace({5, 11}, [&] {
        hidden = model["transformer.h"][0].output();
        expected = block.output().save();
      });
      session.Trace(block, Inputs{{"", hidden}}, [&] { out = model.result().save(); });
      session.Generate({5, 11}, {.max_new_tokens = 3}, [&] {
        generated = model.result();
        ids = generated.save();
      });
      session.Trace(Inputs{{"input_ids", generated}}, [&] {
        again = model.ids().save();
        logits = model["lm_head"].output().save();
      });
    }),
                IsOk());
    EXPECT_LT(RelativeDifference(*out, *expected), kTolerance);
    EXPECT_EQ(again->ToVector<int64_t>(), ids->ToVector<int64_t>());
    EXPECT_LT(RelativeDifference(*logits, Alone(model, ids->ToVector<int64_t>(), "lm_head")),
              kTolerance);
  });
}

TEST_F(ExperimentsTest, PromptsAreSweptOver) {
  Both([](const LanguageModel& model) {
    SavedList<Tensor> logits;
    const Input::Rows prompts = {{5, 11, 17}, {23}, {7, 8}};
    ASSERT_THAT(model.Trace([&](Tracer& trace) {
      trace.sweep(Values(prompts), Values({1.0, 1.0, 0.0}), [&](Param prompt, Param scale) {
        trace.Invoke(prompt, [&] {
          model["transformer.h"][0].output() = model["transformer.h"][0].output() * scale;
          logits = model["lm_head"].output().save();
        });
      });
    }),
                IsOk());
    ASSERT_EQ(logits.size(), 3u);
    for (const size_t point : {0u, 1u}) {
      EXPECT_LT(RelativeDifference(logits[point], Alone(model, prompts[point], "lm_head")),
                kTolerance);
    }
    EXPECT_EQ(logits[2].size(1), 2);
    SavedList<Tensor> ids;
    ASSERT_THAT(model.Trace([&](Tracer& trace) {
      trace.sweep(Values({"ab", "c"}),
                  [&](Param prompt) { trace.Invoke(prompt, [&] { ids = model.ids().save(); }); });
    }),
                IsOk());
    EXPECT_EQ(ids[0].ToVector<int64_t>(), *model.Encode("ab"));
  });
}

TEST_F(ExperimentsTest, AMaskSelectsWhatIsSavedAndWritten) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> whole, some, after;
    ASSERT_THAT(model.Trace({5, 11, 17},
                            [&] {
                              Var h = model["transformer.h"][0].output();
                              whole = h.save();
                              some = h[h > 0.0].save();
                              h[h > 0.0] = h[h > 0.0] * 2.0;
                              after = model["transformer.h"][1].input().save();
                            }),
                IsOk());
    std::vector<float> positive, changed;
    for (const float value : whole->ToVector<float>()) {
      if (value > 0) positive.push_back(value);
      changed.push_back(value > 0 ? 2 * value : value);
    }
    EXPECT_EQ(some->ToVector<float>(), positive);
    EXPECT_LT(RelativeDifference(*after, Tensor::From(changed, whole->shape())), kTolerance);
    const auto scan = model.Scan({5, 11, 17}, [&] {
      Var h = model["transformer.h"][0].output();
      h[h > 0.0].save("some");
    });
    ASSERT_THAT(scan, IsOk());
    EXPECT_EQ(scan->Get("some")->type, "float32[at most 96]");
    EXPECT_EQ(scan->Get("some")->bytes, 96u * 4);
  });
}

TEST_F(ExperimentsTest, NumbersAndTextsAreSavedAndLoggedAsTheyAre) {
  Both([](const LanguageModel& model) {
    Saved<Value> dict, list;
    Saved<std::string> text;
    Saved<int64_t> number;
    const auto run = model.Trace({5, 11, 17}, [&] {
      Var h = model["transformer.h"][0].output();
      dict =
          make_dict({{"layer", 0}, {"name", "block"}, {"norm", h.norm()}, {"last", false}}).save();
      list = save({1, 0.5, "two"});
      text = save("a text");
      number = save(7);
      Log("before the edit");
      Log({1, "two"}, "both");
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(*(*dict)["layer"].FindAs<int64_t>(), 0);
    EXPECT_EQ(*(*dict)["name"].FindAs<std::string>(), "block");
    EXPECT_EQ((*dict)["norm"].tensor().dim(), 0);
    EXPECT_EQ(*(*dict)["last"].FindAs<bool>(), false);
    EXPECT_EQ(*(*list)[1].FindAs<double>(), 0.5);
    EXPECT_EQ(*text, "a text");
    EXPECT_EQ(*number, 7);
    ASSERT_EQ(run->log.size(), 2u);
    EXPECT_EQ(run->log[0].text, "before the edit");
    EXPECT_EQ(run->log[1].label, "both");
  });
}

TEST_F(ExperimentsTest, SavesNumbersStructuresAndHalves) {
  Both([](const LanguageModel& model) {
    Saved<Value> size, shape, both;
    Saved<Tensor> half;
    ASSERT_THAT(model.Trace({5, 11, 17},
                            [&] {
                              Var h = model["transformer.h"][0].output();
                              half = h.save({.name = "half", .dtype = kFloat16});
                              size = h.size(1).save();
                              shape = h.shape().save();
                              both = save({h[{0, 0}], 7}, {.name = "both"});
                            }),
                IsOk());
    EXPECT_EQ(half->dtype(), kFloat16);
    ASSERT_TRUE(size.has_value()) << size.status();
    EXPECT_EQ(size->ToString(), "3");
    EXPECT_EQ(shape->ToString(), "[1, 3, 32]");
    EXPECT_EQ(*(*both)[1].FindAs<int64_t>(), 7);
  });
}

}  // namespace
}  // namespace weft::testing
