#pragma once

namespace weft::testing {

/// Let this process have `count` accelerators, `fake:0` to `fake:<count - 1>`, as LibTorch's
/// PrivateUse1 devices: code that places layers on CUDA devices can be tested where there are none.
///
/// A tensor on a fake device is computed by the kernels that the CPU has for it, over memory of the
/// host. What CUDA would refuse is refused: operators that meet tensors of two devices, operators
/// of another library than aten, generators of the CPU, reading its memory on the host (the address
/// of a fake tensor's data is not one of the host's: reading it ends the process). Operators have
/// run when they return, also where CUDA would still be at work.
///
/// Call it before anything else, and before the first backward pass in particular: autograd starts
/// its threads, one per device, only once. Calling it again does nothing; another count is a
/// c10::Error. Thread-safe.
void RegisterFakeDevices(int count);

}  // namespace weft::testing
