#include "engine/kernels/norm.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "engine/kernels/gpu.h"
#include "engine/kernels/stored.h"

namespace weft::kernels {

bool CanNorm(const at::Tensor& x, const at::Tensor& weight) {
  if (weight.dim() == 0 || weight.dim() > x.dim() ||
      weight.sizes() != x.sizes().slice(x.dim() - weight.dim())) {
    return false;
  }
  if (gpu::Takes(x)) return true;
  return IsPlain(x) && StoredAs(x) && x.numel() > 0 && IsPlain(weight) && weight.is_contiguous() &&
         weight.scalar_type() == x.scalar_type() && FindInstructions() != nullptr &&
         !OperatorsAreWanted();
}

at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, double eps, NormKind kind,
                bool centred) {
  if (x.is_cuda()) return gpu::Norm(x, weight, eps, kind, centred);
  const at::Tensor from = x.contiguous();
  at::Tensor y = at::empty_like(from, at::MemoryFormat::Contiguous);
  const int64_t width = x.size(-1);
  const Norms norms{.x = from.const_data_ptr(),
                    .weight = weight.const_data_ptr(),
                    .stored = *StoredAs(x),
                    .width = width,
                    .weight_rows = weight.numel() / width,
                    .eps = static_cast<float>(eps),
                    .kind = kind,
                    .centred = centred,
                    .y = y.mutable_data_ptr()};
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / width);
  at::parallel_for(0, x.numel() / width, grain, [&norms](int64_t begin, int64_t end) {
    FindInstructions()->norm(norms, begin, end);
  });
  return y;
}

}  // namespace weft::kernels
