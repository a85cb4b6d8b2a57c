// The points of a sweep have their rows in common until one of them changes its own: how many rows
// each block sees, and that the numbers are those of each point by itself.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "engine/models/blocks.h"
#include "engine/models/hosted_model.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::ElementsAre;
using testing::ExpectClose;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;

// --- how many rows ------------------------------------------------------------------------------

/// A layer that notes how many rows it is called with.
class CountingLayer : public models::Module {
 public:
  explicit CountingLayer(std::vector<int64_t>* rows) : rows_(*rows) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override {
    rows_.push_back(x.size(1));
    return at::tanh(at::add(x, 0.5));
  }
  std::string type() const override { return "CountingLayer"; }
  bool rowwise() const override { return true; }

 private:
  std::vector<int64_t>& rows_;
};

class CountingNet : public models::Module {
 public:
  explicit CountingNet(std::vector<int64_t>* rows) {
    wte_ =
        Own("wte", std::make_unique<models::EmbeddingImpl>(at::linspace(-1, 1, 80).view({20, 4})));
    auto* list = Own("h", std::make_unique<models::ModuleListImpl>());
    for (int i = 0; i < 4; ++i) {
      layers_.push_back(list->Append(std::make_unique<CountingLayer>(rows)));
    }
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = models::Call(pass, *wte_, std::move(ids));
    if (!pass.Leave(wte_->output_tap(), x)) return {};
    for (CountingLayer* layer : layers_) {
      x = models::Call(pass, *layer, std::move(x));
      if (!pass.Leave(layer->output_tap(), x)) return {};
    }
    return x;
  }
  std::string type() const override { return "CountingNet"; }
  int64_t input_range() const override { return 20; }

 private:
  models::EmbeddingImpl* wte_ = nullptr;
  std::vector<CountingLayer*> layers_;
};

class RowsTest : public ::testing::Test {
 protected:
  RowsTest() {
    models::Network network;
    network.root = std::make_unique<CountingNet>(&rows_);
    network.family = "counting";
    network.vocabulary = 20;
    network.max_tokens = 16;
    model_ = std::make_unique<LocalModel>(
        *models::HostedModel::Host(std::move(network), /*pad_left=*/true));
  }
  /// The rows of each layer of the pass that `text` runs in.
  std::vector<int64_t> RowsOf(const std::string& text) {
    rows_.clear();
    EXPECT_THAT(model_->Run(text).status, IsOk());
    return rows_;
  }

  std::vector<int64_t> rows_;
  std::unique_ptr<LocalModel> model_;
};

TEST_F(RowsTest, APointHasRowsOfItsOwnFromTheLayerThatItWritesIn) {
  // Three tokens. Point 3 is whose rows the others have in common; each comes in before its layer.
  EXPECT_THAT(RowsOf(R"(sweep %l in [0, 1, 2, 3] { invoke [1, 2, 3] {
                write h.$l.output[:, -1] = 0.0
                save r = read result } })"),
              ElementsAre(6, 9, 12, 12));
}

TEST_F(RowsTest, PointsThatOnlyReadHaveOneSetOfRows) {
  EXPECT_THAT(RowsOf(R"(sweep %l in [0, 1, 2, 3] { invoke [1, 2, 3] {
                save h = read h.$l.output } })"),
              ElementsAre(3, 3, 3, 3));
}

TEST_F(RowsTest, WhatIsWrittenBeforeTheFirstLayerIsOnesOwnAtOnce) {
  EXPECT_THAT(RowsOf(R"(sweep %t in [0, 1, 2] { invoke [1, 2, 3] {
                write wte.output[:, %t] = 0.0
                save r = read result } })"),
              ElementsAre(9, 9, 9, 9));
}

TEST_F(RowsTest, WhoEndsEarlyIsGoneAndWhoseRowsOthersNeedIsNot) {
  // Point 2 changes last and would end first: the others come in from its rows.
  EXPECT_THAT(RowsOf(R"(sweep %l in [1, 2, 3] { invoke [1, 2, 3] {
                write h.$l.output[:, -1] = 0.0
                save r = read h.$l.output } })"),
              ElementsAre(3, 6, 6, 3));
}

// --- which numbers ------------------------------------------------------------------------------

/// Runs `body` for each value of `%x` in a sweep, and by itself, and compares all that is saved.
void ExpectAsAlone(const std::string& body, const std::vector<std::string>& values,
                   const std::vector<std::string>& saves) {
  LocalModel& model = LocalModel::Tiny();
  const LocalResult sweep =
      model.Run(absl::StrCat("sweep %x in [", absl::StrJoin(values, ", "), "] {\n",
                             absl::StrReplaceAll(body, {{"X$", "$x"}, {"X%", "%x"}}), "}"));
  ASSERT_THAT(sweep.status, IsOk());
  for (size_t point = 0; point < values.size(); ++point) {
    const LocalResult one =
        model.Run(absl::StrReplaceAll(body, {{"X$", values[point]}, {"X%", values[point]}}));
    ASSERT_THAT(one.status, IsOk());
    for (const std::string& save : saves) {
      SCOPED_TRACE(absl::StrCat(save, " of point ", values[point]));
      ExpectClose(sweep[absl::StrCat(save, "/", point)], one[save]);
    }
  }
}

TEST(SharingTest, ReadsBeforeAndAfterTheFirstWrite) {
  ExpectAsAlone(R"(invoke [64, 65, 66] {
      save before = read transformer.wte.output
      save first = read transformer.h.0.output
      write transformer.h.X$.output[:, 1] = 0.0
      save scores = read transformer.h.2.attn.scores
      save last = read transformer.h.2.output
      save r = read result
    })",
                {"0", "1", "2"}, {"before", "first", "scores", "last", "r"});
}

TEST(SharingTest, OperationsAreReadWhereTheRowsAreInCommon) {
  ExpectAsAlone(R"(invoke [64, 65, 66] {
      save act = read transformer.h.0.mlp.act.op(gelu_0).output
      save probs = read transformer.h.0.attn.probs
      write transformer.h.X$.mlp.output[...] = 0.0
      save r = read result
    })",
                {"0", "1", "2"}, {"act", "probs", "r"});
}

TEST(SharingTest, PaddedRowsAndAllRowsOfAPoint) {
  ExpectAsAlone(R"(
    invoke [[64, 65, 66], [87]] {
      write transformer.h.X$.attn.output[0][:, -1] = 0.0
      save r = read result
    }
    invoke [28, 19] { save s = read result }
    invoke {
      save all = read transformer.h.1.output
      write transformer.h.1.output[:, -1] = aten::mul(read transformer.h.1.output[:, -1], 2.0)
    })",
                {"0", "1", "2"}, {"r", "s", "all"});
}

TEST(SharingTest, WhatIsSkippedIsOnesOwn) {
  ExpectAsAlone(R"(invoke [64, 65, 66] {
      save before = read transformer.h.0.output
      skip transformer.h.1 = aten::mul(read transformer.h.1.input, X%)
      save r = read result
      save h = read transformer.h.2.input
    })",
                {"0.5", "1.0", "2.0"}, {"before", "r", "h"});
}

TEST(SharingTest, PointsComeInWhileAnothersRowsSkipTheWholeTransformer) {
  LocalModel& model = LocalModel::Tiny();
  const std::string sweep = R"(sweep %l in [0, 1, 2] { invoke [64, 65, 66] {
      write transformer.h.$l.output[:, -1] = 0.0
      save r = read result } })";
  const std::string skips = R"(invoke [87, 28] {
      skip transformer = {last_hidden_state: aten::mul(read transformer.wte.output, 0.5)}
      save r = read result })";
  const std::string reads = "invoke [87, 28, 19] { save r = read result }";
  const std::vector<LocalResult> together = model.RunTogether({skips, sweep, reads});
  const LocalResult sweep_alone = model.Run(sweep), reads_alone = model.Run(reads);
  ASSERT_THAT(together[1].status, IsOk());
  for (const char* save : {"r/0", "r/1", "r/2"}) ExpectClose(together[1][save], sweep_alone[save]);
  ExpectClose(together[2]["r"], reads_alone["r"]);
}

}  // namespace
}  // namespace weft
