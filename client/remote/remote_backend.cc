#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/remote/constants.h"
#include "client/remote/messages.h"
#include "client/remote/retry.h"
#include "client/remote/run_call.h"
#include "client/remote/tls.h"
#include "client/src/convert.h"
#include "engine/graph/codec.h"
#include "engine/graph/content_hash.h"
#include "engine/graph/version.h"
#include "weft/backend.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::remote {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;  // of a model's tree; chunks are far smaller
// Lets the server's own end of a run arrive before the connection's deadline.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(250);
constexpr absl::Duration kKeepaliveTime = absl::Seconds(60);
constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(20);
// To ask for the server's version, when something went wrong already.
constexpr absl::Duration kVersionTimeout = absl::Seconds(5);
// Of a blob, in one message: what a server takes at most.
constexpr size_t kUploadChunkBytes = size_t{1} << 20;

int ToMilliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, std::numeric_limits<int>::max()));
}

class RemoteBackend final : public Backend {
 public:
  RemoteBackend(const std::string& target, const RemoteOptions& options)
      : target_(target),
        options_(options),
        api_key_(absl::StripAsciiWhitespace(options.api_key)),
        channel_(MakeChannel(target, options, &setup_)),
        stub_(v1::Weft::NewStub(channel_)) {
    for (char c : api_key_) {
      if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
        setup_ = absl::UnauthenticatedError(
            "the API key has characters that no key has; a key looks like weft_<id>_<secret>");
      }
    }
  }

  absl::StatusOr<Identity> WhoAmI() override {
    v1::WhoAmIResponse response;
    if (absl::Status status = Call(&v1::Weft::Stub::WhoAmI, v1::WhoAmIRequest(), &response);
        !status.ok()) {
      return status;
    }
    return FromMessage(response);
  }

  absl::StatusOr<std::vector<HostedModel>> ListModels() override {
    v1::ListModelsResponse response;
    if (absl::Status status = Call(&v1::Weft::Stub::ListModels, v1::ListModelsRequest(), &response);
        !status.ok()) {
      return status;
    }
    std::vector<HostedModel> models;
    for (const v1::ModelSummary& model : response.models()) models.push_back(FromMessage(model));
    return models;
  }

  absl::StatusOr<ModelDescription> GetModel(const std::string& name) override {
    v1::GetModelRequest request;
    request.set_name(name);
    v1::Model response;
    if (absl::Status status = Call(&v1::Weft::Stub::GetModel, request, &response); !status.ok()) {
      return status;
    }
    return FromMessage(response);
  }

  absl::StatusOr<std::vector<OperatorDescription>> ListOperators() override {
    v1::ListOperatorsResponse response;
    if (absl::Status status =
            Call(&v1::Weft::Stub::ListOperators, v1::ListOperatorsRequest(), &response);
        !status.ok()) {
      return status;
    }
    std::vector<OperatorDescription> operators;
    for (const v1::OperatorInfo& info : response.operators()) {
      operators.push_back(FromMessage(info));
    }
    return operators;
  }

  absl::StatusOr<std::vector<std::vector<int64_t>>> Tokenize(
      const std::string& model, const std::vector<std::string>& texts) override {
    v1::TokenizeRequest request;
    request.set_model(model);
    for (const std::string& text : texts) request.add_texts(text);
    v1::TokenizeResponse response;
    if (absl::Status status = Call(&v1::Weft::Stub::Tokenize, request, &response); !status.ok()) {
      return status;
    }
    std::vector<std::vector<int64_t>> rows;
    for (const v1::Tokens& row : response.rows()) {
      rows.emplace_back(row.ids().begin(), row.ids().end());
    }
    return rows;
  }

  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string& model,
                                                      const std::vector<std::vector<int64_t>>& rows,
                                                      bool skip_special_tokens) override {
    v1::DetokenizeRequest request;
    request.set_model(model);
    request.set_skip_special_tokens(skip_special_tokens);
    for (const std::vector<int64_t>& row : rows) {
      request.add_rows()->mutable_ids()->Add(row.begin(), row.end());
    }
    v1::DetokenizeResponse response;
    if (absl::Status status = Call(&v1::Weft::Stub::Detokenize, request, &response); !status.ok()) {
      return status;
    }
    return std::vector<std::string>(response.texts().begin(), response.texts().end());
  }

  absl::StatusOr<ValidationReport> Validate(const std::string& model, const Program& program,
                                            const RunSettings& settings) override {
    v1::ValidateResponse response;
    v1::RunRequest request = MakeRequest(model, settings);
    const absl::Status status = WithConstants(
        program, absl::Now() + settings.deadline, settings.cancellation, Constants::kLarge,
        &request, [&] { return Call(&v1::Weft::Stub::Validate, request, &response); });
    if (!status.ok()) return status;
    return FromMessage(response);
  }

  absl::Status Run(const std::string& model, const Program& program, const RunSettings& settings,
                   absl::FunctionRef<void(RunEvent)> on_event) override {
    const absl::Time deadline = absl::Now() + settings.deadline;
    v1::RunRequest request = MakeRequest(model, settings);
    return WithConstants(
        program, deadline, settings.cancellation, Constants::kLarge, &request,
        [&] { return RunAttempts(&request, deadline, settings.cancellation, on_event); });
  }

  absl::StatusOr<Blob> UploadBlob(const Tensor& tensor) override {
    const graph::HostTensor host = internal::ToGraph(tensor);
    absl::StatusOr<std::string> hash = graph::ContentHash::Of(host.data, host.bytes);
    if (!hash.ok()) return hash.status();
    absl::StatusOr<absl::Time> expires =
        Upload(host, *hash, absl::InfiniteFuture(), Cancellation());
    if (!expires.ok()) return expires.status();
    return Blob(graph::ContentHash::ToText(*hash), tensor.dtype(), tensor.shape());
  }

  absl::StatusOr<BlobList> ListBlobs() override {
    v1::ListBlobsResponse response;
    absl::Status status = Call(&v1::Weft::Stub::ListBlobs, v1::ListBlobsRequest(), &response);
    if (!status.ok()) return status;
    BlobList list;
    for (const v1::Blob& blob : response.blobs()) {
      list.blobs.push_back({graph::ContentHash::ToText(blob.sha256()), blob.bytes(),
                            absl::FromUnixSeconds(blob.expires_unix_seconds())});
    }
    list.quota_bytes = response.quota_bytes();
    return list;
  }

  absl::Status DeleteBlob(const std::string& hash) override {
    absl::StatusOr<std::string> sha256 = graph::ContentHash::FromText(hash);
    if (!sha256.ok()) return sha256.status();
    constants_.Forget({*sha256});
    v1::DeleteBlobRequest request;
    request.set_sha256(*sha256);
    v1::DeleteBlobResponse response;
    return Call(&v1::Weft::Stub::DeleteBlob, request, &response);
  }

  absl::StatusOr<EditVersion> StoreEdit(const std::string& model, const std::string& name,
                                        const Program& edit,
                                        const StoreEditOptions& options) override {
    v1::StoreEditRequest request;
    request.set_model(model);
    request.set_name(name);
    request.set_client_version(kVersion);
    request.set_tokens(options.tokens);
    v1::StoreEditResponse response;
    v1::RunRequest encoded;
    // Constants that fit stay with the edit; only larger ones are blobs, which end one day.
    const absl::Status status = WithConstants(
        edit, absl::InfiniteFuture(), Cancellation(), Constants::kOnlyWhatMust, &encoded, [&] {
          request.mutable_program()->Swap(encoded.mutable_program());
          return Call(&v1::Weft::Stub::StoreEdit, request, &response);
        });
    if (!status.ok()) return status;
    return FromMessage(response.edit());
  }

  absl::StatusOr<EditList> ListEdits(const std::string& model) override {
    v1::ListEditsRequest request;
    request.set_model(model);
    v1::ListEditsResponse response;
    absl::Status status = Call(&v1::Weft::Stub::ListEdits, request, &response);
    if (!status.ok()) return status;
    EditList list;
    for (const v1::Edit& edit : response.edits()) list.edits.push_back(FromMessage(edit));
    list.quota_bytes = response.quota_bytes();
    list.quota_edits = response.quota_edits();
    return list;
  }

  absl::StatusOr<StoredEdit> GetEdit(const std::string& model, const std::string& name,
                                     uint64_t version) override {
    v1::GetEditRequest request;
    request.set_model(model);
    request.set_name(name);
    request.set_version(version);
    v1::GetEditResponse response;
    absl::Status status = Call(&v1::Weft::Stub::GetEdit, request, &response);
    if (!status.ok()) return status;
    absl::StatusOr<graph::Program> program = graph::DecodeProgram(response.program());
    if (!program.ok()) return program.status();
    return StoredEdit{FromMessage(response.edit()), Program(*std::move(program))};
  }

  absl::StatusOr<uint64_t> DeleteEdit(const std::string& model, const std::string& name,
                                      uint64_t version) override {
    v1::DeleteEditRequest request;
    request.set_model(model);
    request.set_name(name);
    request.set_version(version);
    v1::DeleteEditResponse response;
    absl::Status status = Call(&v1::Weft::Stub::DeleteEdit, request, &response);
    if (!status.ok()) return status;
    return response.deleted();
  }

 private:
  static std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target,
                                                    const RemoteOptions& options,
                                                    absl::Status* setup) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
    // Back-off is this library's: a channel that waited longer would refuse its attempts unmade.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                     ToMilliseconds(options.retry.initial_backoff / 2));
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                     ToMilliseconds(options.retry.max_backoff / 2));
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, ToMilliseconds(options.connect_timeout));
    // While a call is open, so that a run without a deadline does not wait for a machine that is
    // gone.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ToMilliseconds(kKeepaliveTime));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ToMilliseconds(kKeepaliveTimeout));
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetUserAgentPrefix(absl::StrCat("weft-client/", kVersion));
    absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
        MakeCredentials(options);
    if (!credentials.ok()) {
      // Every call says so before it would use the channel.
      *setup = credentials.status();
      credentials = grpc::InsecureChannelCredentials();
    }
    return grpc::CreateCustomChannel(target, *credentials, arguments);
  }

  static v1::RunRequest MakeRequest(const std::string& model, const RunSettings& settings) {
    v1::RunRequest request;
    request.set_model(model);
    if (settings.deadline != absl::InfiniteDuration()) {
      request.mutable_options()->set_deadline_seconds(absl::ToDoubleSeconds(settings.deadline));
    }
    request.mutable_options()->set_exclusive(settings.exclusive);
    request.mutable_options()->set_exact(settings.exact);
    request.mutable_options()->set_seed(settings.seed);
    request.mutable_options()->set_stream_tokens(settings.stream_tokens);
    for (const std::string& edit : settings.edits) request.mutable_options()->add_edits(edit);
    request.set_client_version(kVersion);
    return request;
  }

  /// Put `program` into `request`, `which` of its constants uploaded, and `send` it; once more if
  /// the server had removed one of them.
  absl::Status WithConstants(const Program& program, absl::Time deadline,
                             const Cancellation& cancellation, Constants::Which which,
                             v1::RunRequest* request, absl::FunctionRef<absl::Status()> send) {
    const auto upload = [&](const graph::HostTensor& tensor, const std::string& hash) {
      return Upload(tensor, hash, deadline, cancellation);
    };
    bool again = false;
    while (true) {
      std::vector<std::string> uploaded;
      absl::Status status = constants_.Encode(program.graph(), upload, request, &uploaded, which);
      if (!status.ok()) return status;
      if (!uploaded.empty() && deadline != absl::InfiniteFuture()) SetLeft(deadline, request);
      status = send();
      if (again || uploaded.empty() || !LacksBlob(status, program.graph())) return status;
      again = true;
      constants_.Forget(uploaded);
      request->clear_program();
    }
  }

  /// Whether `status` says that a constant that is inline in `program` was not found.
  static bool LacksBlob(const absl::Status& status, const graph::Program& program) {
    if (!absl::IsNotFound(status)) return false;
    const std::optional<ErrorDetails> error = GetError(status);
    if (!error.has_value() || error->node == 0 || error->node > program.nodes.size()) return false;
    const auto* constant = std::get_if<graph::Constant>(&program.at(error->node).kind);
    return constant != nullptr && constant->blob.empty();
  }

  /// What is left until `deadline` is the run's. It is above 0.
  static void SetLeft(absl::Time deadline, v1::RunRequest* request) {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::Milliseconds(1));
    request->mutable_options()->set_deadline_seconds(absl::ToDoubleSeconds(left));
  }

  absl::Status RunAttempts(v1::RunRequest* request, absl::Time deadline,
                           const Cancellation& cancellation,
                           absl::FunctionRef<void(RunEvent)> on_event) {
    Backoff backoff(options_.retry, deadline);
    while (true) {
      bool not_begun = false;
      const absl::Status status = RunOnce(*request, deadline, cancellation, on_event, &not_begun);
      if (!not_begun) return status;
      const absl::Time now = absl::Now();
      const std::optional<absl::Duration> delay = backoff.Next(status, now);
      if (!delay) return status;
      on_event(event::Waiting{status, *delay});
      if (!Sleep(*delay, cancellation)) {
        return absl::CancelledError("the run was cancelled before it began");
      }
      if (deadline != absl::InfiniteFuture()) SetLeft(deadline, request);
    }
  }

  /// Until when the server keeps the bytes.
  absl::StatusOr<absl::Time> Upload(const graph::HostTensor& tensor, const std::string& hash,
                                    absl::Time deadline, const Cancellation& cancellation) const {
    Backoff backoff(options_.retry, deadline);
    while (true) {
      grpc::ClientContext context;
      if (absl::Status status = Prepare(deadline, &context); !status.ok()) return status;
      const std::shared_ptr<void> cancel =
          cancellation.OnCancel([&context] { context.TryCancel(); });
      v1::UploadResponse response;
      const absl::Status status = Named(SendBlob(tensor, hash, &context, &response));
      if (status.ok()) return absl::FromUnixSeconds(response.blob().expires_unix_seconds());
      const std::optional<absl::Duration> delay = backoff.Next(status, absl::Now());
      if (!delay) return status;
      if (options_.retry.on_wait) options_.retry.on_wait({status, *delay});
      if (!Sleep(*delay, cancellation)) return absl::CancelledError("the upload was cancelled");
    }
  }

  grpc::Status SendBlob(const graph::HostTensor& tensor, const std::string& hash,
                        grpc::ClientContext* context, v1::UploadResponse* response) const {
    const std::unique_ptr<grpc::ClientWriter<v1::UploadRequest>> writer =
        stub_->Upload(context, response);
    v1::UploadRequest message;
    message.set_sha256(hash);
    message.set_bytes(tensor.bytes);
    // A write that fails is a server that needs no more, or has refused: its status says which.
    bool more = writer->Write(message);
    message.Clear();
    for (size_t at = 0; more && at < tensor.bytes; at += kUploadChunkBytes) {
      message.set_data(tensor.data + at, std::min(kUploadChunkBytes, tensor.bytes - at));
      more = writer->Write(message);
    }
    if (more) writer->WritesDone();
    return writer->Finish();
  }

  absl::Status RunOnce(const v1::RunRequest& request, absl::Time deadline,
                       const Cancellation& cancellation, absl::FunctionRef<void(RunEvent)> on_event,
                       bool* not_begun) const {
    grpc::ClientContext context;
    if (absl::Status status = Prepare(deadline + kDeadlineSlack, &context); !status.ok()) {
      return status;
    }
    const std::shared_ptr<void> cancel = cancellation.OnCancel([&context] { context.TryCancel(); });
    RunCall call(channel_, &context, options_.max_result_bytes, on_event);
    const RunCall::End end = call.Run(request);
    *not_begun = end.not_begun;
    return end.transport.ok() ? Explain(end.status) : Named(end.transport);
  }

  /// What this client cannot read may be a newer server's.
  absl::Status Explain(const absl::Status& status) const {
    if (status.code() != absl::StatusCode::kDataLoss) return status;
    grpc::ClientContext context;
    v1::ServerInfo info;
    if (!Prepare(absl::Now() + kVersionTimeout, &context).ok() ||
        !stub_->GetServerInfo(&context, v1::GetServerInfoRequest(), &info).ok() ||
        graph::CompareVersions(kVersion, info.version()).value_or(0) >= 0) {
      return status;
    }
    return absl::UnimplementedError(
        absl::StrCat(std::string(status.message()), "\n  hint: the server is ", info.version(),
                     ", this client ", kVersion, ": upgrade the client"));
  }

  absl::Status Prepare(absl::Time deadline, grpc::ClientContext* context) const {
    if (!setup_.ok()) return setup_;
    if (!api_key_.empty()) context->AddMetadata("authorization", "Bearer " + api_key_);
    if (deadline != absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
    return absl::OkStatus();
  }

  /// A call that may be made twice, made again where nobody answered.
  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (v1::Weft::Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                    const Request& request, Response* response) const {
    const absl::Time deadline = absl::Now() + options_.timeout;
    Backoff backoff(options_.retry, deadline);
    while (true) {
      grpc::ClientContext context;
      if (absl::Status status = Prepare(deadline, &context); !status.ok()) return status;
      const absl::Status status = Named(((*stub_).*method)(&context, request, response));
      if (status.ok()) return status;
      const std::optional<absl::Duration> delay = backoff.Next(status, absl::Now());
      if (!delay) return status;
      if (options_.retry.on_wait) options_.retry.on_wait({status, *delay});
      absl::SleepFor(*delay);
    }
  }

  /// Errors of the connection say whose it was.
  absl::Status Named(const grpc::Status& status) const {
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE || !status.error_details().empty()) {
      return FromGrpc(status);
    }
    return absl::UnavailableError(
        absl::StrCat("no answer from ", target_, ": ", status.error_message(),
                     ExplainTls(status.error_message(), UsesTls(options_))));
  }

  const std::string target_;
  const RemoteOptions options_;
  const std::string api_key_;
  absl::Status setup_;  // what is wrong with the options
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Weft::Stub> stub_;
  Constants constants_;
};

}  // namespace
}  // namespace weft::remote

namespace weft {

std::shared_ptr<Backend> MakeRemoteBackend(const std::string& target,
                                           const RemoteOptions& options) {
  return std::make_shared<remote::RemoteBackend>(target, options);
}

}  // namespace weft
