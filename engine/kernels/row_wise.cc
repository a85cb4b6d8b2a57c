#include "engine/kernels/row_wise.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "engine/kernels/stored.h"

namespace weft::kernels {
namespace {

constexpr int64_t kFull = 64;  // numbers of any kind that ATen looks at in one go, or a multiple
constexpr int64_t kShared = at::internal::GRAIN_SIZE;  // fewer numbers stay on one thread

}  // namespace

at::Tensor RowWise(at::Tensor (*function)(const at::Tensor&), const at::Tensor& x) {
  if (!IsPlain(x) || OperatorsAreWanted() || x.dim() == 0 || x.numel() == 0) return function(x);
  const int64_t width = x.size(-1), rows = x.numel() / width;
  const int64_t missing = (kFull - width % kFull) % kFull;
  const bool shared = x.numel() >= kShared && at::get_num_threads() > 1;
  if (missing == 0 && !shared) return function(x.contiguous());
  at::Tensor full = x.reshape({rows, width});
  if (missing > 0) full = at::constant_pad_nd(full, {0, missing});
  at::Tensor y;
  if (shared) {
    y = at::empty_like(full, at::MemoryFormat::Contiguous);
    at::parallel_for(0, rows, std::max<int64_t>(1, kShared / full.size(1)),
                     [&](int64_t begin, int64_t end) {
                       // Of its thread.
                       const c10::InferenceMode inference(y.is_inference());
                       y.narrow(0, begin, end - begin)
                           .copy_(function(full.narrow(0, begin, end - begin).contiguous()));
                     });
  } else {
    y = function(full);
  }
  if (missing > 0) y = y.narrow(1, 0, width).contiguous();
  return y.view(x.sizes());
}

}  // namespace weft::kernels
