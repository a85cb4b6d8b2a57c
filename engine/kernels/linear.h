#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace weft::kernels {

/// What a product's rows are: each the only one of its text, or several of one.
enum class Rows : uint8_t { kOfSteps, kOfPrompts };

/// `x W^T + b`, as at::linear: `x` is `[..., in]`, `weight` `[out, in]`, `bias` `[out]` or
/// undefined.
///
/// On a CPU with AVX2, where nobody wants gradients, each number is the sum of its products in an
/// order of its own, whatever other rows there are: **a row has the same bits alone and in
/// company**. It reads the weights about as fast as memory gives them, so that a few rows cost
/// little more than one, which is what decoding needs. Numbers of float16 and bfloat16 are summed
/// in float32. Everywhere else it is at::linear.
///
/// `kind`: where a processor multiplies tiles of bfloat16 (AMX), more than 8 rows of prompts are
/// at::linear's, which is faster there; of steps, whose rows are different users', more than 16.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  Rows kind = Rows::kOfSteps);

}  // namespace weft::kernels
