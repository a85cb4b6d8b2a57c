#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace weft::run {

class Pass;

/// What an adapter adds to what a linear module makes of `x`: `scale * (x A^T) B^T`.
struct LowRank {
  at::Tensor a;  // [rank, in]; undefined where nothing is added
  at::Tensor b;  // [out, rank]
  double scale = 1;
};

/// A LoRA adapter of one model. Const once made.
struct Adapter {
  std::vector<LowRank> changes;  // by module of the model's spec
};

/// `y`, which the linear module `module` made of `x`, packed rows both, with what the adapters of
/// the pass's segments add to their own rows. Those of others stay as they are, to the bit.
at::Tensor Adapt(const Pass& pass, int module, const at::Tensor& x, at::Tensor y);

}  // namespace weft::run
