#include "engine/kernels/turn.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "engine/kernels/gpu.h"
#include "engine/kernels/instructions.h"
#include "engine/kernels/stored.h"

namespace weft::kernels {
namespace {

bool FitsTable(const at::Tensor& x, const at::Tensor& table) {
  return table.is_contiguous() && table.dim() == 4 && table.size(0) == 1 &&
         table.size(1) == x.size(1) && table.size(2) == 1 && table.size(3) <= x.size(3) &&
         table.size(3) % 2 == 0 &&
         (table.scalar_type() == x.scalar_type() || table.scalar_type() == at::kFloat);
}

}  // namespace

bool CanTurn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (x.dim() != 4 || x.size(0) != 1 || x.stride(3) != 1) return false;
  if (!FitsTable(x, cos) || !FitsTable(x, sin) || cos.sizes() != sin.sizes() ||
      cos.scalar_type() != sin.scalar_type()) {
    return false;
  }
  if (gpu::Takes(x)) return true;
  return IsPlain(x) && IsPlain(cos) && IsPlain(sin) && StoredAs(x) && x.numel() > 0 &&
         FindInstructions() != nullptr && !OperatorsAreWanted();
}

at::Tensor Turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                bool neighbours) {
  if (x.is_cuda()) return gpu::Turn(x, cos, sin, neighbours);
  at::Tensor y = at::empty_like(x, at::MemoryFormat::Contiguous);
  const Turns turns{.x = x.const_data_ptr(),
                    .stored = *StoredAs(x),
                    .row_stride = x.stride(1),
                    .head_stride = x.stride(2),
                    .heads = x.size(2),
                    .head_dim = x.size(3),
                    .cos = cos.const_data_ptr(),
                    .sin = sin.const_data_ptr(),
                    .table = *StoredAs(cos),
                    .turned = cos.size(3),
                    .neighbours = neighbours,
                    .y = y.mutable_data_ptr()};
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / (x.size(2) * x.size(3)));
  at::parallel_for(0, x.size(1), grain, [&turns](int64_t begin, int64_t end) {
    FindInstructions()->turn(turns, begin, end);
  });
  return y;
}

}  // namespace weft::kernels
