#include "server/metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace weft::metrics {
namespace {

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double MemoryLimitBytes() {
  const double machine =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  // In a container the group is the file system's root. "max" is no number: no bound.
  std::ifstream file("/sys/fs/cgroup/memory.max");
  double group = 0;
  return file >> group ? std::min(group, machine) : machine;
}

double CpuSeconds() {
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double StartUnixSeconds() {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), std::istreambuf_iterator<char>());
  // The name, in brackets, may hold anything; the start is the 20th field after it.
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::string field;
  for (int i = 0; i < 20; ++i) fields >> field;
  std::ifstream uptime_file("/proc/uptime");
  double uptime = 0;
  if (!fields || !(uptime_file >> uptime)) return 0;
  const double since_boot = std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return absl::ToUnixMillis(absl::Now()) / 1e3 - uptime + since_boot;
}

double OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  return error ? 0 : static_cast<double>(std::distance(begin(files), end(files)));
}

}  // namespace

ProcessStats ReadProcess() {
  static const double start = StartUnixSeconds();
  return {.resident_bytes = ResidentBytes(),
          .memory_limit_bytes = MemoryLimitBytes(),
          .cpu_seconds = CpuSeconds(),
          .start_unix_seconds = start,
          .open_files = OpenFiles()};
}

}  // namespace weft::metrics
