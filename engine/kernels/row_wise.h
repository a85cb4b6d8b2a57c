#pragma once

#include <ATen/ATen.h>

namespace weft::kernels {

/// `function(x)`, where `function` makes one number of each, such as at::silu. `x` is
/// `[..., width]`.
///
/// ATen's exp, tanh and others round differently where numbers fill no vector, and which those are
/// depends on how many rows there are and on the threads that share them. Here, on a CPU and where
/// nobody wants gradients, no vector holds numbers of two rows or is left half full: **a row has
/// the same bits alone and in company**. Everywhere else it is `function` itself.
at::Tensor RowWise(at::Tensor (*function)(const at::Tensor&), const at::Tensor& x);

}  // namespace weft::kernels
