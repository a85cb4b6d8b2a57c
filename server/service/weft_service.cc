#include "server/service/weft_service.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/message_arena.h"
#include "engine/graph/text.h"
#include "server/limits/limiter.h"
#include "server/service/admin_messages.h"
#include "server/service/client_version.h"
#include "server/service/messages.h"
#include "server/service/program_blobs.h"
#include "server/service/status.h"
#include "server/service/wire.h"

namespace weft::server {
namespace {

// Constants of more elements are elided in Validate's text.
constexpr int64_t kShownElements = 64;

constexpr char kAnyScope[] = "";
constexpr char kRunMethod[] = "weft.v1.Weft/Run";

using WriteRefusal = Refusal<grpc::ServerWriteReactor<grpc::ByteBuffer>>;

absl::Status NotYet(const char* method) {
  return absl::UnimplementedError(absl::StrCat(method, " is not available on this server yet"));
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
  decoded.exact = options.exact();
  decoded.seed = options.seed();
  decoded.stream_tokens = options.stream_tokens();
  decoded.owner = key.id;
  decoded.access.weights = keys::HasScope(key, keys::kWeightsScope);
  return decoded;
}

// Programs that generate more than the key may are refused for that, whatever else they do.
absl::Status CheckGeneration(const keys::Key& key, const v1::Program& program) {
  for (const v1::Node& node : program.nodes()) {
    if (!node.has_trace()) continue;
    absl::Status checked =
        limits::CheckGeneratedTokens(key, node.trace().generate().max_new_tokens());
    if (!checked.ok()) return checked;
  }
  return absl::OkStatus();
}

// Whether the run may take a disk's time. Edits may have blobs too.
bool ReadsBlobs(const v1::RunRequest& request) {
  if (request.options().edits_size() > 0) return true;
  const auto& nodes = request.program().nodes();
  return std::any_of(nodes.begin(), nodes.end(), [](const v1::Node& node) {
    return node.has_constant() && node.constant().has_blob();
  });
}

}  // namespace

WeftService::WeftService(Engine* engine, Gate* gate, Options options,
                         std::shared_ptr<RunRegistry> registry, WorkerPool* pool,
                         RunStream::Keeper keeper, edits::EditStore* edits)
    : engine_(engine),
      gate_(gate),
      options_(std::move(options)),
      registry_(std::move(registry)),
      pool_(pool),
      keeper_(keeper),
      edits_{engine, edits, keeper.store, options_.request_bytes},
      unary_(gate, pool, options_.request_bytes) {}

template <class Reactor>
Reactor* WeftService::NotAvailable(const char* method, grpc::CallbackServerContext* context) {
  auto* const refusal = new Refusal<Reactor>();
  Call call;
  const absl::Status status = CatchAll(method, [&] {
    call = gate_->Begin(method, context);
    const absl::Status admitted = gate_->Admit(*context, keys::kTraceScope, &call);
    return admitted.ok() ? NotYet(method) : admitted;
  });
  gate_->Refuse(call, status, [refusal](const grpc::Status& end) { refusal->Finish(end); });
  return refusal;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Run(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request) {
  Call call;
  std::shared_ptr<RunStream> stream;
  const absl::Status admitted = CatchAll(kRunMethod, [&] {
    call = gate_->Begin(kRunMethod, context);
    absl::Status allowed = gate_->Admit(*context, keys::kTraceScope, &call);
    if (!allowed.ok()) return allowed;
    absl::StatusOr<limits::RunSlot> slot = gate_->limiter().StartRun(call.key);
    if (!slot.ok()) return slot.status();
    absl::StatusOr<std::shared_ptr<RunStream>> opened =
        RunStream::Open(context, registry_, gate_, call, *std::move(slot), keeper_);
    if (!opened.ok()) return opened.status();
    stream = *std::move(opened);
    return absl::OkStatus();
  });
  if (!admitted.ok()) {
    auto* const refusal = new WriteRefusal();
    gate_->Refuse(call, admitted, [refusal](const grpc::Status& end) { refusal->Finish(end); });
    return refusal;
  }
  const auto run = std::make_shared<const WantedRun>(
      WantedRun{call.key, call.log_fields(), *request, CallDeadline(*context), stream});
  if (request->Length() <= kDirectBytes) {
    StartRun(run, /*may_read=*/false);
  } else if (!pool_->Post([this, run] { StartRun(run, /*may_read=*/false); })) {
    stream->End(Busy());
  }
  return stream.get();
}

void WeftService::StartRun(const std::shared_ptr<const WantedRun>& run, bool may_read) {
  if (run->stream->ended()) return;  // while it waited for the pool
  const LogScope scope(run->fields);
  const absl::Status started = CatchAll(
      kRunMethod, [&] { return Explain<v1::RunRequest>(TryRun(run, may_read), run->bytes); });
  if (!started.ok()) run->stream->End(started);
}

absl::Status WeftService::TryRun(const std::shared_ptr<const WantedRun>& run, bool may_read) {
  const keys::Key& key = run->key;
  RunStream* const stream = run->stream.get();
  graph::MessageArena arena;
  auto& request = *arena.Make<v1::RunRequest>();
  if (absl::Status parsed = Parse(run->bytes, options_.request_bytes, &request); !parsed.ok()) {
    return parsed;
  }
  const std::string model = request.model();
  stream->SetModel(model);
  if (absl::Status allowed = keys::RequireModel(key, model); !allowed.ok()) return allowed;
  absl::StatusOr<RunOptions> options = DecodeOptions(request.options(), key, run->deadline);
  if (!options.ok()) return options.status();
  if (absl::Status allowed = CheckGeneration(key, request.program()); !allowed.ok()) {
    return allowed;
  }
  if (!may_read && ReadsBlobs(request)) {
    const bool posted = keeper_.pool->Post([this, run] { StartRun(run, /*may_read=*/true); });
    return posted ? absl::OkStatus() : Busy();
  }
  absl::StatusOr<graph::Program> program = graph::DecodeProgram(request.program());
  if (!program.ok()) return program.status();
  absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> edited =
      edits_.Apply(key, model, request.options(), *program);
  if (!edited.ok()) return edited.status();
  arena.Clear();  // the program has copies of its constants, which may be large
  if (*edited == nullptr) {
    return SubmitRun(key, model, *std::move(program), *std::move(options), stream->Sink(), stream);
  }
  stream->SetEdits((*edited)->names());
  return (*edited)->Explain(SubmitRun(key, model, (*edited)->program(), *std::move(options),
                                      ExplainingSink(*edited, stream->Sink()), stream));
}

absl::Status WeftService::SubmitRun(const keys::Key& key, const std::string& model,
                                    graph::Program program, RunOptions options, EventSink sink,
                                    RunStream* stream) {
  absl::StatusOr<UsedBlobs> blobs = FindBlobs(key, keeper_.store, &program);
  if (!blobs.ok()) return blobs.status();
  std::vector<std::shared_ptr<const blobs::MappedFile>> files;
  for (const auto& blob : *blobs) files.push_back(blob->file);
  // Until the run's end, which may come before this returns.
  stream->HoldBlobs(*std::move(blobs));
  uint64_t tokens = 0;
  options.admit = [&](const Cost& estimate) {
    if (stream->ended()) return absl::CancelledError("nobody waits for the run any more");
    absl::Status allowed = limits::CheckResultBytes(key, estimate.result_bytes);
    if (allowed.ok()) allowed = gate_->limiter().TakeTokens(key, estimate.tokens);
    if (!allowed.ok()) return allowed;
    tokens = estimate.tokens;
    stream->SetTokens(tokens);
    // Now that it will run: the model's thread is not to wait for the disk.
    for (size_t i = 0; i < files.size() && allowed.ok(); ++i) allowed = files[i]->Load();
    return allowed;
  };
  absl::StatusOr<std::shared_ptr<Job>> job =
      engine_->Submit(model, std::move(program), options, std::move(sink));
  if (!job.ok()) {
    gate_->limiter().GiveTokens(key, tokens);
    stream->SetTokens(0);
    return job.status();
  }
  stream->SetJob(*std::move(job));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* WeftService::Validate(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  const absl::Time call_deadline = CallDeadline(*context);
  return unary_.Answer<v1::RunRequest, v1::ValidateResponse>(
      "weft.v1.Weft/Validate", keys::kTraceScope, context, request, response,
      [this, call_deadline](Call* call, const v1::RunRequest& message,
                            v1::ValidateResponse* answer) -> absl::Status {
        call->SetModel(message.model());
        absl::Status allowed = keys::RequireModel(call->key, message.model());
        if (!allowed.ok()) return allowed;
        absl::StatusOr<RunOptions> options =
            DecodeOptions(message.options(), call->key, call_deadline);
        if (!options.ok()) return options.status();
        allowed = CheckGeneration(call->key, message.program());
        if (!allowed.ok()) return allowed;
        absl::StatusOr<graph::Program> program = graph::DecodeProgram(message.program());
        if (!program.ok()) return program.status();
        absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> edited =
            edits_.Apply(call->key, message.model(), message.options(), *program);
        if (!edited.ok()) return edited.status();
        const graph::EditedProgram* const applied = edited->get();
        const auto explain = [applied](const absl::Status& status) {
          return applied == nullptr ? status : applied->Explain(status);
        };
        if (applied != nullptr) program = applied->program();
        absl::StatusOr<UsedBlobs> blobs = FindBlobs(call->key, keeper_.store, &*program);
        if (!blobs.ok()) return explain(blobs.status());
        absl::StatusOr<Validation> validation =
            engine_->Validate(message.model(), *program, *options);
        if (!validation.ok()) return explain(validation.status());
        answer->set_text(graph::PrintProgram(*program, kShownElements));
        if (applied != nullptr) {
          for (const std::string& name : applied->names()) answer->add_edits(name);
          for (graph::Error& warning : validation->warnings) warning = applied->Explain(warning);
        }
        return EncodeValidation(*validation, answer);
      });
}

grpc::ServerUnaryReactor* WeftService::GetServerInfo(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return unary_.Answer<v1::GetServerInfoRequest, v1::ServerInfo>(
      "weft.v1.Weft/GetServerInfo", kAnyScope, context, request, response,
      [this](Call*, const v1::GetServerInfoRequest&, v1::ServerInfo* answer) {
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
  return unary_.Answer<v1::WhoAmIRequest, v1::WhoAmIResponse>(
      "weft.v1.Weft/WhoAmI", kAnyScope, context, request, response,
      [](Call* call, const v1::WhoAmIRequest&, v1::WhoAmIResponse* answer) {
        const keys::Key& key = call->key;
        answer->set_key_id(key.id);
        answer->set_label(key.label);
        for (const std::string& scope : key.scopes) answer->add_scopes(scope);
        for (const std::string& glob : key.models) answer->add_models(glob);
        if (key.expires != absl::InfiniteFuture()) {
          answer->set_expires_unix_seconds(absl::ToUnixSeconds(key.expires));
        }
        admin::EncodeKeyLimits(key.limits, answer->mutable_limits());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::ListOperators(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return unary_.Answer<v1::ListOperatorsRequest, v1::ListOperatorsResponse>(
      "weft.v1.Weft/ListOperators", kAnyScope, context, request, response,
      [this](Call*, const v1::ListOperatorsRequest&, v1::ListOperatorsResponse* answer) {
        EncodeOperators(engine_->ListOperators(), answer);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::ListModels(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return unary_.Answer<v1::ListModelsRequest, v1::ListModelsResponse>(
      "weft.v1.Weft/ListModels", kAnyScope, context, request, response,
      [this](Call* call, const v1::ListModelsRequest&, v1::ListModelsResponse* answer) {
        for (const ModelSummary& summary : engine_->ListModels()) {
          if (keys::HasModel(call->key, summary.name)) EncodeSummary(summary, answer->add_models());
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::GetModel(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  return unary_.Answer<v1::GetModelRequest, v1::Model>(
      "weft.v1.Weft/GetModel", kAnyScope, context, request, response,
      [this](Call* call, const v1::GetModelRequest& message, v1::Model* answer) -> absl::Status {
        call->SetModel(message.name());
        absl::Status allowed = keys::RequireModel(call->key, message.name());
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
  return unary_.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      "weft.v1.Weft/Tokenize", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::TokenizeRequest& message,
             v1::TokenizeResponse* answer) -> absl::Status {
        call->SetModel(message.model());
        absl::Status allowed = keys::RequireModel(call->key, message.model());
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
  return unary_.Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      "weft.v1.Weft/Detokenize", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::DetokenizeRequest& message,
             v1::DetokenizeResponse* answer) -> absl::Status {
        call->SetModel(message.model());
        absl::Status allowed = keys::RequireModel(call->key, message.model());
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
  return unary_.Answer<v1::RunRequest, v1::SubmitResponse>(
      "weft.v1.Weft/Submit", keys::kTraceScope, context, request, response,
      [](Call*, const v1::RunRequest&, v1::SubmitResponse*) {
        return NotYet("weft.v1.Weft/Submit");
      });
}

grpc::ServerUnaryReactor* WeftService::Cancel(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return unary_.Answer<v1::CancelRequest, v1::CancelResponse>(
      "weft.v1.Weft/Cancel", keys::kTraceScope, context, request, response,
      [](Call*, const v1::CancelRequest&, v1::CancelResponse*) {
        return NotYet("weft.v1.Weft/Cancel");
      });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Watch(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer*) {
  return NotAvailable<grpc::ServerWriteReactor<grpc::ByteBuffer>>("weft.v1.Weft/Watch", context);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WeftService::Fetch(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer*) {
  return NotAvailable<grpc::ServerWriteReactor<grpc::ByteBuffer>>("weft.v1.Weft/Fetch", context);
}

}  // namespace weft::server
