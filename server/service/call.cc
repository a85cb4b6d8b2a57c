#include "server/service/call.h"

#include <grpcpp/alarm.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/service/trace_context.h"

namespace weft::server {
namespace {

constexpr size_t kMaxModelBytes = 128;
// More answers are not held: each costs memory.
constexpr int kMaxHeld = 1024;

keys::Key Anyone() {
  keys::Key key;
  key.label = "everyone: the server runs without keys";
  key.scopes = {keys::kTraceScope, keys::kWeightsScope, keys::kAdminScope};
  key.models = {"*"};
  return key;
}

std::string TraceIdOf(const grpc::CallbackServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("traceparent");
  if (begin != end && std::next(begin) == end) {
    std::optional<std::string> id = ParseTraceparent({begin->second.data(), begin->second.size()});
    if (id.has_value()) return *std::move(id);
  }
  return NewTraceId();
}

spdlog::level::level_enum LevelOf(const Call& call, absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return spdlog::level::warn;
    case absl::StatusCode::kOk:
      return call.job_id.empty() ? spdlog::level::debug : spdlog::level::info;
    default:
      return spdlog::level::info;
  }
}

}  // namespace

void Call::SetModel(const std::string& name) { model = CutText(name, kMaxModelBytes); }

LogFields Call::log_fields() const {
  LogFields fields = {{"method", method}, {"trace", trace_id}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) fields.push_back({name, value});
  };
  add("key", key.id);
  add("model", model);
  add("job", job_id);
  return fields;
}

absl::Status Busy() {
  return absl::ResourceExhaustedError("the server has too many large requests waiting; try later");
}

Gate::Gate(const keys::KeyStore* keys, std::shared_ptr<metrics::Metrics> metrics,
           std::vector<Listener> listeners)
    : keys_(keys),
      metrics_(std::move(metrics)),
      listeners_(std::move(listeners)),
      anyone_(Anyone()) {}

Call Gate::Begin(const std::string& method, grpc::CallbackServerContext* context) const {
  Call call;
  call.method = method;
  call.arrived = absl::Now();
  call.peer = context->peer();
  call.trace_id = TraceIdOf(*context);
  context->AddTrailingMetadata("weft-trace-id", call.trace_id);
  if (metrics_ != nullptr) metrics_->active_calls.Increment();
  return call;
}

absl::StatusOr<keys::Key> Gate::Authenticate(const grpc::CallbackServerContext& context) const {
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

absl::Status Gate::Admit(const grpc::CallbackServerContext& context, const std::string& scope,
                         Call* call) {
  absl::StatusOr<keys::Key> key = Authenticate(context);
  if (!key.ok()) return key.status();
  call->key = *std::move(key);
  if (absl::Status taken = limiter_.TakeRequest(call->key); !taken.ok()) return taken;
  return scope.empty() ? absl::OkStatus() : keys::RequireScope(call->key, scope);
}

void Gate::End(const Call& call, const absl::Status& status) const {
  End(call, status.code(), limits::NameOf(status));
}

void Gate::End(const Call& call, absl::StatusCode code, const std::string& limit) const {
  const CallEnd end{code, limit, absl::Now()};
  Count(call, end);
  Tell(call, end);
}

void Gate::Count(const Call& call, const CallEnd& end) const {
  for (const Listener& listener : listeners_) listener(call, end);
  if (metrics_ == nullptr) return;
  metrics_->active_calls.Decrement();
  metrics_->CountCall(call.method, end.code, absl::ToDoubleSeconds(end.time - call.arrived));
  if (!call.job_id.empty()) metrics_->CountRun(call.model, end.code);
  if (call.job_id.empty() || !end.limit.empty()) metrics_->CountRefusal(end.code, end.limit);
}

void Gate::Tell(const Call& call, const CallEnd& end) const {
  const spdlog::level::level_enum level = LevelOf(call, end.code);
  if (!spdlog::should_log(level)) return;
  LogFields fields = call.log_fields();
  fields.push_back({"code", metrics::CodeName(end.code)});
  if (!end.limit.empty()) fields.push_back({"limit", end.limit});
  const double milliseconds = absl::ToDoubleMilliseconds(end.time - call.arrived);
  fields.push_back({"ms", std::round(milliseconds * 10) / 10});
  const LogScope scope(std::move(fields));
  spdlog::log(level, !call.job_id.empty()                ? "run ended"
                     : end.code == absl::StatusCode::kOk ? "call ended"
                                                         : "call refused");
}

void Gate::Refuse(const Call& call, const absl::Status& status,
                  std::function<void(const grpc::Status&)> finish) {
  const CallEnd end{status.code(), limits::NameOf(status), absl::Now()};
  Count(call, end);
  absl::Duration hold;
  if (absl::IsUnauthenticated(status)) hold = throttle_.CountFailure(call.peer);
  // Whoever is held is not worth a line each.
  if (hold == absl::ZeroDuration()) Tell(call, end);
  if (hold == absl::ZeroDuration() || held_.fetch_add(1) >= kMaxHeld) {
    if (hold != absl::ZeroDuration()) --held_;
    finish(ToGrpcStatus(status));
    return;
  }
  auto* const alarm = new grpc::Alarm();
  alarm->Set(absl::ToChronoTime(absl::Now() + hold),
             [this, alarm, finish = std::move(finish), status = ToGrpcStatus(status)](bool) {
               --held_;
               finish(status);
               delete alarm;  // keeps this function until it has returned
             });
}

}  // namespace weft::server
