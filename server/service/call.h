#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/keys/key.h"
#include "server/keys/key_store.h"
#include "server/limits/limiter.h"
#include "server/limits/peer_throttle.h"
#include "server/log.h"
#include "server/metrics/metrics.h"
#include "server/service/client_version.h"
#include "server/service/status.h"
#include "server/service/worker_pool.h"

namespace weft::server {

/// One call from its arrival to its status: who makes it, and what those who count and write down
/// may know about it. Never contents.
struct Call {
  std::string method;  // `weft.v1.Weft/Run`
  absl::Time arrived;
  std::string peer;      // `ipv4:10.0.0.7:51234`
  std::string trace_id;  // of the metadata `traceparent`, or a new one
  keys::Key key;         // without an id where none was recognised
  std::string model;     // as asked for
  std::string job_id;
  std::string subject;  // what it was about: the id of a key, the hash of a blob, an edit
  uint64_t tokens = 0;
  uint64_t result_bytes = 0;

  void SetModel(const std::string& name);
  /// What the log says in each line about it.
  LogFields log_fields() const;
};

/// How a call ended.
struct CallEnd {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string limit;  // that refused or ended it (limits::NameOf); empty if none did
  absl::Time time;
};

/// What every call of every service passes: who makes it and what they may do, before anything is
/// parsed; at its end, those are told who want to know. Thread-safe.
class Gate {
 public:
  using Listener = std::function<void(const Call&, const CallEnd&)>;

  /// Without `keys` (null) every caller may do everything. `metrics` may be null. Listeners must be
  /// quick.
  Gate(const keys::KeyStore* keys, std::shared_ptr<metrics::Metrics> metrics,
       std::vector<Listener> listeners);

  /// The caller is told the trace's id as `weft-trace-id` in the trailing metadata.
  Call Begin(const std::string& method, grpc::CallbackServerContext* context) const;
  /// Recognise the key of the call's metadata, count the call and see that the key has `scope`
  /// (empty: any key will do).
  absl::Status Admit(const grpc::CallbackServerContext& context, const std::string& scope,
                     Call* call);
  void End(const Call& call, const absl::Status& status) const;
  void End(const Call& call, absl::StatusCode code, const std::string& limit) const;

  /// End a call that has not begun: `finish` is given its status, later where somebody guesses
  /// keys.
  void Refuse(const Call& call, const absl::Status& status,
              std::function<void(const grpc::Status&)> finish);

  limits::Limiter& limiter() { return limiter_; }
  bool has_keys() const { return keys_ != nullptr; }

 private:
  absl::StatusOr<keys::Key> Authenticate(const grpc::CallbackServerContext& context) const;
  void Count(const Call& call, const CallEnd& end) const;
  void Tell(const Call& call, const CallEnd& end) const;

  const keys::KeyStore* const keys_;
  const std::shared_ptr<metrics::Metrics> metrics_;
  const std::vector<Listener> listeners_;
  const keys::Key anyone_;
  limits::Limiter limiter_;
  limits::PeerThrottle throttle_;
  std::atomic<int> held_ = 0;
};

/// Requests of more bytes are parsed and planned by the pool; smaller ones are done sooner than a
/// thread wakes up.
inline constexpr size_t kDirectBytes = 16 * 1024;

/// The pool is full.
absl::Status Busy();

/// Answers unary calls: admit, parse, handle, serialise. Thread-safe.
class UnaryCalls {
 public:
  UnaryCalls(Gate* gate, WorkerPool* pool, uint64_t request_bytes)
      : gate_(gate), pool_(pool), request_bytes_(request_bytes) {}

  /// Call `handler(Call*, const Request&, Response*)` if the caller's key has `scope`, and answer
  /// with its response or its status.
  template <class Request, class Response, class Handler>
  grpc::ServerUnaryReactor* Answer(const char* method, const std::string& scope,
                                   grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
                                   Handler handler) const {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    const auto finish = [reactor](const grpc::Status& status) { reactor->Finish(status); };
    Call call;
    const absl::Status admitted = CatchAll(method, [&] {
      call = gate_->Begin(method, context);
      return gate_->Admit(*context, scope, &call);
    });
    if (!admitted.ok()) {
      gate_->Refuse(call, admitted, finish);
      return reactor;
    }
    auto work = [=, this]() mutable {
      const LogScope scope(call.log_fields());
      const absl::Status status = CatchAll(method, [&] {
        Request message;
        absl::Status parsed = Parse(*request, request_bytes_, &message);
        if (!parsed.ok()) return parsed;
        Response answer;
        absl::Status handled = Explain<Request>(handler(&call, message, &answer), *request);
        if (handled.ok()) *response = Serialize(answer);
        return handled;
      });
      gate_->End(call, status);
      finish(ToGrpcStatus(status));
    };
    if (request->Length() <= kDirectBytes) {
      work();
    } else if (!pool_->Post(work)) {
      gate_->Refuse(call, Busy(), finish);
    }
    return reactor;
  }

 private:
  Gate* const gate_;
  WorkerPool* const pool_;
  const uint64_t request_bytes_;
};

/// A call that ends with a status before it has begun; Gate::Refuse finishes it.
template <class Reactor>
class Refusal final : public Reactor {
  void OnDone() override { delete this; }
};

}  // namespace weft::server
