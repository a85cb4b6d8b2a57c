#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "bench/benchmarks.h"
#include "bench/harness.h"
#include "engine/devices/devices.h"

namespace {

struct Benchmark {
  const char* name;
  const char* description;
  absl::Status (*measure)(const weft::bench::Options& options, weft::bench::Report& report);
};

const Benchmark kBenchmarks[] = {
    {"overhead", "a program against the bare pass", weft::bench::MeasureOverhead},
    {"site", "a site that nobody listens to", weft::bench::MeasureSite},
    {"remote", "a trace through the server", weft::bench::MeasureRemote},
    {"results", "large results through the server", weft::bench::MeasureResults},
    {"experiments", "what people do, in GPT-2 124M", weft::bench::MeasureExperiments},
    {"grid", "a patching grid as one sweep, in GPT-2 124M", weft::bench::MeasureGrid},
    {"models", "forwards and generations of whole models", weft::bench::MeasureModels},
    {"hostile", "a user beside clients that mean no good", weft::bench::MeasureHostile},
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Measure what Weft promises: ratios and differences of medians of interleaved samples.\n"
      "Ends with 0 also where a target was missed: an error alone is a failure.");
  weft::bench::Options options;
  std::vector<std::string> only;
  std::string json;
  std::string names;
  for (const Benchmark& benchmark : kBenchmarks) {
    names += std::string(names.empty() ? "" : ", ") + benchmark.name;
  }
  app.add_option("--only", only, "Run these alone: " + names)
      ->check([&names](const std::string& name) {
        for (const Benchmark& benchmark : kBenchmarks) {
          if (name == benchmark.name) return std::string();
        }
        return "there is no benchmark `" + name + "`; there are: " + names;
      });
  app.add_option("--json", json, "Write what was measured to this file as well");
  app.add_option("--model", options.model_folder, "The model's folder, for `remote` and `results`")
      ->capture_default_str();
  app.add_option("--device", options.device,
                 "Where the models of `experiments`, `grid` and `models` lie, such as cuda:0")
      ->capture_default_str();
  app.add_option("--samples", options.samples, "How often each of `experiments` is run")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--models", options.models,
         "Of `models`, measure these alone: " + absl::StrJoin(weft::bench::kModelNames, ", "))
      ->check(CLI::IsMember(weft::bench::kModelNames));
  app.add_option("--python", options.python,
                 "A Python that has torch, transformers and nnsight: measure nnsight beside "
                 "`experiments` and transformers beside `models`, on the same weights");
  CLI11_PARSE(app, argc, argv);
  // Before anything else asks LibTorch for one.
  weft::devices::LoadAccelerators();
  // As weftd does.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);

  weft::bench::Report report(std::cout);
  bool failed = false;
  for (const Benchmark& benchmark : kBenchmarks) {
    if (!only.empty() && std::find(only.begin(), only.end(), benchmark.name) == only.end()) {
      continue;
    }
    report.Begin(benchmark.name, benchmark.description);
    if (absl::Status status = benchmark.measure(options, report); !status.ok()) {
      std::cerr << "weft_bench: " << benchmark.name << ": " << status.ToString() << "\n";
      failed = true;
    }
  }
  report.Summarize();
  if (!json.empty()) {
    if (absl::Status status = report.WriteJson(json); !status.ok()) {
      std::cerr << "weft_bench: " << status.ToString() << "\n";
      failed = true;
    }
  }
  return failed ? 1 : 0;
}
