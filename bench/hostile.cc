#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/benchmarks.h"
#include "bench/served_model.h"
#include "engine/graph/codec.h"
#include "tests/support/hostile_clients.h"
#include "weft/v1/weft.pb.h"

namespace weft::bench {
namespace {

constexpr int kRounds = 5;
constexpr int kSamples = 3;  // of a round
constexpr int kTraces = 20;  // of a sample
constexpr double kMilli = 1e3;
constexpr char kPrompt[] = "The Eiffel Tower is in the city of";

constexpr int kRefusedPerSecond = 1000;
constexpr int kIdle = 500;
constexpr int kSlow = 200;
// More than flow control lets through to one who does not read.
constexpr char kSlowProgram[] = "invoke [1] { %z = aten::zeros([1024, 256])  save z = %z }";
// A while in which what was begun is under way.
constexpr absl::Duration kSettle = absl::Milliseconds(50);
// Whoever fails often waits a second for each answer: from then on as many are refused as call.
constexpr absl::Duration kRefusalsSettle = absl::Milliseconds(1200);

}  // namespace

absl::Status MeasureHostile(const Options& options, Report& report) {
  absl::StatusOr<std::unique_ptr<ServedModel>> served = ServedModel::Start(options.model_folder);
  if (!served.ok()) return served.status();
  const LanguageModel& model = (*served)->model();
  const std::string& address = (*served)->address();
  absl::StatusOr<Program> slow = Program::Parse(kSlowProgram);
  if (!slow.ok()) return slow.status();
  v1::RunRequest request;
  request.set_model(ServedModel::kName);
  graph::EncodeProgram(slow->graph(), request.mutable_program());

  Saved<Tensor> token;
  // A user's traces, one after the other.
  auto work = [&]() -> absl::StatusOr<double> {
    absl::Status status;
    const double seconds = Time([&] {
      for (int i = 0; i < kTraces && status.ok(); ++i) {
        status = model
                     .Trace(kPrompt,
                            [&] {
                              token = model["lm_head"].output()[{Slice(), -1}].argmax(-1).save();
                            })
                     .status();
      }
    });
    if (!status.ok()) return status;
    return seconds / kTraces;
  };
  uint64_t refused = 0;
  auto flooded = [&]() -> absl::StatusOr<double> {
    testing::Flood flood(address, kRefusedPerSecond);
    absl::SleepFor(kRefusalsSettle);
    const uint64_t before = flood.refused();
    absl::StatusOr<double> seconds = work();
    refused = flood.refused() - before;
    if (seconds.ok() && refused == 0) return absl::InternalError("nobody was refused");
    return seconds;
  };
  auto beside_idle = [&]() -> absl::StatusOr<double> {
    absl::StatusOr<testing::IdleConnections> idle = testing::IdleConnections::Open(address, kIdle);
    if (!idle.ok()) return idle.status();
    absl::SleepFor(kSettle);
    return work();
  };
  auto beside_slow = [&]() -> absl::StatusOr<double> {
    testing::SlowReaders readers(address, (*served)->other_key(), request.SerializeAsString(),
                                 kSlow);
    // Their runs are over when one that came after them all is.
    if (absl::StatusOr<double> after = work(); !after.ok()) return after;
    return work();
  };
  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure({work, flooded, beside_idle, beside_slow}, kRounds, kSamples);
  if (!measured.ok()) return measured.status();
  const auto over_quiet = [&](size_t contender) {
    return measured->Of([contender](auto t) { return t[contender] / t[0]; });
  };
  report.Add({absl::StrCat("a user's trace beside ", kRefusedPerSecond, " refused calls a second"),
              "x", over_quiet(1), 2});
  report.Add({absl::StrCat("beside ", kIdle, " idle connections"), "x", over_quiet(2), 2});
  report.Add(
      {absl::StrCat("beside ", kSlow, " runs whose results nobody reads"), "x", over_quiet(3), 2});
  report.Add({"alone", "ms", measured->Of([](auto t) { return kMilli * t[0]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
