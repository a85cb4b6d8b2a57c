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
  // Reads the last module, so that the trace runs all of the pass that it is compared with.
  Saved<Tensor> token;
  auto experiment = [&] { token = model["lm_head"].output()[{Slice(), -1}].argmax(-1).save(); };

  absl::StatusOr<Program> program = model.Record(kPrompt, experiment);
  if (!program.ok()) return program.status();
  v1::RunRequest request;
  request.set_model(ServedModel::kName);
  graph::EncodeProgram(program->graph(), request.mutable_program());
  absl::StatusOr<uint64_t> answer_bytes = CountAnswerBytes(**served, request);
  if (!answer_bytes.ok()) return answer_bytes.status();
  absl::StatusOr<std::unique_ptr<GrpcBaseline>> baseline =
      GrpcBaseline::Start(*answer_bytes, /*stream_bytes=*/0);
  if (!baseline.ok()) return baseline.status();
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
  // A trace finds gRPC's threads asleep, as it comes after a pass; so an echo has to as well.
  auto echo = [&]() -> absl::StatusOr<double> {
    if (absl::StatusOr<double> before = (*pass)(); !before.ok()) return before;
    return (*baseline)->Echo(request_bytes);
  };
  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure({trace, echo, *pass}, kRounds, kSamples);
  if (!measured.ok()) return measured.status();
  enum { kTrace, kEcho, kPass };
  report.Add({"a remote trace with one save, over echo + bare pass", "x",
              measured->Of([](auto t) { return t[kTrace] / (t[kEcho] + t[kPass]); }), 1.3});
  report.Add({"the remote trace", "ms", measured->Of([](auto t) { return kMilli * t[kTrace]; })});
  report.Add({absl::StrCat("gRPC echo, ", request_bytes.Length(), " B there and ", *answer_bytes,
                           " B back"),
              "ms", measured->Of([](auto t) { return kMilli * t[kEcho]; })});
  report.Add({absl::StrCat("the bare pass, ", ids->size(), " tokens"), "ms",
              measured->Of([](auto t) { return kMilli * t[kPass]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
