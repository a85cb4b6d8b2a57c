#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/network.h"
#include "engine/models/rotary.h"

namespace weft::models {

/// What a child of a GPT-like decoder's module does there, whatever its family calls it.
enum class GptPart : uint8_t {
  // Of the decoder.
  kEmbedding,
  kPositions,  // learned, added to the embedding
  kProjectIn,  // from the embedding's width to that of the blocks
  kProjectOut,
  kEmbeddingDropout,
  kRotary,  // in the tree, and never called: see RotaryEmbeddingImpl
  kBlocks,
  kFinalNorm,
  // Of a block.
  kAttentionNorm,
  kMlpNorm,
  kAttention,
  kMlp,
  kAttentionDropout,  // of what attention gives
  kMlpDropout,        // of what the MLP gives
  kBothDropout,       // one module for both
  // Of an attention.
  kQuery,
  kKey,
  kValue,
  kQueryKeyValue,  // all three, see GptFamily::kv_heads
  kQueryNorm,
  kKeyNorm,
  kProbsDropout,  // which is in the tree and never called
  kOutput,
  kOutputDropout,
  // Of an MLP, or, where the family has no such module, of the block.
  kUp,
  kActivation,
  kDown,
  kDownDropout,
};

struct GptChild {
  GptPart part;
  std::string name;
};

/// How a block puts attention and MLP together; `n1` and `n2` are kAttentionNorm and kMlpNorm.
enum class GptWiring : uint8_t {
  kSequential,          // x += attention(n1(x)); x += mlp(n2(x))
  kNormsAfter,          // x = n1(x + attention(x)); x = n2(x + mlp(x))
  kParallel,            // n = n1(x); x += attention(n) + mlp(n)
  kParallelTwoNorms,    // x += attention(n1(x)) + mlp(n2(x))
  kParallelNormsFirst,  // the same, both norms called before the attention
};

/// A decoder of GPT's kind, as its family's config.json describes it: layer norms, an MLP of two
/// linear layers, and names and wiring of its own.
struct GptFamily {
  // Classes in transformers.
  std::string causal_lm_type, model_type, block_type, attention_type;
  std::string mlp_type;  // empty: the block has the MLP's parts itself
  std::string positions_type, rotary_type;
  std::string linear_type = "Linear";
  std::string model;  // the root's child beside `lm_head`
  /// The decoder inside `model`, where it is not `model` itself, which then is never called.
  std::string decoder, decoder_type;
  /// Children in the order of transformers' tree.
  std::vector<GptChild> decoder_children, block_children, attention_children, mlp_children;
  GptWiring wiring = GptWiring::kSequential;
  bool block_gives_tuple = false;  // `(hidden, None)`
  /// Where heads get their positions from, unless they are learned.
  std::shared_ptr<const Rotary> rotary;
  bool alibi = false;
  bool scales_queries = false;  // themselves, rather than their products with keys

  int64_t vocabulary = 0, hidden = 0, layers = 0, heads = 0;
  /// kQueryKeyValue has, for each of them, its share of the queries, then its key, then its value.
  int64_t kv_heads = 0;
  int64_t head_dim = 0, inner = 0, max_tokens = 0;
  int64_t embedding_width = 0;   // `hidden`, unless there are kProjectIn and kProjectOut
  int64_t positions_offset = 0;  // rows of kPositions before that of position 0
  double norm_eps = 1e-5;
  double embedding_dropout = 0, attention_dropout = 0, dropout = 0;
  bool attention_bias = true, mlp_bias = true, head_bias = false, tied_head = false;
  std::string activation;
};

/// Make the network of a family. Names of weights are those of its modules.
absl::StatusOr<Network> MakeGpt(const GptFamily& family, ParameterSource& source);

}  // namespace weft::models
