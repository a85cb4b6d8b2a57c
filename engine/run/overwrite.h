#pragma once

#include <ATen/ATen.h>

namespace weft::run {

/// Write all of `place`, no view where it has a gradient: no loss depends any more on what was
/// there.
inline void Overwrite(const at::Tensor& place, const at::Tensor& value) {
  if (place.requires_grad()) place.detach_();
  place.copy_(value);
}

}  // namespace weft::run
