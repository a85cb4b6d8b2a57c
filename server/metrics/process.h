#pragma once

namespace weft::metrics {

/// This process as the kernel sees it. What cannot be read is 0.
struct ProcessStats {
  double resident_bytes = 0;
  /// What the process may have: its control group's bound, or the machine's memory.
  double memory_limit_bytes = 0;
  double cpu_seconds = 0;
  double start_unix_seconds = 0;
  double open_files = 0;
};

ProcessStats ReadProcess();

}  // namespace weft::metrics
