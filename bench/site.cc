#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <memory>
#include <utility>
#include <vector>

#include "bench/benchmarks.h"
#include "engine/models/blocks.h"
#include "engine/models/module.h"
#include "engine/plan/model_spec.h"
#include "engine/run/pass.h"

namespace weft::bench {
namespace {

constexpr int kRounds = 15;
constexpr int kSamples = 200;  // of a round
constexpr int kCalls = 1000;   // of a sample

}  // namespace

absl::Status MeasureSite(const Options&, Report& report) {
  // A module that does nothing, so that nothing but its boundary costs.
  models::DropoutImpl identity(0);
  models::Module& module = identity;
  const plan::ModelSpec spec(std::vector<plan::ModuleSpec>(1), {}, {});
  const run::TapTable taps(spec, std::vector<run::OutputForm>(1));
  run::Pass pass(taps, std::vector<run::Segment*>(), nullptr);
  const c10::InferenceMode guard;
  at::Tensor x = at::zeros({1, 1, 64});

  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure({[&]() -> absl::StatusOr<double> {
                              return Time([&] {
                                for (int i = 0; i < kCalls; ++i) {
                                  x = module.forward(pass, std::move(x));
                                }
                              });
                            },
                            [&]() -> absl::StatusOr<double> {
                              return Time([&] {
                                for (int i = 0; i < kCalls; ++i) {
                                  x = models::Call(pass, module, std::move(x));
                                }
                              });
                            }},
                           kRounds, kSamples);
  if (!measured.ok()) return measured.status();
  // A call passes two sites: its input and its output.
  report.Add({"a site that nobody listens to, over a call without sites", "ns",
              measured->Of([](auto t) { return 1e9 * (t[1] - t[0]) / kCalls / 2; }), 10});
  return absl::OkStatus();
}

}  // namespace weft::bench
