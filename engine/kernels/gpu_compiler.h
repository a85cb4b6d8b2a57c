#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

namespace weft::kernels::gpu {

/// The kernels of gpu_kernels.cu for one GPU and one kind of numbers.
struct Functions {
  void *look, *norm, *turn, *turn_in_float;
};

/// For heads of at most `32 * per` numbers; `per` is 2, 4 or 8. Compiled at the first call, which
/// takes half a second. nullptr where that is not possible, once and for all. Thread-safe.
const Functions* FindFunctions(at::Device device, at::ScalarType type, int per);

/// Start `function` on the stream that is `device`'s on this thread.
void Launch(void* function, at::Device device, std::array<int64_t, 2> blocks, int64_t threads,
            void** arguments);

}  // namespace weft::kernels::gpu
