#include "engine/devices/threads.h"

#include <dlfcn.h>

namespace weft::devices {

void GiveThreadsBack() {
  // LibTorch's own OpenMP is to be asked, which may be another than a compiler would link.
  using Pause = int (*)(int kind);
  static const auto kPause = reinterpret_cast<Pause>(dlsym(RTLD_DEFAULT, "omp_pause_resource_all"));
  constexpr int kSoft = 1;
  if (kPause != nullptr) kPause(kSoft);
}

}  // namespace weft::devices
