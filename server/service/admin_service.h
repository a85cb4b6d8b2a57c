#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>

#include "server/audit/audit_log.h"
#include "server/keys/key_store.h"
#include "server/service/call.h"
#include "server/service/run_registry.h"
#include "server/service/worker_pool.h"
#include "weft/v1/admin.grpc.pb.h"

namespace weft::server {

using RawAdmin = v1::Admin::WithRawCallbackMethod_CreateKey<
    v1::Admin::WithRawCallbackMethod_ListKeys<v1::Admin::WithRawCallbackMethod_UpdateKey<
        v1::Admin::WithRawCallbackMethod_RotateKey<v1::Admin::WithRawCallbackMethod_RevokeKey<
            v1::Admin::WithRawCallbackMethod_ListAudit<v1::Admin::Service>>>>>>;

/// The service weft.v1.Admin: keys and the audit log for operators, whose own key has the scope
/// `admin`. Every change is in the server's log as well. Thread-safe.
class AdminService final : public RawAdmin {
 public:
  /// Without `keys` or `audit` (null) their methods are kFailedPrecondition. All must outlive the
  /// service and its calls.
  AdminService(Gate* gate, keys::KeyStore* keys, audit::AuditLog* audit, uint64_t request_bytes,
               std::shared_ptr<RunRegistry> registry, WorkerPool* pool);

  grpc::ServerUnaryReactor* CreateKey(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListKeys(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* UpdateKey(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RotateKey(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RevokeKey(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListAudit(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;

 private:
  // Answer, where there are keys: `handler` as UnaryCalls::Answer's.
  template <class Request, class Response, class Handler>
  grpc::ServerUnaryReactor* AnswerOnKeys(const char* method, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response, Handler handler);

  keys::KeyStore* const keys_;
  audit::AuditLog* const audit_;
  const std::shared_ptr<RunRegistry> registry_;
  const UnaryCalls unary_;
};

}  // namespace weft::server
