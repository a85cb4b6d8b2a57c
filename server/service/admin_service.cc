#include "server/service/admin_service.h"

#include <spdlog/spdlog.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "server/service/admin_messages.h"
#include "weft/v1/admin.pb.h"

namespace weft::server {
namespace {

constexpr uint32_t kDefaultEntries = 100;
constexpr uint32_t kMaxEntries = 10000;
// An id is shorter; what is no id must not fill the audit log.
constexpr size_t kMaxSubjectBytes = 32;

void LogChange(const Call& call, const char* what, const keys::Key& key) {
  spdlog::warn("admin: key {} {} key {} (scopes: {})", call.key.id, what, key.id,
               absl::StrJoin(key.scopes, ", "));
}

}  // namespace

AdminService::AdminService(Gate* gate, keys::KeyStore* keys, audit::AuditLog* audit,
                           uint64_t request_bytes, std::shared_ptr<RunRegistry> registry,
                           WorkerPool* pool)
    : keys_(keys),
      audit_(audit),
      registry_(std::move(registry)),
      unary_(gate, pool, request_bytes) {}

template <class Request, class Response, class Handler>
grpc::ServerUnaryReactor* AdminService::AnswerOnKeys(const char* method,
                                                     grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response, Handler handler) {
  return unary_.Answer<Request, Response>(
      method, keys::kAdminScope, context, request, response,
      [this, handler = std::move(handler)](Call* call, const Request& message,
                                           Response* answer) -> absl::Status {
        if (keys_ == nullptr) {
          return absl::FailedPreconditionError(
              "the server runs with --no-keys: there are no keys to manage");
        }
        return handler(call, message, answer);
      });
}

grpc::ServerUnaryReactor* AdminService::CreateKey(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return AnswerOnKeys<v1::CreateKeyRequest, v1::CreateKeyResponse>(
      "weft.v1.Admin/CreateKey", context, request, response,
      [this](Call* call, const v1::CreateKeyRequest& message,
             v1::CreateKeyResponse* answer) -> absl::Status {
        absl::StatusOr<keys::KeyStore::Request> wanted = admin::DecodeKeyRequest(message.key());
        if (!wanted.ok()) return wanted.status();
        absl::StatusOr<keys::NewKey> made = keys_->Create(*wanted);
        if (!made.ok()) return made.status();
        call->subject = made->key.id;
        LogChange(*call, "made", made->key);
        admin::EncodeKey(made->key, answer->mutable_key());
        answer->set_secret(std::move(made->secret));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::ListKeys(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  return AnswerOnKeys<v1::ListKeysRequest, v1::ListKeysResponse>(
      "weft.v1.Admin/ListKeys", context, request, response,
      [this](Call*, const v1::ListKeysRequest&, v1::ListKeysResponse* answer) -> absl::Status {
        absl::StatusOr<std::vector<keys::Key>> all = keys_->List();
        if (!all.ok()) return all.status();
        for (const keys::Key& key : *all) admin::EncodeKey(key, answer->add_keys());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::UpdateKey(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return AnswerOnKeys<v1::UpdateKeyRequest, v1::UpdateKeyResponse>(
      "weft.v1.Admin/UpdateKey", context, request, response,
      [this](Call* call, const v1::UpdateKeyRequest& message,
             v1::UpdateKeyResponse* answer) -> absl::Status {
        call->subject = CutText(message.key().id(), kMaxSubjectBytes);
        absl::StatusOr<keys::KeyStore::Request> wanted = admin::DecodeKeyRequest(message.key());
        if (!wanted.ok()) return wanted.status();
        absl::StatusOr<keys::Key> key = keys_->Update(message.key().id(), *wanted);
        if (!key.ok()) return key.status();
        LogChange(*call, "changed", *key);
        admin::EncodeKey(*key, answer->mutable_key());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::RotateKey(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return AnswerOnKeys<v1::RotateKeyRequest, v1::RotateKeyResponse>(
      "weft.v1.Admin/RotateKey", context, request, response,
      [this](Call* call, const v1::RotateKeyRequest& message,
             v1::RotateKeyResponse* answer) -> absl::Status {
        call->subject = CutText(message.id(), kMaxSubjectBytes);
        if (!std::isfinite(message.old_secret_seconds())) {
          return absl::InvalidArgumentError("old_secret_seconds is no number");
        }
        absl::StatusOr<keys::NewKey> rotated =
            keys_->Rotate(message.id(), absl::Seconds(message.old_secret_seconds()));
        if (!rotated.ok()) return rotated.status();
        LogChange(*call, "rotated", rotated->key);
        admin::EncodeKey(rotated->key, answer->mutable_key());
        answer->set_secret(std::move(rotated->secret));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::RevokeKey(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return AnswerOnKeys<v1::RevokeKeyRequest, v1::RevokeKeyResponse>(
      "weft.v1.Admin/RevokeKey", context, request, response,
      [this](Call* call, const v1::RevokeKeyRequest& message,
             v1::RevokeKeyResponse*) -> absl::Status {
        call->subject = CutText(message.id(), kMaxSubjectBytes);
        if (absl::Status revoked = keys_->Revoke(message.id()); !revoked.ok()) return revoked;
        absl::StatusOr<keys::Key> key = keys_->Get(message.id());
        if (!key.ok()) return key.status();
        LogChange(*call, "revoked", *key);
        registry_->EndKey(key->id, keys_->CheckNotRevoked(key->id));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::ListAudit(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return unary_.Answer<v1::ListAuditRequest, v1::ListAuditResponse>(
      "weft.v1.Admin/ListAudit", keys::kAdminScope, context, request, response,
      [this](Call* call, const v1::ListAuditRequest& message,
             v1::ListAuditResponse* answer) -> absl::Status {
        call->subject = CutText(message.key_id(), kMaxSubjectBytes);
        if (audit_ == nullptr) {
          return absl::FailedPreconditionError("the server runs without an audit log");
        }
        if (message.limit() > kMaxEntries) {
          return absl::InvalidArgumentError(
              absl::StrCat("limit is at most ", kMaxEntries, ", and 0 for ", kDefaultEntries));
        }
        audit::Query query;
        query.key_id = message.key_id();
        query.since = absl::FromUnixSeconds(message.since_unix_seconds());
        query.limit = message.limit() == 0 ? kDefaultEntries : message.limit();
        absl::StatusOr<std::vector<audit::Entry>> entries = audit_->List(query);
        if (!entries.ok()) return entries.status();
        for (const audit::Entry& entry : *entries) admin::EncodeEntry(entry, answer->add_entries());
        return absl::OkStatus();
      });
}

}  // namespace weft::server
