// A module that a forward calls several times, behind one that nobody calls: which call is which.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/hosted_model.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::ExpectClose;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;

/// Adds one, by an operator that can be read.
class AddOne : public models::Module {
 public:
  at::Tensor forward(run::Pass&, at::Tensor x) override { return at::add(x, 1.0); }
  std::string type() const override { return "AddOne"; }
  bool rowwise() const override { return true; }
};

/// Calls a module that is not its own twice, and doubles.
class Outer : public models::Module {
 public:
  explicit Outer(AddOne* step) : step_(*step) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = models::Call(pass, step_, std::move(x));
    return at::mul(models::Call(pass, step_, std::move(x)), 2.0);
  }
  std::string type() const override { return "Outer"; }
  bool rowwise() const override { return true; }

 private:
  AddOne& step_;
};

/// embed, step, outer { step, step }, step.
class RepeatingNet : public models::Module {
 public:
  RepeatingNet() {
    embed_ = Own("embed",
                 std::make_unique<models::EmbeddingImpl>(at::linspace(-1, 1, 40).view({10, 4})));
    step_ = Own("step", std::make_unique<AddOne>());
    outer_ = Own("outer", std::make_unique<Outer>(step_));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = models::Call(pass, *embed_, std::move(ids));
    x = models::Call(pass, *step_, std::move(x));
    x = models::Call(pass, *outer_, std::move(x));
    return models::Call(pass, *step_, std::move(x));
  }
  std::string type() const override { return "RepeatingNet"; }
  int64_t input_range() const override { return 10; }

 private:
  models::EmbeddingImpl* embed_ = nullptr;
  AddOne* step_ = nullptr;
  Outer* outer_ = nullptr;
};

class RepeatedCallsTest : public ::testing::Test {
 protected:
  RepeatedCallsTest() {
    models::Network network;
    network.root = std::make_unique<RepeatingNet>();
    network.family = "repeating";
    network.vocabulary = 10;
    network.max_tokens = 16;
    model_ = std::make_unique<LocalModel>(
        *models::HostedModel::Host(std::move(network), /*pad_left=*/true));
  }
  LocalResult Run(const std::string& body) {
    LocalResult result = model_->Run(absl::StrCat("invoke [1, 2, 3] {\n", body, "}"));
    EXPECT_THAT(result.status, IsOk());
    return result;
  }

  std::unique_ptr<LocalModel> model_;
};

constexpr char kSkip[] = "skip outer = aten::mul(read outer.input, 10.0)\n";

TEST_F(RepeatedCallsTest, CallsInsideASkippedModuleCountAsVisited) {
  const LocalResult result = Run(absl::StrCat(kSkip, R"(
    save skipped = read outer.output
    save in = read step@3.input
    save out = read step@3.output
    save result = read result)"));
  ExpectClose(result["in"], result["skipped"]);
  ExpectClose(result["out"], result["skipped"] + 1);
  ExpectClose(result["result"], result["out"]);
}

TEST_F(RepeatedCallsTest, AWriteBehindASkippedModuleIsMade) {
  const LocalResult result = Run(absl::StrCat(kSkip, R"(
    write step@3.output[:, -1] = 7.0
    save result = read result)"));
  ExpectClose(result["result"].select(1, -1), at::full({1, 4}, 7.0));
}

TEST_F(RepeatedCallsTest, OperatorsBehindASkippedModuleAreThoseOfTheirCall) {
  const LocalResult result = Run(absl::StrCat(kSkip, R"(
    save first = read step.op(add_0).output
    save last = read step@3.op(add_0).output
    save result = read result)"));
  ExpectClose(result["last"], result["result"]);
  ExpectClose(result["last"], result["first"] * 10 + 1);
}

TEST_F(RepeatedCallsTest, SomeRowsSkipAndOthersDoNot) {
  const LocalResult both = model_->Run(absl::StrCat(
      "invoke [1, 2, 3] {\n", kSkip, "save a = read step@3.output }\n", "invoke [1, 2, 3] {\n",
      "save inner = read step@2.output\n", "save b = read step@3.output }"));
  ASSERT_THAT(both.status, IsOk());
  ExpectClose(both["b"], both["inner"] * 2 + 1);
  ExpectClose(both["a"], Run(absl::StrCat(kSkip, "save a = read step@3.output"))["a"]);
}

}  // namespace
}  // namespace weft
