# Find LibTorch and define weft::torch.
#
# Looked for, in this order: the cache variable WEFT_TORCH_DIR, CMAKE_PREFIX_PATH, the environment
# variable WEFT_TORCH_DIR, and the folder that ./run fills. Each is the folder that holds include/
# and lib/, or the one above it. Torch's own CMake package is not used: it looks for CUDA's
# toolkit, and puts its include folders, with a copy of protobuf's headers, before the system's.

set(WEFT_TORCH_VERSION 2.11)
set(WEFT_TORCH_DIR "" CACHE PATH "LibTorch ${WEFT_TORCH_VERSION}: the folder with include/ and lib/")

set(torch_dir "")
foreach(candidate IN LISTS WEFT_TORCH_DIR CMAKE_PREFIX_PATH ITEMS
    "$ENV{WEFT_TORCH_DIR}" "${WEFT_DEPS_DIR}/libtorch-2.11.0/torch")
  if(candidate STREQUAL "")
    continue()
  endif()
  # torch/share/cmake is what torch.utils.cmake_prefix_path answers.
  foreach(folder IN ITEMS "${candidate}" "${candidate}/torch" "${candidate}/../..")
    if(NOT torch_dir AND EXISTS "${folder}/include/ATen/ATen.h"
        AND EXISTS "${folder}/lib/libtorch_cpu.so")
      get_filename_component(torch_dir "${folder}" ABSOLUTE)
    endif()
  endforeach()
endforeach()
if(NOT torch_dir)
  message(FATAL_ERROR "LibTorch ${WEFT_TORCH_VERSION} was not found. './run build' fetches it; "
    "or set WEFT_TORCH_DIR to the folder with its include/ and lib/.")
endif()

set(version_header "${torch_dir}/include/torch/headeronly/version.h")
file(STRINGS "${version_header}" version_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE "[^;0-9]" "" version_numbers "${version_lines}")
string(REPLACE ";" "." version "${version_numbers}")
if(NOT version STREQUAL WEFT_TORCH_VERSION)
  message(FATAL_ERROR "${torch_dir} holds LibTorch '${version}', not ${WEFT_TORCH_VERSION}.")
endif()
message(STATUS "LibTorch ${version}: ${torch_dir}")
# Kept, so that a later configuration without the environment of this one finds the same.
set_property(CACHE WEFT_TORCH_DIR PROPERTY VALUE "${torch_dir}")

foreach(name IN ITEMS torch_cpu c10)
  add_library(weft_${name} SHARED IMPORTED GLOBAL)
  set_target_properties(weft_${name} PROPERTIES
    IMPORTED_LOCATION "${torch_dir}/lib/lib${name}.so"
    IMPORTED_SONAME "lib${name}.so")
endforeach()

# LibTorch's own threads, which at::parallel_for in a file of ours is to share: a second OpenMP
# runtime in the process would take the processors from the first.
file(GLOB gomp "${torch_dir}/lib/libgomp*.so*")
add_library(weft_gomp INTERFACE)
if(gomp)
  list(GET gomp 0 gomp)
  target_link_libraries(weft_gomp INTERFACE "${gomp}")
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(weft_gomp INTERFACE ${OpenMP_CXX_LIBRARIES})
endif()

add_library(weft_torch INTERFACE)
add_library(weft::torch ALIAS weft_torch)
target_link_libraries(weft_torch INTERFACE weft_torch_cpu weft_c10)
# After the system's folders, since they hold a google/protobuf of their own.
target_compile_options(weft_torch INTERFACE
  "SHELL:-idirafter ${torch_dir}/include"
  "SHELL:-idirafter ${torch_dir}/include/torch/csrc/api/include")
# gRPC's and GoogleTest's users are compiled with -pthread, and a precompiled header serves only those
# who define what it was made with: so all of LibTorch's users are.
target_compile_options(weft_torch INTERFACE -pthread)
# ccache sees through a precompiled header only with this.
target_compile_options(weft_torch INTERFACE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
# In the wheel's layout the CUDA libraries that libtorch_cpu needs lie beside torch/, where its own
# rpath finds them; a linker that checks them has to be told.
file(GLOB cuda_dirs "${torch_dir}/../nvidia/*/lib")
foreach(dir IN LISTS cuda_dirs)
  target_link_options(weft_torch INTERFACE "LINKER:-rpath-link,${dir}")
endforeach()

# One precompiled header for all targets that use LibTorch: parsing it takes seconds.
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/cmake/torch_pch.cc" CONTENT "")
add_library(weft_torch_pch OBJECT "${PROJECT_BINARY_DIR}/cmake/torch_pch.cc")
target_link_libraries(weft_torch_pch PRIVATE weft_options weft_torch absl::status absl::statusor
  absl::strings absl::flat_hash_map absl::flat_hash_set absl::span)
target_precompile_headers(weft_torch_pch PRIVATE
  <algorithm>
  <array>
  <cmath>
  <cstdint>
  <cstring>
  <functional>
  <limits>
  <map>
  <memory>
  <optional>
  <string>
  <string_view>
  <unordered_map>
  <utility>
  <variant>
  <vector>
  "<absl/container/flat_hash_map.h>"
  "<absl/container/flat_hash_set.h>"
  "<absl/status/status.h>"
  "<absl/status/statusor.h>"
  "<absl/strings/str_cat.h>"
  "<absl/types/span.h>"
  "<ATen/ATen.h>"
  "<ATen/core/dispatch/Dispatcher.h>"
  "<ATen/core/ivalue.h>"
  "<torch/library.h>")
