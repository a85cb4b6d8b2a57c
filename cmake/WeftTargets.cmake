# How Weft's targets are made: weft_library, weft_executable, weft_test.

# What ./run fetches and what is built once for all clones: WEFT_DEPS, or Weft's folder in the
# user's cache.
set(WEFT_DEPS_DIR "$ENV{WEFT_DEPS}")
if(NOT WEFT_DEPS_DIR AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(WEFT_DEPS_DIR "$ENV{XDG_CACHE_HOME}/weft")
elseif(NOT WEFT_DEPS_DIR)
  set(WEFT_DEPS_DIR "$ENV{HOME}/.cache/weft")
endif()

add_library(weft_options INTERFACE)
target_compile_features(weft_options INTERFACE cxx_std_20)
target_include_directories(weft_options INTERFACE "${PROJECT_SOURCE_DIR}")
# g++ 12 calls every member that a designated initialiser leaves out "missing", and reports
# maybe-uninitialized and restrict inside correct std::optional and std::string code.
target_compile_options(weft_options INTERFACE
  -Wall -Wextra -Wno-missing-field-initializers
  $<$<BOOL:${WEFT_WERROR}>:-Werror>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-maybe-uninitialized -Wno-error=array-bounds
    -Wno-error=stringop-overflow -Wno-error=invalid-pch>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
if(WEFT_SANITIZE)
  # vptr needs the type information of libraries that hide theirs.
  set(sanitize -fsanitize=${WEFT_SANITIZE})
  if(WEFT_SANITIZE MATCHES undefined)
    list(APPEND sanitize -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  endif()
  target_compile_options(weft_options INTERFACE ${sanitize})
  target_link_options(weft_options INTERFACE ${sanitize})
endif()
if(WEFT_SANITIZE STREQUAL thread)
  find_package(absl REQUIRED)
  add_library(weft_tsan_absl STATIC "${CMAKE_CURRENT_LIST_DIR}/tsan_absl.cc")
  target_compile_features(weft_tsan_absl PRIVATE cxx_std_20)
  target_link_libraries(weft_tsan_absl PUBLIC absl::synchronization absl::time)
  target_link_libraries(weft_options INTERFACE weft_tsan_absl)
  foreach(function IN ITEMS
      N4absl7debian35Mutex4LockEv
      N4absl7debian35Mutex6UnlockEv
      N4absl7debian35Mutex10ReaderLockEv
      N4absl7debian35Mutex12ReaderUnlockEv
      N4absl7debian35Mutex8LockWhenERKNS0_9ConditionE
      N4absl7debian35Mutex5AwaitERKNS0_9ConditionE
      N4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE
      N4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE
      N4absl7debian312Notification6NotifyEv
      NK4absl7debian312Notification19WaitForNotificationEv
      NK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE)
    target_link_options(weft_options INTERFACE "LINKER:--wrap=_Z${function}")
  endforeach()
endif()
if(WEFT_FUZZ)
  target_compile_options(weft_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(WEFT_LLD NAMES ld.lld)
if(WEFT_LLD)
  target_link_options(weft_options INTERFACE -fuse-ld=lld)
endif()

# Paths relative to the repository, so that a clone in another folder hits the same entries.
find_program(WEFT_CCACHE ccache)
if(WEFT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    "${CMAKE_COMMAND}" -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
    CCACHE_NOHASHDIR=1
    "${WEFT_CCACHE}")
endif()

# Without LibTorch, a target that needs it is left out, and so is everything that depends on it.
define_property(GLOBAL PROPERTY WEFT_SKIPPED)
function(weft_is_skipped result alias torch)
  get_property(skipped GLOBAL PROPERTY WEFT_SKIPPED)
  set(${result} FALSE PARENT_SCOPE)
  if(torch AND NOT WEFT_WITH_TORCH)
    set(${result} TRUE PARENT_SCOPE)
  endif()
  foreach(dep IN LISTS ARGN)
    if(dep IN_LIST skipped)
      set(${result} TRUE PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

function(weft_use_torch target scope)
  target_link_libraries(${target} ${scope} weft::torch)
  target_precompile_headers(${target} REUSE_FROM weft_torch_pch)
endfunction()

# weft_library(<name> SOURCES <files> [DEPS <targets>] [TORCH])
#
# Static library weft_<name>, alias weft::<name>, included from the repository's root. TORCH adds
# LibTorch and its precompiled header; a source that needs flags of its own beside it sets the
# property SKIP_PRECOMPILE_HEADERS.
function(weft_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;DEPS")
  weft_is_skipped(skip weft::${name} "${arg_TORCH}" ${arg_DEPS})
  if(skip)
    set_property(GLOBAL APPEND PROPERTY WEFT_SKIPPED weft::${name})
    return()
  endif()
  add_library(weft_${name} STATIC ${arg_SOURCES})
  add_library(weft::${name} ALIAS weft_${name})
  target_include_directories(weft_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_link_libraries(weft_${name} PRIVATE $<BUILD_INTERFACE:weft_options> PUBLIC ${arg_DEPS})
  set_target_properties(weft_${name} PROPERTIES EXPORT_NAME ${name})
  if(arg_TORCH)
    weft_use_torch(weft_${name} PUBLIC)
  endif()
endfunction()

# weft_executable(<name> SOURCES <files> [DEPS <targets>] [TORCH])
#
# Program build/<preset>/<top folder>/<name>: server/weftd, client/weft, examples/demo.
function(weft_executable name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;DEPS")
  weft_is_skipped(skip ${name} "${arg_TORCH}" ${arg_DEPS})
  if(skip)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  string(REGEX REPLACE "/.*" "" folder "${folder}")
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/${folder}")
  target_link_libraries(${name} PRIVATE weft_options ${arg_DEPS})
  if(arg_TORCH)
    weft_use_torch(${name} PRIVATE)
  endif()
endfunction()

# weft_test(<name> SOURCES <files> [DEPS <targets>] [TORCH] [TIMEOUT <seconds>] [ON_DEVICES])
#
# GoogleTest program build/<preset>/tests/<name>_test, one ctest test named <name>. It runs in the
# repository's root: WEFT_SOURCE_DIR and WEFT_BINARY_DIR are relative to it, so that objects can be
# shared between clones. Under ctest it writes test-results/<name>.json, for tests that require the
# fixture <name>_results. ON_DEVICES: a second time, as <name>_on_devices, with the blocks of local models
# on two fake devices in turn (tests/support/fake_device.h).
function(weft_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;ON_DEVICES" "TIMEOUT" "SOURCES;DEPS")
  weft_is_skipped(skip ${name} "${arg_TORCH}" ${arg_DEPS})
  if(skip OR NOT BUILD_TESTING)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(target ${name}_test)
  add_executable(${target} ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  target_link_libraries(${target} PRIVATE weft_options ${arg_DEPS} GTest::gmock GTest::gtest
    GTest::gtest_main)
  file(RELATIVE_PATH binary_dir "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}")
  target_compile_definitions(${target} PRIVATE
    WEFT_SOURCE_DIR="." WEFT_BINARY_DIR="${binary_dir}")
  if(arg_TORCH)
    weft_use_torch(${target} PRIVATE)
  endif()
  set(runs ${name})
  if(arg_ON_DEVICES)
    list(APPEND runs ${name}_on_devices)
  endif()
  set(environment "")
  if(WEFT_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
    set(environment
      # A refused allocation is an error of the run, not the end of the process.
      "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
      "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/lsan.supp:print_suppressions=0"
      "UBSAN_OPTIONS=print_stacktrace=1"
      "TSAN_OPTIONS=second_deadlock_stack=1")
  endif()
  foreach(run IN LISTS runs)
    add_test(NAME ${run}
      COMMAND ${target} "--gtest_output=json:${PROJECT_BINARY_DIR}/test-results/${run}.json"
      WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    if(NOT run STREQUAL name)
      list(APPEND environment "WEFT_TEST_DEVICES=fake:0,fake:1" "OMP_NUM_THREADS=1")
    endif()
    set_tests_properties(${run} PROPERTIES TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${environment}"
      FIXTURES_SETUP ${run}_results)
  endforeach()
endfunction()
