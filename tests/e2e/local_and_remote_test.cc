#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

/// The same client code, behind a connection and in process, gives the same numbers.
class LocalAndRemoteTest : public ServiceTest {
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
    body(*remote_);
    body(*local_);
  }

  std::optional<LanguageModel> remote_, local_;
};

TEST_F(LocalAndRemoteTest, GiveTheSameNumbers) {
  std::vector<Tensor> hidden, logits;
  Both([&](const LanguageModel& model) {
    Saved<Tensor> h, p;
    auto run = model.Trace({5, 11, 17, 23}, [&] {
      Var x = model["transformer.h"][1].output();
      h = x.save("h");
      x[{Slice(), -1}] *= 3.0;
      p = model["lm_head"].output()[{Slice(), -1}].save("p");
    });
    ASSERT_THAT(run, IsOk());
    hidden.push_back(*h);
    logits.push_back(*p);
    EXPECT_EQ(run->fingerprint.size(), 32);
    EXPECT_EQ(run->cost.tokens, 4);
  });
  ASSERT_EQ(logits.size(), 2);
  EXPECT_LT(RelativeDifference(hidden[0], hidden[1]), 1e-6);
  EXPECT_LT(RelativeDifference(logits[0], logits[1]), 1e-6);
}

TEST_F(LocalAndRemoteTest, GiveTheSameGradients) {
  std::vector<Tensor> gradients, edited;
  Both([&](const LanguageModel& model) {
    Saved<Tensor> g, e;
    auto run = model.Trace({5, 11, 17, 23}, [&] {
      Var first = model["transformer.h"][0].output();
      Var second = model["transformer.h"][1].output();
      Var loss = model["lm_head"].output()[{Slice(), -1, 7}].sum();
      loss.backward([&] { g = first.grad().save("g"); });
      loss.backward([&] {
        second.grad() *= 2.0;
        e = first.grad().save("e");
      });
    });
    ASSERT_THAT(run, IsOk());
    gradients.push_back(*g);
    edited.push_back(*e);
  });
  ASSERT_EQ(gradients.size(), 2);
  EXPECT_LT(RelativeDifference(gradients[0], gradients[1]), 1e-6);
  EXPECT_LT(RelativeDifference(edited[0], edited[1]), 1e-6);
  // All of it flows through the second block.
  for (int64_t token = 0; token < 4; ++token) {
    for (int64_t i = 0; i < 32; ++i) {
      EXPECT_NEAR(edited[0].at<float>({0, token, i}), 2 * gradients[0].at<float>({0, token, i}),
                  1e-4);
    }
  }
}

TEST_F(LocalAndRemoteTest, NameTheClientsLineInErrors) {
  Both([&](const LanguageModel& model) {
    int line = 0;
    auto run = model.Trace({5, 11, 17}, [&] {
      Var late = model["transformer.h"][2].output();
      line = __LINE__ + 1;
      model["transformer.h"][0].output() = late;
      model["lm_head"].output().save();
    });
    ASSERT_THAT(run, StatusIs(absl::StatusCode::kInvalidArgument,
                              ::testing::HasSubstr("transformer.h.0.output is visited before "
                                                   "transformer.h.2.output")));
    const std::optional<ErrorDetails> error = GetError(run.status());
    ASSERT_TRUE(error.has_value());
    EXPECT_THAT(error->file, ::testing::HasSubstr("local_and_remote_test.cc"));
    EXPECT_EQ(error->line, line);
    EXPECT_FALSE(error->hint.empty());
  });
}

TEST_F(LocalAndRemoteTest, SaveStructuresLogsAndParameters) {
  Both([&](const LanguageModel& model) {
    Saved<Value> attention;
    Saved<Tensor> weight;
    auto run = model.Trace({5, 11, 17}, [&] {
      attention = model["transformer.h"][0]["attn"].output().save("attention");
      weight = model["transformer.wte"].param("weight").save("weight");
      Log(model["lm_head"].output()[{0, -1, Slice(weft::None, 3)}]);
    });
    ASSERT_THAT(run, IsOk());
    ASSERT_THAT(attention.status(), IsOk());
    EXPECT_EQ(weight->shape(), (Shape{97, 32}));
    ASSERT_EQ(run->log.size(), 1);
    EXPECT_THAT(run->log[0].text, ::testing::HasSubstr("float32[3]"));
  });
}

TEST_F(LocalAndRemoteTest, WatchedCallsAreReadAndWrittenInside) {
  std::vector<Tensor> results;
  Both([&](const LanguageModel& model) {
    const Module mlp = model["transformer.h"][1]["mlp"];
    Saved<Tensor> act, quiet, plain;
    auto run = model.Trace({5, 11, 17}, [&] {
      Var h = model["transformer.h"][0].output();
      Var watched = mlp.watched(h);
      act = mlp["act"].visit(1).output().save("act");
      mlp["c_proj"].visit(1).input() = 0.0 * mlp["act"].visit(1).output();
      quiet = watched.save("quiet");
      plain = mlp(h).save("plain");
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(act->shape(), (Shape{1, 3, 128}));
    EXPECT_GT(RelativeDifference(*plain, *quiet), 1e-3);
    results.push_back(*quiet);
  });
  ASSERT_EQ(results.size(), 2);
  EXPECT_LT(RelativeDifference(results[0], results[1]), 1e-6);
}

TEST_F(LocalAndRemoteTest, ValidateWithoutRunning) {
  const uint64_t before = passes();
  Both([&](const LanguageModel& model) {
    auto report = model.Validate({5, 11, 17}, [&] { model["lm_head"].output().save("p"); });
    ASSERT_THAT(report, IsOk());
    ASSERT_EQ(report->saves.size(), 1);
    EXPECT_EQ(report->saves[0].type, "float32[1, 3, 97]");
    EXPECT_EQ(report->estimate.result_bytes, 3 * 97 * 4);
  });
  EXPECT_EQ(passes(), before);
}

TEST_F(LocalAndRemoteTest, BringBackLargeResultsWhole) {
  Both([&](const LanguageModel& model) {
    Saved<Tensor> large;
    auto run = model.Trace({1}, [&] { large = weft::arange(3000000).save(); });
    ASSERT_THAT(run, IsOk());
    const auto values = large->span<int64_t>();
    ASSERT_EQ(values.size(), 3000000);
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<int64_t>(i));
  });
}

}  // namespace
}  // namespace weft::testing
