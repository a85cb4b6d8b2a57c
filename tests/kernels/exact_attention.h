#pragma once

#include <limits>

#include "engine/kernels/attention.h"

namespace weft::kernels {

/// In double precision, step by step.
inline at::Tensor Exact(const NewToken& token, double scale) {
  const int64_t shared = token.q.size(1) / token.k.size(1);
  const at::Tensor q = token.q.to(at::kDouble);
  const at::Tensor k = token.k.to(at::kDouble).repeat_interleave(shared, 1);
  const at::Tensor v = token.v.to(at::kDouble).repeat_interleave(shared, 1);
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * scale;
  if (token.seen.defined()) {
    scores = scores.masked_fill(token.seen.logical_not().unsqueeze(1).unsqueeze(1),
                                -std::numeric_limits<double>::infinity());
  }
  return at::matmul(scores.softmax(-1), v).reshape({1, token.q.size(0), -1});
}

}  // namespace weft::kernels
