#include "engine/models/gpt2.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/attention.h"
#include "engine/models/blocks.h"
#include "engine/models/config_reader.h"

namespace weft::models {
namespace {

struct GPT2Config {
  int64_t n_embd, n_layer, n_head, n_positions, vocab_size, n_inner;
  double layer_norm_epsilon, embd_pdrop, attn_pdrop, resid_pdrop;
  bool scale_attn_weights, scale_attn_by_inverse_layer_idx, tie_word_embeddings;
  std::string activation_function;
};

absl::StatusOr<GPT2Config> ReadConfig(const weights::ModelConfig& json) {
  ConfigReader read(json);
  GPT2Config config;
  const std::string width = read.NameOf("hidden_size", "n_embd");
  const std::string heads = read.NameOf("num_attention_heads", "n_head");
  config.n_embd = read.Size(width, 768);
  config.n_layer = read.Size(read.NameOf("num_hidden_layers", "n_layer"), 12);
  config.n_head = read.Size(heads, 12);
  config.n_positions = read.Size(read.NameOf("max_position_embeddings", "n_positions"), 1024);
  config.vocab_size = read.Size("vocab_size", 50257);
  config.n_inner = read.Size("n_inner", 4 * config.n_embd);
  config.layer_norm_epsilon = read.Get<double>("layer_norm_epsilon", 1e-5);
  config.embd_pdrop = read.Get<double>("embd_pdrop", 0.1);
  config.attn_pdrop = read.Get<double>("attn_pdrop", 0.1);
  config.resid_pdrop = read.Get<double>("resid_pdrop", 0.1);
  config.scale_attn_weights = read.Get<bool>("scale_attn_weights", true);
  config.scale_attn_by_inverse_layer_idx = read.Get<bool>("scale_attn_by_inverse_layer_idx", false);
  config.tie_word_embeddings = read.Get<bool>("tie_word_embeddings", true);
  config.activation_function = read.Get<std::string>("activation_function", "gelu_new");
  read.Only<bool>("is_causal", true);
  if (read.Get<bool>("add_cross_attention", false)) {
    read.Refuse("add_cross_attention", "only decoders alone are served");
  }
  if (!read.status().ok()) return read.status();
  if (config.n_embd % config.n_head != 0) {
    return absl::InvalidArgumentError(absl::StrCat(json.path(), ": `", width, "` is ",
                                                   config.n_embd, ", which `", heads, "` ",
                                                   config.n_head, " does not divide"));
  }
  return config;
}

/// transformers: GPT2Attention.
class GPT2AttentionImpl : public Module {
 public:
  static absl::StatusOr<std::unique_ptr<GPT2AttentionImpl>> Make(const GPT2Config& config,
                                                                 int64_t layer,
                                                                 const std::string& name,
                                                                 ParameterSource& source) {
    auto c_attn =
        MakeConv1D(source, absl::StrCat(name, ".c_attn"), config.n_embd, 3 * config.n_embd);
    if (!c_attn.ok()) return c_attn.status();
    auto c_proj = MakeConv1D(source, absl::StrCat(name, ".c_proj"), config.n_embd, config.n_embd);
    if (!c_proj.ok()) return c_proj.status();
    auto attention = std::make_unique<GPT2AttentionImpl>();
    const auto head_dim = static_cast<double>(config.n_embd / config.n_head);
    attention->options_ = {.layer = static_cast<int>(layer),
                           .heads = config.n_head,
                           .kv_heads = config.n_head,
                           .scale = config.scale_attn_weights ? 1 / std::sqrt(head_dim) : 1};
    if (config.scale_attn_by_inverse_layer_idx) {
      attention->options_.scale /= static_cast<double>(layer + 1);
    }
    attention->c_attn_ = attention->Own("c_attn", *std::move(c_attn));
    attention->c_proj_ = attention->Own("c_proj", *std::move(c_proj));
    // Fused attention never calls it, so it has no sites; it stands in the tree as it does there.
    attention->Own("attn_dropout", std::make_unique<DropoutImpl>(config.attn_pdrop));
    attention->resid_dropout_ =
        attention->Own("resid_dropout", std::make_unique<DropoutImpl>(config.resid_pdrop));
    return attention;
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const at::Tensor qkv = Call(pass, *c_attn_, std::move(x));
    const int64_t width = qkv.size(2) / 3;
    // One by one: their operations are numbered in this order.
    const at::Tensor q = qkv.narrow(2, 0, width);
    const at::Tensor k = qkv.narrow(2, width, width);
    const at::Tensor v = qkv.narrow(2, 2 * width, width);
    at::Tensor z = Attend(pass, options_, q, k, v);
    return Call(pass, *resid_dropout_, Call(pass, *c_proj_, std::move(z)));
  }
  std::string type() const override { return "GPT2Attention"; }
  /// `(output, None)`: the attention weights are not given by fused attention.
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  AttentionOptions options_;
  LinearImpl* c_attn_ = nullptr;
  LinearImpl* c_proj_ = nullptr;
  DropoutImpl* resid_dropout_ = nullptr;
};

/// transformers: GPT2MLP.
class GPT2MLPImpl : public Module {
 public:
  static absl::StatusOr<std::unique_ptr<GPT2MLPImpl>> Make(const GPT2Config& config,
                                                           const std::string& name,
                                                           ParameterSource& source) {
    auto c_fc = MakeConv1D(source, absl::StrCat(name, ".c_fc"), config.n_embd, config.n_inner);
    if (!c_fc.ok()) return c_fc.status();
    auto c_proj = MakeConv1D(source, absl::StrCat(name, ".c_proj"), config.n_inner, config.n_embd);
    if (!c_proj.ok()) return c_proj.status();
    auto act = ActivationImpl::Make(config.activation_function);
    if (!act.ok()) return act.status();
    auto mlp = std::make_unique<GPT2MLPImpl>();
    mlp->c_fc_ = mlp->Own("c_fc", *std::move(c_fc));
    mlp->c_proj_ = mlp->Own("c_proj", *std::move(c_proj));
    mlp->act_ = mlp->Own("act", *std::move(act));
    mlp->dropout_ = mlp->Own("dropout", std::make_unique<DropoutImpl>(config.resid_pdrop));
    return mlp;
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = Call(pass, *act_, Call(pass, *c_fc_, std::move(x)));
    return Call(pass, *dropout_, Call(pass, *c_proj_, std::move(x)));
  }
  std::string type() const override { return "GPT2MLP"; }
  bool rowwise() const override { return true; }

 private:
  LinearImpl* c_fc_ = nullptr;
  LinearImpl* c_proj_ = nullptr;
  ActivationImpl* act_ = nullptr;
  DropoutImpl* dropout_ = nullptr;
};

/// transformers: GPT2Block.
class GPT2BlockImpl : public Module {
 public:
  static absl::StatusOr<std::unique_ptr<GPT2BlockImpl>> Make(const GPT2Config& config,
                                                             int64_t layer,
                                                             ParameterSource& source) {
    const std::string name = absl::StrCat("transformer.h.", layer);
    auto ln_1 = MakeLayerNorm(source, absl::StrCat(name, ".ln_1"), config.n_embd,
                              config.layer_norm_epsilon);
    if (!ln_1.ok()) return ln_1.status();
    auto attn = GPT2AttentionImpl::Make(config, layer, absl::StrCat(name, ".attn"), source);
    if (!attn.ok()) return attn.status();
    auto ln_2 = MakeLayerNorm(source, absl::StrCat(name, ".ln_2"), config.n_embd,
                              config.layer_norm_epsilon);
    if (!ln_2.ok()) return ln_2.status();
    auto mlp = GPT2MLPImpl::Make(config, absl::StrCat(name, ".mlp"), source);
    if (!mlp.ok()) return mlp.status();
    auto block = std::make_unique<GPT2BlockImpl>();
    block->ln_1_ = block->Own("ln_1", *std::move(ln_1));
    block->attn_ = block->Own("attn", *std::move(attn));
    block->ln_2_ = block->Own("ln_2", *std::move(ln_2));
    block->mlp_ = block->Own("mlp", *std::move(mlp));
    return block;
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = at::add(Call(pass, *attn_, Call(pass, *ln_1_, x)), x);
    return at::add(x, Call(pass, *mlp_, Call(pass, *ln_2_, x)));
  }
  std::string type() const override { return "GPT2Block"; }
  bool former_tuple() const override { return true; }

 private:
  LayerNormImpl* ln_1_ = nullptr;
  GPT2AttentionImpl* attn_ = nullptr;
  LayerNormImpl* ln_2_ = nullptr;
  GPT2MLPImpl* mlp_ = nullptr;
};

/// transformers: GPT2Model.
class GPT2ModelImpl : public Module {
 public:
  static absl::StatusOr<std::unique_ptr<GPT2ModelImpl>> Make(const GPT2Config& config,
                                                             ParameterSource& source) {
    absl::StatusOr<at::Tensor> wte =
        source.Param("transformer.wte.weight", {config.vocab_size, config.n_embd});
    if (!wte.ok()) return wte.status();
    absl::StatusOr<at::Tensor> wpe =
        source.Param("transformer.wpe.weight", {config.n_positions, config.n_embd});
    if (!wpe.ok()) return wpe.status();
    auto model = std::make_unique<GPT2ModelImpl>();
    model->vocab_size_ = config.vocab_size;
    model->wte_ = model->Own("wte", std::make_unique<EmbeddingImpl>(*std::move(wte)));
    model->wpe_ = model->Own("wpe", std::make_unique<EmbeddingImpl>(*std::move(wpe)));
    model->drop_ = model->Own("drop", std::make_unique<DropoutImpl>(config.embd_pdrop));
    auto* list = model->Own("h", std::make_unique<ModuleListImpl>());
    for (int64_t layer = 0; layer < config.n_layer; ++layer) {
      auto block = GPT2BlockImpl::Make(config, layer, source);
      if (!block.ok()) return block.status();
      model->h_.push_back(list->Append(*std::move(block)));
    }
    auto ln_f = MakeLayerNorm(source, "transformer.ln_f", config.n_embd, config.layer_norm_epsilon);
    if (!ln_f.ok()) return ln_f.status();
    model->ln_f_ = model->Own("ln_f", *std::move(ln_f));
    return model;
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *wte_, std::move(ids));
    x = Call(pass, *drop_, at::add(x, Call(pass, *wpe_, pass.Positions())));
    if (!pass.Leave(drop_->output_tap(), x)) return {};
    for (GPT2BlockImpl* block : h_) {
      x = Call(pass, *block, std::move(x));
      if (!pass.Leave(block->output_tap(), x)) return {};
    }
    return Call(pass, *ln_f_, std::move(x));
  }
  std::string type() const override { return "GPT2Model"; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "last_hidden_state"};
  }
  int64_t input_range() const override { return vocab_size_; }

 private:
  int64_t vocab_size_ = 0;
  EmbeddingImpl* wte_ = nullptr;
  EmbeddingImpl* wpe_ = nullptr;
  DropoutImpl* drop_ = nullptr;
  std::vector<GPT2BlockImpl*> h_;
  LayerNormImpl* ln_f_ = nullptr;
};

/// transformers: GPT2LMHeadModel.
class GPT2LMHeadModelImpl : public Module {
 public:
  static absl::StatusOr<std::unique_ptr<GPT2LMHeadModelImpl>> Make(const GPT2Config& config,
                                                                   ParameterSource& source) {
    if (config.tie_word_embeddings) source.Tie("lm_head.weight", "transformer.wte.weight");
    auto transformer = GPT2ModelImpl::Make(config, source);
    if (!transformer.ok()) return transformer.status();
    absl::StatusOr<at::Tensor> head =
        source.Param("lm_head.weight", {config.vocab_size, config.n_embd});
    if (!head.ok()) return head.status();
    auto model = std::make_unique<GPT2LMHeadModelImpl>();
    model->vocab_size_ = config.vocab_size;
    model->transformer_ = model->Own("transformer", *std::move(transformer));
    model->lm_head_ = model->Own(
        "lm_head", std::make_unique<LinearImpl>(*std::move(head), at::Tensor(), /*conv1d=*/false));
    return model;
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *transformer_, std::move(ids));
    // The head is the dearest row of all: only those who look at logits go on.
    if (pass.done() || !pass.Leave(transformer_->output_tap(), x)) return {};
    pass.KeepLast(x);
    return Call(pass, *lm_head_, std::move(x));
  }
  std::string type() const override { return "GPT2LMHeadModel"; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }
  int64_t input_range() const override { return vocab_size_; }

 private:
  int64_t vocab_size_ = 0;
  GPT2ModelImpl* transformer_ = nullptr;
  LinearImpl* lm_head_ = nullptr;
};

}  // namespace

weights::NameRules GPT2NameRules() {
  // Old checkpoints hold the causal mask as buffers.
  return {.base_prefix = "transformer.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".attn.bias", ".attn.masked_bias"}};
}

absl::StatusOr<Network> MakeGPT2(const weights::ModelConfig& json, ParameterSource& source) {
  absl::StatusOr<GPT2Config> config = ReadConfig(json);
  if (!config.ok()) return config.status();
  auto root = GPT2LMHeadModelImpl::Make(*config, source);
  if (!root.ok()) return root.status();
  Network network;
  network.root = *std::move(root);
  network.vocabulary = config->vocab_size;
  network.max_tokens = config->n_positions;
  network.cache_elements = 2 * config->n_layer * config->n_embd;
  return network;
}

}  // namespace weft::models
