// From a file to a server, and what a client does with the model there; the same in process.

#include <gmock/gmock.h>

#include <functional>
#include <optional>
#include <sstream>
#include <string>

#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string& Mlp() {
  static const auto* const kPath =
      new std::string(std::string(WEFT_SOURCE_DIR) + "/tests/exported/archives/mlp.pt2");
  return *kPath;
}

class RemoteTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_THAT(engine_->LoadModel("mlp", Mlp()), IsOk());
    remote_ = Client(NewBackend(NewKey({"trace", "weights"}))).OpenLanguageModel("mlp").value();
    local_ = MakeLocalClient({.models = {{"mlp", Mlp()}}, .threads = 1})
                 .value()
                 .OpenLanguageModel("mlp")
                 .value();
  }
  void Both(const std::function<void(const LanguageModel&)>& body) {
    body(*remote_);
    body(*local_);
  }
  std::optional<LanguageModel> remote_, local_;
};

const Tensor kRows = Tensor::From(std::vector<float>{1, 2, 3, 4, -1, 0, 1, 2}, {2, 4});

TEST_F(RemoteTest, ReadsWritesAndGradients) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> plain, hidden, result, gradient, weight;
    ASSERT_THAT(model.Trace(kRows, [&] { plain = model.result().save("p"); }), IsOk());
    ASSERT_THAT(
        model.Trace(kRows,
                    [&] {
                      Var h = model["fc1"].output();
                      hidden = h.save("h");
                      model["act"].output()[{Slice(), 0}] = 0.0;
                      Var in = model["fc2"].input();
                      result = model.result().save("r");
                      weight = model["fc2"].param("weight").save("w");
                      model.result().sum().backward([&] { gradient = in.grad().save("g"); });
                    }),
        IsOk());
    EXPECT_THAT(hidden->shape(), ElementsAre(2, 8));
    EXPECT_THAT(result->shape(), ElementsAre(2, 3));
    EXPECT_GT(RelativeDifference(*plain, *result), 1e-3);
    // The sum of the last layer's weights, for each of its inputs.
    EXPECT_THAT(gradient->shape(), ElementsAre(2, 8));
    const absl::Span<const float> w = weight->span<float>();
    EXPECT_NEAR(gradient->span<float>()[0], w[0] + w[8] + w[16], 1e-5);
  });
}

TEST_F(RemoteTest, TheTreeAndTheLinesOfPythonAreShown) {
  Both([](const LanguageModel& model) {
    std::ostringstream tree;
    tree << model;
    EXPECT_THAT(tree.str(), HasSubstr("(fc1): Linear"));
    EXPECT_THAT(model["fc1"].source().text(), HasSubstr("linear_0  (float32[B, 4]"));
    EXPECT_THAT(model["fc1"].source().text(), HasSubstr("  # linear.py:"));
  });
}

TEST_F(RemoteTest, AModelIsReplacedByAnExportedOne) {
  ASSERT_THAT(engine_->ReplaceModel("tiny", Mlp()), IsOk());
  EXPECT_EQ(engine_->GetModel("tiny").value()->summary.family, "exported");
  EXPECT_THAT(engine_->LoadModel("none", Mlp() + ".none.pt2"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("mlp.pt2.none.pt2")));
}

}  // namespace
}  // namespace weft::testing
