#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/devices/devices.h"

namespace weft::devices {

/// Where the modules of a model lie. Immutable once made.
class DeviceMap {
 public:
  /// All on the CPU, or on one device.
  DeviceMap() = default;
  explicit DeviceMap(c10::Device all) : rest_(all) {}
  /// Modules and all below them by path; what none names is on `rest`.
  DeviceMap(c10::Device rest, std::map<std::string, c10::Device> modules)
      : rest_(rest), modules_(std::move(modules)) {}

  /// Of a module, or of a parameter of one: `model.layers.3.mlp.up_proj.weight`.
  c10::Device Of(absl::string_view path) const;
  /// What the model is called with lies here.
  c10::Device root() const { return rest_; }
  const std::map<std::string, c10::Device>& modules() const { return modules_; }
  /// All of it is on the CPU.
  bool OnlyCpu() const;
  /// `cpu`, `cuda:0`; of several `cuda:0, cuda:1`.
  std::string Shown() const;

 private:
  c10::Device rest_ = c10::kCPU;
  std::map<std::string, c10::Device> modules_;
};

/// The block that a module or parameter is, or is inside of: its path up to the first number,
/// `model.layers.3`. Empty outside of blocks.
absl::string_view BlockOf(absl::string_view path);

/// Bytes of one parameter, by its path.
struct ParameterSize {
  std::string path;
  uint64_t bytes = 0;
};

/// Where `device` and `modules` (paths and devices) say: `auto` is, for what `modules` does not
/// name, one GPU if it fits into the free memory of one, all GPUs if it fits there, a block after
/// the other, and the CPU where there are none. kInvalidArgument, kFailedPrecondition as
/// ParseDevice; kResourceExhausted where the GPUs are too small.
absl::StatusOr<DeviceMap> MakeDeviceMap(const std::string& device,
                                        const std::map<std::string, std::string>& modules,
                                        const std::vector<ParameterSize>& parameters);

/// `auto` on these, beside modules that lie where they were told to: for MakeDeviceMap, and its
/// tests.
absl::StatusOr<DeviceMap> Spread(const std::vector<ParameterSize>& parameters,
                                 const std::vector<Accelerator>& accelerators,
                                 const std::map<std::string, c10::Device>& placed = {});

}  // namespace weft::devices
