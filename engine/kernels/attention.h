#pragma once

#include <ATen/ATen.h>

#include "absl/types/span.h"

namespace weft::kernels {

/// One new token of each row of a batch, and the keys that it may look at.
struct NewToken {
  at::Tensor q;     // [B, heads, 1, head_dim]
  at::Tensor k, v;  // [B, kv_heads, keys, head_dim], kv_heads divides heads; as a KV cache has them
  at::Tensor seen;  // [B or 1, keys] bool, true at one key at least; undefined: all
  /// On a GPU: what the last key and value are, `[B, kv_heads, 1, head_dim]`, which Attend is to
  /// put into `k` and `v`. Undefined: they are there.
  at::Tensor new_k = {}, new_v = {};
};

/// Whether Attend takes it: on a CPU with AVX2 or an NVIDIA GPU, where nobody wants gradients, with
/// keys that lie one behind the other.
bool CanAttend(const NewToken& token);

/// `softmax(scale * q k^T) v` of each as at::scaled_dot_product_attention, in one parallel loop
/// over rows and heads of all of them; `[1, all rows, heads * head_dim]`. Needs CanAttend and one
/// dtype, `heads` and `head_dim`. Sums are in float32, and a row has the same bits alone and in
/// company.
at::Tensor Attend(absl::Span<const NewToken> tokens, double scale);

}  // namespace weft::kernels
