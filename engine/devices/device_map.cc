#include "engine/devices/device_map.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace weft::devices {
namespace {

/// The share of a GPU's free memory that weights may take: the rest is for activations, caches and
/// what programs compute.
constexpr double kForWeights = 0.85;

/// The block that a parameter belongs to: its path up to the first number, and that number. Nothing
/// outside of blocks.
std::optional<std::pair<std::string, int64_t>> BlockOf(const std::string& path) {
  std::vector<std::string> before;
  for (const absl::string_view part : absl::StrSplit(path, '.')) {
    int64_t number = 0;
    if (absl::SimpleAtoi(part, &number) && number >= 0 && !before.empty()) {
      return std::pair(absl::StrJoin(before, "."), number);
    }
    before.emplace_back(part);
  }
  return std::nullopt;
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

bool DeviceMap::OnlyCpu() const {
  return rest_.is_cpu() && std::all_of(modules_.begin(), modules_.end(),
                                       [](const auto& module) { return module.second.is_cpu(); });
}

std::string DeviceMap::Shown() const {
  std::set<std::string> all = {rest_.str()};
  for (const auto& [path, device] : modules_) all.insert(device.str());
  return absl::StrJoin(all, ", ");
}

absl::StatusOr<DeviceMap> Spread(const std::vector<ParameterSize>& parameters,
                                 const std::vector<Accelerator>& accelerators) {
  if (accelerators.empty()) return DeviceMap();
  const auto room_of = [](const Accelerator& accelerator) {
    return kForWeights * static_cast<double>(accelerator.free_bytes);
  };
  const Accelerator& freest =
      *std::max_element(accelerators.begin(), accelerators.end(),
                        [](const auto& a, const auto& b) { return a.free_bytes < b.free_bytes; });
  double all = 0, outside = 0, room = 0;
  std::map<std::pair<std::string, int64_t>, double> blocks;  // in order
  for (const ParameterSize& parameter : parameters) {
    const auto bytes = static_cast<double>(parameter.bytes);
    const auto block = BlockOf(parameter.path);
    (block ? blocks[*block] : outside) += bytes;
    all += bytes;
  }
  if (freest.free_bytes == 0 || all <= room_of(freest)) return DeviceMap(freest.device);
  for (const Accelerator& accelerator : accelerators) room += room_of(accelerator);
  const auto too_small = [&] {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the weights take ", Gigabytes(all), ", and the GPUs have room for ", Gigabytes(room),
        " of them beside activations: host it in bfloat16, on more GPUs, or on the cpu"));
  };
  // What is outside of blocks begins and ends each pass: it lies on the first.
  std::map<std::string, c10::Device> modules;
  size_t at = 0;
  double left = room_of(accelerators[0]) - outside;
  for (const auto& [block, bytes] : blocks) {
    while (left < bytes) {
      if (++at == accelerators.size()) return too_small();
      left = room_of(accelerators[at]);
    }
    left -= bytes;
    modules.emplace(absl::StrCat(block.first, ".", block.second), accelerators[at].device);
  }
  if (outside > room_of(accelerators[0])) return too_small();
  return DeviceMap(accelerators[0].device, std::move(modules));
}

absl::StatusOr<DeviceMap> MakeDeviceMap(const std::string& device,
                                        const std::map<std::string, std::string>& modules,
                                        const std::vector<ParameterSize>& parameters) {
  LoadAccelerators();
  DeviceMap map;
  if (device == "auto") {
    absl::StatusOr<DeviceMap> spread = Spread(parameters, ListAccelerators());
    if (!spread.ok()) return spread.status();
    map = *std::move(spread);
  } else {
    absl::StatusOr<c10::Device> all = ParseDevice(device);
    if (!all.ok()) return all.status();
    map = DeviceMap(*all);
  }
  if (modules.empty()) return map;
  std::map<std::string, c10::Device> placed;
  for (const auto& [path, name] : modules) {
    absl::StatusOr<c10::Device> own = ParseDevice(name);
    if (!own.ok()) {
      return absl::Status(own.status().code(),
                          absl::StrCat("`", path, "`: ", own.status().message()));
    }
    const bool known =
        std::any_of(parameters.begin(), parameters.end(), [&](const ParameterSize& parameter) {
          return absl::StartsWith(parameter.path, absl::StrCat(path, "."));
        });
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat("there are no weights below `", path, "`, which is to lie on ", name));
    }
    placed.emplace(path, *own);
  }
  return DeviceMap(map.root(), std::move(placed));
}

}  // namespace weft::devices
