#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "absl/types/span.h"
#include "engine/kernels/attention.h"
#include "engine/kernels/instructions.h"

namespace weft::kernels::gpu {

// What on a GPU would be many small operators, each of which takes longer to start than to run: a
// kernel each, compiled for the GPU at hand at first use (gpu_kernels.cu), by the compiler that
// comes with LibTorch's CUDA libraries. A row has the same bits alone and in company.

/// Whether there are kernels for `x`: on an NVIDIA GPU, where nobody wants gradients or meets
/// operators one by one, in float32, float16 or bfloat16, its last dimension dense.
bool Takes(const at::Tensor& x);

/// Whether Attend takes `q` where `new_k` and `new_v`, `[B, kv_heads, 1, head_dim]`, are the last
/// of `keys` keys, and puts them into the cache.
bool CanPut(const at::Tensor& q, const at::Tensor& new_k, const at::Tensor& new_v, int64_t keys);

/// As kernels::CanAttend and kernels::Attend.
bool CanAttend(const NewToken& token);
at::Tensor Attend(absl::Span<const NewToken> tokens, double scale);

/// As kernels::Norm.
at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, double eps, NormKind kind,
                bool centred);

/// As kernels::Turn.
at::Tensor Turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool neighbours);

}  // namespace weft::kernels::gpu
