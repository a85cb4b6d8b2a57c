#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/attention.h"
#include "engine/models/blocks.h"
#include "engine/models/module.h"
#include "tests/reference/dense_module.h"
#include "tests/reference/interpreter.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {
namespace {

constexpr int64_t kVocabulary = 11;
constexpr int64_t kWidth = 4;
constexpr int64_t kHeads = 2;
constexpr int64_t kPositions = 16;
constexpr int kLayers = 2;
constexpr double kScale = 0.5;

const std::map<std::string, at::Tensor>& DecoderWeights() {
  static const auto* const kWeights = [] {
    auto* weights = new std::map<std::string, at::Tensor>{
        {"embed.weight", Quarters(kVocabulary, kWidth, 1)},
        {"places.weight", Quarters(kPositions, kWidth, 2).mul(0.5)},
        {"head.weight", Quarters(kWidth, kVocabulary, 7)},
        {"head.bias", Quarters(1, kVocabulary, 8)[0].mul(0.3)}};
    for (int layer = 0; layer < kLayers; ++layer) {
      int64_t salt = 3 + layer * 5;
      for (const char* part : {"attn.q", "attn.k", "attn.v", "lin"}) {
        const std::string name = absl::StrCat("layers.", layer, ".", part);
        (*weights)[name + ".weight"] = Quarters(kWidth, kWidth, ++salt).mul(0.4);
        (*weights)[name + ".bias"] = Quarters(1, kWidth, salt + 20)[0].mul(0.3);
      }
    }
    return weights;
  }();
  return *kWeights;
}

const at::Tensor& Weight(const std::string& name) { return DecoderWeights().at(name); }

std::string Layer(int layer, const char* part) { return absl::StrCat("layers.", layer, ".", part); }

// --- as the engine hosts it

using models::Call;

std::unique_ptr<DenseImpl> MakeDense(const std::string& name) {
  return std::make_unique<DenseImpl>(Weight(name + ".weight"), Weight(name + ".bias"));
}

class AttentionImpl : public models::Module {
 public:
  explicit AttentionImpl(int layer)
      : layer_(layer),
        q_(Own("q", MakeDense(Layer(layer, "attn.q")))),
        k_(Own("k", MakeDense(Layer(layer, "attn.k")))),
        v_(Own("v", MakeDense(Layer(layer, "attn.v")))) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const at::Tensor q = Call(pass, *q_, x);
    const at::Tensor k = Call(pass, *k_, x);
    const at::Tensor v = Call(pass, *v_, x);
    return models::Attend(
        pass, {.layer = layer_, .heads = kHeads, .kv_heads = kHeads, .scale = kScale}, q, k, v);
  }
  std::string type() const override { return "Attention"; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  const int layer_;
  DenseImpl *const q_, *const k_, *const v_;
};

class BlockImpl : public models::Module {
 public:
  explicit BlockImpl(int layer)
      : attn_(Own("attn", std::make_unique<AttentionImpl>(layer))),
        lin_(Own("lin", MakeDense(Layer(layer, "lin")))) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = at::add(x, Call(pass, *attn_, x));
    return at::add(x, at::tanh(Call(pass, *lin_, x)));
  }
  std::string type() const override { return "Block"; }

 private:
  AttentionImpl* const attn_;
  DenseImpl* const lin_;
};

class DecoderImpl : public models::Module {
 public:
  DecoderImpl() {
    embed_ = Own("embed", std::make_unique<TableImpl>(Weight("embed.weight")));
    places_ = Own("places", std::make_unique<TableImpl>(Weight("places.weight")));
    auto* layers = Own("layers", std::make_unique<models::ModuleListImpl>());
    for (int layer = 0; layer < kLayers; ++layer) {
      layers_.push_back(layers->Append(std::make_unique<BlockImpl>(layer)));
    }
    head_ = Own("head", MakeDense("head"));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *embed_, std::move(ids));
    x = at::add(x, Call(pass, *places_, pass.Positions()));
    if (!pass.Leave(places_->output_tap(), x)) return {};
    for (BlockImpl* block : layers_) {
      x = Call(pass, *block, std::move(x));
      if (!pass.Leave(block->output_tap(), x)) return {};
    }
    pass.KeepLast(x);
    return Call(pass, *head_, std::move(x));
  }
  std::string type() const override { return "Decoder"; }
  int64_t input_range() const override { return kVocabulary; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }

 private:
  TableImpl *embed_, *places_;
  std::vector<BlockImpl*> layers_;
  DenseImpl* head_;
};

// --- in plain code

/// Which keys each token of `[B, T]` may look at, `[B, 1, T, past + T]`.
at::Tensor Visible(const Prompts& prompts, const std::vector<at::Tensor>& before) {
  const int64_t batch = prompts.ids.size(0), tokens = prompts.ids.size(1);
  const at::Tensor own = prompts.mask.to(at::kBool).view({batch, 1, 1, tokens});
  const at::Tensor causal = at::ones({tokens, tokens}, at::kBool).tril();
  // A pad looks at itself.
  at::Tensor visible = causal.logical_and(own).logical_or(at::eye(tokens, at::kBool));
  if (before.empty()) return visible;
  at::Tensor past = prompts.past.to(at::kBool).clone();
  const int64_t prompt = past.size(1) - static_cast<int64_t>(before.size()) + 1;
  for (size_t step = 0; step < before.size(); ++step) {
    if (before[step].defined()) continue;  // its attention was skipped
    const int64_t first = step == 0 ? 0 : prompt + static_cast<int64_t>(step) - 1;
    past.narrow(1, first, step == 0 ? prompt : 1).fill_(false);
  }
  past = past.view({batch, 1, 1, past.size(1)}).expand({batch, 1, tokens, past.size(1)});
  return at::cat({past, visible}, 3);
}

/// Those of all steps so far, zeros where there are none.
at::Tensor WithBefore(const std::vector<at::Tensor>& before, const at::Tensor& now,
                      const Prompts& prompts) {
  std::vector<at::Tensor> all;
  for (size_t step = 0; step < before.size(); ++step) {
    const int64_t tokens =
        step > 0 ? 1 : prompts.past.size(1) - static_cast<int64_t>(before.size()) + 1;
    all.push_back(before[step].defined()
                      ? before[step]
                      : at::zeros({now.size(0), now.size(1), tokens, now.size(3)}));
  }
  all.push_back(now);
  return at::cat(all, 2);
}

class Decoder : public PlainModel {
 public:
  std::unique_ptr<models::HostedModel> Host() const override {
    models::Network network;
    network.root = std::make_unique<DecoderImpl>();
    network.parameters = DecoderWeights();
    network.family = "decoder";
    network.vocabulary = kVocabulary;
    network.max_tokens = kPositions;
    network.cache_elements = 2 * kLayers * kWidth;
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
      at::Tensor x = by_itself("embed", tokens);
      x = at::add(x, by_itself("places", prompts.positions));
      for (int layer = 0; layer < kLayers; ++layer) {
        x = WatchedCall(onlooker, absl::StrCat("layers.", layer), x, [&](const at::Tensor& in) {
          const std::string attention = Layer(layer, "attn");
          const at::Tensor z = WatchedCall(onlooker, attention, in, [&](const at::Tensor& given) {
            const at::Tensor q = dense(attention + ".q", given);
            const at::Tensor k = dense(attention + ".k", given);
            const at::Tensor v = dense(attention + ".v", given);
            return Attend(onlooker, attention, prompts, ByHead(q), ByHead(k), ByHead(v));
          });
          const at::Tensor y = at::add(in, z);
          return at::add(y, at::tanh(dense(Layer(layer, "lin"), y)));
        });
      }
      if (prompts.generates) x = x.narrow(1, x.size(1) - 1, 1);
      return dense("head", x);
    });
  }

  at::Tensor Module(const std::string& module, const at::Tensor& input) const override {
    if (module == "embed" || module == "places") {
      return at::embedding(Weight(module + ".weight"), input);
    }
    return Dense(input, Weight(module + ".weight"), Weight(module + ".bias"));
  }

  c10::IValue InForm(const std::string& module, const at::Tensor& tensor) const override {
    if (module == "layers.0.attn" || module == "layers.1.attn") {
      return c10::ivalue::Tuple::create({c10::IValue(tensor), c10::IValue()});
    }
    if (module.empty()) {
      c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
      dict.insert("logits", tensor);
      return dict;
    }
    return tensor;
  }

  const std::map<std::string, at::Tensor>& Weights() const override { return DecoderWeights(); }
  const std::vector<std::pair<std::string, int>>& Calls() const override {
    static const auto* const kCalls = [] {
      auto* calls = new std::vector<std::pair<std::string, int>>{
          {"", 1}, {"embed", 1}, {"places", 1}, {"head", 1}};
      for (int layer = 0; layer < kLayers; ++layer) {
        calls->emplace_back(absl::StrCat("layers.", layer), 1);
        for (const char* part : {"attn", "attn.q", "attn.k", "attn.v", "lin"}) {
          calls->emplace_back(Layer(layer, part), 1);
        }
      }
      return calls;
    }();
    return *kCalls;
  }
  const std::vector<std::pair<std::string, std::vector<int64_t>>>& Callable() const override {
    static const auto* const kCallable =
        new std::vector<std::pair<std::string, std::vector<int64_t>>>{{"layers.0.lin", {kWidth}},
                                                                      {"layers.1.attn.q", {kWidth}},
                                                                      {"head", {kWidth}},
                                                                      {"embed", {}}};
    return *kCallable;
  }
  int64_t vocabulary() const override { return kVocabulary; }
  bool rounded() const override { return true; }

 private:
  static at::Tensor ByHead(const at::Tensor& rows) {
    return rows.unflatten(2, {kHeads, kWidth / kHeads}).transpose(1, 2);
  }

  static at::Tensor Attend(Onlooker& onlooker, const std::string& attention, const Prompts& prompts,
                           at::Tensor q, at::Tensor k, at::Tensor v) {
    onlooker.Visit(attention + ".q", q);
    onlooker.Visit(attention + ".k", k);
    onlooker.Visit(attention + ".v", v);
    const std::vector<at::Tensor> keys = onlooker.Before(attention + ".k");
    const std::vector<at::Tensor> values = onlooker.Before(attention + ".v");
    const at::Tensor visible = Visible(prompts, keys);
    k = WithBefore(keys, k, prompts);
    v = WithBefore(values, v, prompts);
    at::Tensor scores = at::matmul(q, k.transpose(-1, -2)).mul(kScale);
    if (at::logical_and(scores.isinf(), visible).any().item<bool>()) {
      // Softmax of what is masked with a number prefers that to them, and a fused kernel does not.
      throw Unsupported("scores beyond all bounds");
    }
    scores = scores.masked_fill(visible.logical_not(), std::numeric_limits<float>::lowest());
    onlooker.Visit(attention + ".scores", scores);
    at::Tensor probs = at::softmax(scores, -1);
    onlooker.Visit(attention + ".probs", probs);
    at::Tensor z = at::matmul(probs, v);
    onlooker.Visit(attention + ".op(scaled_dot_product_attention_0).output", z);
    onlooker.Visit(attention + ".z", z);
    return z.transpose(1, 2).flatten(2);
  }
};

}  // namespace

const PlainModel& DecoderModel() {
  static const auto* const kModel = new Decoder();
  return *kModel;
}

}  // namespace weft::reference
