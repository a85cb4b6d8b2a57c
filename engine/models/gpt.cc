#include "engine/models/gpt.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/attention.h"
#include "engine/models/blocks.h"

namespace weft::models {
namespace {

/// A module that knows its children by what they do; nullptr for what its family lacks.
class GptModule : public Module {
 public:
  explicit GptModule(std::string type) : type_(std::move(type)) {}
  void Add(const GptChild& child, std::unique_ptr<Module> module) {
    parts_[static_cast<size_t>(child.part)] = Own(child.name, std::move(module));
  }
  std::string type() const override { return type_; }

 protected:
  Module* part(GptPart part) const { return parts_[static_cast<size_t>(part)]; }
  bool Has(GptPart which) const { return part(which) != nullptr; }
  /// `x` itself where there is no such part.
  at::Tensor Through(run::Pass& pass, GptPart which, at::Tensor x) const {
    Module* const module = part(which);
    return module == nullptr ? x : Call(pass, *module, std::move(x));
  }

 private:
  static constexpr size_t kParts = static_cast<size_t>(GptPart::kDownDropout) + 1;
  const std::string type_;
  std::array<Module*, kParts> parts_ = {};
};

/// transformers: FalconLinear, and torch's Linear.
class NamedLinearImpl : public LinearImpl {
 public:
  NamedLinearImpl(at::Tensor weight, at::Tensor bias, std::string type)
      : LinearImpl(std::move(weight), std::move(bias)), type_(std::move(type)) {}
  std::string type() const override { return type_; }

 private:
  const std::string type_;
};

/// transformers: OPTLearnedPositionalEmbedding. It takes positions, counted from 0.
class OffsetEmbeddingImpl : public EmbeddingImpl {
 public:
  OffsetEmbeddingImpl(at::Tensor weight, std::string type, int64_t positions, int64_t offset)
      : EmbeddingImpl(std::move(weight)),
        type_(std::move(type)),
        positions_(positions),
        offset_(offset) {}
  at::Tensor forward(run::Pass& pass, at::Tensor positions) override {
    return EmbeddingImpl::forward(pass, at::add(positions, offset_));
  }
  std::string type() const override { return type_; }
  int64_t input_range() const override { return positions_; }

 private:
  const std::string type_;
  const int64_t positions_, offset_;
};

class GptMlpImpl : public GptModule {
 public:
  using GptModule::GptModule;
  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    x = Through(pass, GptPart::kActivation, Through(pass, GptPart::kUp, std::move(x)));
    return Through(pass, GptPart::kDownDropout, Through(pass, GptPart::kDown, std::move(x)));
  }
  bool rowwise() const override { return true; }
};

class GptAttentionImpl : public GptModule {
 public:
  GptAttentionImpl(std::string type, AttentionOptions options, int64_t head_dim,
                   std::shared_ptr<const Rotary> rotary, double query_scale)
      : GptModule(std::move(type)),
        options_(std::move(options)),
        head_dim_(head_dim),
        rotary_(std::move(rotary)),
        query_scale_(query_scale) {}

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    at::Tensor q, k, v;
    if (Has(GptPart::kQueryKeyValue)) {
      const int64_t group = options_.heads / options_.kv_heads;
      const at::Tensor qkv = Through(pass, GptPart::kQueryKeyValue, std::move(x))
                                 .unflatten(2, {options_.kv_heads, group + 2, head_dim_});
      // One by one: their operations are numbered in this order.
      q = qkv.narrow(3, 0, group).flatten(2, 3);
      k = qkv.select(3, group);
      v = qkv.select(3, group + 1);
    } else {
      q = Through(pass, GptPart::kQuery, x);
      if (query_scale_ != 1) q = at::mul(q, query_scale_);
      q = q.unflatten(2, {options_.heads, head_dim_});
      k = Through(pass, GptPart::kKey, x).unflatten(2, {options_.kv_heads, head_dim_});
      v = Through(pass, GptPart::kValue, x).unflatten(2, {options_.kv_heads, head_dim_});
    }
    q = Through(pass, GptPart::kQueryNorm, std::move(q));
    k = Through(pass, GptPart::kKeyNorm, std::move(k));
    if (rotary_ != nullptr) {
      q = rotary_->Apply(pass, q);
      k = rotary_->Apply(pass, k);
    }
    at::Tensor z = Attend(pass, options_, q, k, v);
    z = Through(pass, GptPart::kOutput, std::move(z));
    return Through(pass, GptPart::kOutputDropout, std::move(z));
  }
  /// `(output, None)`: the attention weights are not given by fused attention.
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }

 private:
  const AttentionOptions options_;
  const int64_t head_dim_;
  const std::shared_ptr<const Rotary> rotary_;
  const double query_scale_;
};

class GptBlockImpl : public GptModule {
 public:
  GptBlockImpl(std::string type, GptWiring wiring, bool gives_tuple)
      : GptModule(std::move(type)), wiring_(wiring), gives_tuple_(gives_tuple) {}

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const auto attention_norm = [&] { return Through(pass, GptPart::kAttentionNorm, x); };
    const auto mlp_norm = [&] { return Through(pass, GptPart::kMlpNorm, x); };
    at::Tensor attention, mlp;
    switch (wiring_) {
      case GptWiring::kSequential:
        x = at::add(Attention(pass, attention_norm()), x);
        return at::add(Mlp(pass, mlp_norm()), x);
      case GptWiring::kNormsAfter:
        x = at::add(Attention(pass, x), x);
        x = attention_norm();
        x = at::add(Mlp(pass, x), x);
        return mlp_norm();
      case GptWiring::kParallel: {
        const at::Tensor normed = attention_norm();
        attention = Attention(pass, normed);
        mlp = Mlp(pass, normed);
        break;
      }
      case GptWiring::kParallelTwoNorms:
        attention = Attention(pass, attention_norm());
        mlp = Mlp(pass, mlp_norm());
        break;
      case GptWiring::kParallelNormsFirst: {
        const at::Tensor for_attention = attention_norm();
        const at::Tensor for_mlp = mlp_norm();
        attention = Attention(pass, for_attention);
        mlp = Mlp(pass, for_mlp);
        break;
      }
    }
    return at::add(at::add(attention, mlp), x);
  }
  run::OutputForm form() const override {
    if (!gives_tuple_) return {};
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 1};
  }
  bool former_tuple() const override { return !gives_tuple_; }

 private:
  at::Tensor Attention(run::Pass& pass, at::Tensor x) const {
    x = Through(pass, GptPart::kAttention, std::move(x));
    x = Through(pass, GptPart::kAttentionDropout, std::move(x));
    return Through(pass, GptPart::kBothDropout, std::move(x));
  }
  at::Tensor Mlp(run::Pass& pass, at::Tensor x) const {
    if (Has(GptPart::kMlp)) {
      x = Through(pass, GptPart::kMlp, std::move(x));
    } else {
      x = Through(pass, GptPart::kActivation, Through(pass, GptPart::kUp, std::move(x)));
      x = Through(pass, GptPart::kDown, std::move(x));
    }
    x = Through(pass, GptPart::kMlpDropout, std::move(x));
    return Through(pass, GptPart::kBothDropout, std::move(x));
  }

  const GptWiring wiring_;
  const bool gives_tuple_;
};

/// Token ids to what the head takes.
class GptDecoderImpl : public GptModule {
 public:
  GptDecoderImpl(std::string type, int64_t vocabulary)
      : GptModule(std::move(type)), vocabulary_(vocabulary) {}

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Through(pass, GptPart::kEmbedding, std::move(ids));
    const Module* last = part(GptPart::kEmbedding);
    if (Has(GptPart::kPositions)) {
      const at::Tensor positions = Through(pass, GptPart::kPositions, pass.Positions());
      last = part(Has(GptPart::kProjectIn) ? GptPart::kProjectIn : GptPart::kPositions);
      x = at::add(Through(pass, GptPart::kProjectIn, std::move(x)), positions);
    }
    if (Has(GptPart::kEmbeddingDropout)) {
      x = Through(pass, GptPart::kEmbeddingDropout, std::move(x));
      last = part(GptPart::kEmbeddingDropout);
    }
    if (!pass.Leave(last->output_tap(), x)) return {};
    for (const auto& [name, block] : part(GptPart::kBlocks)->children()) {
      x = Call(pass, *block, std::move(x));
      if (!pass.Leave(block->output_tap(), x)) return {};
    }
    x = Through(pass, GptPart::kFinalNorm, std::move(x));
    return Through(pass, GptPart::kProjectOut, std::move(x));
  }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "last_hidden_state"};
  }
  int64_t input_range() const override { return vocabulary_; }

 private:
  const int64_t vocabulary_;
};

/// transformers: OPTModel, which its language model never calls.
class GptWrapperImpl : public Module {
 public:
  GptWrapperImpl(std::string type, std::string name, std::unique_ptr<GptDecoderImpl> decoder)
      : type_(std::move(type)) {
    decoder_ = Own(std::move(name), std::move(decoder));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    return Call(pass, *decoder_, std::move(ids));
  }
  std::string type() const override { return type_; }

 private:
  const std::string type_;
  GptDecoderImpl* decoder_;
};

class GptForCausalLMImpl : public Module {
 public:
  GptForCausalLMImpl(std::string type, std::string name, std::unique_ptr<Module> model,
                     GptDecoderImpl* decoder, std::unique_ptr<Module> head)
      : type_(std::move(type)), decoder_(decoder) {
    Own(std::move(name), std::move(model));
    head_ = Own("lm_head", std::move(head));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = Call(pass, *decoder_, std::move(ids));
    // The head is the dearest row of all: only those who look at logits go on.
    if (pass.done() || !pass.Leave(decoder_->output_tap(), x)) return {};
    pass.KeepLast(x);
    return Call(pass, *head_, std::move(x));
  }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kDict, .field = "logits"};
  }
  int64_t input_range() const override { return decoder_->input_range(); }

 private:
  const std::string type_;
  GptDecoderImpl* const decoder_;
  Module* head_;
};

/// The slopes of transformers' build_alibi_tensor, `[heads]`, in the precision that it has there.
at::Tensor AlibiSlopes(int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  const auto slopes = [](int64_t of, int64_t first, int64_t count, int64_t step) {
    const double exponent = std::exp2(-(std::log2(static_cast<double>(of)) - 3));
    const at::Tensor base = at::scalar_tensor(std::exp2(-exponent), at::kFloat);
    return at::pow(base, at::arange(first, first + count * step, step, at::kInt));
  };
  at::Tensor all = slopes(power, 1, power, 1);
  if (power != heads) {
    all = at::cat({all, slopes(2 * power, 1, std::min(power, heads - power), 2)});
  }
  return all.to(at::kBFloat16);
}

/// Makes modules from weights. The first weight that cannot be had is its status, and what it made
/// is then of no use.
class GptMaker {
 public:
  GptMaker(const GptFamily& family, ParameterSource& source) : family_(family), source_(source) {}

  const absl::Status& status() const { return status_; }

  std::unique_ptr<Module> MakeRoot() {
    const std::string inner =
        family_.decoder.empty() ? family_.model : absl::StrCat(family_.model, ".", family_.decoder);
    for (const GptChild& child : family_.decoder_children) {
      if (!family_.tied_head || child.part != GptPart::kEmbedding) continue;
      source_.Tie("lm_head.weight", absl::StrCat(inner, ".", child.name, ".weight"));
    }
    auto decoder = std::make_unique<GptDecoderImpl>(
        family_.decoder.empty() ? family_.model_type : family_.decoder_type, family_.vocabulary);
    AddChildren(family_.decoder_children, inner, 0, *decoder);
    GptDecoderImpl* const called = decoder.get();
    std::unique_ptr<Module> model;
    if (family_.decoder.empty()) {
      model = std::move(decoder);
    } else {
      model =
          std::make_unique<GptWrapperImpl>(family_.model_type, family_.decoder, std::move(decoder));
    }
    return std::make_unique<GptForCausalLMImpl>(family_.causal_lm_type, family_.model,
                                                std::move(model), called, MakeHead());
  }

 private:
  at::Tensor Param(const std::string& name, at::IntArrayRef shape) {
    absl::StatusOr<at::Tensor> weight = source_.Param(name, shape);
    if (weight.ok()) return *std::move(weight);
    if (status_.ok()) status_ = weight.status();
    return {};
  }

  std::unique_ptr<Module> MakeLinear(const std::string& path, int64_t in, int64_t out, bool bias,
                                     const std::string& type) {
    at::Tensor weight = Param(absl::StrCat(path, ".weight"), {out, in});
    at::Tensor own;
    if (bias) own = Param(absl::StrCat(path, ".bias"), {out});
    return std::make_unique<NamedLinearImpl>(std::move(weight), std::move(own), type);
  }

  std::unique_ptr<Module> MakeNorm(const std::string& path, int64_t size) {
    at::Tensor weight = Param(absl::StrCat(path, ".weight"), {size});
    at::Tensor bias = Param(absl::StrCat(path, ".bias"), {size});
    return std::make_unique<LayerNormImpl>(std::move(weight), std::move(bias), family_.norm_eps);
  }

  std::unique_ptr<Module> MakeHead() {
    at::Tensor weight = Param("lm_head.weight", {family_.vocabulary, family_.embedding_width});
    at::Tensor bias;
    if (family_.head_bias) bias = Param("lm_head.bias", {family_.vocabulary});
    return std::make_unique<LinearImpl>(std::move(weight), std::move(bias));
  }

  std::unique_ptr<Module> MakeBlocks(const std::string& path) {
    auto list = std::make_unique<ModuleListImpl>();
    for (int64_t layer = 0; layer < family_.layers && status_.ok(); ++layer) {
      auto block = std::make_unique<GptBlockImpl>(family_.block_type, family_.wiring,
                                                  family_.block_gives_tuple);
      AddChildren(family_.block_children, absl::StrCat(path, ".", layer), layer, *block);
      list->Append(std::move(block));
    }
    return list;
  }

  std::unique_ptr<Module> MakeAttention(const std::string& path, int64_t layer) {
    AttentionOptions options{.layer = static_cast<int>(layer),
                             .heads = family_.heads,
                             .kv_heads = family_.kv_heads,
                             .scale = 1 / std::sqrt(static_cast<double>(family_.head_dim))};
    if (family_.alibi) {
      // Added before the products are scaled, so scaled as they are.
      options.slopes = AlibiSlopes(family_.heads);
      options.slope_scale = options.scale;
    }
    double query_scale = 1;
    if (family_.scales_queries) std::swap(query_scale, options.scale);
    auto attention = std::make_unique<GptAttentionImpl>(
        family_.attention_type, std::move(options), family_.head_dim, family_.rotary, query_scale);
    AddChildren(family_.attention_children, path, layer, *attention);
    return attention;
  }

  std::unique_ptr<Module> MakeMlp(const std::string& path) {
    auto mlp = std::make_unique<GptMlpImpl>(family_.mlp_type);
    AddChildren(family_.mlp_children, path, 0, *mlp);
    return mlp;
  }

  std::unique_ptr<Module> MakeActivation() {
    auto activation = ActivationImpl::Make(family_.activation);
    if (activation.ok()) return *std::move(activation);
    if (status_.ok()) status_ = activation.status();
    return std::make_unique<DropoutImpl>(0);
  }

  void AddChildren(const std::vector<GptChild>& children, const std::string& path, int64_t layer,
                   GptModule& module) {
    for (const GptChild& child : children) {
      module.Add(child, Make(child.part, absl::StrCat(path, ".", child.name), layer));
    }
  }

  std::unique_ptr<Module> Make(GptPart part, const std::string& path, int64_t layer) {
    const GptFamily& f = family_;
    const auto projection = [&](int64_t heads) {
      return MakeLinear(path, f.hidden, heads * f.head_dim, f.attention_bias, f.linear_type);
    };
    switch (part) {
      case GptPart::kEmbedding:
        return std::make_unique<EmbeddingImpl>(
            Param(absl::StrCat(path, ".weight"), {f.vocabulary, f.embedding_width}));
      case GptPart::kPositions:
        return std::make_unique<OffsetEmbeddingImpl>(
            Param(absl::StrCat(path, ".weight"), {f.max_tokens + f.positions_offset, f.hidden}),
            f.positions_type, f.max_tokens, f.positions_offset);
      case GptPart::kProjectIn:
        return MakeLinear(path, f.embedding_width, f.hidden, false, f.linear_type);
      case GptPart::kProjectOut:
        return MakeLinear(path, f.hidden, f.embedding_width, false, f.linear_type);
      case GptPart::kEmbeddingDropout:
        return std::make_unique<DropoutImpl>(f.embedding_dropout);
      case GptPart::kRotary:
        return std::make_unique<RotaryEmbeddingImpl>(f.rotary_type);
      case GptPart::kBlocks:
        return MakeBlocks(path);
      case GptPart::kFinalNorm:
      case GptPart::kAttentionNorm:
      case GptPart::kMlpNorm:
        return MakeNorm(path, f.hidden);
      case GptPart::kAttention:
        return MakeAttention(path, layer);
      case GptPart::kMlp:
        return MakeMlp(path);
      case GptPart::kAttentionDropout:
      case GptPart::kMlpDropout:
      case GptPart::kBothDropout:
      case GptPart::kOutputDropout:
      case GptPart::kDownDropout:
        return std::make_unique<DropoutImpl>(f.dropout);
      case GptPart::kProbsDropout:
        return std::make_unique<DropoutImpl>(f.attention_dropout);
      case GptPart::kQuery:
        return projection(f.heads);
      case GptPart::kKey:
      case GptPart::kValue:
        return projection(f.kv_heads);
      case GptPart::kQueryKeyValue:
        return projection(f.heads + 2 * f.kv_heads);
      case GptPart::kQueryNorm:
      case GptPart::kKeyNorm:
        return MakeNorm(path, f.head_dim);
      case GptPart::kOutput:
        return MakeLinear(path, f.heads * f.head_dim, f.hidden, f.attention_bias, f.linear_type);
      case GptPart::kUp:
        return MakeLinear(path, f.hidden, f.inner, f.mlp_bias, f.linear_type);
      case GptPart::kActivation:
        return MakeActivation();
      case GptPart::kDown:
        return MakeLinear(path, f.inner, f.hidden, f.mlp_bias, f.linear_type);
    }
    return nullptr;
  }

  const GptFamily& family_;
  ParameterSource& source_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<Network> MakeGpt(const GptFamily& family, ParameterSource& source) {
  GptMaker maker(family, source);
  Network network;
  network.root = maker.MakeRoot();
  if (!maker.status().ok()) return maker.status();
  network.vocabulary = family.vocabulary;
  network.max_tokens = family.max_tokens;
  network.cache_elements = 2 * family.layers * family.kv_heads * family.head_dim;
  return network;
}

}  // namespace weft::models
