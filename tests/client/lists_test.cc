#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>
#include <vector>

#include "client/src/result_collector.h"
#include "engine/graph/error.h"
#include "tests/client/fake_backend.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What runs bring back in several results.
class ListsTest : public ::testing::Test {
 protected:
  ListsTest()
      : backend_(std::make_shared<FakeBackend>()),
        model_(Client(backend_).OpenLanguageModel("toy").value()) {}

  static event::Result Item(const std::string& name, double value, std::optional<uint32_t> step,
                            std::optional<uint32_t> point = std::nullopt) {
    return {name, Value(tensor(value)), step, point, std::nullopt};
  }
  static event::Result Entry(const std::string& module, double value, uint32_t visit = 0,
                             const std::string& point = "output") {
    return {"acts", Value(tensor(value)), std::nullopt, std::nullopt,
            event::CacheEntry{module, point, visit}};
  }
  static std::vector<double> Numbers(const std::vector<Tensor>& tensors) {
    std::vector<double> numbers;
    for (const Tensor& tensor : tensors) numbers.push_back(tensor.item());
    return numbers;
  }
  absl::StatusOr<RunResult> Generate(absl::FunctionRef<void(Tracer&)> body) {
    TraceOptions options;
    options.on_event = [this](const RunEvent& event) {
      if (const auto* result = std::get_if<event::Result>(&event)) seen_.push_back(*result);
    };
    return model_.Generate("hi", {.max_new_tokens = 4}, body, options);
  }

  std::shared_ptr<FakeBackend> backend_;
  LanguageModel model_;
  std::vector<event::Result> seen_;
};

TEST_F(ListsTest, ASaveInsideStepsIsAListInOrder) {
  backend_->events = {Item("save0", 1, 0), Item("save0", 3, 2), Item("save0", 2, 1),
                      event::Completed{}};
  SavedList<> list;
  absl::StatusOr<RunResult> run =
      Generate([&](Tracer& trace) { trace.all([&] { list = model_["h.0"].output().save(); }); });
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_THAT(Numbers(*list), ElementsAre(1, 2, 3));
  EXPECT_EQ(list.size(), 3u);
  EXPECT_EQ(list[2].item(), 3);
  EXPECT_EQ(run->saves.at("save0").size(), 3u);
  ASSERT_EQ(seen_.size(), 3u);
  EXPECT_EQ(seen_[1].step, 2u);
  // Of another type it says which.
  Saved<Tensor> lone = list;
  EXPECT_THAT(std::string(lone.status().message()), HasSubstr("SavedList<>"));
}

TEST_F(ListsTest, AGridsPointsAreFoundByTheirPlaces) {
  for (uint32_t point = 0; point < 6; ++point) {
    backend_->events.push_back(Item("a", point, std::nullopt, point));
  }
  backend_->events.push_back(event::Completed{});
  SavedList<> grid;
  ASSERT_TRUE(model_
                  .Trace([&](Tracer& trace) {
                    trace.sweep(Grid(Range(2), Values({0.5, 1.0, 2.0})), [&](Param, Param factor) {
                      trace.Invoke("hi",
                                   [&] { grid = (model_["h.0"].output() * factor).save("a"); });
                    });
                  })
                  .ok());
  EXPECT_EQ(grid.at({0, 0}).item(), 0);
  EXPECT_EQ(grid.at({0, 2}).item(), 2);
  EXPECT_EQ(grid.at({1, 1}).item(), 4);
  EXPECT_DEATH(grid.at({2, 0}), "2, 0.*its grid is \\[2, 3\\]");
  EXPECT_DEATH(grid.at({1}), "its grid is");
}

TEST_F(ListsTest, AListOfNoGridHasNoPlaces) {
  backend_->events = {Item("a", 1, std::nullopt, 0), Item("a", 2, std::nullopt, 1),
                      event::Completed{}};
  SavedList<> list;
  ASSERT_TRUE(model_
                  .Trace([&](Tracer& trace) {
                    trace.sweep(Range(2), [&](Param layer) {
                      trace.Invoke("hi", [&] { list = model_["h"][layer].output().save("a"); });
                    });
                  })
                  .ok());
  EXPECT_EQ(list[1].item(), 2);
  EXPECT_DEATH(list.at({1}), "not of a sweep over a Grid");
}

TEST_F(ListsTest, AListThatLacksItsLastStepsSaysWhy) {
  backend_->events = {Item("a", 1, 0), event::Missing{"a", absl::OutOfRangeError("step 1")},
                      event::Missing{"b", absl::OutOfRangeError("step 3")}, event::Completed{}};
  SavedList<> a, b, c;
  absl::StatusOr<RunResult> run = Generate([&](Tracer& trace) {
    trace.all([&] { a = model_["h.0"].output().save("a"); });
    trace.steps(Slice(3, None), [&] { b = model_["h.0"].output().save("b"); });
  });
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(a.size(), 1u);
  EXPECT_EQ(a.incomplete(), absl::OutOfRangeError("step 1"));
  EXPECT_TRUE(b->empty());
  EXPECT_EQ(b.incomplete(), absl::OutOfRangeError("step 3"));
  EXPECT_EQ(run->missing.size(), 2u);
  EXPECT_EQ(run->saves.at("b").size(), 0u);
}

TEST_F(ListsTest, AStepThatGaveNothingLeavesAGap) {
  backend_->events = {Item("a", 1, 1), Item("a", 3, 3), event::Completed{}};
  Saved<std::vector<Value>> any;
  SavedList<> tensors;
  ASSERT_TRUE(Generate([&](Tracer& trace) {
                trace.steps(Slice(1, None), [&] {
                  Var h = model_["h.0"].output();
                  If(h.any(), [&] { tensors = any = h.save("a"); });
                });
              }).ok());
  ASSERT_EQ(any.size(), 3u);
  EXPECT_TRUE(any[1].is_none());
  EXPECT_EQ(any[2].tensor().item(), 3);
  EXPECT_THAT(std::string(tensors.status().message()), HasSubstr("item 1 of save a is a none"));
}

TEST_F(ListsTest, AStepNamedByItsNumberGivesAValue) {
  backend_->events = {Item("a", 2, 2), event::Missing{"b", absl::OutOfRangeError("step 3")},
                      event::Completed{}};
  Saved<> a, b;
  ASSERT_TRUE(Generate([&](Tracer& trace) {
                trace.steps(2, [&] { a = model_["h.0"].output().save("a"); });
                trace.steps(3, [&] { b = model_["h.0"].output().save("b"); });
              }).ok());
  EXPECT_EQ(a->item(), 2);
  EXPECT_EQ(b.status(), absl::OutOfRangeError("step 3"));
}

TEST_F(ListsTest, ASweepGivesAnItemForEachPoint) {
  backend_->events = {Item("a", 3, std::nullopt, 2), Item("a", 1, std::nullopt, 0),
                      event::Completed{}};
  Saved<std::vector<Value>> a;
  ASSERT_TRUE(model_
                  .Trace([&](Tracer& trace) {
                    trace.sweep(Range(4), [&](Param) {
                      trace.Invoke("hi", [&] { a = model_["h.0"].output().save("a"); });
                    });
                  })
                  .ok());
  ASSERT_EQ(a.size(), 4u);
  EXPECT_EQ(a[0].tensor().item(), 1);
  EXPECT_TRUE(a[1].is_none());
  EXPECT_EQ(a[2].tensor().item(), 3);
}

TEST_F(ListsTest, StepsOfASweepAreListsOfLists) {
  backend_->events = {Item("a", 0, 0, 0), Item("a", 10, 0, 1), Item("a", 11, 1, 1),
                      Item("a", 1, 1, 0), event::Completed{}};
  Saved<std::vector<std::vector<Tensor>>> a;
  absl::StatusOr<RunResult> run = model_.Generate({.max_new_tokens = 2}, [&](Tracer& trace) {
    trace.sweep(Range(2), [&](Param) {
      trace.Invoke("hi", [&] { trace.all([&] { a = model_["h.0"].output().save("a"); }); });
    });
  });
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(a.size(), 2u);
  EXPECT_THAT(Numbers(a[0]), ElementsAre(0, 1));
  EXPECT_THAT(Numbers(a[1]), ElementsAre(10, 11));
}

TEST_F(ListsTest, StepsThatASweepChoosesAreCountedFromEachPointsFirst) {
  backend_->events = {Item("a", 3, 3, 0), Item("a", 11, 1, 1), Item("a", 13, 3, 1),
                      event::Completed{}};
  Saved<std::vector<std::vector<Value>>> a;
  absl::StatusOr<RunResult> run = model_.Generate({.max_new_tokens = 4}, [&](Tracer& trace) {
    trace.sweep(Values({3, 1}), [&](Param first) {
      trace.Invoke("hi", [&] {
        trace.steps(Slice(first, None), [&] { a = model_["h.0"].output().save("a"); });
      });
    });
  });
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(a.size(), 2u);
  ASSERT_EQ(a[0].size(), 1u);
  EXPECT_EQ(a[0][0].tensor().item(), 3);
  ASSERT_EQ(a[1].size(), 3u);
  EXPECT_TRUE(a[1][1].is_none());
  EXPECT_EQ(a[1][2].tensor().item(), 13);
}

TEST_F(ListsTest, AFailedRunGivesTheItemsThatCameBefore) {
  backend_->events = {Item("a", 1, 0)};
  backend_->end = absl::DeadlineExceededError("out of time");
  SavedList<> a, b;
  EXPECT_FALSE(Generate([&](Tracer& trace) {
                 trace.all([&] {
                   a = model_["h.0"].output().save("a");
                   b = model_["h.0"].output().save("b");
                 });
               }).ok());
  EXPECT_EQ(a.size(), 1u);
  EXPECT_EQ(a.incomplete(), backend_->end);
  EXPECT_EQ(b.status(), backend_->end);
}

TEST_F(ListsTest, BothSidesOfAnIfFillTheirHandles) {
  backend_->events = {event::Result{"x", Value(tensor(5.0))}, event::Completed{}};
  Saved<> then, otherwise;
  ASSERT_TRUE(model_
                  .Trace("hi",
                         [&] {
                           Var h = model_["h.0"].output();
                           If(h.any(), [&] { then = h.save("x"); }).Else([&] {
                             otherwise = (h * 2).save("x");
                           });
                         })
                  .ok());
  EXPECT_EQ(then->item(), 5);
  EXPECT_EQ(otherwise->item(), 5);
}

TEST_F(ListsTest, ACacheIsNavigatedByPath) {
  backend_->events = {Entry("h.0.mlp", 1), Entry("h.0", 2), Entry("h.0.mlp", 3, 1),
                      Entry("lm_head", 4), event::Completed{}};
  SavedCache acts;
  absl::StatusOr<RunResult> run =
      model_.Trace("hi", [&](Tracer& trace) { acts = trace.cache({}, {.name = "acts"}); });
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(acts.status().ok());
  EXPECT_THAT(acts.keys(), ElementsAre("h.0.mlp", "h.0", "lm_head"));
  EXPECT_THAT(acts["h"].keys(), ElementsAre("h.0.mlp", "h.0"));
  EXPECT_EQ(acts["h.0"].output()->item(), 2);
  EXPECT_EQ(acts["lm_head"].output()->item(), 4);
  // Several visits are a list.
  SavedList<> visits = acts["h"][0]["mlp"].output();
  EXPECT_THAT(Numbers(*visits), ElementsAre(1, 3));
  EXPECT_EQ(acts["h.0.mlp"].output(1)->item(), 3);
  EXPECT_EQ(acts["h.0.mlp"].visits(), 2u);
  EXPECT_TRUE(acts.contains("h.0"));
  EXPECT_FALSE(acts.contains("h.1"));
  const absl::Status missing = acts["h"][1].output().status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.message(), "\"h.1\" was not cached; what was: h.0.mlp, h.0, lm_head");
  EXPECT_THAT(std::string(acts["h.0"].input().status().message()), HasSubstr("include_inputs"));
  EXPECT_EQ(run->saves.at("acts")["h.0.mlp@1.output"].tensor().item(), 3);
}

TEST_F(ListsTest, ACacheHoldsWhatModulesWereCalledWith) {
  backend_->events = {Entry("h.0", 7, 0, "input"), Entry("h.0", 8), Entry("h.0", 9, 1, "input"),
                      Entry("h.0", 10, 1), event::Completed{}};
  SavedCache acts;
  ASSERT_TRUE(model_
                  .Trace("hi",
                         [&](Tracer& trace) {
                           acts = trace.cache({model_["h.0"]},
                                              {.name = "acts", .include_inputs = true});
                         })
                  .ok());
  EXPECT_EQ(acts["h.0"].input(1)->item(), 9);
  SavedList<> inputs = acts["h.0"].input();
  EXPECT_THAT(Numbers(*inputs), ElementsAre(7, 9));
  EXPECT_EQ(acts["h.0"].visits(), 2u);
}

TEST_F(ListsTest, AnErrorSaysInWhichTraceOfASessionItIs) {
  // Statement 4 of: trace, invoke, read, trace, invoke.
  const auto record = [&](Session& session) {
    session.Trace("a", [&] { model_["h.0"].output(); });
    session.Label("patched").Trace("b", [] {});
  };
  graph::Error error;
  error.code = absl::StatusCode::kInvalidArgument;
  error.message = "wrong";
  error.node = 5;
  backend_->end = graph::ToStatus(error);
  const absl::Status status = model_.Session(record).status();
  EXPECT_EQ(GetError(status)->message, "in trace 2 of 2 (patched): wrong");
}

TEST_F(ListsTest, ItemsHaveNames) {
  const auto name = [](const std::string& text, const event::Result& result) {
    return internal::ResultCollector(Program::Parse(text).value().graph()).NameOf(result);
  };
  const std::string steps =
      "generate max_new_tokens=4\ninvoke \"hi\" { steps [1:] { save a = 1 } save b = 2 }";
  EXPECT_EQ(name(steps, Item("a", 0, 3)), "a.2");
  EXPECT_EQ(name(steps, Item("b", 0, std::nullopt)), "b");
  EXPECT_EQ(name(steps, Entry("h.0", 1)), "acts.h.0.output");
  EXPECT_EQ(name("sweep %l in [0:2] { invoke \"hi\" { save a = 1 } }", Item("a", 0, 0, 1)), "a.1");
}

}  // namespace
}  // namespace weft::client_test
