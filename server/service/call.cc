#include "server/service/call.h"

#include <grpcpp/alarm.h>
#include <spdlog/spdlog.h>

#include <iterator>

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

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

}  // namespace

void Call::SetModel(const std::string& name) { model = CutText(name, kMaxModelBytes); }

absl::Status Busy() {
  return absl::ResourceExhaustedError("the server has too many large requests waiting; try later");
}

Gate::Gate(const keys::KeyStore* keys, std::vector<Listener> listeners)
    : keys_(keys), listeners_(std::move(listeners)), anyone_(Anyone()) {}

Call Gate::Begin(const std::string& method, const grpc::CallbackServerContext& context) const {
  Call call;
  call.method = method;
  call.arrived = absl::Now();
  call.peer = context.peer();
  const auto traceparent = context.client_metadata().find("traceparent");
  if (traceparent != context.client_metadata().end()) {
    call.trace_id =
        ParseTraceparent({traceparent->second.data(), traceparent->second.size()}).value_or("");
  }
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
  spdlog::debug("{} of key {}: {}", call.method, OrDash(call.key.id),
                absl::StatusCodeToString(code));
  const CallEnd end{code, limit, absl::Now()};
  for (const Listener& listener : listeners_) listener(call, end);
}

void Gate::Refuse(const Call& call, const absl::Status& status,
                  std::function<void(const grpc::Status&)> finish) {
  End(call, status);
  absl::Duration hold;
  if (absl::IsUnauthenticated(status)) hold = throttle_.CountFailure(call.peer);
  // Whoever is held is not worth a line each.
  if (hold == absl::ZeroDuration()) {
    spdlog::info("{} of key {} refused: {}", call.method, OrDash(call.key.id),
                 absl::StatusCodeToString(status.code()));
  }
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
