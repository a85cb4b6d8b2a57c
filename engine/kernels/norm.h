#pragma once

#include <ATen/ATen.h>

#include "engine/kernels/instructions.h"

namespace weft::kernels {

/// Whether a kernel norms `x` by `weight`, whose dimensions are x's last: on a CPU with AVX2, their
/// numbers of one kind, or on an NVIDIA GPU; and where nobody wants gradients or meets operators
/// one by one. Otherwise there have to be operators.
bool CanNorm(const at::Tensor& x, const at::Tensor& weight);

/// `x` over the root of its mean square along the last dimension, times `weight`; computed in
/// float32, and of x's dtype. `centred`: without its mean. **A row has the same bits alone and in
/// company.** Where CanNorm.
at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, double eps, NormKind kind,
                bool centred);

}  // namespace weft::kernels
