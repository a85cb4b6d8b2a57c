#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engine/run/pass.h"

namespace weft::models {

/// Causal attention over packed rows `[1, rows, heads * head_dim]`: each segment sees its own rows
/// alone, and of a generation those before them, pads never. The one place where rows of a pass
/// meet, and so the one that knows segments. `layer` counts attentions from 0.
///
/// Its points `q k v scores probs z` are those of the module that calls it. The attention of a
/// segment whose program asks for scores or probs is computed step by step, as transformers' eager
/// attention does, and that of all others by one fused operator.
at::Tensor AttendCausally(run::Pass& pass, int layer, const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, int64_t heads, double scale);

}  // namespace weft::models
