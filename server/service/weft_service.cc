#include "server/service/weft_service.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "server/service/client_version.h"
#include "server/service/messages.h"
#include "server/service/status.h"
#include "server/service/wire.h"

namespace weft::server {
namespace {

// Requests of more than this are parsed and planned by the pool; smaller ones are done sooner than
// a thread wakes up.
constexpr size_t kDirectBytes = 16 * 1024;

// Constants of more elements are elided in Validate's text.
constexpr int64_t kShownElements = 64;

constexpr char kAnyScope[] = "";

// A call that ends with a status before it has begun.
template <class Reactor>
class Refusal final : public Reactor {
 public:
  explicit Refusal(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};
using WriteRefusal = Refusal<grpc::ServerWriteReactor<grpc::ByteBuffer>>;
using ReadRefusal = Refusal<grpc::ServerReadReactor<grpc::ByteBuffer>>;

absl::Status Busy() {
  return absl::ResourceExhaustedError("the server has too many large requests waiting; try later");
}

absl::Status NotYet(const char* method) {
  return absl::UnimplementedError(
      absl::StrCat("weft.v1.Weft/", method, " is not available on this server yet"));
}

absl::Time CallDeadline(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

absl::StatusOr<RunOptions> DecodeOptions(const v1::RunOptions& options, const keys::Key& key,
                                         absl::Time call_deadline) {
  const auto refuse = [](const char* field) {
    return absl::UnimplementedError(
        absl::StrCat("options.", field, " is not available on this server yet: leave it out"));
  };
  if (options.priority() != 0) return refuse("priority");
  if (!options.idempotency_key().empty()) return refuse("idempotency_key");
  if (options.exact()) return refuse("exact");
  if (options.edits_size() != 0) return refuse("edits");
  const double seconds = options.deadline_seconds();
  if (!std::isfinite(seconds) || seconds < 0) {
    return absl::InvalidArgumentError(
        "options.deadline_seconds is a number of seconds from now, or 0 for none");
  }
  RunOptions decoded;
  decoded.deadline = call_deadline;
  if (seconds > 0) {
    decoded.deadline = std::min(decoded.deadline, absl::Now() + absl::Seconds(seconds));
  }
  decoded.exclusive = options.exclusive();
  decoded.seed = options.seed();
  decoded.access.weights = keys::HasScope(key, keys::kWeightsScope);
  return decoded;
}

// What this server cannot parse may be a newer client's.
template <class Request>
absl::Status Parse(const grpc::ByteBuffer& bytes, uint64_t max_bytes, Request* message) {
  absl::Status parsed = ParseRequest(bytes, max_bytes, message);
  if (parsed.ok() || !std::is_same_v<Request, v1::RunRequest>) return parsed;
  return WithVersions(parsed, FindClientVersion(bytes));
}

// And so may what it does not execute.
template <class Request>
absl::Status Explain(const absl::Status& status, const grpc::ByteBuffer& request) {
  if (!std::is_same_v<Request, v1::RunRequest> || !absl::IsUnimplemented(status)) return status;
  return WithVersions(status, FindClientVersion(request));
}

keys::Key Anyone() {
  keys::Key key;
  key.label = "everyone: the server runs without keys";
  key.scopes = {keys::kTraceScope, keys::kWeightsScope, keys::kAdminScope};
  key.models = {"*"};
  return key;
}

}  // namespace

WeftService::WeftService(Engine* engine, const keys::KeyStore* keys, Options options,
                         std::shared_ptr<RunRegistry> registry, WorkerPool* pool)
    : engine_(engine),
      keys_(keys),
      options_(std::move(options)),
      anyone_(Anyone()),
      registry_(std::move(registry)),
      pool_(pool) {}

absl::StatusOr<keys::Key> WeftService::Authenticate(
    const grpc::CallbackServerContext& context) const {
  if (keys_ == nullptr) return anyone_;
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  if (begin == end) return keys_->Authenticate("");
  if (std::next(begin) != end) {
    return absl::UnauthenticatedError("the metadata has several 'authorization' entries");
  }
  const std::string value(begin->second.data(), begin->second.size());
  constexpr char kBearer[] = "bearer ";
  constexpr size_t kBearerBytes = sizeof(kBearer) - 1;
  if (absl::AsciiStrToLower(value.substr(0, kBearerBytes)) != kBearer) {
    return absl::UnauthenticatedError(
        "malformed 'authorization' metadata: it reads 'Bearer weft_<id>_<secret>'");
  }
  return keys_->Authenticate(value.substr(kBearerBytes));
}

absl::StatusOr<keys::Key> WeftService::Admit(const grpc::CallbackServerContext& context,
                                             const std::string& scope) const {
  absl::StatusOr<keys::Key> key = Authenticate(context);
  if (!key.ok() || scope.empty()) return key;
  if (absl::Status allowed = keys::RequireScope(*key, scope); !allowed.ok()) return allowed;
  return key;
}

template <class Work>
bool WeftService::Dispatch(const grpc::ByteBuffer& request, Work work) {
  if (request.Length() > kDirectBytes) return pool_->Post(std::move(work));
  work();
  return true;
}

template <class Request, class Response, class Handler>
grpc::ServerUnaryReactor* WeftService::Answer(const char* method, const std::string& scope,
                                              grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response, Handler handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  keys::Key key;
  const absl::Status admitted = CatchAll(method, [&] {
    absl::StatusOr<keys::Key> found = Admit(*context, scope);
    if (!found.ok()) return found.status();
    key = *std::move(found);
    return absl::OkStatus();
  });
  if (!admitted.ok()) {
    spdlog::info("{} refused: {}", method, absl::StatusCodeToString(admitted.code()));
    reactor->Finish(ToGrpcStatus(admitted));
    return reactor;
  }
  const bool taken = Dispatch(*request, [=, this, key = std::move(key)] {
    const absl::Status status = CatchAll(method, [&] {
      Request message;
      absl::Status parsed = Parse(*request, options_.request_bytes, &message);
      if (!parsed.ok()) return parsed;
      Response answer;
      absl::Status handled = Explain<Request>(handler(key, message, &answer), *request);
      if (handled.ok()) *response = Serialize(answer);
      return handled;
    });
    spdlog::debug("{} of key {}: {}", method, key.id.empty() ? "-" : key.id,
                  absl::StatusCodeToString(status.code()));
    reactor->Finish(ToGrpcStatus(status));
  });
  if (!taken) reactor->Finish(ToGrpcStatus(Busy()));
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Run(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request) {
  keys::Key key;
  std::shared_ptr<RunStream> stream;
  const absl::Status admitted = CatchAll("Run", [&] {
    absl::StatusOr<keys::Key> found = Admit(*context, keys::kTraceScope);
    if (!found.ok()) return found.status();
    key = *std::move(found);
    absl::StatusOr<std::shared_ptr<RunStream>> opened = RunStream::Open(context, registry_, key.id);
    if (!opened.ok()) return opened.status();
    stream = *std::move(opened);
    return absl::OkStatus();
  });
  if (!admitted.ok()) {
    spdlog::info("Run refused: {}", absl::StatusCodeToString(admitted.code()));
    return new WriteRefusal(admitted);
  }
  const absl::Time call_deadline = CallDeadline(*context);
  // The buffer is shared: gRPC's own may be gone when the pool comes to it.
  const bool taken =
      Dispatch(*request, [this, stream, call_deadline, key = std::move(key), bytes = *request] {
        const absl::Status started = CatchAll("Run", [&] {
          return Explain<v1::RunRequest>(StartRun(key, bytes, call_deadline, stream.get()), bytes);
        });
        if (!started.ok()) stream->End(started);
      });
  if (!taken) stream->End(Busy());
  return stream.get();
}

absl::Status WeftService::StartRun(const keys::Key& key, const grpc::ByteBuffer& bytes,
                                   absl::Time call_deadline, RunStream* stream) {
  v1::RunRequest request;
  if (absl::Status parsed = Parse(bytes, options_.request_bytes, &request); !parsed.ok()) {
    return parsed;
  }
  if (absl::Status allowed = keys::RequireModel(key, request.model()); !allowed.ok()) {
    return allowed;
  }
  absl::StatusOr<RunOptions> options = DecodeOptions(request.options(), key, call_deadline);
  if (!options.ok()) return options.status();
  absl::StatusOr<graph::Program> program = graph::DecodeProgram(request.program());
  if (!program.ok()) return program.status();
  request.clear_program();
  absl::StatusOr<std::shared_ptr<Job>> job =
      engine_->Submit(request.model(), *std::move(program), *options, stream->Sink());
  if (!job.ok()) return job.status();
  stream->SetJob(*std::move(job), request.model());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* WeftService::Validate(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  const absl::Time call_deadline = CallDeadline(*context);
  return Answer<v1::RunRequest, v1::ValidateResponse>(
      "Validate", keys::kTraceScope, context, request, response,
      [this, call_deadline](const keys::Key& key, const v1::RunRequest& message,
                            v1::ValidateResponse* answer) -> absl::Status {
        absl::Status allowed = keys::RequireModel(key, message.model());
        if (!allowed.ok()) return allowed;
        absl::StatusOr<RunOptions> options = DecodeOptions(message.options(), key, call_deadline);
        if (!options.ok()) return options.status();
        absl::StatusOr<graph::Program> program = graph::DecodeProgram(message.program());
        if (!program.ok()) return program.status();
        absl::StatusOr<Validation> validation =
            engine_->Validate(message.model(), *program, *options);
        if (!validation.ok()) return validation.status();
        answer->set_text(graph::PrintProgram(*program, kShownElements));
        return EncodeValidation(*validation, answer);
      });
}

grpc::ServerUnaryReactor* WeftService::GetServerInfo(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return Answer<v1::GetServerInfoRequest, v1::ServerInfo>(
      "GetServerInfo", kAnyScope, context, request, response,
      [this](const keys::Key&, const v1::GetServerInfoRequest&, v1::ServerInfo* answer) {
        answer->set_version(kVersion);
        for (const std::string& feature : options_.features) answer->add_features(feature);
        answer->set_device(engine_->device());
        EncodeLimits(engine_->limits(), options_.request_bytes, answer->mutable_limits());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::WhoAmI(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return Answer<v1::WhoAmIRequest, v1::WhoAmIResponse>(
      "WhoAmI", kAnyScope, context, request, response,
      [](const keys::Key& key, const v1::WhoAmIRequest&, v1::WhoAmIResponse* answer) {
        answer->set_key_id(key.id);
        answer->set_label(key.label);
        for (const std::string& scope : key.scopes) answer->add_scopes(scope);
        for (const std::string& glob : key.models) answer->add_models(glob);
        if (key.expires != absl::InfiniteFuture()) {
          answer->set_expires_unix_seconds(absl::ToUnixSeconds(key.expires));
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::ListOperators(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return Answer<v1::ListOperatorsRequest, v1::ListOperatorsResponse>(
      "ListOperators", kAnyScope, context, request, response,
      [this](const keys::Key&, const v1::ListOperatorsRequest&, v1::ListOperatorsResponse* answer) {
        EncodeOperators(engine_->ListOperators(), answer);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::ListModels(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return Answer<v1::ListModelsRequest, v1::ListModelsResponse>(
      "ListModels", kAnyScope, context, request, response,
      [this](const keys::Key& key, const v1::ListModelsRequest&, v1::ListModelsResponse* answer) {
        for (const ModelSummary& summary : engine_->ListModels()) {
          if (keys::HasModel(key, summary.name)) EncodeSummary(summary, answer->add_models());
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::GetModel(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  return Answer<v1::GetModelRequest, v1::Model>(
      "GetModel", kAnyScope, context, request, response,
      [this](const keys::Key& key, const v1::GetModelRequest& message,
             v1::Model* answer) -> absl::Status {
        absl::Status allowed = keys::RequireModel(key, message.name());
        if (!allowed.ok()) return allowed;
        absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine_->GetModel(message.name());
        if (!info.ok()) return info.status();
        absl::StatusOr<uint64_t> passes = engine_->CountPasses(message.name());
        if (!passes.ok()) return passes.status();
        EncodeModel(**info, *passes, answer);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::Tokenize(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  return Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      "Tokenize", keys::kTraceScope, context, request, response,
      [this](const keys::Key& key, const v1::TokenizeRequest& message,
             v1::TokenizeResponse* answer) -> absl::Status {
        absl::Status allowed = keys::RequireModel(key, message.model());
        if (!allowed.ok()) return allowed;
        absl::StatusOr<std::vector<TokenPieces>> rows =
            engine_->Tokenize(message.model(), {message.texts().begin(), message.texts().end()},
                              !message.no_special_tokens());
        if (!rows.ok()) return rows.status();
        for (const TokenPieces& row : *rows) {
          v1::Tokens* out = answer->add_rows();
          out->mutable_ids()->Assign(row.ids.begin(), row.ids.end());
          out->mutable_pieces()->Assign(row.pieces.begin(), row.pieces.end());
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::Detokenize(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      "Detokenize", keys::kTraceScope, context, request, response,
      [this](const keys::Key& key, const v1::DetokenizeRequest& message,
             v1::DetokenizeResponse* answer) -> absl::Status {
        absl::Status allowed = keys::RequireModel(key, message.model());
        if (!allowed.ok()) return allowed;
        std::vector<std::vector<int64_t>> rows;
        rows.reserve(static_cast<size_t>(message.rows_size()));
        for (const v1::TokenRow& row : message.rows()) {
          rows.emplace_back(row.ids().begin(), row.ids().end());
        }
        absl::StatusOr<std::vector<std::string>> texts =
            engine_->Detokenize(message.model(), rows, message.skip_special_tokens());
        if (!texts.ok()) return texts.status();
        for (std::string& text : *texts) answer->add_texts(std::move(text));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::Submit(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return Answer<v1::RunRequest, v1::SubmitResponse>(
      "Submit", keys::kTraceScope, context, request, response,
      [](const keys::Key&, const v1::RunRequest&, v1::SubmitResponse*) {
        return NotYet("Submit");
      });
}

grpc::ServerUnaryReactor* WeftService::Cancel(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return Answer<v1::CancelRequest, v1::CancelResponse>(
      "Cancel", keys::kTraceScope, context, request, response,
      [](const keys::Key&, const v1::CancelRequest&, v1::CancelResponse*) {
        return NotYet("Cancel");
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Watch(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer*) {
  return new WriteRefusal(CatchAll("Watch", [&] {
    const absl::Status admitted = Admit(*context, keys::kTraceScope).status();
    return admitted.ok() ? NotYet("Watch") : admitted;
  }));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Fetch(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer*) {
  return new WriteRefusal(CatchAll("Fetch", [&] {
    const absl::Status admitted = Admit(*context, keys::kTraceScope).status();
    return admitted.ok() ? NotYet("Fetch") : admitted;
  }));
}

grpc::ServerReadReactor<grpc::ByteBuffer>* WeftService::Upload(grpc::CallbackServerContext* context,
                                                               grpc::ByteBuffer*) {
  return new ReadRefusal(CatchAll("Upload", [&] {
    const absl::Status admitted = Admit(*context, keys::kTraceScope).status();
    return admitted.ok() ? NotYet("Upload") : admitted;
  }));
}

}  // namespace weft::server
