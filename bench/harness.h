#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace weft::bench {

/// Seconds that `body` takes.
template <typename Body>
double Time(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// One of the things that are measured against each other: gives the seconds of one sample.
using Contender = std::function<absl::StatusOr<double>()>;

/// A number with the least and the most that single rounds gave for it.
struct Estimate {
  double value = 0;
  double least = 0;
  double most = 0;
};

/// Samples of contenders that took turns, so that what the machine does beside befalls all alike.
class Interleaved {
 public:
  /// Take `rounds` times `per_round` samples of every contender: A, B, C, A, B, C, ... The first
  /// round is thrown away. The first error ends it.
  static absl::StatusOr<Interleaved> Measure(const std::vector<Contender>& contenders, int rounds,
                                             int per_round);

  /// What `formula` makes of the contenders' medians: those over all rounds give the value, those
  /// of each round the spread.
  Estimate Of(absl::FunctionRef<double(absl::Span<const double> medians)> formula) const;

 private:
  std::vector<double> medians_;                // by contender
  std::vector<std::vector<double>> by_round_;  // by round, then by contender
};

/// A line of the report.
struct Line {
  std::string claim;
  std::string unit;
  Estimate measured;
  /// nullopt: shown beside the claims, nothing is promised.
  std::optional<double> target = std::nullopt;
  bool at_least = false;  // the target is a floor, not a ceiling

  bool ok() const;
};

/// What was measured, as a table while it comes in and as JSON at the end. Not thread-safe.
class Report {
 public:
  /// Prints on `out`, which must outlive the report.
  explicit Report(std::ostream& out) : out_(out) {}

  void Begin(const std::string& benchmark, const std::string& description);
  void Add(Line line);
  /// How many targets were met, and which were missed.
  void Summarize();
  absl::Status WriteJson(const std::string& path) const;

 private:
  struct Entry {
    std::string benchmark;
    Line line;
  };
  std::ostream& out_;
  std::string benchmark_;
  std::vector<Entry> entries_;
};

}  // namespace weft::bench
