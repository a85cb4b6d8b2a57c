#include "engine/models/encoder.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/config_reader.h"
#include "engine/models/encoder_modules.h"

namespace weft::models {
namespace {

/// Makes modules from weights. The first weight that cannot be had is its status, and what it made
/// is then of no use.
class EncoderMaker {
 public:
  EncoderMaker(const EncoderConfig& config, ParameterSource& source)
      : config_(config), source_(source) {}

  const absl::Status& status() const { return status_; }

  std::unique_ptr<Module> MakeRoot() {
    const std::string path = config_.masked_lm ? absl::StrCat(config_.base, ".") : "";
    const std::string head = config_.roberta ? "lm_head" : "cls.predictions";
    if (config_.masked_lm && config_.tied) {
      source_.Tie(absl::StrCat(head, ".decoder.weight"),
                  absl::StrCat(path, "embeddings.word_embeddings.weight"));
      source_.Tie(absl::StrCat(head, ".decoder.bias"), absl::StrCat(head, ".bias"));
    }
    std::unique_ptr<EncoderModelImpl> model = MakeModel(path);
    if (!config_.masked_lm) return model;
    if (config_.roberta) {
      auto head = std::make_unique<RobertaHeadImpl>(
          Linear("lm_head.dense", config_.hidden, config_.hidden), Norm("lm_head.layer_norm"),
          Decoder("lm_head.decoder", "lm_head.bias"));
      return std::make_unique<MaskedLMImpl>(config_, std::move(model), "lm_head", std::move(head));
    }
    auto transform = std::make_unique<DenseActivationImpl>(
        "BertPredictionHeadTransform", "transform_act_fn",
        Linear("cls.predictions.transform.dense", config_.hidden, config_.hidden),
        Activation(config_.activation), Norm("cls.predictions.transform.LayerNorm"));
    auto predictions = std::make_unique<BertPredictionsImpl>(
        std::move(transform), Decoder("cls.predictions.decoder", "cls.predictions.bias"));
    return std::make_unique<MaskedLMImpl>(config_, std::move(model), "cls",
                                          std::make_unique<BertHeadImpl>(std::move(predictions)));
  }

 private:
  at::Tensor Param(const std::string& name, at::IntArrayRef shape) {
    absl::StatusOr<at::Tensor> weight = source_.Param(name, shape);
    if (weight.ok()) return *std::move(weight);
    if (status_.ok()) status_ = weight.status();
    return {};
  }
  std::unique_ptr<LinearImpl> Linear(const std::string& path, int64_t in, int64_t out) {
    at::Tensor weight = Param(absl::StrCat(path, ".weight"), {out, in});
    at::Tensor bias = Param(absl::StrCat(path, ".bias"), {out});
    return std::make_unique<LinearImpl>(std::move(weight), std::move(bias));
  }
  std::unique_ptr<LayerNormImpl> Norm(const std::string& path) {
    at::Tensor weight = Param(absl::StrCat(path, ".weight"), {config_.hidden});
    at::Tensor bias = Param(absl::StrCat(path, ".bias"), {config_.hidden});
    return std::make_unique<LayerNormImpl>(std::move(weight), std::move(bias), config_.norm_eps);
  }
  std::unique_ptr<EmbeddingImpl> Embedding(const std::string& path, int64_t rows) {
    return std::make_unique<EmbeddingImpl>(
        Param(absl::StrCat(path, ".weight"), {rows, config_.hidden}));
  }
  std::unique_ptr<ActivationImpl> Activation(const std::string& name) {
    auto activation = ActivationImpl::Make(name);
    if (activation.ok()) return *std::move(activation);
    if (status_.ok()) status_ = activation.status();
    return nullptr;
  }

  std::unique_ptr<LinearImpl> Decoder(const std::string& path, const std::string& head_bias) {
    at::Tensor weight = Param(absl::StrCat(path, ".weight"), {config_.vocabulary, config_.hidden});
    at::Tensor bias = Param(absl::StrCat(path, ".bias"), {config_.vocabulary});
    // The head's own, which is that of its decoder where they are tied, and else of no use.
    if (config_.tied || source_.Has(head_bias)) Param(head_bias, {config_.vocabulary});
    return std::make_unique<LinearImpl>(std::move(weight), std::move(bias));
  }

  std::unique_ptr<EncoderModelImpl> MakeModel(const std::string& prefix) {
    const std::string path = absl::StrCat(prefix, "embeddings.");
    auto words = Embedding(absl::StrCat(path, "word_embeddings"), config_.vocabulary);
    auto positions = Embedding(absl::StrCat(path, "position_embeddings"), config_.positions);
    auto types = Embedding(absl::StrCat(path, "token_type_embeddings"), config_.types);
    auto embeddings =
        std::make_unique<EmbeddingsImpl>(config_, std::move(words), std::move(positions),
                                         std::move(types), Norm(absl::StrCat(path, "LayerNorm")));
    auto layers = std::make_unique<ModuleListImpl>();
    for (int64_t layer = 0; layer < config_.layers && status_.ok(); ++layer) {
      layers->Append(MakeLayer(absl::StrCat(prefix, "encoder.layer.", layer), layer));
    }
    auto encoder = std::make_unique<EncoderStackImpl>(absl::StrCat(config_.name, "Encoder"),
                                                      std::move(layers));
    std::unique_ptr<PoolerImpl> pooler;
    // Some encoders were saved without: theirs was never trained.
    if (!config_.masked_lm && source_.Has("pooler.dense.weight")) {
      pooler = std::make_unique<PoolerImpl>(absl::StrCat(config_.name, "Pooler"),
                                            Linear("pooler.dense", config_.hidden, config_.hidden),
                                            Activation("tanh"));
    }
    return std::make_unique<EncoderModelImpl>(config_, std::move(embeddings), std::move(encoder),
                                              std::move(pooler));
  }

  std::unique_ptr<EncoderLayerImpl> MakeLayer(const std::string& path, int64_t layer) {
    const int64_t hidden = config_.hidden;
    const auto output = [&](const std::string& name, const std::string& type, int64_t in) {
      auto dense = Linear(absl::StrCat(path, name, ".dense"), in, hidden);
      return std::make_unique<ResidualOutputImpl>(absl::StrCat(config_.name, type), config_.dropout,
                                                  std::move(dense),
                                                  Norm(absl::StrCat(path, name, ".LayerNorm")));
    };
    const std::string self = absl::StrCat(path, ".attention.self.");
    auto query = Linear(absl::StrCat(self, "query"), hidden, hidden);
    auto key = Linear(absl::StrCat(self, "key"), hidden, hidden);
    auto value = Linear(absl::StrCat(self, "value"), hidden, hidden);
    auto attention = std::make_unique<EncoderAttentionImpl>(
        absl::StrCat(config_.name, "Attention"),
        std::make_unique<SelfAttentionImpl>(config_, layer, std::move(query), std::move(key),
                                            std::move(value)),
        output(".attention.output", "SelfOutput", hidden));
    auto intermediate = std::make_unique<DenseActivationImpl>(
        absl::StrCat(config_.name, "Intermediate"), "intermediate_act_fn",
        Linear(absl::StrCat(path, ".intermediate.dense"), hidden, config_.inner),
        Activation(config_.activation), nullptr);
    return std::make_unique<EncoderLayerImpl>(absl::StrCat(config_.name, "Layer"),
                                              std::move(attention), std::move(intermediate),
                                              output(".output", "Output", config_.inner));
  }

  const EncoderConfig& config_;
  ParameterSource& source_;
  absl::Status status_;
};

/// Whether `architectures` asks for the head of a masked language model.
bool WantsHead(const std::vector<std::string>& architectures, const std::string& name) {
  return !architectures.empty() && architectures[0] == absl::StrCat(name, "ForMaskedLM");
}

EncoderConfig ReadConfig(ConfigReader& read, bool roberta) {
  EncoderConfig config;
  config.roberta = roberta;
  config.name = roberta ? "Roberta" : "Bert";
  config.base = roberta ? "roberta" : "bert";
  const std::vector<std::string> architectures = read.Strings("architectures");
  config.masked_lm = WantsHead(architectures, config.name);
  const std::string alone = absl::StrCat(config.name, "Model");
  if (!config.masked_lm && !architectures.empty() && architectures[0] != alone) {
    read.Refuse("architectures", absl::StrCat(architectures[0], " is not served; there are ",
                                              config.name, "ForMaskedLM and ", alone));
  }
  config.vocabulary = read.Size("vocab_size", roberta ? 50265 : 30522);
  config.hidden = read.Size("hidden_size", 768);
  config.layers = read.Layers("num_hidden_layers", 12);
  config.heads = read.Size("num_attention_heads", 12);
  config.inner = read.Size("intermediate_size", 3072);
  config.positions = read.Size("max_position_embeddings", 512);
  config.types = read.Size("type_vocab_size", 2);
  config.norm_eps = read.Get<double>("layer_norm_eps", 1e-12);
  config.dropout = read.Get<double>("hidden_dropout_prob", 0.1);
  config.attention_dropout = read.Get<double>("attention_probs_dropout_prob", 0.1);
  config.tied = read.Get<bool>("tie_word_embeddings", true);
  config.activation = read.Get<std::string>("hidden_act", "gelu");
  if (const auto made = ActivationImpl::Make(config.activation); !made.ok()) {
    read.Refuse("hidden_act", std::string(made.status().message()));
  }
  if (roberta) {
    config.padding = read.Get<int64_t>("pad_token_id", 1);
    if (config.padding < 0 || config.padding + 1 >= config.positions) {
      read.Invalid("pad_token_id", "leaves no positions, which are counted from the one after it");
    }
  }
  if (read.status().ok() && config.hidden % config.heads != 0) {
    read.Invalid("hidden_size", absl::StrCat("is ", config.hidden, ", which `num_attention_heads` ",
                                             config.heads, " does not divide"));
  }
  // Decoders, and what transformers 5.x has no more.
  read.Only<bool>("is_decoder", false);
  read.Only<bool>("add_cross_attention", false);
  read.Only<std::string>("position_embedding_type", "absolute");
  return config;
}

absl::StatusOr<Network> MakeEncoder(const weights::ModelConfig& json, bool roberta,
                                    ParameterSource& source) {
  ConfigReader read(json);
  const EncoderConfig config = ReadConfig(read, roberta);
  if (!read.status().ok()) return read.status();
  EncoderMaker maker(config, source);
  Network network;
  network.root = maker.MakeRoot();
  if (!maker.status().ok()) return maker.status();
  network.vocabulary = config.vocabulary;
  network.max_tokens = roberta ? config.positions - config.padding - 1 : config.positions;
  network.no_generation =
      absl::StrCat(network.root->type(), " is an encoder, and has no next token to generate");
  return network;
}

weights::NameRules RulesOf(const weights::ModelConfig& json, const std::string& name,
                           const std::string& base, const std::string& head,
                           std::vector<std::string> head_tensors) {
  ConfigReader read(json);
  weights::NameRules rules;
  // Heads for other tasks, of checkpoints that were trained with several.
  rules.ignored_suffixes = {"cls.seq_relationship.weight", "cls.seq_relationship.bias"};
  if (WantsHead(read.Strings("architectures"), name)) {
    rules.base_prefix = absl::StrCat(base, ".");
    rules.outside_base = {absl::StrCat(head, ".")};
    rules.ignored_suffixes.insert(rules.ignored_suffixes.end(),
                                  {"pooler.dense.weight", "pooler.dense.bias"});
  } else {
    rules.renames.push_back({absl::StrCat("^", base, "."), ""});
    for (const std::string& tensor : head_tensors) {
      rules.ignored_suffixes.push_back(absl::StrCat(head, ".", tensor));
    }
  }
  return rules;
}

}  // namespace

absl::StatusOr<Network> MakeBert(const weights::ModelConfig& config, ParameterSource& source) {
  return MakeEncoder(config, /*roberta=*/false, source);
}

absl::StatusOr<Network> MakeRoberta(const weights::ModelConfig& config, ParameterSource& source) {
  return MakeEncoder(config, /*roberta=*/true, source);
}

weights::NameRules BertNameRules(const weights::ModelConfig& config) {
  return RulesOf(
      config, "Bert", "bert", "cls",
      {"predictions.bias", "predictions.decoder.weight", "predictions.decoder.bias",
       "predictions.transform.dense.weight", "predictions.transform.dense.bias",
       "predictions.transform.LayerNorm.weight", "predictions.transform.LayerNorm.bias"});
}

weights::NameRules RobertaNameRules(const weights::ModelConfig& config) {
  return RulesOf(config, "Roberta", "roberta", "lm_head",
                 {"bias", "decoder.weight", "decoder.bias", "dense.weight", "dense.bias",
                  "layer_norm.weight", "layer_norm.bias"});
}

}  // namespace weft::models
