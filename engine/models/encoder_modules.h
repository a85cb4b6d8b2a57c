#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/kernels/row_wise.h"
#include "engine/models/attention.h"
#include "engine/models/blocks.h"
#include "engine/models/module.h"
#include "engine/run/op_tap.h"

namespace weft::models {

// The modules of BERT and RoBERTa, which encoder.cc makes.

/// What their config.json says.
struct EncoderConfig {
  std::string name;  // "Bert", as transformers' classes begin
  std::string base;  // "bert", the encoder in a model with a head
  bool roberta = false;
  bool masked_lm = false;  // else the encoder alone
  int64_t vocabulary = 0, hidden = 0, layers = 0, heads = 0, inner = 0, positions = 0, types = 0;
  int64_t padding = 0;  // RoBERTa: positions count from the one after it
  double norm_eps = 0, dropout = 0, attention_dropout = 0;
  bool tied = true;
  std::string activation;
};

/// transformers: BertEmbeddings, RobertaEmbeddings.
class EmbeddingsImpl : public Module {
 public:
  EmbeddingsImpl(const EncoderConfig& config, std::unique_ptr<EmbeddingImpl> words,
                 std::unique_ptr<EmbeddingImpl> positions, std::unique_ptr<EmbeddingImpl> types,
                 std::unique_ptr<LayerNormImpl> norm)
      : type_(absl::StrCat(config.name, "Embeddings")),
        vocabulary_(config.vocabulary),
        roberta_(config.roberta),
        padding_(config.padding) {
    words_ = Own("word_embeddings", std::move(words));
    if (!roberta_) positions_ = Own("position_embeddings", std::move(positions));
    types_ = Own("token_type_embeddings", std::move(types));
    norm_ = Own("LayerNorm", std::move(norm));
    dropout_ = Own("dropout", std::make_unique<DropoutImpl>(config.dropout));
    if (roberta_) positions_ = Own("position_embeddings", std::move(positions));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    const at::Tensor no_types = at::zeros_like(ids);
    const at::Tensor positions = roberta_ ? CountedPositions(pass, ids) : pass.Positions();
    at::Tensor x = Call(pass, *words_, std::move(ids));
    x = at::add(x, Call(pass, *types_, no_types));
    x = at::add(x, Call(pass, *positions_, positions));
    return Call(pass, *dropout_, Call(pass, *norm_, std::move(x)));
  }
  std::string type() const override { return type_; }
  int64_t input_range() const override { return vocabulary_; }

 private:
  /// Counted over tokens that are no padding, behind the padding's own position. transformers looks
  /// at ids alone; here pads have other ids where a tokenizer says so, and the mask tells them.
  at::Tensor CountedPositions(run::Pass& pass, const at::Tensor& ids) const {
    const run::OpTap::Pause pause;
    std::vector<at::Tensor> rows;
    for (const run::Segment* segment : pass.present()) {
      const at::Tensor counted =
          at::mul(run::Cut(ids, *segment).ne(padding_), segment->input->mask.to(ids.device()));
      const at::Tensor positions = at::add(at::mul(counted.cumsum(1), counted), padding_);
      rows.push_back(positions.view({1, segment->rows()}));
    }
    return rows.size() == 1 ? rows[0] : at::cat(rows, 1);
  }

  const std::string type_;
  const int64_t vocabulary_;
  const bool roberta_;
  const int64_t padding_;
  EmbeddingImpl* words_;
  EmbeddingImpl* positions_ = nullptr;
  EmbeddingImpl* types_;
  LayerNormImpl* norm_;
  DropoutImpl* dropout_;
};

/// transformers: BertSelfAttention.
class SelfAttentionImpl : public Module {
 public:
  SelfAttentionImpl(const EncoderConfig& config, int64_t layer, std::unique_ptr<LinearImpl> query,
                    std::unique_ptr<LinearImpl> key, std::unique_ptr<LinearImpl> value)
      : type_(absl::StrCat(config.name, "SelfAttention")) {
    const auto head_dim = static_cast<double>(config.hidden / config.heads);
    options_ = {.layer = static_cast<int>(layer),
                .heads = config.heads,
                .kv_heads = config.heads,
                .scale = 1 / std::sqrt(head_dim),
                .causal = false};
    query_ = Own("query", std::move(query));
    key_ = Own("key", std::move(key));
    value_ = Own("value", std::move(value));
    // Fused attention never calls it, so it has no sites; it stands in the tree as it does there.
    Own("dropout", std::make_unique<DropoutImpl>(config.attention_dropout));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const at::Tensor q = Call(pass, *query_, x);
    const at::Tensor k = Call(pass, *key_, x);
    const at::Tensor v = Call(pass, *value_, std::move(x));
    return Attend(pass, options_, q, k, v);
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  const std::string type_;
  AttentionOptions options_;
  LinearImpl* query_;
  LinearImpl* key_;
  LinearImpl* value_;
};

/// transformers: BertSelfOutput and BertOutput, which take the residual as their second tensor.
class ResidualOutputImpl : public Module {
 public:
  ResidualOutputImpl(std::string type, double dropout, std::unique_ptr<LinearImpl> dense,
                     std::unique_ptr<LayerNormImpl> norm)
      : type_(std::move(type)) {
    dense_ = Own("dense", std::move(dense));
    norm_ = Own("LayerNorm", std::move(norm));
    dropout_ = Own("dropout", std::make_unique<DropoutImpl>(dropout));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x, const at::Tensor& residual) {
    x = Call(pass, *dropout_, Call(pass, *dense_, std::move(x)));
    return Call(pass, *norm_, at::add(x, residual));
  }
  at::Tensor forward(run::Pass&, at::Tensor) override {
    TORCH_CHECK(false, type_, " takes two tensors");
    return {};
  }
  std::string type() const override { return type_; }
  bool rowwise() const override { return true; }
  std::string why_not_alone() const override { return "it takes a second tensor, the residual"; }

 private:
  const std::string type_;
  LinearImpl* dense_;
  LayerNormImpl* norm_;
  DropoutImpl* dropout_;
};

/// transformers: BertAttention.
class EncoderAttentionImpl : public Module {
 public:
  EncoderAttentionImpl(std::string type, std::unique_ptr<SelfAttentionImpl> self,
                       std::unique_ptr<ResidualOutputImpl> output)
      : type_(std::move(type)) {
    self_ = Own("self", std::move(self));
    output_ = Own("output", std::move(output));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    at::Tensor attended = Call(pass, *self_, x);
    return CallWith(pass, *output_, std::move(attended), x);
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  const std::string type_;
  SelfAttentionImpl* self_;
  ResidualOutputImpl* output_;
};

/// transformers: BertIntermediate, and BertPredictionHeadTransform, which norms besides.
class DenseActivationImpl : public Module {
 public:
  DenseActivationImpl(std::string type, const std::string& activation_name,
                      std::unique_ptr<LinearImpl> dense, std::unique_ptr<ActivationImpl> activation,
                      std::unique_ptr<LayerNormImpl> norm)
      : type_(std::move(type)) {
    dense_ = Own("dense", std::move(dense));
    activation_ = Own(activation_name, std::move(activation));
    if (norm != nullptr) norm_ = Own("LayerNorm", std::move(norm));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = Call(pass, *activation_, Call(pass, *dense_, std::move(x)));
    return norm_ == nullptr ? x : Call(pass, *norm_, std::move(x));
  }
  std::string type() const override { return type_; }
  bool rowwise() const override { return true; }

 private:
  const std::string type_;
  LinearImpl* dense_;
  ActivationImpl* activation_;
  LayerNormImpl* norm_ = nullptr;
};

/// transformers: BertLayer.
class EncoderLayerImpl : public Module {
 public:
  EncoderLayerImpl(std::string type, std::unique_ptr<EncoderAttentionImpl> attention,
                   std::unique_ptr<DenseActivationImpl> intermediate,
                   std::unique_ptr<ResidualOutputImpl> output)
      : type_(std::move(type)) {
    attention_ = Own("attention", std::move(attention));
    intermediate_ = Own("intermediate", std::move(intermediate));
    output_ = Own("output", std::move(output));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = Call(pass, *attention_, std::move(x));
    at::Tensor inner = Call(pass, *intermediate_, x);
    return CallWith(pass, *output_, std::move(inner), x);
  }
  std::string type() const override { return type_; }
  bool former_tuple() const override { return true; }

 private:
  const std::string type_;
  EncoderAttentionImpl* attention_;
  DenseActivationImpl* intermediate_;
  ResidualOutputImpl* output_;
};

/// transformers: BertEncoder.
class EncoderStackImpl : public Module {
 public:
  EncoderStackImpl(std::string type, std::unique_ptr<ModuleListImpl> layers)
      : type_(std::move(type)) {
    layers_ = Own("layer", std::move(layers));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    for (const auto& [name, layer] : layers_->children()) {
      x = Call(pass, *layer, std::move(x));
      if (!pass.Leave(layer->output_tap(), x)) return {};
    }
    return x;
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "last_hidden_state"};
  }

 private:
  const std::string type_;
  ModuleListImpl* layers_;
};

/// transformers: BertPooler.
class PoolerImpl : public Module {
 public:
  PoolerImpl(std::string type, std::unique_ptr<LinearImpl> dense,
             std::unique_ptr<ActivationImpl> activation)
      : type_(std::move(type)) {
    dense_ = Own("dense", std::move(dense));
    activation_ = Own("activation", std::move(activation));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    return Call(pass, *activation_, Call(pass, *dense_, pass.Pool(x)));
  }
  std::string type() const override { return type_; }
  bool pools() const override { return true; }

 private:
  const std::string type_;
  LinearImpl* dense_;
  ActivationImpl* activation_;
};

/// transformers: BertModel.
class EncoderModelImpl : public Module {
 public:
  EncoderModelImpl(const EncoderConfig& config, std::unique_ptr<EmbeddingsImpl> embeddings,
                   std::unique_ptr<EncoderStackImpl> encoder, std::unique_ptr<PoolerImpl> pooler)
      : type_(absl::StrCat(config.name, "Model")), vocabulary_(config.vocabulary) {
    embeddings_ = Own("embeddings", std::move(embeddings));
    encoder_ = Own("encoder", std::move(encoder));
    if (pooler != nullptr) pooler_ = Own("pooler", std::move(pooler));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *embeddings_, std::move(ids));
    if (!pass.Leave(embeddings_->output_tap(), x)) return {};
    x = Call(pass, *encoder_, std::move(x));
    if (pass.done() || pooler_ == nullptr) return x;
    if (!pass.Leave(encoder_->output_tap(), x)) return {};
    pass.Beside(Call(pass, *pooler_, x));
    pass.Unpool();
    return x;
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict,
            .field = "last_hidden_state",
            .beside = pooler_ == nullptr ? "" : "pooler_output"};
  }
  int64_t input_range() const override { return vocabulary_; }

 private:
  const std::string type_;
  const int64_t vocabulary_;
  EmbeddingsImpl* embeddings_;
  EncoderStackImpl* encoder_;
  PoolerImpl* pooler_ = nullptr;
};

/// transformers: BertLMPredictionHead, inside a BertOnlyMLMHead.
class BertPredictionsImpl : public Module {
 public:
  BertPredictionsImpl(std::unique_ptr<DenseActivationImpl> transform,
                      std::unique_ptr<LinearImpl> decoder) {
    transform_ = Own("transform", std::move(transform));
    decoder_ = Own("decoder", std::move(decoder));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    return Call(pass, *decoder_, Call(pass, *transform_, std::move(x)));
  }
  std::string type() const override { return "BertLMPredictionHead"; }
  bool rowwise() const override { return true; }

 private:
  DenseActivationImpl* transform_;
  LinearImpl* decoder_;
};

/// transformers: BertOnlyMLMHead.
class BertHeadImpl : public Module {
 public:
  explicit BertHeadImpl(std::unique_ptr<BertPredictionsImpl> predictions) {
    predictions_ = Own("predictions", std::move(predictions));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    return Call(pass, *predictions_, std::move(x));
  }
  std::string type() const override { return "BertOnlyMLMHead"; }
  bool rowwise() const override { return true; }

 private:
  BertPredictionsImpl* predictions_;
};

/// transformers: RobertaLMHead.
class RobertaHeadImpl : public Module {
 public:
  RobertaHeadImpl(std::unique_ptr<LinearImpl> dense, std::unique_ptr<LayerNormImpl> norm,
                  std::unique_ptr<LinearImpl> decoder) {
    dense_ = Own("dense", std::move(dense));
    norm_ = Own("layer_norm", std::move(norm));
    decoder_ = Own("decoder", std::move(decoder));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = kernels::RowWise([](const at::Tensor& of) { return at::gelu(of); },
                         Call(pass, *dense_, std::move(x)));
    return Call(pass, *decoder_, Call(pass, *norm_, std::move(x)));
  }
  std::string type() const override { return "RobertaLMHead"; }
  bool rowwise() const override { return true; }

 private:
  LinearImpl* dense_;
  LayerNormImpl* norm_;
  LinearImpl* decoder_;
};

/// transformers: BertForMaskedLM, RobertaForMaskedLM.
class MaskedLMImpl : public Module {
 public:
  MaskedLMImpl(const EncoderConfig& config, std::unique_ptr<EncoderModelImpl> model,
               const std::string& head_name, std::unique_ptr<Module> head)
      : type_(absl::StrCat(config.name, "ForMaskedLM")), vocabulary_(config.vocabulary) {
    model_ = Own(config.base, std::move(model));
    head_ = Own(head_name, std::move(head));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *model_, std::move(ids));
    // The head is the dearest row of all: only those who look at logits go on.
    if (pass.done() || !pass.Leave(model_->output_tap(), x)) return {};
    return Call(pass, *head_, std::move(x));
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }
  int64_t input_range() const override { return vocabulary_; }

 private:
  const std::string type_;
  const int64_t vocabulary_;
  EncoderModelImpl* model_;
  Module* head_;
};

}  // namespace weft::models
