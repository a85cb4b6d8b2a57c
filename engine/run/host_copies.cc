#include "engine/run/host_copies.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/plan/planner.h"

namespace weft::run {
namespace {

using plan::MapTensors;

/// Up to here starting a copy takes longer than the copy.
constexpr size_t kSmallBytes = 64 << 10;
/// And what it is a part of may be so large, to be kept until then.
constexpr size_t kHeldBytes = 1 << 20;

bool GoesTogether(const at::Tensor& tensor) {
  return !tensor.is_cpu() && tensor.nbytes() <= kSmallBytes;
}

/// What can be copied together.
using Kind = std::tuple<at::DeviceType, at::DeviceIndex, at::ScalarType>;
Kind KindOf(const at::Tensor& tensor) {
  return {tensor.device().type(), tensor.device().index(), tensor.scalar_type()};
}

}  // namespace

at::Tensor Compact(const at::Tensor& tensor) {
  if (tensor.requires_grad()) return Compact(tensor.detach());
  if (tensor.device().is_cpu() && tensor.is_contiguous() &&
      tensor.storage().nbytes() == tensor.nbytes()) {
    return tensor;
  }
  const bool device = !tensor.device().is_cpu();
  at::Tensor out =
      at::empty(tensor.sizes(),
                at::TensorOptions(at::kCPU).dtype(tensor.scalar_type()).pinned_memory(device));
  out.copy_(tensor, /*non_blocking=*/device);
  return out;
}

c10::IValue HostCopies::Begin(const c10::IValue& value) {
  return MapTensors(value, [this](const at::Tensor& tensor) {
    if (!tensor.is_cpu()) devices_.insert(tensor.device());
    if (!GoesTogether(tensor)) return Compact(tensor);
    const at::Tensor kept = tensor.requires_grad() ? tensor.detach() : tensor;
    return tensor.storage().nbytes() <= kHeldBytes ? kept : kept.clone();
  });
}

void HostCopies::Finish(absl::Span<c10::IValue* const> values) {
  if (devices_.empty()) return;
  std::map<Kind, std::vector<at::Tensor>> together;
  for (const c10::IValue* value : values) {
    MapTensors(*value, [&](const at::Tensor& tensor) {
      if (GoesTogether(tensor)) {
        together[KindOf(tensor)].push_back(tensor.reshape(-1));
      }
      return tensor;
    });
  }
  struct Brought {
    at::Tensor all;
    size_t taken = 0;  // of its bytes
  };
  std::map<Kind, Brought> brought;
  for (const auto& [kind, tensors] : together) {
    brought[kind].all = Compact(tensors.size() == 1 ? tensors[0] : at::cat(tensors));
  }
  for (const at::Device device : std::exchange(devices_, {})) {
    c10::impl::VirtualGuardImpl(device.type()).getStream(device).synchronize();
  }
  for (c10::IValue* value : values) {
    *value = MapTensors(*value, [&](const at::Tensor& tensor) {
      if (!GoesTogether(tensor)) return tensor;
      auto& [all, taken] = brought.at(KindOf(tensor));
      at::Tensor own = at::empty(tensor.sizes(), all.options().pinned_memory(false));
      if (own.nbytes() > 0) {
        std::memcpy(own.mutable_data_ptr(), static_cast<const char*>(all.const_data_ptr()) + taken,
                    own.nbytes());
      }
      taken += own.nbytes();
      return own;
    });
  }
}

}  // namespace weft::run
