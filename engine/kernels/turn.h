#pragma once

#include <ATen/ATen.h>

namespace weft::kernels {

/// Whether a kernel turns the heads `x`, `[1, rows, heads, head_dim]`, by `cos` and `sin`, `[1,
/// rows, 1, dim]`, in x's dtype or in float32: where CanNorm would have it.
bool CanTurn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

/// Rotary embedding: pairs of numbers of each head turned by angles whose cosines and sines are
/// given, each step rounded to their dtype. `neighbours`: dimension 0 turns with 1, and so on; else
/// with `dim / 2`. What is behind `dim` stays. Where CanTurn.
at::Tensor Turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool neighbours);

}  // namespace weft::kernels
