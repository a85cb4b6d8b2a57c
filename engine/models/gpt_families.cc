#include "engine/models/gpt_families.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/config_reader.h"
#include "engine/models/gpt.h"

namespace weft::models {
namespace {

using Part = GptPart;

/// An activation that is served.
std::string Activation(ConfigReader& read, const std::string& name, const std::string& fallback) {
  std::string activation = read.Get<std::string>(name, fallback);
  const auto made = ActivationImpl::Make(activation);
  if (!made.ok()) read.Refuse(name, std::string(made.status().message()));
  return activation;
}

/// `hidden`, `heads` and `kv_heads` are known: what follows from them.
void SetHeads(ConfigReader& read, const std::string& hidden, GptFamily& family) {
  if (!read.status().ok()) return;
  if (family.hidden % family.heads != 0) {
    read.Invalid(hidden, absl::StrCat("is ", family.hidden, ", which ", family.heads,
                                      " heads do not divide"));
  }
  family.head_dim = family.hidden / family.heads;
  family.embedding_width = family.hidden;
}

absl::StatusOr<Network> Make(ConfigReader& read, const GptFamily& family, ParameterSource& source) {
  read.Only<bool>("is_causal", true);
  if (!read.status().ok()) return read.status();
  return MakeGpt(family, source);
}

absl::StatusOr<Network> MakeRotating(ConfigReader& read, const RopeParameters& rope,
                                     Rotary::Layout layout, GptFamily& family,
                                     ParameterSource& source) {
  if (!read.status().ok()) return read.status();
  auto rotary = Rotary::Make(read.config().path(), rope, family.head_dim, layout);
  if (!rotary.ok()) return rotary.status();
  family.rotary = *std::move(rotary);
  family.max_tokens = MostTokens(rope);
  return Make(read, family, source);
}

}  // namespace

absl::StatusOr<Network> MakeGPTNeoX(const weights::ModelConfig& config, ParameterSource& source) {
  ConfigReader read(config);
  GptFamily family;
  family.causal_lm_type = "GPTNeoXForCausalLM";
  family.model_type = "GPTNeoXModel";
  family.block_type = "GPTNeoXLayer";
  family.attention_type = "GPTNeoXAttention";
  family.mlp_type = "GPTNeoXMLP";
  family.model = "gpt_neox";
  family.decoder_children = {{Part::kEmbedding, "embed_in"},
                             {Part::kEmbeddingDropout, "emb_dropout"},
                             {Part::kBlocks, "layers"},
                             {Part::kFinalNorm, "final_layer_norm"},
                             {Part::kRotary, "rotary_emb"}};
  family.block_children = {{Part::kAttentionNorm, "input_layernorm"},
                           {Part::kMlpNorm, "post_attention_layernorm"},
                           {Part::kAttentionDropout, "post_attention_dropout"},
                           {Part::kMlpDropout, "post_mlp_dropout"},
                           {Part::kAttention, "attention"},
                           {Part::kMlp, "mlp"}};
  family.attention_children = {{Part::kQueryKeyValue, "query_key_value"}, {Part::kOutput, "dense"}};
  family.mlp_children = {
      {Part::kUp, "dense_h_to_4h"}, {Part::kDown, "dense_4h_to_h"}, {Part::kActivation, "act"}};
  family.wiring = read.Get<bool>("use_parallel_residual", true) ? GptWiring::kParallelTwoNorms
                                                                : GptWiring::kSequential;
  family.vocabulary = read.Size("vocab_size", 50432);
  family.hidden = read.Size("hidden_size", 6144);
  family.layers = read.Layers("num_hidden_layers", 44);
  family.heads = family.kv_heads = read.Size("num_attention_heads", 64);
  SetHeads(read, "hidden_size", family);
  family.inner = read.Size("intermediate_size", 24576);
  family.max_tokens = read.Size("max_position_embeddings", 2048);
  family.norm_eps = read.Get<double>("layer_norm_eps", 1e-5);
  family.dropout = family.embedding_dropout = read.Get<double>("hidden_dropout", 0);
  family.attention_bias = read.Get<bool>("attention_bias", true);
  family.tied_head = read.Get<bool>("tie_word_embeddings", false);
  family.activation = Activation(read, "hidden_act", "gelu");
  family.rotary_type = "GPTNeoXRotaryEmbedding";
  const RopeParameters rope = ReadRope(read, family.max_tokens,
                                       {.theta = read.Get<double>("rotary_emb_base", 10000),
                                        .partial = read.Get<double>("rotary_pct", 0.25),
                                        .own_names = true});
  return MakeRotating(read, rope, Rotary::Layout::kHalves, family, source);
}

absl::StatusOr<Network> MakeGPTJ(const weights::ModelConfig& config, ParameterSource& source) {
  ConfigReader read(config);
  GptFamily family;
  family.causal_lm_type = "GPTJForCausalLM";
  family.model_type = "GPTJModel";
  family.block_type = "GPTJBlock";
  family.attention_type = "GPTJAttention";
  family.mlp_type = "GPTJMLP";
  family.model = "transformer";
  family.decoder_children = {{Part::kEmbedding, "wte"},
                             {Part::kEmbeddingDropout, "drop"},
                             {Part::kBlocks, "h"},
                             {Part::kFinalNorm, "ln_f"},
                             {Part::kRotary, "rotary_emb"}};
  family.block_children = {
      {Part::kAttentionNorm, "ln_1"}, {Part::kAttention, "attn"}, {Part::kMlp, "mlp"}};
  family.attention_children = {{Part::kKey, "k_proj"},
                               {Part::kValue, "v_proj"},
                               {Part::kQuery, "q_proj"},
                               {Part::kOutput, "out_proj"},
                               {Part::kOutputDropout, "resid_dropout"}};
  family.mlp_children = {{Part::kUp, "fc_in"},
                         {Part::kDown, "fc_out"},
                         {Part::kActivation, "act"},
                         {Part::kDownDropout, "dropout"}};
  family.wiring = GptWiring::kParallel;
  family.vocabulary = read.Size("vocab_size", 50400);
  const std::string width = read.NameOf("hidden_size", "n_embd");
  family.hidden = read.Size(width, 4096);
  family.layers = read.Layers(read.NameOf("num_hidden_layers", "n_layer"), 28);
  family.heads = family.kv_heads = read.Size(read.NameOf("num_attention_heads", "n_head"), 16);
  SetHeads(read, width, family);
  family.inner = read.Size("n_inner", 4 * family.hidden);
  family.max_tokens = read.Size(read.NameOf("max_position_embeddings", "n_positions"), 2048);
  family.norm_eps = read.Get<double>("layer_norm_epsilon", 1e-5);
  family.embedding_dropout = read.Get<double>("embd_pdrop", 0);
  family.dropout = read.Get<double>("resid_pdrop", 0);
  family.attention_bias = false;
  family.head_bias = true;
  family.tied_head = read.Get<bool>("tie_word_embeddings", false);
  family.activation = Activation(read, "activation_function", "gelu_new");
  family.rotary_type = "GPTJRotaryEmbedding";
  const int64_t rotated = read.SizeOrNone("rotary_dim", 64);
  if (rotated < 1 || rotated > family.head_dim) {
    read.Refuse("rotary_dim", absl::StrCat("1 to ", family.head_dim,
                                           ", the dimensions of a head, is what is served"));
  }
  RopeParameters rope;
  rope.max_positions = static_cast<double>(family.max_tokens);
  // A little more than the share, which is rounded down.
  rope.partial = (static_cast<double>(rotated) + 0.5) / static_cast<double>(family.head_dim);
  return MakeRotating(read, rope, Rotary::Layout::kInterleaved, family, source);
}

absl::StatusOr<Network> MakeOPT(const weights::ModelConfig& config, ParameterSource& source) {
  ConfigReader read(config);
  GptFamily family;
  family.causal_lm_type = "OPTForCausalLM";
  family.model_type = "OPTModel";
  family.decoder_type = "OPTDecoder";
  family.block_type = "OPTDecoderLayer";
  family.attention_type = "OPTAttention";
  family.positions_type = "OPTLearnedPositionalEmbedding";
  family.model = "model";
  family.decoder = "decoder";
  family.vocabulary = read.Size("vocab_size", 50272);
  family.hidden = read.Size("hidden_size", 768);
  family.layers = read.Layers("num_hidden_layers", 12);
  family.heads = family.kv_heads = read.Size("num_attention_heads", 12);
  SetHeads(read, "hidden_size", family);
  family.embedding_width = read.Size("word_embed_proj_dim", family.hidden);
  family.inner = read.Size("ffn_dim", 3072);
  family.max_tokens = read.Size("max_position_embeddings", 2048);
  family.positions_offset = 2;
  family.scales_queries = true;
  family.attention_bias = family.mlp_bias = read.Get<bool>("enable_bias", true);
  family.tied_head = read.Get<bool>("tie_word_embeddings", true);
  family.activation = Activation(read, "activation_function", "relu");
  read.Only<bool>("layer_norm_elementwise_affine", true);
  const bool norms_first = read.Get<bool>("do_layer_norm_before", true);
  family.wiring = norms_first ? GptWiring::kSequential : GptWiring::kNormsAfter;

  family.decoder_children = {{Part::kEmbedding, "embed_tokens"},
                             {Part::kPositions, "embed_positions"}};
  if (family.embedding_width != family.hidden) {
    family.decoder_children.push_back({Part::kProjectOut, "project_out"});
    family.decoder_children.push_back({Part::kProjectIn, "project_in"});
  }
  if (norms_first && !read.Get<bool>("_remove_final_layer_norm", false)) {
    family.decoder_children.push_back({Part::kFinalNorm, "final_layer_norm"});
  }
  family.decoder_children.push_back({Part::kBlocks, "layers"});
  family.block_children = {{Part::kAttention, "self_attn"},
                           {Part::kActivation, "activation_fn"},
                           {Part::kAttentionNorm, "self_attn_layer_norm"},
                           {Part::kUp, "fc1"},
                           {Part::kDown, "fc2"},
                           {Part::kMlpNorm, "final_layer_norm"}};
  family.attention_children = {{Part::kKey, "k_proj"},
                               {Part::kValue, "v_proj"},
                               {Part::kQuery, "q_proj"},
                               {Part::kOutput, "out_proj"}};
  return Make(read, family, source);
}

absl::StatusOr<Network> MakeFalcon(const weights::ModelConfig& config, ParameterSource& source) {
  ConfigReader read(config);
  GptFamily family;
  family.causal_lm_type = "FalconForCausalLM";
  family.model_type = "FalconModel";
  family.block_type = "FalconDecoderLayer";
  family.attention_type = "FalconAttention";
  family.mlp_type = "FalconMLP";
  family.linear_type = "FalconLinear";
  family.model = "transformer";
  family.block_gives_tuple = true;
  family.decoder_children = {{Part::kEmbedding, "word_embeddings"},
                             {Part::kBlocks, "h"},
                             {Part::kFinalNorm, "ln_f"},
                             {Part::kRotary, "rotary_emb"}};
  family.attention_children = {{Part::kQueryKeyValue, "query_key_value"},
                               {Part::kOutput, "dense"},
                               {Part::kProbsDropout, "attention_dropout"}};
  family.mlp_children = {
      {Part::kUp, "dense_h_to_4h"}, {Part::kActivation, "act"}, {Part::kDown, "dense_4h_to_h"}};
  family.vocabulary = read.Size("vocab_size", 65024);
  const std::string hidden = read.NameOf("n_embed", "hidden_size");
  family.hidden = read.Size(hidden, 4544);
  family.layers = read.Layers("num_hidden_layers", 32);
  family.heads = read.Size("num_attention_heads", 71);
  SetHeads(read, hidden, family);
  family.inner = read.Size("ffn_hidden_size", 4 * family.hidden);
  family.max_tokens = read.Size("max_position_embeddings", 2048);
  family.norm_eps = read.Get<double>("layer_norm_epsilon", 1e-5);
  family.attention_dropout = read.Get<double>("attention_dropout", 0);
  family.attention_bias = family.mlp_bias = read.Get<bool>("bias", false);
  family.tied_head = read.Get<bool>("tie_word_embeddings", true);
  family.activation = Activation(read, "activation", "gelu");
  family.alibi = read.Get<bool>("alibi", false);
  family.rotary_type = "FalconRotaryEmbedding";

  const bool grouped = read.Get<bool>("new_decoder_architecture", false);
  const bool parallel = read.Get<bool>("parallel_attn", true);
  family.kv_heads = read.Size("num_kv_heads", family.heads);
  if (!grouped && read.Get<bool>("multi_query", true)) {
    family.kv_heads = 1;
  } else if (!grouped && family.kv_heads != family.heads) {
    read.Refuse("num_kv_heads",
                "without `new_decoder_architecture` and `multi_query` it is "
                "`num_attention_heads`");
  } else if (read.status().ok() && family.heads % family.kv_heads != 0) {
    read.Invalid("num_kv_heads", "does not divide `num_attention_heads`");
  }
  const int64_t norms = read.Size("num_ln_in_parallel_attn", grouped ? 2 : 1);
  if (grouped && !parallel) read.Refuse("parallel_attn", "false with `new_decoder_architecture`");
  if (norms != 1 && !(norms == 2 && grouped)) {
    read.Refuse("num_ln_in_parallel_attn",
                "1, or 2 with `new_decoder_architecture`, is what there is");
  }
  family.block_children = {{Part::kAttention, "self_attention"}, {Part::kMlp, "mlp"}};
  if (!parallel) {
    family.wiring = GptWiring::kSequential;
    family.block_children.push_back({Part::kMlpNorm, "post_attention_layernorm"});
    family.block_children.push_back({Part::kAttentionNorm, "input_layernorm"});
  } else if (norms == 2) {
    family.wiring = GptWiring::kParallelNormsFirst;
    family.block_children.push_back({Part::kAttentionNorm, "ln_attn"});
    family.block_children.push_back({Part::kMlpNorm, "ln_mlp"});
  } else {
    family.wiring = GptWiring::kParallel;
    family.block_children.push_back({Part::kAttentionNorm, "input_layernorm"});
  }
  if (family.alibi) return Make(read, family, source);
  const RopeParameters rope = ReadRope(read, family.max_tokens, {});
  if (rope.partial != 1) read.Refuse("partial_rotary_factor", "this family turns whole heads");
  return MakeRotating(read, rope, Rotary::Layout::kHalves, family, source);
}

absl::StatusOr<Network> MakePhi(const weights::ModelConfig& config, ParameterSource& source) {
  ConfigReader read(config);
  GptFamily family;
  family.causal_lm_type = "PhiForCausalLM";
  family.model_type = "PhiModel";
  family.block_type = "PhiDecoderLayer";
  family.attention_type = "PhiAttention";
  family.mlp_type = "PhiMLP";
  family.model = "model";
  family.decoder_children = {{Part::kEmbedding, "embed_tokens"},
                             {Part::kBlocks, "layers"},
                             {Part::kRotary, "rotary_emb"},
                             {Part::kEmbeddingDropout, "embed_dropout"},
                             {Part::kFinalNorm, "final_layernorm"}};
  family.block_children = {{Part::kAttention, "self_attn"},
                           {Part::kMlp, "mlp"},
                           {Part::kAttentionNorm, "input_layernorm"},
                           {Part::kBothDropout, "resid_dropout"}};
  family.attention_children = {{Part::kQuery, "q_proj"},
                               {Part::kKey, "k_proj"},
                               {Part::kValue, "v_proj"},
                               {Part::kOutput, "dense"}};
  if (read.Get<bool>("qk_layernorm", false)) {
    family.attention_children.push_back({Part::kQueryNorm, "q_layernorm"});
    family.attention_children.push_back({Part::kKeyNorm, "k_layernorm"});
  }
  family.mlp_children = {
      {Part::kActivation, "activation_fn"}, {Part::kUp, "fc1"}, {Part::kDown, "fc2"}};
  family.wiring = GptWiring::kParallel;
  family.vocabulary = read.Size("vocab_size", 51200);
  family.hidden = read.Size("hidden_size", 2048);
  family.layers = read.Layers("num_hidden_layers", 24);
  family.heads = read.Size("num_attention_heads", 32);
  family.kv_heads = read.Size("num_key_value_heads", family.heads);
  SetHeads(read, "hidden_size", family);
  if (read.status().ok() && family.heads % family.kv_heads != 0) {
    read.Invalid("num_key_value_heads", "does not divide `num_attention_heads`");
  }
  if (read.Has("head_dim")) family.head_dim = read.Size("head_dim", family.head_dim);
  family.inner = read.Size("intermediate_size", 8192);
  family.max_tokens = read.Size("max_position_embeddings", 2048);
  family.norm_eps = read.Get<double>("layer_norm_eps", 1e-5);
  family.embedding_dropout = read.Get<double>("embd_pdrop", 0);
  family.dropout = read.Get<double>("resid_pdrop", 0);
  family.head_bias = true;
  family.tied_head = read.Get<bool>("tie_word_embeddings", false);
  family.activation = Activation(read, "hidden_act", "gelu_new");
  family.rotary_type = "PhiRotaryEmbedding";
  const RopeParameters rope = ReadRope(read, family.max_tokens, {.partial = 0.5});
  return MakeRotating(read, rope, Rotary::Layout::kHalves, family, source);
}

// Old checkpoints hold what is computed now: causal masks, and the frequencies of rotations.

weights::NameRules GPTNeoXNameRules() {
  return {.base_prefix = "gpt_neox.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".attention.bias", ".attention.masked_bias"},
          .renames = {{"^embed_out.", "lm_head."}}};
}

weights::NameRules GPTJNameRules() {
  return {.base_prefix = "transformer.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".attn.bias", ".attn.masked_bias"}};
}

weights::NameRules OPTNameRules() {
  return {.base_prefix = "model.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".decoder.version"}};
}

weights::NameRules FalconNameRules() {
  return {.base_prefix = "transformer.", .outside_base = {"lm_head."}};
}

weights::NameRules PhiNameRules() {
  return {.base_prefix = "model.", .outside_base = {"lm_head."}};
}

}  // namespace weft::models
