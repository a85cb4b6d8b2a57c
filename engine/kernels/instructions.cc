#include "engine/kernels/instructions.h"

namespace weft::kernels {

const Instructions* FindInstructions() {
#if defined(__x86_64__)
  static const Instructions* const kFound = []() -> const Instructions* {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c")) {
      return nullptr;
    }
    return __builtin_cpu_supports("avx512f") ? &kAvx512 : &kAvx2;
  }();
  return kFound;
#else
  return nullptr;
#endif
}

}  // namespace weft::kernels
