// Traces that are called with tensors: a module of a model by itself, a language model by ids and
// mask, and a network of one's own.

#include <ATen/ATen.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/models/blocks.h"
#include "engine/models/network.h"
#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"
#include "weft/torch.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Input::Rows kPrompt = {{5, 11, 17, 23}};

Tensor Torch(const at::Tensor& tensor) { return FromTorch(tensor.contiguous()).value(); }
Tensor Full(at::IntArrayRef shape, float value) { return Torch(at::full(shape, value)); }

/// A module called by itself, over the wire and in process.
class RootTest : public ServiceTest {
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

TEST_F(RootTest, ABlockOnGivenActivationsIsTheBlockInsideTheModel) {
  Both([&](const LanguageModel& model) {
    const Module block = model["transformer.h"][1];
    Saved<Tensor> in, out, mlp;
    ASSERT_THAT(model.Trace(kPrompt,
                            [&] {
                              in = block.input().save("in");
                              out = block.output().save("out");
                              mlp = block["mlp"].output().save("mlp");
                            }),
                IsOk());
    Saved<Tensor> own_out, own_mlp, probs;
    const auto run = block.Trace(*in, [&] {
      own_out = block.output().save("out");
      own_mlp = block["mlp"].output().save("mlp");
      probs = block["attn"].probs().save("probs");
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_LT(RelativeDifference(*own_out, *out), 1e-6);
    EXPECT_LT(RelativeDifference(*own_mlp, *mlp), 1e-6);
    EXPECT_EQ(probs->shape().back(), 4);
  });
}

TEST_F(RootTest, TheResultIsTheModulesAndWritesGoOnInside) {
  Both([&](const LanguageModel& model) {
    const Module block = model["transformer.h"][0];
    const Tensor hidden = Full({2, 3, 32}, 0.5F);
    Saved<Tensor> plain, written;
    ASSERT_THAT(block.Trace(hidden, [&] { plain = model.result().save("r"); }), IsOk());
    ASSERT_THAT(block.Trace(hidden,
                            [&] {
                              block["mlp"].output() = 0.0 * block["mlp"].output();
                              written = model.result().save("r");
                            }),
                IsOk());
    EXPECT_THAT(plain->shape(), ElementsAre(2, 3, 32));
    EXPECT_GT(RelativeDifference(*plain, *written), 1e-3);
  });
}

TEST_F(RootTest, InvokesOfDifferentLengthsShareThePass) {
  const Module block = (*local_)["transformer.h"][1];
  const Tensor a = Full({1, 2, 32}, 0.25F), b = Full({3, 5, 32}, -0.5F);
  Saved<Tensor> alone, together, other, all;
  ASSERT_THAT(block.Trace(b, [&] { alone = block.output().save("b"); }), IsOk());
  ASSERT_THAT(block.Trace([&](Tracer& trace) {
    trace.Invoke(a, [&] { other = block.output().save("a"); });
    trace.Invoke(b, [&] { together = block.output().save("b"); });
    trace.Invoke([&] { all = block.output().save("all"); });
  }),
              IsOk());
  EXPECT_LT(RelativeDifference(*alone, *together), 1e-6);
  EXPECT_THAT(all->shape(), ElementsAre(4, 5, 32));
}

TEST_F(RootTest, GradientsReachTheGivenActivations) {
  const Module block = (*local_)["transformer.h"][1];
  Saved<Tensor> gradient;
  ASSERT_THAT(block.Trace(Full({1, 3, 32}, 0.25F),
                          [&] {
                            Var in = block.input();
                            block.output().sum().backward([&] { gradient = in.grad().save("g"); });
                          }),
              IsOk());
  EXPECT_THAT(gradient->shape(), ElementsAre(1, 3, 32));
}

TEST_F(RootTest, RefusesWhatDoesNotFit) {
  const LanguageModel& model = *remote_;
  const Module block = model["transformer.h"][1];
  const Tensor hidden = Full({1, 2, 32}, 0.25F);
  EXPECT_THAT(block.Trace(Full({1, 2, 31}, 0.F), [&] { (void)block.output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("float32[B, T, 32]"), HasSubstr("float32[1, 2, 31]"))));
  EXPECT_THAT(block.Trace(Full({0, 2, 32}, 0.F), [&] { (void)block.output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least one row")));
  EXPECT_THAT(block.Trace(hidden, [&] { (void)model["transformer.h"][0].output().save("x"); }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("is not inside `transformer.h.1`")));
  EXPECT_THAT(block.Trace(Tensor::From(std::vector<float>(), {int64_t{1} << 40, 1, 0}),
                          [&] { (void)block.output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least one row")));
  EXPECT_THAT(block.Trace("text", [&] { (void)block.output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("takes no prompt")));
  const Module embedding = model["transformer.wte"];
  EXPECT_THAT(embedding.Trace(Torch(at::zeros({1, 2}, at::kComplexFloat)),
                              [&] { (void)embedding.output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("complex64[1, 2]")));
  EXPECT_THAT(embedding.Trace(Tensor::From(std::vector<int64_t>{1, 5000}, {1, 2}),
                              [&] { (void)embedding.output().save("x"); }),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("5000")));
}

TEST_F(RootTest, IdsAndMaskAreThePromptsThatTheyStandFor) {
  Both([&](const LanguageModel& model) {
    const Tensor ids = Tensor::From(std::vector<int64_t>{0, 0, 5, 11, 5, 11, 17, 23}, {2, 4});
    const Tensor mask = Tensor::From(std::vector<int64_t>{0, 0, 1, 1, 1, 1, 1, 1}, {2, 4});
    Saved<Tensor> rows, tensors;
    ASSERT_THAT(model.Trace(Input::Rows{{5, 11}, {5, 11, 17, 23}},
                            [&] { rows = model["lm_head"].output().token(-1).save("x"); }),
                IsOk());
    ASSERT_THAT(model.Trace(Inputs{{"input_ids", ids}, {"attention_mask", mask}},
                            [&] { tensors = model["lm_head"].output().token(-1).save("x"); }),
                IsOk());
    EXPECT_LT(RelativeDifference(*rows, *tensors), 1e-6);
  });
  const LanguageModel& model = *remote_;
  EXPECT_THAT(model.Trace(Inputs{{"input_ids",
                                  Tensor::From(std::vector<int64_t>(), {int64_t{1} << 40, 0})}},
                          [&] { (void)model["lm_head"].output().save("x"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no tokens")));
  const auto refused = [&](const std::vector<int64_t>& mask, const std::string& why) {
    const Tensor ids = Tensor::From(std::vector<int64_t>{1, 2, 3, 4}, {2, 2});
    EXPECT_THAT(
        model.Trace(Inputs{{"input_ids", ids}, {"attention_mask", Tensor::From(mask, {2, 2})}},
                    [&] { (void)model["lm_head"].output().save("x"); }),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({1, 0, 1, 1}, "not all on the left");
  refused({0, 1, 0, 1}, "1 pads more");
  refused({0, 0, 1, 1}, "no tokens");
  refused({2, 1, 1, 1}, "zeros and ones");
}

// --- former tuples ------------------------------------------------------------------------------

TEST_F(RootTest, ABlocksOutputIsATensorAndIndexingItAsATupleSaysSo) {
  Both([&](const LanguageModel& model) {
    const Module block = model["transformer.h"][1];
    const auto refused = StatusIs(
        absl::StatusCode::kInvalidArgument,
        AllOf(HasSubstr("not a tuple"), HasSubstr("leave out [0]"), HasSubstr("tuple_outputs")));
    EXPECT_THAT(model.Trace(kPrompt, [&] { (void)block.output()[0].save("x"); }), refused);
    EXPECT_THAT(model.Trace(kPrompt, [&] { block.output()[0][{Slice(), -1}] = 0.0; }), refused);
    EXPECT_THAT(model.Trace(kPrompt,
                            [&] {
                              Var h = block.output();
                              h[0] = 0.0;
                            }),
                refused);
    // What can only mean rows and tokens goes.
    Saved<Tensor> row, last;
    ASSERT_THAT(model.Trace(kPrompt,
                            [&] {
                              row = block.output().row(0).save("row");
                              last = block.output()[{0, -1}].save("last");
                            }),
                IsOk());
    EXPECT_THAT(row->shape(), ElementsAre(4, 32));
    EXPECT_THAT(last->shape(), ElementsAre(32));
  });
}

TEST_F(RootTest, TupleOutputsGivesTheTupleOfOlderVersions) {
  const LanguageModel model = Client(NewBackend(NewKey({"trace"})))
                                  .OpenLanguageModel("tiny", {.tuple_outputs = true})
                                  .value();
  const Module block = model["transformer.h"][1];
  Saved<Tensor> old_way, replaced, now, read;
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            block.output()[0][{Slice(), -1}] = 0.0;
                            read = block.output()[0].save("h");
                            old_way = model["lm_head"].output().save("x");
                          }),
              IsOk());
  ASSERT_THAT(remote_->Trace(kPrompt,
                             [&] {
                               (*remote_)["transformer.h"][1].output()[{Slice(), -1}] = 0.0;
                               now = (*remote_)["lm_head"].output().save("x");
                             }),
              IsOk());
  EXPECT_EQ(RelativeDifference(*old_way, *now), 0);
  EXPECT_THAT(read->shape(), ElementsAre(1, 4, 32));
  // The whole of it, as a tuple or as its tensor.
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            Var h = block.output();
                            h[0][{Slice(), -1}] = 0.0;
                            block.output() = h;
                            replaced = model["lm_head"].output().save("x");
                          }),
              IsOk());
  EXPECT_EQ(RelativeDifference(*replaced, *now), 0);
  EXPECT_THAT(model.Trace(kPrompt,
                          [&] {
                            (void)block.output()[{Slice(), -1}].save("x");
                          }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a structure is indexed")));
}

// --- a network of one's own ---------------------------------------------------------------------

/// Linear, Sigmoid, Linear, Sigmoid, as in nnsight's first examples.
struct TwoLayers {
  at::Tensor w1 = at::linspace(-1, 1, 50).view({10, 5}), b1 = at::linspace(0, 1, 10);
  at::Tensor w2 = at::linspace(1, -2, 20).view({2, 10}), b2 = at::linspace(-1, 0, 2);

  models::Network Make() const {
    auto root = std::make_unique<models::SequentialImpl>();
    root->Append(std::make_unique<models::LinearImpl>(w1, b1));
    root->Append(*models::ActivationImpl::Make("sigmoid"));
    root->Append(std::make_unique<models::LinearImpl>(w2, b2));
    root->Append(*models::ActivationImpl::Make("sigmoid"));
    models::Network network;
    network.root = std::move(root);
    network.input = models::RowInput{.shape = {5}};
    network.family = "two-layers";
    network.max_tokens = 1;
    return network;
  }
};

class OwnNetworkTest : public ::testing::Test {
 protected:
  const TwoLayers layers_;
  const LanguageModel model_ =
      MakeLocalClient("net", layers_.Make()).value().OpenLanguageModel("net").value();
  const at::Tensor x_ = at::linspace(-1, 1, 15).view({3, 5});
  const at::Tensor hidden_ = at::sigmoid(at::linear(x_, layers_.w1, layers_.b1));
  const at::Tensor second_ = at::linear(hidden_, layers_.w2, layers_.b2);

  static std::string Printed(const LanguageModel& model) {
    std::ostringstream out;
    out << model;
    return out.str();
  }
  static void Expect(const Tensor& given, const at::Tensor& expected) {
    ASSERT_EQ(ToTorch(given).sizes(), expected.sizes());
    EXPECT_TRUE(at::allclose(ToTorch(given), expected, 1e-5, 1e-6));
  }
};

TEST_F(OwnNetworkTest, ShowsItsTreeAndItsSites) {
  EXPECT_THAT(Printed(model_), HasSubstr("(2): Linear(in_features=10, out_features=2, bias=True)"));
  const auto scanned = model_.Scan(Torch(x_), [&] { (void)model_["2"].output().save("y"); });
  ASSERT_THAT(scanned, IsOk());
  EXPECT_EQ(scanned->saves[0].type, "float32[3, 2]");
}

TEST_F(OwnNetworkTest, InputAndOutputOfAModuleAndOfTheModel) {
  Saved<Tensor> in, out, result, weight;
  ASSERT_THAT(model_.Trace(Torch(x_),
                           [&] {
                             in = model_["2"].input().save("in");
                             out = model_["2"].output().save("out");
                             weight = model_["2"].param("weight").save("w");
                             result = model_.result().save("result");
                           }),
              IsOk());
  Expect(*in, hidden_);
  Expect(*out, second_);
  Expect(*weight, layers_.w2);
  Expect(*result, at::sigmoid(second_));
}

TEST_F(OwnNetworkTest, WritesSkipsAndGradients) {
  Saved<Tensor> written, skipped, gradient;
  ASSERT_THAT(model_.Trace(Torch(x_),
                           [&] {
                             model_["0"].output()[{Slice(), 0}] = 0.0;
                             written = model_.result().save("r");
                           }),
              IsOk());
  at::Tensor first = at::linear(x_, layers_.w1, layers_.b1);
  first.select(1, 0).zero_();
  Expect(*written, at::sigmoid(at::linear(at::sigmoid(first), layers_.w2, layers_.b2)));

  ASSERT_THAT(model_.Trace(Torch(x_),
                           [&] {
                             model_["1"].skip(model_["1"].input());
                             skipped = model_.result().save("r");
                           }),
              IsOk());
  Expect(*skipped,
         at::sigmoid(at::linear(at::linear(x_, layers_.w1, layers_.b1), layers_.w2, layers_.b2)));

  ASSERT_THAT(
      model_.Trace(Torch(x_),
                   [&] {
                     Var in = model_["2"].input();
                     model_.result().sum().backward([&] { gradient = in.grad().save("g"); });
                   }),
      IsOk());
  const at::Tensor y = at::sigmoid(second_);
  Expect(*gradient, at::matmul(y * (1 - y), layers_.w2));
}

TEST_F(OwnNetworkTest, TwoInvokesAndAllRowsShareAPass) {
  Saved<Tensor> a, b, all, patched;
  ASSERT_THAT(model_.Trace([&](Tracer& trace) {
    trace.Invoke(Torch(x_.narrow(0, 0, 1)), [&] { a = model_["2"].output().save("a"); });
    trace.Invoke(Torch(x_.narrow(0, 1, 2)), [&] { b = model_["2"].output().save("b"); });
    trace.Invoke([&] { all = model_["2"].output().save("all"); });
  }),
              IsOk());
  Expect(*a, second_.narrow(0, 0, 1));
  Expect(*b, second_.narrow(0, 1, 2));
  Expect(*all, second_);
  // A value of one in the other.
  ASSERT_THAT(model_.Trace([&](Tracer& trace) {
    Var clean;
    trace.Invoke(Torch(x_.narrow(0, 0, 1)), [&] { clean = model_["1"].output(); });
    trace.Invoke(Torch(x_.narrow(0, 1, 1)), [&] {
      model_["1"].output() = clean;
      patched = model_["2"].output().save("p");
    });
  }),
              IsOk());
  Expect(*patched, second_.narrow(0, 0, 1));
}

TEST_F(OwnNetworkTest, AModuleMayBeCalledOutput) {
  class Net : public models::Module {
   public:
    Net() {
      child_ =
          Own("output", std::make_unique<models::LinearImpl>(at::eye(2).mul(3), at::ones({2})));
    }
    at::Tensor forward(run::Pass& pass, at::Tensor x) override {
      return at::neg(models::Call(pass, *child_, std::move(x)));
    }
    std::string type() const override { return "Net"; }

   private:
    models::LinearImpl* child_;
  };
  models::Network network;
  network.root = std::make_unique<Net>();
  network.input = models::RowInput{.shape = {2}};
  network.max_tokens = 1;
  const LanguageModel model =
      MakeLocalClient("net", std::move(network)).value().OpenLanguageModel("net").value();
  Saved<Tensor> child, root;
  ASSERT_THAT(model.Trace(Full({1, 2}, 1),
                          [&] {
                            child = model["output"].output().save("child");
                            root = model.output().save("root");
                          }),
              IsOk());
  EXPECT_TRUE(at::equal(ToTorch(*child), at::full({1, 2}, 4.0F)));
  EXPECT_TRUE(at::equal(ToTorch(*root), at::full({1, 2}, -4.0F)));
}

/// A module of a tuple and one of a dict, as in transformers' trees.
class SeveralTest : public ::testing::Test {
 protected:
  class Split : public models::Module {
   public:
    explicit Split(bool dict) : dict_(dict) {}
    std::string type() const override { return "Split"; }
    bool rowwise() const override { return true; }
    run::OutputForm form() const override {
      using Kind = run::OutputForm::Kind;
      if (dict_) return {.kind = Kind::kDict, .field = "low", .more_fields = {"high"}};
      return {.kind = Kind::kTuple, .nones = 1, .more = 1};
    }
    at::Tensor forward(run::Pass& pass, at::Tensor x) override {
      return pass.Return(at::mul(x, 2.0), {at::narrow(x, -1, 0, 3)});
    }

   private:
    const bool dict_;
  };
  class Net : public models::Module {
   public:
    Net() {
      pair_ = Own("pair", std::make_unique<Split>(false));
      parts_ = Own("parts", std::make_unique<Split>(true));
    }
    std::string type() const override { return "Net"; }
    at::Tensor forward(run::Pass& pass, at::Tensor x) override {
      const std::vector<at::Tensor> pair = models::CallSeveral(pass, *pair_, std::move(x));
      const std::vector<at::Tensor> parts = models::CallSeveral(pass, *parts_, pair[0]);
      return at::cat({parts[0], pair[1], parts[1]}, -1);
    }

   private:
    Split* pair_;
    Split* parts_;
  };
  static models::Network Make() {
    models::Network network;
    network.root = std::make_unique<Net>();
    network.input = models::RowInput{.shape = {5}};
    network.family = "several";
    network.max_tokens = 1;
    return network;
  }
  static void Expect(const Tensor& given, const at::Tensor& expected) {
    ASSERT_EQ(ToTorch(given).sizes(), expected.sizes());
    EXPECT_TRUE(at::allclose(ToTorch(given), expected, 1e-5, 1e-6));
  }
  const LanguageModel model_ =
      MakeLocalClient("net", Make()).value().OpenLanguageModel("net").value();
  const at::Tensor x_ = at::linspace(-1, 1, 15).view({3, 5});
};

TEST_F(SeveralTest, EachOfAModulesTensorsIsRead) {
  Saved<Value> pair, parts, called;
  Saved<Tensor> high, result;
  ASSERT_THAT(model_.Trace(Torch(x_),
                           [&] {
                             pair = model_["pair"].output().save("pair");
                             parts = model_["parts"].output().save("parts");
                             high = model_["parts"].output()["high"].save("high");
                             called = model_["pair"](model_["pair"].input()).save("called");
                             result = model_.result().save("r");
                           }),
              IsOk());
  Expect((*pair)[0].tensor(), 2 * x_);
  Expect((*pair)[1].tensor(), x_.narrow(1, 0, 3));
  EXPECT_TRUE((*pair)[2].is_none());
  Expect((*parts)["low"].tensor(), 4 * x_);
  Expect(*high, 2 * x_.narrow(1, 0, 3));
  Expect((*called)[1].tensor(), x_.narrow(1, 0, 3));
  Expect(*result, at::cat({4 * x_, x_.narrow(1, 0, 3), 2 * x_.narrow(1, 0, 3)}, -1));
}

TEST_F(SeveralTest, EachIsWrittenAndHasAGradient) {
  Saved<Tensor> written, all, gradient;
  ASSERT_THAT(model_.Trace(Torch(x_),
                           [&] {
                             model_["pair"].output()[1][{Slice(), 0}] = 7.0;
                             model_["parts"].output()["high"] *= 0.5;
                             written = model_.result().save("r");
                           }),
              IsOk());
  at::Tensor first = x_.narrow(1, 0, 3).clone();
  first.select(1, 0).fill_(7);
  Expect(*written, at::cat({4 * x_, first, x_.narrow(1, 0, 3)}, -1));
  ASSERT_THAT(model_.Trace([&](Tracer& trace) {
    trace.Invoke(Torch(x_), [&] {
      model_["pair"].output() =
          make_tuple({model_["pair"].output()[0] * 0.0, model_["pair"].output()[1], None});
    });
    trace.Invoke(Torch(x_ + 1), [&] {
      Var high = model_["parts"].output()["high"];
      all = model_.result().save("r");
      model_.result().sum().backward([&] { gradient = high.grad().save("g"); });
    });
  }),
              IsOk());
  const at::Tensor y = x_ + 1;
  Expect(*all, at::cat({4 * y, y.narrow(1, 0, 3), 2 * y.narrow(1, 0, 3)}, -1));
  Expect(*gradient, at::ones({3, 3}));
}

TEST_F(SeveralTest, ASkipGivesOneTensorAndIsRefused) {
  EXPECT_THAT(model_.Trace(Torch(x_), [&] { model_["pair"].skip(model_["pair"].input()); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("returns several tensors")));
}

TEST_F(OwnNetworkTest, APlainCallIsTheModel) {
  const auto plain = model_(Torch(x_));
  ASSERT_THAT(plain, IsOk());
  Expect(*plain, at::sigmoid(second_));
}

TEST_F(OwnNetworkTest, SaysWhatItTakes) {
  EXPECT_THAT(model_("a prompt"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("takes no prompt")));
  EXPECT_THAT(model_(Torch(at::zeros({3, 4}))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("float32[B, 5]")));
  EXPECT_THAT(model_.Trace(Torch(x_), [&] { (void)model_.ids().save("i"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("there is no `ids`")));
  EXPECT_THAT(model_.Generate(Torch(x_), {.max_new_tokens = 2}, [&] {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("token ids")));
}

}  // namespace
}  // namespace weft::testing
