#pragma once

#include <ATen/ATen.h>

namespace weft::kernels {

/// `x W^T + b`, as at::linear: `x` is `[..., in]`, `weight` `[out, in]`, `bias` `[out]` or
/// undefined.
///
/// On a CPU with AVX2, where nobody wants gradients, each number is the sum of its products in an
/// order of its own, whatever other rows there are: **a row has the same bits alone and in
/// company**. It reads the weights about as fast as memory gives them, so that a few rows cost
/// little more than one, which is what decoding needs. Numbers of float16 and bfloat16 are summed
/// in float32. Everywhere else it is at::linear.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace weft::kernels
