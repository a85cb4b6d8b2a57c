#include "engine/devices/device_map.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace weft::devices {
namespace {

/// The share of a GPU's free memory that weights may take: the rest is for activations, caches and
/// what programs compute.
constexpr double kForWeights = 0.85;

/// Blocks of one list lie one after the other, by number.
struct InOrder {
  bool operator()(absl::string_view a, absl::string_view b) const {
    const auto key = [](absl::string_view block) {
      const size_t number = block.rfind('.') + 1;
      return std::tuple(block.substr(0, number), block.size(), block);
    };
    return key(a) < key(b);
  }
};

bool IsBelow(const std::string& path, const std::string& module) {
  return absl::StartsWith(path, absl::StrCat(module, "."));
}

/// What is left for those that nobody has placed.
struct Left {
  std::vector<ParameterSize> parameters;
  std::vector<Accelerator> accelerators;
};
Left LeftBeside(const std::map<std::string, c10::Device>& placed,
                const std::vector<ParameterSize>& parameters,
                const std::vector<Accelerator>& accelerators) {
  Left left{{}, accelerators};
  const DeviceMap map(c10::kCPU, placed);
  for (const ParameterSize& parameter : parameters) {
    const bool is_placed = std::any_of(placed.begin(), placed.end(), [&](const auto& module) {
      return IsBelow(parameter.path, module.first);
    });
    if (!is_placed) {
      left.parameters.push_back(parameter);
      continue;
    }
    for (Accelerator& accelerator : left.accelerators) {
      // Where nobody knows how much is free (0), nobody knows how much is left.
      if (accelerator.device != map.Of(parameter.path) || accelerator.free_bytes == 0) continue;
      accelerator.free_bytes -= std::min(accelerator.free_bytes - 1, parameter.bytes);
    }
  }
  return left;
}

std::string Gigabytes(double bytes) { return absl::StrFormat("%.1f GiB", bytes / (1 << 30)); }

}  // namespace

c10::Device DeviceMap::Of(absl::string_view path) const {
  // From the path itself up to its first part.
  for (size_t size = path.size(); size != absl::string_view::npos && !modules_.empty();
       size = size == 0 ? absl::string_view::npos : path.rfind('.', size - 1)) {
    const auto found = modules_.find(std::string(path.substr(0, size)));
    if (found != modules_.end()) return found->second;
  }
  return rest_;
}

absl::string_view BlockOf(absl::string_view path) {
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const absl::string_view name = path.substr(begin, end - begin);
    if (!name.empty() && absl::c_all_of(name, absl::ascii_isdigit)) return path.substr(0, end);
    begin = end + 1;
  }
  return "";
}

bool DeviceMap::OnlyCpu() const {
  return rest_.is_cpu() && std::all_of(modules_.begin(), modules_.end(),
                                       [](const auto& module) { return module.second.is_cpu(); });
}

std::string DeviceMap::Shown() const {
  std::set<std::string> all = {rest_.str()};
  for (const auto& [path, device] : modules_) all.insert(device.str());
  return absl::StrJoin(all, ", ");
}

absl::StatusOr<DeviceMap> Spread(const std::vector<ParameterSize>& all_parameters,
                                 const std::vector<Accelerator>& all_accelerators,
                                 const std::map<std::string, c10::Device>& placed) {
  if (all_accelerators.empty()) return DeviceMap(c10::kCPU, placed);
  const auto [parameters, accelerators] = LeftBeside(placed, all_parameters, all_accelerators);
  const auto room_of = [](const Accelerator& accelerator) {
    return kForWeights * static_cast<double>(accelerator.free_bytes);
  };
  const Accelerator& freest =
      *std::max_element(accelerators.begin(), accelerators.end(),
                        [](const auto& a, const auto& b) { return a.free_bytes < b.free_bytes; });
  double all = 0, outside = 0, room = 0;
  std::map<absl::string_view, double, InOrder> blocks;
  for (const ParameterSize& parameter : parameters) {
    const auto bytes = static_cast<double>(parameter.bytes);
    const absl::string_view block = BlockOf(parameter.path);
    (block.empty() ? outside : blocks[block]) += bytes;
    all += bytes;
  }
  if (freest.free_bytes == 0 || all <= room_of(freest)) return DeviceMap(freest.device, placed);
  for (const Accelerator& accelerator : accelerators) room += room_of(accelerator);
  const auto too_small = [&] {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the weights take ", Gigabytes(all), ", and the GPUs have room for ", Gigabytes(room),
        " of them beside activations: host it in bfloat16, on more GPUs, or on the cpu"));
  };
  // What is outside of blocks begins and ends each pass: it lies on the first.
  std::map<std::string, c10::Device> modules = placed;
  size_t at = 0;
  double left = room_of(accelerators[0]) - outside;
  for (const auto& [block, bytes] : blocks) {
    while (left < bytes) {
      if (++at == accelerators.size()) return too_small();
      left = room_of(accelerators[at]);
    }
    left -= bytes;
    modules.emplace(block, accelerators[at].device);
  }
  if (outside > room_of(accelerators[0])) return too_small();
  return DeviceMap(accelerators[0].device, std::move(modules));
}

absl::StatusOr<DeviceMap> MakeDeviceMap(const std::string& device,
                                        const std::map<std::string, std::string>& modules,
                                        const std::vector<ParameterSize>& parameters) {
  LoadAccelerators();
  std::map<std::string, c10::Device> placed;
  for (const auto& [path, name] : modules) {
    absl::StatusOr<c10::Device> own = ParseDevice(name);
    if (!own.ok()) {
      return absl::Status(own.status().code(),
                          absl::StrCat("`", path, "`: ", own.status().message()));
    }
    const bool known =
        std::any_of(parameters.begin(), parameters.end(),
                    [&](const ParameterSize& parameter) { return IsBelow(parameter.path, path); });
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat("there are no weights below `", path, "`, which is to lie on ", name));
    }
    placed.emplace(path, *own);
  }
  if (device == "auto") return Spread(parameters, ListAccelerators(), placed);
  absl::StatusOr<c10::Device> rest = ParseDevice(device);
  if (!rest.ok()) return rest.status();
  return DeviceMap(*rest, std::move(placed));
}

}  // namespace weft::devices
