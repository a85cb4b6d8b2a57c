#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/harness.h"

namespace weft::bench {

struct Options {
  /// A Hub folder of a small model, for what is measured through a server.
  std::string model_folder = "models/atlas";
  /// Where `experiments`, `grid` and `models` lie, such as `cuda:0`.
  std::string device = "cpu";
  int samples = 200;  // of each of `experiments`
  /// Of `models`, what is measured; empty: all.
  std::vector<std::string> models;
  /// A Python with torch, transformers and nnsight, to measure them beside; empty: they are not.
  std::string python;
};

/// The names that Options::models may have.
extern const std::vector<std::string> kModelNames;

// One function for each benchmark; README.md says what each measures.
absl::Status MeasureOverhead(const Options& options, Report& report);
absl::Status MeasureSite(const Options& options, Report& report);
absl::Status MeasureRemote(const Options& options, Report& report);
absl::Status MeasureResults(const Options& options, Report& report);
absl::Status MeasureExperiments(const Options& options, Report& report);
absl::Status MeasureGrid(const Options& options, Report& report);
absl::Status MeasureModels(const Options& options, Report& report);
absl::Status MeasureHostile(const Options& options, Report& report);

}  // namespace weft::bench
