#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/blocks.h"
#include "engine/models/rotary.h"
#include "engine/weights/model_config.h"

namespace weft::models {

/// What a decoder in the shape of Llama is: all that its families differ in.
struct LlamaConfig {
  std::string prefix;  // of its classes in transformers: "Llama"

  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_tokens = 0;
  bool tied = false;

  /// Where a layer has its norms, and how its residual goes.
  enum class Block : uint8_t {
    kPreNorm,   // Llama: input_layernorm, post_attention_layernorm in front of the MLP
    kSandwich,  // Gemma 2: also behind attention and MLP
    kPostNorm,  // OLMo 2: behind them alone
    kParallel,  // Cohere: attention and MLP of the same normed input
  };
  Block block = Block::kPreNorm;
  enum class Norm : uint8_t { kRms, kRmsFloat, kRmsPlus1, kCentred, kLayerNorm };
  Norm norm = Norm::kRms;
  double eps = 1e-6;

  /// What is done to queries and keys before they are turned.
  enum class QKNorm : uint8_t {
    kNone,
    kHeads,         // over a head's dimensions, q_norm right behind q_proj: Qwen 3
    kHeadsAfter,    // the same, but once v_proj is called too: Gemma 3
    kRows,          // over all heads at once: OLMo 2
    kHeadsApart,    // weights by head, in float32: Cohere
    kHeadsModules,  // a LayerNorm for each head: StableLM
  };
  QKNorm qk_norm = QKNorm::kNone;
  bool fused = false;  // qkv_proj and gate_up_proj: Phi-3
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  std::string act;

  int64_t experts = 0;  // 0: there are none
  int64_t experts_per_token = 0, expert_size = 0;
  std::vector<bool> sparse;    // by layer: whether its MLP is of experts
  bool normed_probs = true;    // those of a token's experts add up to 1
  bool probs_in_float = true;  // or in the model's dtype
  bool gate_first = true;      // in the tree

  double scale = 1;                                   // of attention
  double softcap = 0;                                 // of attention
  std::vector<int64_t> windows;                       // by layer; 0 for none
  std::vector<std::shared_ptr<const Rotary>> rotary;  // by layer

  /// Dropouts in a layer: after attention and MLP, with their names; empty for none.
  std::string attention_dropout, mlp_dropout;
  double dropout = 0;

  double embed_scale = 0;  // 0: embeddings are taken as they are
  double logit_scale = 1;
  double logit_softcap = 0;
};

/// Read a configuration of any of these families, by its `model_type`. What would change the
/// computation and is not served is an error that names the field.
absl::StatusOr<LlamaConfig> ReadLlamaConfig(const weights::ModelConfig& config);

}  // namespace weft::models
