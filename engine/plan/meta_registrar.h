#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <optional>
#include <string>

namespace weft::plan {

/// Registers kernels for what has none.
class Registrar {
 public:
  /// An operator that torch has in Python alone.
  template <typename Kernel>
  void Define(const char* schema, Kernel kernel) {
    own_.def(schema, torch::CppFunction(kernel));
  }

  template <typename Kernel>
  void Add(const char* name, const char* overload, Kernel kernel) {
    const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(
        (std::string("aten::") + name).c_str(), overload);
    if (handle.hasKernelForDispatchKey(c10::DispatchKey::Meta)) return;
    const std::string full =
        *overload == '\0' ? std::string(name) : std::string(name) + "." + overload;
    library_.impl(full.c_str(), torch::CppFunction(kernel));
  }

 private:
  torch::Library own_{torch::Library::FRAGMENT, "aten", std::nullopt, __FILE__, __LINE__};
  torch::Library library_{torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__};
};

/// Factorisations, transforms, convolutions.
void RegisterMatrixKernels(Registrar& registrar);
/// Counting, searching, sampling.
void RegisterCountingKernels(Registrar& registrar);

}  // namespace weft::plan
