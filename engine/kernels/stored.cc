#include "engine/kernels/stored.h"

#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace weft::kernels {

std::optional<Stored> StoredAs(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Stored::kFloat32;
    case at::kBFloat16:
      return Stored::kBFloat16;
    case at::kHalf:
      return Stored::kFloat16;
    default:
      return std::nullopt;
  }
}

bool OperatorsAreWanted() {
  const c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
  const c10::DispatchKey met = c10::DispatchKey::TESTING_ONLY_GenericMode;
  return at::GradMode::is_enabled() || (keys.included_ - keys.excluded_).has(met);
}

bool IsPlain(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.layout() == at::kStrided;
}

}  // namespace weft::kernels
