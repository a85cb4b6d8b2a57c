#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/bare_pass.h"
#include "bench/benchmarks.h"
#include "bench/grpc_baseline.h"
#include "bench/served_model.h"
#include "engine/graph/codec.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::bench {
namespace {

constexpr int kRounds = 15;
constexpr int kSamples = 40;  // of a round
constexpr double kMilli = 1e3;
constexpr char kPrompt[] = "The Eiffel Tower is in the city of";

/// The bytes of all events of one run.
absl::StatusOr<uint64_t> CountAnswerBytes(const ServedModel& served,
                                          const v1::RunRequest& request) {
  const auto stub =
      v1::Weft::NewStub(grpc::CreateChannel(served.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.AddMetadata("authorization", absl::StrCat("Bearer ", served.key()));
  const auto stream = stub->Run(&context, request);
  uint64_t bytes = 0;
  for (v1::RunEvents events; stream->Read(&events);) bytes += events.ByteSizeLong();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return absl::InternalError(status.error_message());
  return bytes;
}

}  // namespace

absl::Status MeasureRemote(const Options& options, Report& report) {
  absl::StatusOr<std::unique_ptr<ServedModel>> served = ServedModel::Start(options.model_folder);
  if (!served.ok()) return served.status();
  const LanguageModel& model = (*served)->model();
  // Reads the last module, and there not the last token alone, so that the trace runs all of the
  // pass that it is compared with.
  Saved<Tensor> token;
  auto experiment = [&] { token = model["lm_head"].output()[{Slice(), 0}].argmax(-1).save(); };

  absl::StatusOr<Program> program = model.Record(kPrompt, experiment);
  if (!program.ok()) return program.status();
  v1::RunRequest request;
  request.set_model(ServedModel::kName);
  graph::EncodeProgram(program->graph(), request.mutable_program());
  absl::StatusOr<uint64_t> answer_bytes = CountAnswerBytes(**served, request);
  if (!answer_bytes.ok()) return answer_bytes.status();
  const grpc::Slice request_slice(request.SerializeAsString());
  const grpc::ByteBuffer request_bytes(&request_slice, 1);

  absl::StatusOr<std::vector<int64_t>> ids = model.Encode(kPrompt);
  if (!ids.ok()) return ids.status();
  absl::StatusOr<Contender> pass = MakeBarePass(options.model_folder, *ids);
  if (!pass.ok()) return pass.status();

  auto trace = [&]() -> absl::StatusOr<double> {
    absl::Status status;
    const double seconds = Time([&] { status = model.Trace(kPrompt, experiment).status(); });
    if (!status.ok()) return status;
    if (!token.has_value()) return token.status();
    return seconds;
  };
  // What the trace is compared with: the same bytes both ways through a server that does nothing
  // but run the bare pass. In one call, so that both find caches and sleeping threads alike.
  absl::StatusOr<std::unique_ptr<GrpcBaseline>> with_pass =
      GrpcBaseline::Start(*answer_bytes, /*stream_bytes=*/0, *pass);
  if (!with_pass.ok()) return with_pass.status();
  absl::StatusOr<std::unique_ptr<GrpcBaseline>> without =
      GrpcBaseline::Start(*answer_bytes, /*stream_bytes=*/0);
  if (!without.ok()) return without.status();
  auto bare = [&] { return (*with_pass)->Echo(request_bytes); };
  auto echo = [&] { return (*without)->Echo(request_bytes); };
  absl::StatusOr<Interleaved> measured = Interleaved::Measure({trace, bare}, kRounds, kSamples);
  if (!measured.ok()) return measured.status();
  absl::StatusOr<Interleaved> parts = Interleaved::Measure({*pass, echo}, kRounds, kSamples);
  if (!parts.ok()) return parts.status();
  report.Add({"a remote trace with one save, over gRPC echo with the bare pass inside", "x",
              measured->Of([](auto t) { return t[0] / t[1]; }), 1.3});
  report.Add({"the remote trace", "ms", measured->Of([](auto t) { return kMilli * t[0]; })});
  report.Add({"gRPC echo with the bare pass inside", "ms",
              measured->Of([](auto t) { return kMilli * t[1]; })});
  report.Add({absl::StrCat("the bare pass alone, ", ids->size(), " tokens"), "ms",
              parts->Of([](auto t) { return kMilli * t[0]; })});
  report.Add({absl::StrCat("gRPC echo alone, ", request_bytes.Length(), " B there and ",
                           *answer_bytes, " B back"),
              "ms", parts->Of([](auto t) { return kMilli * t[1]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
