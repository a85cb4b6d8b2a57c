#include "engine/kernels/gpu_compiler.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace weft::kernels::gpu {
namespace {

constexpr char kSource[] =
#include "engine/kernels/gpu_kernels.cu"
    ;

// The driver and the compiler are reached by name: the same program runs where there is neither.
// Their handles are pointers, their results 0 where all is well.

constexpr int kNoContext = 201;
constexpr int kMajor = 75, kMinor = 76;  // attributes: of which generation a GPU is

struct Driver {
  int (*get_device)(int* device, int ordinal) = nullptr;
  int (*get_attribute)(int* value, int attribute, int device) = nullptr;
  int (*load)(void** module, const void* image) = nullptr;
  int (*get_function)(void** function, void* module, const char* name) = nullptr;
  int (*launch)(void* function, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,
                unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared,
                void* stream, void** arguments, void** extra) = nullptr;
};

struct Compiler {
  int (*create)(void** program, const char* source, const char* name, int headers,
                const char* const* header_sources, const char* const* header_names) = nullptr;
  int (*compile)(void* program, int options, const char* const* option) = nullptr;
  int (*binary_size)(void* program, size_t* bytes) = nullptr;
  int (*binary)(void* program, char* bytes) = nullptr;
  int (*destroy)(void** program) = nullptr;
};

template <typename Function>
bool Bind(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

/// nullptr where there is none.
const Driver* FindDriver() {
  static const std::unique_ptr<const Driver> kDriver = []() -> std::unique_ptr<const Driver> {
    void* const library = dlopen("libcuda.so.1", RTLD_LAZY);
    if (library == nullptr) return nullptr;
    auto driver = std::make_unique<Driver>();
    const bool all = Bind(library, "cuDeviceGet", &driver->get_device) &&
                     Bind(library, "cuDeviceGetAttribute", &driver->get_attribute) &&
                     Bind(library, "cuModuleLoadData", &driver->load) &&
                     Bind(library, "cuModuleGetFunction", &driver->get_function) &&
                     Bind(library, "cuLaunchKernel", &driver->launch);
    return all ? std::move(driver) : nullptr;
  }();
  return kDriver.get();
}

/// The compiler's library, by way of LibTorch's that needs it.
void* OpenCompiler() {
  Dl_info torch;
  if (dladdr(reinterpret_cast<void*>(&at::globalContext), &torch) == 0) return nullptr;
  const auto stub = std::filesystem::path(torch.dli_fname).parent_path() / "libcaffe2_nvrtc.so";
  return dlopen(stub.c_str(), RTLD_LAZY);
}

const Compiler* FindCompiler() {
  static const std::unique_ptr<const Compiler> kCompiler = []() -> std::unique_ptr<const Compiler> {
    void* const library = OpenCompiler();
    if (library == nullptr) return nullptr;
    auto compiler = std::make_unique<Compiler>();
    const bool all = Bind(library, "nvrtcCreateProgram", &compiler->create) &&
                     Bind(library, "nvrtcCompileProgram", &compiler->compile) &&
                     Bind(library, "nvrtcGetCUBINSize", &compiler->binary_size) &&
                     Bind(library, "nvrtcGetCUBIN", &compiler->binary) &&
                     Bind(library, "nvrtcDestroyProgram", &compiler->destroy);
    if (!all) return nullptr;
    // It looks for a second library by its name alone, which may lie beside it and nowhere else.
    Dl_info own;
    if (dladdr(reinterpret_cast<void*>(compiler->compile), &own) != 0) {
      std::error_code error;
      const auto folder = std::filesystem::path(own.dli_fname).parent_path();
      for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename();
        if (name.starts_with("libnvrtc-builtins.so")) dlopen(entry.path().c_str(), RTLD_LAZY);
      }
    }
    return compiler;
  }();
  return kCompiler.get();
}

const char* NameOf(at::ScalarType type) {
  return type == at::kFloat ? "Float" : type == at::kHalf ? "Float16" : "BFloat16";
}

/// What the compiler makes of gpu_kernels.cu; empty where it cannot.
std::string Compile(const Driver& driver, const Compiler& compiler, at::Device device,
                    at::ScalarType type, int per) {
  int ordinal = 0, major = 0, minor = 0;
  if (driver.get_device(&ordinal, device.index()) != 0 ||
      driver.get_attribute(&major, kMajor, ordinal) != 0 ||
      driver.get_attribute(&minor, kMinor, ordinal) != 0) {
    return "";
  }
  void* program = nullptr;
  if (compiler.create(&program, kSource, "gpu_kernels.cu", 0, nullptr, nullptr) != 0) return "";
  const std::vector<std::string> options = {absl::StrCat("--gpu-architecture=sm_", major, minor),
                                            "--std=c++17", absl::StrCat("-DT=", NameOf(type)),
                                            absl::StrCat("-DPER=", per)};
  std::vector<const char*> texts;
  for (const std::string& option : options) texts.push_back(option.c_str());
  std::string binary;
  size_t bytes = 0;
  if (compiler.compile(program, static_cast<int>(texts.size()), texts.data()) == 0 &&
      compiler.binary_size(program, &bytes) == 0) {
    binary.resize(bytes);
    if (compiler.binary(program, binary.data()) != 0) binary.clear();
  }
  compiler.destroy(&program);
  return binary;
}

std::unique_ptr<const Functions> MakeFunctions(at::Device device, at::ScalarType type, int per) {
  const Driver* const driver = FindDriver();
  const Compiler* const compiler = driver == nullptr ? nullptr : FindCompiler();
  if (compiler == nullptr) return nullptr;
  const c10::DeviceGuard guard(device);
  at::accelerator::setDeviceIndex(device.index());  // so that this thread has its context
  const std::string binary = Compile(*driver, *compiler, device, type, per);
  void* module = nullptr;
  if (binary.empty() || driver->load(&module, binary.data()) != 0) return nullptr;
  auto functions = std::make_unique<Functions>();
  const bool all = driver->get_function(&functions->look, module, "Look") == 0 &&
                   driver->get_function(&functions->norm, module, "Norm") == 0 &&
                   driver->get_function(&functions->turn, module, "Turn") == 0 &&
                   driver->get_function(&functions->turn_in_float, module, "TurnInFloat") == 0;
  return all ? std::move(functions) : nullptr;
}

}  // namespace

const Functions* FindFunctions(at::Device device, at::ScalarType type, int per) {
  struct Made {
    absl::Mutex mutex;
    std::map<std::tuple<int, at::ScalarType, int>, std::unique_ptr<const Functions>> functions
        ABSL_GUARDED_BY(mutex);
  };
  static auto* const kMade = new Made;
  const absl::MutexLock lock(&kMade->mutex);
  const auto [found, added] = kMade->functions.try_emplace({device.index(), type, per});
  if (added) found->second = MakeFunctions(device, type, per);
  return found->second.get();
}

void Launch(void* function, at::Device device, std::array<int64_t, 2> blocks, int64_t threads,
            void** arguments) {
  const c10::DeviceGuard guard(device);
  const c10::impl::VirtualGuardImpl impl(device.type());
  void* const stream = impl.getStreamNativeHandle(impl.getStream(device));
  const auto start = [&] {
    return FindDriver()->launch(function, static_cast<unsigned>(blocks[0]),
                                static_cast<unsigned>(blocks[1]), 1, static_cast<unsigned>(threads),
                                1, 1, 0, stream, arguments, nullptr);
  };
  int result = start();
  if (result == kNoContext) {
    at::accelerator::setDeviceIndex(device.index());
    result = start();
  }
  TORCH_CHECK(result == 0, "a kernel could not be started on ", device, ": CUDA's error ", result);
}

}  // namespace weft::kernels::gpu
