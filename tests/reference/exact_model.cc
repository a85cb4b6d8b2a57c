#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/module.h"
#include "tests/reference/dense_module.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {
namespace {

constexpr int64_t kVocabulary = 13;
constexpr int64_t kWidth = 4;
constexpr int kLayers = 2;

at::Tensor Norm(const at::Tensor& x) {
  const at::Tensor half = at::mul(x, 0.5);
  return at::clamp(half, -3, 3);
}

at::Tensor Mix(const at::Tensor& x) {
  const at::Tensor zeros = at::zeros_like(x.narrow(1, 0, 1));
  const at::Tensor before = at::cat({zeros, x.narrow(1, 0, x.size(1) - 1)}, 1);
  return at::add(x, at::mul(before, 0.5));
}

const std::map<std::string, at::Tensor>& ExactWeights() {
  static const auto* const kWeights =
      new std::map<std::string, at::Tensor>{{"embed.weight", Quarters(kVocabulary, kWidth, 1)},
                                            {"layers.0.lin.weight", Quarters(kWidth, kWidth, 2)},
                                            {"layers.0.lin.bias", Quarters(1, kWidth, 3)[0]},
                                            {"layers.1.lin.weight", Quarters(kWidth, kWidth, 4)},
                                            {"layers.1.lin.bias", Quarters(1, kWidth, 6)[0]},
                                            {"head.weight", Quarters(kWidth, kVocabulary, 7)},
                                            {"head.bias", Quarters(1, kVocabulary, 8)[0]}};
  return *kWeights;
}

const at::Tensor& Weight(const std::string& name) { return ExactWeights().at(name); }

// --- as the engine hosts it

using models::Call;

std::unique_ptr<DenseImpl> MakeDense(const std::string& name) {
  return std::make_unique<DenseImpl>(Weight(name + ".weight"), Weight(name + ".bias"));
}

class MixImpl : public models::Module {
 public:
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    std::vector<at::Tensor> rows;
    for (const run::Segment* segment : pass.present()) {
      rows.push_back(Mix(run::Cut(x, *segment)).flatten(0, 1).unsqueeze(0));
    }
    return at::cat(rows, 1);
  }
  std::string type() const override { return "Mix"; }
};

class NormImpl : public models::Module {
 public:
  at::Tensor forward(run::Pass&, at::Tensor x) override { return Norm(x); }
  std::string type() const override { return "Norm"; }
  bool rowwise() const override { return true; }
};

class BlockImpl : public models::Module {
 public:
  BlockImpl(int layer, models::Module* norm)
      : norm_(norm), lin_(Own("lin", MakeDense(absl::StrCat("layers.", layer, ".lin")))) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const at::Tensor y = Call(pass, *lin_, Call(pass, *norm_, x));
    return at::add(x, y);
  }
  std::string type() const override { return "Block"; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  models::Module* const norm_;
  DenseImpl* const lin_;
};

class TinyImpl : public models::Module {
 public:
  TinyImpl() {
    embed_ = Own("embed", std::make_unique<TableImpl>(Weight("embed.weight")));
    mix_ = Own("mix", std::make_unique<MixImpl>());
    norm_ = Own("norm", std::make_unique<NormImpl>());
    auto* layers = Own("layers", std::make_unique<models::ModuleListImpl>());
    for (int layer = 0; layer < kLayers; ++layer) {
      layers_.push_back(layers->Append(std::make_unique<BlockImpl>(layer, norm_)));
    }
    head_ = Own("head", MakeDense("head"));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *embed_, std::move(ids));
    x = Call(pass, *mix_, std::move(x));
    if (!pass.Leave(mix_->output_tap(), x)) return {};
    for (BlockImpl* block : layers_) {
      x = Call(pass, *block, std::move(x));
      if (!pass.Leave(block->output_tap(), x)) return {};
    }
    return Call(pass, *head_, std::move(x));
  }
  std::string type() const override { return "Tiny"; }
  int64_t input_range() const override { return kVocabulary; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }

 private:
  TableImpl* embed_;
  MixImpl* mix_;
  NormImpl* norm_;
  std::vector<BlockImpl*> layers_;
  DenseImpl* head_;
};

// --- in plain code

class Exact : public PlainModel {
 public:
  std::unique_ptr<models::HostedModel> Host() const override {
    models::Network network;
    network.root = std::make_unique<TinyImpl>();
    network.parameters = ExactWeights();
    network.family = "tiny";
    network.vocabulary = kVocabulary;
    network.max_tokens = 64;
    return HostOrDie(std::move(network));
  }

  at::Tensor Forward(const Prompts& prompts, Onlooker& onlooker) const override {
    return WatchedCall(onlooker, "", prompts.ids, [&](const at::Tensor& tokens) {
      const auto by_itself = [&](const std::string& module, const at::Tensor& input) {
        return WatchedCall(onlooker, module, input,
                           [&](const at::Tensor& in) { return Module(module, in); });
      };
      const auto dense = [&](const std::string& module, const at::Tensor& input) {
        return WatchedCall(onlooker, module, input, [&](const at::Tensor& before) {
          return WatchedDense(onlooker, module, before, Weight(module + ".weight"),
                              Weight(module + ".bias"));
        });
      };
      at::Tensor x = by_itself("mix", by_itself("embed", tokens));
      for (int layer = 0; layer < kLayers; ++layer) {
        const std::string block = absl::StrCat("layers.", layer);
        x = WatchedCall(onlooker, block, x, [&](const at::Tensor& in) {
          const at::Tensor normed =
              WatchedCall(onlooker, layer == 0 ? "norm" : absl::StrCat("norm@", layer), in,
                          [](const at::Tensor& before) { return Norm(before); });
          return at::add(in, dense(block + ".lin", normed));
        });
      }
      return dense("head", x);
    });
  }

  at::Tensor Module(const std::string& module, const at::Tensor& input) const override {
    if (module == "embed") return at::embedding(Weight("embed.weight"), input);
    if (module == "mix") return Mix(input);
    if (module == "norm") return Norm(input);
    if (ExactWeights().count(module + ".bias") > 0) {
      return Dense(input, Weight(module + ".weight"), Weight(module + ".bias"));
    }
    return at::add(input, Module(module + ".lin", Norm(input)));  // a block
  }

  c10::IValue InForm(const std::string& module, const at::Tensor& tensor) const override {
    if (module == "layers.0" || module == "layers.1") {
      return c10::ivalue::Tuple::create({c10::IValue(tensor), c10::IValue()});
    }
    if (module.empty()) {
      c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
      dict.insert("logits", tensor);
      return dict;
    }
    return tensor;
  }

  const std::map<std::string, at::Tensor>& Weights() const override { return ExactWeights(); }
  const std::vector<std::pair<std::string, int>>& Calls() const override {
    static const auto* const kCalls = new std::vector<std::pair<std::string, int>>{
        {"", 1},         {"embed", 1},        {"mix", 1},
        {"norm", 2},     {"layers.0", 1},     {"layers.0.lin", 1},
        {"layers.1", 1}, {"layers.1.lin", 1}, {"head", 1}};
    return *kCalls;
  }
  const std::vector<std::pair<std::string, std::vector<int64_t>>>& Callable() const override {
    static const auto* const kCallable =
        new std::vector<std::pair<std::string, std::vector<int64_t>>>{
            {"mix", {kWidth}},          {"norm", {kWidth}}, {"layers.0.lin", {kWidth}},
            {"layers.1.lin", {kWidth}}, {"head", {kWidth}}, {"embed", {}}};
    return *kCallable;
  }
  int64_t vocabulary() const override { return kVocabulary; }
  bool rounded() const override { return false; }
};

}  // namespace

const PlainModel& ExactModel() {
  static const auto* const kModel = new Exact();
  return *kModel;
}

at::Tensor Dense(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = bias;
  for (int64_t k = 0; k < weight.size(0); ++k) {
    const at::Tensor column = at::narrow(x, -1, k, 1);
    const at::Tensor part = at::mul(column, weight[k]);
    y = at::add(part, y);
  }
  return y;
}

at::Tensor WatchedDense(Onlooker& onlooker, const std::string& call, const at::Tensor& x,
                        const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = bias;
  for (int64_t k = 0; k < x.size(-1); ++k) {
    at::Tensor column = at::narrow(x, -1, k, 1);
    onlooker.Visit(absl::StrCat(call, ".op(mul_", k, ").input"), column);
    at::Tensor part = at::mul(column, weight[k]);
    onlooker.Visit(absl::StrCat(call, ".op(mul_", k, ").output"), part);
    onlooker.Visit(absl::StrCat(call, ".op(add_", k, ").input"), part);
    y = at::add(part, y);
    onlooker.Visit(absl::StrCat(call, ".op(add_", k, ").output"), y);
  }
  return y;
}

at::Tensor Quarters(int64_t rows, int64_t columns, int64_t salt) {
  const at::Tensor numbers = at::arange(rows * columns, at::kLong).mul(7).add(salt * 5);
  return numbers.remainder(11).sub(5).to(at::kFloat).div(4).view({rows, columns});
}

std::unique_ptr<models::HostedModel> HostOrDie(models::Network network) {
  auto hosted = models::HostedModel::Host(std::move(network), /*pad_left=*/true);
  if (!hosted.ok()) {
    std::fprintf(stderr, "cannot host a model of the tests: %s\n",
                 hosted.status().ToString().c_str());
    std::abort();
  }
  return *std::move(hosted);
}

}  // namespace weft::reference
