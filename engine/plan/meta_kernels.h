#pragma once

namespace weft::plan {

/// Give torch the Meta kernels that it only has together with Python, for the operators of the
/// table. Where torch has a kernel, torch's stays. Idempotent and thread-safe.
void RegisterMetaKernels();

}  // namespace weft::plan
