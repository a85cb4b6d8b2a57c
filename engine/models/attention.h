#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engine/run/pass.h"

namespace weft::models {

/// One attention of a network, of whatever family.
struct AttentionOptions {
  int layer = 0;         // counted from 0 over all attentions: its place in the KV cache
  int64_t heads = 1;     // of q
  int64_t kv_heads = 1;  // of k and v, which `heads / kv_heads` heads of q share
  double scale = 1;      // of the products of q and k
  /// A token sees those before it. Without, as in encoders, every real token of its prompt.
  bool causal = true;
  /// With `causal`: a token sees itself and the `window - 1` real tokens before it. 0 for all.
  int64_t window = 0;
  /// Scores become `softcap * tanh(scores / softcap)`. 0 for none.
  double softcap = 0;
  /// `[heads]`, or undefined: ALiBi, which adds to the scores of a head its slope, times the
  /// position of the key (in the slopes' dtype, as transformers does), times `slope_scale`.
  at::Tensor slopes;
  double slope_scale = 1;
};

/// Attention over packed rows: each segment sees its own rows alone, and of a generation those
/// before them, pads never. The one place where rows of a pass meet, and so the one that knows
/// segments. `q`, `k` and `v` are `[1, rows, heads * head_dim]`, or, where a family had to look at
/// heads before (rotary embeddings, norms), `[1, rows, heads, head_dim]`; the result is
/// `[1, rows, heads * head_dim]`.
///
/// Its points `q k v scores probs z` are those of the module that calls it, as transformers' eager
/// attention meets them: k and v have their own heads, scores are scaled, capped and masked. The
/// attention of a segment whose program asks for scores or probs is computed step by step, and so
/// is one with a `softcap`; all others by one fused operator.
at::Tensor Attend(run::Pass& pass, const AttentionOptions& options, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& v);

}  // namespace weft::models
