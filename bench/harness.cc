#include "bench/harness.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weft::bench {
namespace {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Three digits, whatever the size: `0.87`, `12.3`, `456`.
std::string Number(double value) {
  const double size = value < 0 ? -value : value;
  return absl::StrFormat("%.*f", size < 10 ? 2 : size < 100 ? 1 : 0, value);
}

std::string TargetOf(const Line& line) {
  if (!line.target) return "";
  return absl::StrCat(line.at_least ? ">= " : "<= ", absl::StrFormat("%g", *line.target));
}

}  // namespace

absl::StatusOr<Interleaved> Interleaved::Measure(const std::vector<Contender>& contenders,
                                                 int rounds, int per_round) {
  Interleaved out;
  std::vector<std::vector<double>> all(contenders.size());
  for (int round = -1; round < rounds; ++round) {
    std::vector<std::vector<double>> samples(contenders.size());
    for (int i = 0; i < per_round; ++i) {
      for (size_t c = 0; c < contenders.size(); ++c) {
        absl::StatusOr<double> seconds = contenders[c]();
        if (!seconds.ok()) return seconds.status();
        samples[c].push_back(*seconds);
      }
    }
    if (round < 0) continue;
    std::vector<double>& medians = out.by_round_.emplace_back();
    for (size_t c = 0; c < contenders.size(); ++c) {
      all[c].insert(all[c].end(), samples[c].begin(), samples[c].end());
      medians.push_back(Median(std::move(samples[c])));
    }
  }
  for (std::vector<double>& samples : all) out.medians_.push_back(Median(std::move(samples)));
  return out;
}

Estimate Interleaved::Of(
    absl::FunctionRef<double(absl::Span<const double> medians)> formula) const {
  Estimate estimate;
  estimate.value = estimate.least = estimate.most = formula(medians_);
  for (const std::vector<double>& medians : by_round_) {
    const double value = formula(medians);
    estimate.least = std::min(estimate.least, value);
    estimate.most = std::max(estimate.most, value);
  }
  return estimate;
}

bool Line::ok() const {
  if (!target) return true;
  return at_least ? measured.value >= *target : measured.value <= *target;
}

void Report::Begin(const std::string& benchmark, const std::string& description) {
  benchmark_ = benchmark;
  out_ << "\n"
       << absl::StrFormat("%-58s %9s %9s  %-18s\n", absl::StrCat(benchmark, ": ", description),
                          "target", "measured", "min..max of rounds");
  out_.flush();
}

void Report::Add(Line line) {
  const std::string spread =
      absl::StrCat(Number(line.measured.least), "..", Number(line.measured.most));
  out_ << absl::StrFormat("  %-56s %9s %9s  %-18s %-6s %s\n", line.claim, TargetOf(line),
                          Number(line.measured.value), spread, line.unit,
                          !line.target ? ""
                          : line.ok()  ? "ok"
                                       : "miss");
  out_.flush();
  entries_.push_back({benchmark_, std::move(line)});
}

void Report::Summarize() {
  int targets = 0;
  std::string missed;
  for (const Entry& entry : entries_) {
    if (entry.line.target) ++targets;
    if (!entry.line.ok()) absl::StrAppend(&missed, "\n  missed: ", entry.line.claim);
  }
  const auto misses = std::count(missed.begin(), missed.end(), '\n');
  out_ << absl::StrFormat("\n%d of %d targets met%s\n", targets - misses, targets, missed);
}

absl::Status Report::WriteJson(const std::string& path) const {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& [benchmark, line] : entries_) {
    nlohmann::ordered_json entry = {{"benchmark", benchmark},
                                    {"claim", line.claim},
                                    {"unit", line.unit},
                                    {"measured", line.measured.value},
                                    {"least", line.measured.least},
                                    {"most", line.measured.most}};
    if (line.target) {
      entry["target"] = *line.target;
      entry["bound"] = line.at_least ? "at least" : "at most";
      entry["ok"] = line.ok();
    }
    json.push_back(std::move(entry));
  }
  std::ofstream file(path);
  file << json.dump(2) << "\n";
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace weft::bench
