#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <unordered_set>

#include "absl/types/span.h"

namespace weft::run {

/// A tensor that a client may keep: on the host, dense, of no more memory than it shows, and
/// without a graph. From a device it comes while that goes on: see HostCopies.
at::Tensor Compact(const at::Tensor& tensor);

/// What a run saves, on its way from devices to pinned memory of the host. A large tensor goes at
/// once, while the pass goes on; small ones go together, as starting a copy takes longer than they.
class HostCopies {
 public:
  /// Begin to copy the tensors of a saved value, which must not change from here on.
  c10::IValue Begin(const c10::IValue& value);
  /// Whether something is still on its way.
  bool empty() const { return devices_.empty(); }
  /// Bring the rest of what Begin gave, and wait for all of it.
  void Finish(absl::Span<c10::IValue* const> values);

 private:
  std::unordered_set<at::Device> devices_;  // that copies come from
};

}  // namespace weft::run
