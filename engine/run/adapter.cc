#include "engine/run/adapter.h"

#include <utility>

#include "engine/kernels/linear.h"
#include "engine/run/op_tap.h"
#include "engine/run/pass.h"

namespace weft::run {
namespace {

/// As peft does: in the adapter's own dtype, which is wider than that of a half-precision model.
at::Tensor Changed(const LowRank& change, const at::Tensor& x, const at::Tensor& y) {
  const at::Tensor down = kernels::Linear(x.to(change.a.scalar_type()), change.a, {});
  const at::Tensor added = at::mul(kernels::Linear(down, change.b, {}), change.scale);
  return at::add(y, added).to(y.scalar_type());
}

}  // namespace

at::Tensor Adapt(const Pass& pass, int module, const at::Tensor& x, at::Tensor y) {
  // None of the module's own operators.
  const OpTap::Pause pause;
  if (const Adapter* all = pass.adapter_of_all()) {
    const LowRank& change = all->changes[module];
    return change.a.defined() ? Changed(change, x, y) : y;
  }
  const absl::Span<Segment* const> segments = pass.present();
  TORCH_CHECK(!segments.empty() && segments.back()->start + segments.back()->rows() == y.size(1),
              "a linear module has other rows than the pass, so no adapter can be on it");
  std::vector<at::Tensor> parts;
  bool changed = false;
  for (size_t i = 0; i < segments.size();) {
    // Neighbours with the same adapter at once.
    const Adapter* adapter = segments[i]->adapter;
    const int64_t row = segments[i]->start;
    int64_t rows = 0;
    for (; i < segments.size() && segments[i]->adapter == adapter; ++i) rows += segments[i]->rows();
    const at::Tensor part = y.narrow(1, row, rows);
    const LowRank* change = adapter == nullptr ? nullptr : &adapter->changes[module];
    if (change != nullptr && change->a.defined()) {
      parts.push_back(Changed(*change, x.narrow(1, row, rows), part));
      changed = true;
    } else {
      parts.push_back(part);
    }
  }
  if (!changed) return y;
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

}  // namespace weft::run
