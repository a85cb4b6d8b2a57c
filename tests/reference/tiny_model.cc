#include "tests/reference/tiny_model.h"

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/module.h"

namespace weft::reference {
namespace {

/// Multiples of a quarter, none like the others beside it.
at::Tensor Numbers(int64_t rows, int64_t columns, int64_t salt) {
  const at::Tensor numbers = at::arange(rows * columns, at::kLong).mul(7).add(salt * 5);
  return numbers.remainder(11).sub(5).to(at::kFloat).div(4).view({rows, columns});
}

/// `x W + b`, `W` being `[in, out]`, a column after the other.
at::Tensor Dense(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = bias;
  for (int64_t k = 0; k < weight.size(0); ++k) {
    const at::Tensor column = at::narrow(x, -1, k, 1);
    const at::Tensor part = at::mul(column, weight[k]);
    y = at::add(part, y);
  }
  return y;
}

at::Tensor Norm(const at::Tensor& x) {
  const at::Tensor half = at::mul(x, 0.5);
  return at::clamp(half, -3, 3);
}

at::Tensor Mix(const at::Tensor& x) {
  const at::Tensor zeros = at::zeros_like(x.narrow(1, 0, 1));
  const at::Tensor before = at::cat({zeros, x.narrow(1, 0, x.size(1) - 1)}, 1);
  return at::add(x, at::mul(before, 0.5));
}

using models::Call;

class EmbedImpl : public models::Module {
 public:
  at::Tensor forward(run::Pass&, at::Tensor ids) override {
    return at::embedding(Weights().at("embed.weight"), ids);
  }
  std::string type() const override { return "Embedding"; }
  bool rowwise() const override { return true; }
  int64_t input_range() const override { return kVocabulary; }
};

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

class DenseImpl : public models::Module {
 public:
  explicit DenseImpl(const std::string& name)
      : weight_(Weights().at(name + ".weight")), bias_(Weights().at(name + ".bias")) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override { return Dense(x, weight_, bias_); }
  std::string type() const override { return "Dense"; }
  bool rowwise() const override { return true; }

 private:
  const at::Tensor weight_, bias_;
};

class BlockImpl : public models::Module {
 public:
  BlockImpl(int layer, models::Module* norm)
      : norm_(norm),
        lin_(Own("lin", std::make_unique<DenseImpl>(absl::StrCat("layers.", layer, ".lin")))) {}
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
    embed_ = Own("embed", std::make_unique<EmbedImpl>());
    mix_ = Own("mix", std::make_unique<MixImpl>());
    norm_ = Own("norm", std::make_unique<NormImpl>());
    auto* layers = Own("layers", std::make_unique<models::ModuleListImpl>());
    for (int layer = 0; layer < kLayers; ++layer) {
      layers_.push_back(layers->Append(std::make_unique<BlockImpl>(layer, norm_)));
    }
    head_ = Own("head", std::make_unique<DenseImpl>("head"));
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
  EmbedImpl* embed_;
  MixImpl* mix_;
  NormImpl* norm_;
  std::vector<BlockImpl*> layers_;
  DenseImpl* head_;
};

}  // namespace

const std::map<std::string, at::Tensor>& Weights() {
  static const auto* const kWeights =
      new std::map<std::string, at::Tensor>{{"embed.weight", Numbers(kVocabulary, kWidth, 1)},
                                            {"layers.0.lin.weight", Numbers(kWidth, kWidth, 2)},
                                            {"layers.0.lin.bias", Numbers(1, kWidth, 3)[0]},
                                            {"layers.1.lin.weight", Numbers(kWidth, kWidth, 4)},
                                            {"layers.1.lin.bias", Numbers(1, kWidth, 6)[0]},
                                            {"head.weight", Numbers(kWidth, kVocabulary, 7)},
                                            {"head.bias", Numbers(1, kVocabulary, 8)[0]}};
  return *kWeights;
}

std::unique_ptr<models::HostedModel> HostTinyModel() {
  models::Network network;
  network.root = std::make_unique<TinyImpl>();
  network.parameters = Weights();
  network.family = "tiny";
  network.vocabulary = kVocabulary;
  network.max_tokens = 64;
  auto hosted = models::HostedModel::Host(std::move(network), /*pad_left=*/true);
  if (!hosted.ok()) {
    std::fprintf(stderr, "cannot host the tiny model: %s\n", hosted.status().ToString().c_str());
    std::abort();
  }
  return *std::move(hosted);
}

at::Tensor PlainModule(const std::string& module, const at::Tensor& input) {
  if (module == "embed") return at::embedding(Weights().at("embed.weight"), input);
  if (module == "mix") return Mix(input);
  if (module == "norm") return Norm(input);
  if (Weights().count(module + ".bias") > 0) {
    return Dense(input, Weights().at(module + ".weight"), Weights().at(module + ".bias"));
  }
  return at::add(input, PlainModule(module + ".lin", Norm(input)));  // a block
}

c10::IValue InFormOf(const std::string& module, const at::Tensor& tensor) {
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

namespace {

template <typename Body>
at::Tensor PlainCall(Onlooker& onlooker, const std::string& call, at::Tensor x, const Body& body) {
  onlooker.Visit(call + ".input", x);
  std::optional<at::Tensor> instead = onlooker.Skip(call);
  at::Tensor y = instead ? *std::move(instead) : body(x);
  onlooker.Visit(call + ".output", y);
  return y;
}

/// As Dense, each operator of which is a site too.
at::Tensor PlainDense(Onlooker& onlooker, const std::string& call, const at::Tensor& x) {
  at::Tensor y = Weights().at(call + ".bias");
  for (int64_t k = 0; k < x.size(-1); ++k) {
    at::Tensor part = at::mul(at::narrow(x, -1, k, 1), Weights().at(call + ".weight")[k]);
    onlooker.Visit(absl::StrCat(call, ".op(mul_", k, ").output"), part);
    y = at::add(part, y);
    onlooker.Visit(absl::StrCat(call, ".op(add_", k, ").output"), y);
  }
  return y;
}

}  // namespace

at::Tensor PlainForward(const at::Tensor& ids, Onlooker& onlooker) {
  return PlainCall(onlooker, "", ids, [&](const at::Tensor& tokens) {
    const auto by_itself = [&](const std::string& module, const at::Tensor& input) {
      return PlainCall(onlooker, module, input,
                       [&](const at::Tensor& in) { return PlainModule(module, in); });
    };
    at::Tensor x = by_itself("mix", by_itself("embed", tokens));
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string block = absl::StrCat("layers.", layer);
      x = PlainCall(onlooker, block, x, [&](const at::Tensor& in) {
        const at::Tensor normed =
            PlainCall(onlooker, layer == 0 ? "norm" : absl::StrCat("norm@", layer), in,
                      [](const at::Tensor& before) { return Norm(before); });
        const std::string lin = block + ".lin";
        const at::Tensor y = PlainCall(onlooker, lin, normed, [&](const at::Tensor& before) {
          return PlainDense(onlooker, lin, before);
        });
        return at::add(in, y);
      });
    }
    return PlainCall(onlooker, "head", x, [&](const at::Tensor& before) {
      return PlainDense(onlooker, "head", before);
    });
  });
}

}  // namespace weft::reference
