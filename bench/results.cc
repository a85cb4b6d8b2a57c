#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "bench/benchmarks.h"
#include "bench/grpc_baseline.h"
#include "bench/served_model.h"

namespace weft::bench {
namespace {

constexpr int kRounds = 7;
constexpr int kSamples = 5;  // of a round
constexpr int64_t kSide = 4096;
constexpr uint64_t kBytes = kSide * kSide * sizeof(float);
constexpr double kGiga = 1e9;

}  // namespace

absl::Status MeasureResults(const Options& options, Report& report) {
  absl::StatusOr<std::unique_ptr<ServedModel>> served = ServedModel::Start(options.model_folder);
  if (!served.ok()) return served.status();
  absl::StatusOr<std::unique_ptr<GrpcBaseline>> baseline =
      GrpcBaseline::Start(/*answer_bytes=*/0, kBytes);
  if (!baseline.ok()) return baseline.status();
  absl::StatusOr<Program> program = Program::Parse(
      absl::StrCat("invoke [1] { %z = aten::zeros([", kSide, ", ", kSide, "])  save z = %z }"));
  if (!program.ok()) return program.status();

  double passes = 0;  // seconds of the last run's passes
  auto trace = [&]() -> absl::StatusOr<double> {
    absl::StatusOr<RunResult> run = absl::UnknownError("");
    const double seconds = Time([&] { run = (*served)->model().Run(*program); });
    if (!run.ok()) return run.status();
    const Tensor* tensor = run->saves["z"].FindAs<Tensor>();
    if (tensor == nullptr || tensor->bytes() != kBytes) {
      return absl::InternalError("the result did not arrive whole");
    }
    passes = run->cost.run_seconds;
    return seconds;
  };
  // How fast a result travels has nothing to do with how long its operator takes, so the passes'
  // time, as the server counted it, is taken off.
  auto transfer = [&]() -> absl::StatusOr<double> {
    absl::StatusOr<double> seconds = trace();
    if (!seconds.ok()) return seconds;
    return *seconds - passes;
  };
  auto stream = [&] { return (*baseline)->Stream(); };
  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure({transfer, stream, trace}, kRounds, kSamples);
  if (!measured.ok()) return measured.status();
  enum { kTransfer, kStream, kTrace };
  report.Add({absl::StrCat("a result of ", kBytes >> 20, " MiB, over a raw gRPC stream's rate"),
              "x", measured->Of([](auto t) { return t[kStream] / t[kTransfer]; }), 0.7,
              /*at_least=*/true});
  report.Add({"the result, from its pass to the client's tensor", "GB/s",
              measured->Of([](auto t) { return kBytes / kGiga / t[kTransfer]; })});
  report.Add({"the raw stream, 1 MiB messages, read and dropped", "GB/s",
              measured->Of([](auto t) { return kBytes / kGiga / t[kStream]; })});
  report.Add({"the whole run, its operator included", "GB/s",
              measured->Of([](auto t) { return kBytes / kGiga / t[kTrace]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
