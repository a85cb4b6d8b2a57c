#include "engine/models/llama.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/kernels/row_wise.h"
#include "engine/models/attention.h"
#include "engine/models/blocks.h"
#include "engine/models/llama_config.h"
#include "engine/models/llama_maker.h"
#include "engine/models/moe.h"
#include "engine/models/rotary.h"

namespace weft::models {
namespace {

using Block = LlamaConfig::Block;
using QKNorm = LlamaConfig::QKNorm;

/// transformers: StableLmLayerNormPerHead. Takes `[1, rows, heads, head_dim]`.
class LayerNormPerHeadImpl : public Module {
 public:
  LayerNormPerHeadImpl(LlamaMaker& make, const std::string& name, int64_t heads) {
    auto* list = Own("norms", std::make_unique<ModuleListImpl>());
    for (int64_t head = 0; head < heads; ++head) {
      norms_.push_back(list->Append(make.LayerNorm(absl::StrCat(name, ".norms.", head),
                                                   make.config().head_dim, /*bias=*/false)));
    }
  }
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    std::vector<at::Tensor> heads = at::split(x, 1, 2);
    for (size_t head = 0; head < heads.size(); ++head) {
      heads[head] = Call(pass, *norms_[head], std::move(heads[head]));
    }
    return at::cat(heads, 2);
  }
  std::string type() const override { return "StableLmLayerNormPerHead"; }
  bool rowwise() const override { return true; }

 private:
  std::vector<LayerNormImpl*> norms_;
};

/// transformers: LlamaAttention.
class LlamaAttentionImpl : public Module {
 public:
  LlamaAttentionImpl(LlamaMaker& make, int64_t layer, const std::string& name)
      : type_(absl::StrCat(make.config().prefix, "Attention")),
        qk_norm_(make.config().qk_norm),
        rotary_(make.config().rotary[layer]) {
    const LlamaConfig& config = make.config();
    options_.layer = static_cast<int>(layer);
    options_.heads = config.heads;
    options_.kv_heads = config.kv_heads;
    options_.scale = config.scale;
    options_.window = config.windows[layer];
    options_.softcap = config.softcap;
    const int64_t width = config.heads * config.head_dim,
                  kv_width = config.kv_heads * config.head_dim;
    const auto linear = [&](const char* child, int64_t in, int64_t out, bool bias) {
      return Own(child, make.Linear(absl::StrCat(name, ".", child), in, out, bias));
    };
    if (config.fused) {
      o_proj_ = linear("o_proj", width, config.hidden_size, config.o_bias);
      qkv_proj_ = linear("qkv_proj", config.hidden_size, width + 2 * kv_width, config.qkv_bias);
    } else {
      q_proj_ = linear("q_proj", config.hidden_size, width, config.qkv_bias);
      k_proj_ = linear("k_proj", config.hidden_size, kv_width, config.qkv_bias);
      v_proj_ = linear("v_proj", config.hidden_size, kv_width, config.qkv_bias);
      o_proj_ = linear("o_proj", width, config.hidden_size, config.o_bias);
    }
    if (qk_norm_ == QKNorm::kNone) return;
    const bool modules = qk_norm_ == QKNorm::kHeadsModules;
    const auto norm = [&](const char* child, int64_t heads) -> Module* {
      const std::string path = absl::StrCat(name, ".", child);
      if (modules) return Own(child, std::make_unique<LayerNormPerHeadImpl>(make, path, heads));
      if (qk_norm_ == QKNorm::kRows)
        return Own(child, make.NormOf(path, {heads * config.head_dim}));
      if (qk_norm_ == QKNorm::kHeadsApart) {
        return Own(child, make.NormOf(path, {heads, config.head_dim}));
      }
      return Own(child, make.NormOf(path, {config.head_dim}));
    };
    q_norm_ = norm(modules ? "q_layernorm" : "q_norm", config.heads);
    k_norm_ = norm(modules ? "k_layernorm" : "k_norm", config.kv_heads);
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    at::Tensor q, k, v;
    if (qkv_proj_ != nullptr) {
      const at::Tensor qkv = Call(pass, *qkv_proj_, std::move(x));
      const int64_t kv_width =
          qkv.size(2) / (options_.heads + 2 * options_.kv_heads) * options_.kv_heads;
      const int64_t width = qkv.size(2) - 2 * kv_width;
      q = at::slice(qkv, -1, 0, width);
      k = at::slice(qkv, -1, width, width + kv_width);
      v = at::slice(qkv, -1, width + kv_width);
      q = ByHead(q, options_.heads);
      k = ByHead(k, options_.kv_heads);
      v = ByHead(v, options_.kv_heads);
    } else {
      // Norms in the order in which transformers calls them.
      q = Call(pass, *q_proj_, x);
      if (qk_norm_ == QKNorm::kRows) q = Call(pass, *q_norm_, std::move(q));
      q = ByHead(q, options_.heads);
      if (qk_norm_ == QKNorm::kHeads) q = Call(pass, *q_norm_, std::move(q));
      k = Call(pass, *k_proj_, x);
      if (qk_norm_ == QKNorm::kRows) k = Call(pass, *k_norm_, std::move(k));
      k = ByHead(k, options_.kv_heads);
      if (qk_norm_ == QKNorm::kHeads) k = Call(pass, *k_norm_, std::move(k));
      v = ByHead(Call(pass, *v_proj_, std::move(x)), options_.kv_heads);
    }
    if (qk_norm_ == QKNorm::kHeadsAfter || qk_norm_ == QKNorm::kHeadsApart ||
        qk_norm_ == QKNorm::kHeadsModules) {
      q = Call(pass, *q_norm_, std::move(q));
      k = Call(pass, *k_norm_, std::move(k));
    }
    q = rotary_->Apply(pass, q);
    k = rotary_->Apply(pass, k);
    return Call(pass, *o_proj_, Attend(pass, options_, q, k, v));
  }
  std::string type() const override { return type_; }
  /// `(output, None)`: the attention weights are not given by fused attention.
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  static at::Tensor ByHead(const at::Tensor& x, int64_t heads) {
    return x.unflatten(-1, {heads, x.size(-1) / heads});
  }

  const std::string type_;
  const QKNorm qk_norm_;
  const std::shared_ptr<const Rotary> rotary_;
  AttentionOptions options_;
  LinearImpl *q_proj_ = nullptr, *k_proj_ = nullptr, *v_proj_ = nullptr, *qkv_proj_ = nullptr;
  LinearImpl* o_proj_ = nullptr;
  Module *q_norm_ = nullptr, *k_norm_ = nullptr;
};

/// transformers: LlamaMLP, and Phi3MLP, which has gate and up in one.
class LlamaMLPImpl : public Module {
 public:
  LlamaMLPImpl(LlamaMaker& make, const std::string& name)
      : type_(absl::StrCat(make.config().prefix, "MLP")) {
    const LlamaConfig& config = make.config();
    const int64_t inner = config.intermediate_size, outer = config.hidden_size;
    const auto linear = [&](const char* child, int64_t in, int64_t out) {
      return Own(child, make.Linear(absl::StrCat(name, ".", child), in, out, config.mlp_bias));
    };
    if (config.fused) {
      gate_up_proj_ = linear("gate_up_proj", outer, 2 * inner);
    } else {
      gate_proj_ = linear("gate_proj", outer, inner);
      up_proj_ = linear("up_proj", outer, inner);
    }
    down_proj_ = linear("down_proj", inner, outer);
    act_ = Own(config.fused ? "activation_fn" : "act_fn", make.Activation());
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    if (gate_up_proj_ != nullptr) {
      const std::vector<at::Tensor> parts =
          at::chunk(Call(pass, *gate_up_proj_, std::move(x)), 2, -1);
      const at::Tensor gate = Call(pass, *act_, parts[0]);
      return Call(pass, *down_proj_, at::mul(parts[1], gate));
    }
    const at::Tensor gate = Call(pass, *act_, Call(pass, *gate_proj_, x));
    const at::Tensor up = Call(pass, *up_proj_, std::move(x));
    return Call(pass, *down_proj_, at::mul(gate, up));
  }
  std::string type() const override { return type_; }
  bool rowwise() const override { return true; }

 private:
  const std::string type_;
  LinearImpl *gate_proj_ = nullptr, *up_proj_ = nullptr, *gate_up_proj_ = nullptr;
  LinearImpl* down_proj_ = nullptr;
  ActivationImpl* act_ = nullptr;
};

/// transformers: LlamaDecoderLayer.
class LlamaDecoderLayerImpl : public Module {
 public:
  LlamaDecoderLayerImpl(LlamaMaker& make, int64_t layer)
      : type_(absl::StrCat(make.config().prefix, "DecoderLayer")), block_(make.config().block) {
    const LlamaConfig& config = make.config();
    const std::string name = absl::StrCat("model.layers.", layer);
    const auto norm = [&](const char* child) {
      return Own(child, make.NormOf(absl::StrCat(name, ".", child), {config.hidden_size}));
    };
    const auto dropout = [&](const std::string& child) -> Module* {
      return child.empty() ? nullptr : Own(child, std::make_unique<DropoutImpl>(config.dropout));
    };
    self_attn_ = Own("self_attn", std::make_unique<LlamaAttentionImpl>(
                                      make, layer, absl::StrCat(name, ".self_attn")));
    mlp_ = Own("mlp", MLPOf(make, layer, absl::StrCat(name, ".mlp")));
    if (block_ != Block::kPostNorm) before_attention_ = norm("input_layernorm");
    switch (block_) {
      case Block::kPreNorm:
        before_mlp_ = norm("post_attention_layernorm");
        break;
      case Block::kSandwich:
        after_attention_ = norm("post_attention_layernorm");
        before_mlp_ = norm("pre_feedforward_layernorm");
        after_mlp_ = norm("post_feedforward_layernorm");
        break;
      case Block::kPostNorm:
        after_attention_ = norm("post_attention_layernorm");
        after_mlp_ = norm("post_feedforward_layernorm");
        break;
      case Block::kParallel:
        break;
    }
    attention_dropout_ = dropout(config.attention_dropout);
    mlp_dropout_ = dropout(config.mlp_dropout);
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const auto through = [&](Module* child, at::Tensor value) {
      return child == nullptr ? value : Call(pass, *child, std::move(value));
    };
    const at::Tensor normed = through(before_attention_, x);
    at::Tensor attended = Call(pass, *self_attn_, normed);
    attended = through(after_attention_, std::move(attended));
    attended = through(attention_dropout_, std::move(attended));
    x = at::add(x, attended);
    at::Tensor result = block_ == Block::kParallel ? normed : through(before_mlp_, x);
    result = Call(pass, *mlp_, std::move(result));
    result = through(after_mlp_, std::move(result));
    result = through(mlp_dropout_, std::move(result));
    return at::add(x, result);
  }
  std::string type() const override { return type_; }
  bool former_tuple() const override { return true; }

 private:
  static std::unique_ptr<Module> MLPOf(LlamaMaker& make, int64_t layer, const std::string& name) {
    if (make.config().experts > 0 && make.config().sparse[layer]) return MakeSparseMoe(make, name);
    return std::make_unique<LlamaMLPImpl>(make, name);
  }

  const std::string type_;
  const Block block_;
  Module *self_attn_ = nullptr, *mlp_ = nullptr;
  // nullptr where the family has none.
  Module *before_attention_ = nullptr, *after_attention_ = nullptr;
  Module *before_mlp_ = nullptr, *after_mlp_ = nullptr;
  Module *attention_dropout_ = nullptr, *mlp_dropout_ = nullptr;
};

/// transformers: LlamaModel.
class LlamaModelImpl : public Module {
 public:
  LlamaModelImpl(LlamaMaker& make, const at::Tensor& embedding)
      : type_(absl::StrCat(make.config().prefix,
                           make.config().prefix == "Gemma3" ? "TextModel" : "Model")),
        vocab_size_(make.config().vocab_size) {
    const LlamaConfig& config = make.config();
    const std::string scaled = absl::StrCat(config.prefix, "TextScaledWordEmbedding");
    embed_tokens_ =
        Own("embed_tokens", config.embed_scale == 0 ? std::make_unique<EmbeddingImpl>(embedding)
                                                    : std::make_unique<EmbeddingImpl>(
                                                          scaled, embedding, config.embed_scale));
    auto* list = Own("layers", std::make_unique<ModuleListImpl>());
    for (int64_t layer = 0; layer < config.layers && make.status().ok(); ++layer) {
      layers_.push_back(list->Append(std::make_unique<LlamaDecoderLayerImpl>(make, layer)));
    }
    norm_ = Own("norm", make.NormOf("model.norm", {config.hidden_size}));
    Own("rotary_emb",
        std::make_unique<RotaryEmbeddingImpl>(absl::StrCat(config.prefix, "RotaryEmbedding")));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *embed_tokens_, std::move(ids));
    if (!pass.Leave(embed_tokens_->output_tap(), x)) return {};
    for (Module* layer : layers_) {
      x = Call(pass, *layer, std::move(x));
      if (!pass.Leave(layer->output_tap(), x)) return {};
    }
    return Call(pass, *norm_, std::move(x));
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "last_hidden_state"};
  }
  int64_t input_range() const override { return vocab_size_; }

 private:
  const std::string type_;
  const int64_t vocab_size_;
  EmbeddingImpl* embed_tokens_ = nullptr;
  std::vector<Module*> layers_;
  Module* norm_ = nullptr;
};

/// transformers: LlamaForCausalLM.
class LlamaForCausalLMImpl : public Module {
 public:
  explicit LlamaForCausalLMImpl(LlamaMaker& make)
      : type_(absl::StrCat(make.config().prefix, "ForCausalLM")),
        vocab_size_(make.config().vocab_size),
        scale_(make.config().logit_scale),
        softcap_(make.config().logit_softcap) {
    const int64_t hidden = make.config().hidden_size;
    const at::Tensor embedding = make.Weight("model.embed_tokens.weight", {vocab_size_, hidden});
    if (!make.status().ok()) return;
    model_ = Own("model", std::make_unique<LlamaModelImpl>(make, embedding));
    lm_head_ = Own("lm_head", make.Linear("lm_head", hidden, vocab_size_, /*bias=*/false));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *model_, std::move(ids));
    // The head is the dearest row of all: only those who look at logits go on.
    if (pass.done() || !pass.Leave(model_->output_tap(), x)) return {};
    pass.KeepLast(x);
    x = Call(pass, *lm_head_, std::move(x));
    if (scale_ != 1) x = at::mul(x, scale_);
    if (softcap_ != 0) {
      x = at::div(x, softcap_);
      x = kernels::RowWise([](const at::Tensor& scores) { return at::tanh(scores); }, x);
      x = at::mul(x, softcap_);
    }
    return x;
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }
  int64_t input_range() const override { return vocab_size_; }

 private:
  const std::string type_;
  const int64_t vocab_size_;
  const double scale_, softcap_;
  LlamaModelImpl* model_ = nullptr;
  LinearImpl* lm_head_ = nullptr;
};

}  // namespace

weights::NameRules LlamaNameRules() {
  // Old checkpoints hold the frequencies as buffers. Experts are stored one by one.
  return {.base_prefix = "model.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".rotary_emb.inv_freq"},
          .renames = {{".block_sparse_moe.", ".mlp."}},
          .fused = {{{".experts.*.w1.weight", ".experts.*.w3.weight"}, ".experts.gate_up_proj", 1},
                    {{".experts.*.w2.weight"}, ".experts.down_proj"},
                    {{".experts.*.gate_proj.weight", ".experts.*.up_proj.weight"},
                     ".experts.gate_up_proj",
                     1},
                    {{".experts.*.down_proj.weight"}, ".experts.down_proj"}}};
}

absl::StatusOr<Network> MakeLlama(const weights::ModelConfig& json, ParameterSource& source) {
  absl::StatusOr<LlamaConfig> config = ReadLlamaConfig(json);
  if (!config.ok()) return config.status();
  if (config->tied) source.Tie("lm_head.weight", "model.embed_tokens.weight");
  LlamaMaker make(*config, source);
  auto root = std::make_unique<LlamaForCausalLMImpl>(make);
  if (!make.status().ok()) return make.status();
  Network network;
  network.root = std::move(root);
  network.vocabulary = config->vocab_size;
  network.max_tokens = config->max_tokens;
  network.cache_elements = 2 * config->layers * config->kv_heads * config->head_dim;
  return network;
}

}  // namespace weft::models
