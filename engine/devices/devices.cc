#include "engine/devices/devices.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <dlfcn.h>

#include <filesystem>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::devices {
namespace {

/// Why there are no GPUs; empty where there may be some.
std::string& Trouble() {
  static std::string trouble;
  return trouble;
}

/// The folder of LibTorch's libraries.
std::filesystem::path LibraryFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&at::globalContext), &info) == 0) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

std::string Load() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    return "this machine has no driver for NVIDIA GPUs (libcuda.so.1)";
  }
  const std::filesystem::path library = LibraryFolder() / "libtorch_cuda.so";
  if (!std::filesystem::exists(library)) {
    return absl::StrCat("LibTorch's library for NVIDIA GPUs is not there: ", library.string(),
                        "; `./run cuda` fetches it");
  }
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* const error = dlerror();
    return absl::StrCat("LibTorch's library for NVIDIA GPUs cannot be loaded: ",
                        error == nullptr ? "" : error);
  }
  return "";
}

}  // namespace

void LoadAccelerators() {
  static std::once_flag once;
  std::call_once(once, [] { Trouble() = Load(); });
}

std::vector<Accelerator> ListAccelerators() {
  std::vector<Accelerator> accelerators;
  try {
    const std::optional<c10::DeviceType> type = at::accelerator::getAccelerator();
    if (!type) return {};
    const c10::DeviceIndex count = at::accelerator::deviceCount();
    for (c10::DeviceIndex i = 0; i < count; ++i) {
      Accelerator& added = accelerators.emplace_back(Accelerator{c10::Device(*type, i)});
      try {
        added.free_bytes = at::accelerator::getMemoryInfo(i).first;
      } catch (const std::exception&) {
        // Not every kind says.
      }
    }
  } catch (const c10::Error&) {
    // There are none that work.
  }
  return accelerators;
}

absl::StatusOr<c10::Device> ParseDevice(const std::string& text) {
  LoadAccelerators();
  std::optional<c10::Device> device;
  try {
    device = c10::Device(text);
  } catch (const c10::Error&) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no device, such as cpu, cuda or cuda:1"));
  }
  if (device->is_cpu()) return c10::Device(c10::kCPU);
  if (!device->has_index()) device->set_index(0);
  std::vector<std::string> there;
  for (const Accelerator& accelerator : ListAccelerators()) {
    if (accelerator.device == *device) return *device;
    there.push_back(accelerator.device.str());
  }
  if (!there.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("this machine has no device ", device->str(),
                                                      "; it has ", absl::StrJoin(there, ", ")));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("there is no device ", device->str(), Trouble().empty() ? "" : ": ", Trouble()));
}

}  // namespace weft::devices
