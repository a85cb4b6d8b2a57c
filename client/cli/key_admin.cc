#include "client/cli/key_admin.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/remote/messages.h"
#include "client/remote/tls.h"
#include "server/service/admin_messages.h"
#include "weft/v1/admin.grpc.pb.h"

namespace weft::cli {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
constexpr absl::Duration kTimeout = absl::Seconds(20);

class LocalKeyAdmin final : public KeyAdmin {
 public:
  LocalKeyAdmin(std::string data, std::unique_ptr<keys::KeyStore> store)
      : data_(std::move(data)), store_(std::move(store)) {}

  absl::StatusOr<keys::NewKey> Create(const keys::KeyStore::Request& request) override {
    return store_->Create(request);
  }
  absl::StatusOr<std::vector<keys::Key>> List() override { return store_->List(); }
  absl::StatusOr<keys::Key> Update(const std::string& id,
                                   const keys::KeyStore::Request& request) override {
    return store_->Update(id, request);
  }
  absl::StatusOr<keys::NewKey> Rotate(const std::string& id,
                                      absl::Duration old_secret_for) override {
    return store_->Rotate(id, old_secret_for);
  }
  absl::Status Revoke(const std::string& id) override { return store_->Revoke(id); }
  absl::StatusOr<std::vector<audit::Entry>> ListAudit(const audit::Query& query) override {
    absl::StatusOr<std::unique_ptr<audit::AuditStore>> log =
        audit::AuditStore::Open(data_, /*create=*/false);
    if (!log.ok()) return log.status();
    return (*log)->List(query);
  }

 private:
  const std::string data_;
  const std::unique_ptr<keys::KeyStore> store_;
};

class RemoteKeyAdmin final : public KeyAdmin {
 public:
  RemoteKeyAdmin(const std::string& target, std::string api_key,
                 const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : target_(target),
        api_key_(std::move(api_key)),
        stub_(v1::Admin::NewStub(MakeChannel(target, credentials))) {}

  absl::StatusOr<keys::NewKey> Create(const keys::KeyStore::Request& wanted) override {
    v1::CreateKeyRequest request;
    SetRequest(wanted, request.mutable_key());
    v1::CreateKeyResponse response;
    absl::Status status = Call(&v1::Admin::Stub::CreateKey, request, &response);
    if (!status.ok()) return status;
    return keys::NewKey{admin::DecodeKey(response.key()), response.secret()};
  }

  absl::StatusOr<std::vector<keys::Key>> List() override {
    v1::ListKeysResponse response;
    absl::Status status = Call(&v1::Admin::Stub::ListKeys, v1::ListKeysRequest(), &response);
    if (!status.ok()) return status;
    std::vector<keys::Key> all;
    for (const v1::ApiKey& key : response.keys()) all.push_back(admin::DecodeKey(key));
    return all;
  }

  absl::StatusOr<keys::Key> Update(const std::string& id,
                                   const keys::KeyStore::Request& wanted) override {
    v1::UpdateKeyRequest request;
    SetRequest(wanted, request.mutable_key());
    request.mutable_key()->set_id(id);
    v1::UpdateKeyResponse response;
    absl::Status status = Call(&v1::Admin::Stub::UpdateKey, request, &response);
    if (!status.ok()) return status;
    return admin::DecodeKey(response.key());
  }

  absl::StatusOr<keys::NewKey> Rotate(const std::string& id,
                                      absl::Duration old_secret_for) override {
    v1::RotateKeyRequest request;
    request.set_id(id);
    request.set_old_secret_seconds(absl::ToDoubleSeconds(old_secret_for));
    v1::RotateKeyResponse response;
    absl::Status status = Call(&v1::Admin::Stub::RotateKey, request, &response);
    if (!status.ok()) return status;
    return keys::NewKey{admin::DecodeKey(response.key()), response.secret()};
  }

  absl::Status Revoke(const std::string& id) override {
    v1::RevokeKeyRequest request;
    request.set_id(id);
    v1::RevokeKeyResponse response;
    return Call(&v1::Admin::Stub::RevokeKey, request, &response);
  }

  absl::StatusOr<std::vector<audit::Entry>> ListAudit(const audit::Query& query) override {
    v1::ListAuditRequest request;
    request.set_key_id(query.key_id);
    if (query.since != absl::InfinitePast()) {
      request.set_since_unix_seconds(absl::ToUnixSeconds(query.since));
    }
    request.set_limit(query.limit);
    v1::ListAuditResponse response;
    absl::Status status = Call(&v1::Admin::Stub::ListAudit, request, &response);
    if (!status.ok()) return status;
    std::vector<audit::Entry> entries;
    for (const v1::AuditEntry& entry : response.entries()) {
      entries.push_back(admin::DecodeEntry(entry));
    }
    return entries;
  }

 private:
  static std::shared_ptr<grpc::Channel> MakeChannel(
      const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
    return grpc::CreateCustomChannel(target, credentials, arguments);
  }

  static void SetRequest(const keys::KeyStore::Request& request, v1::ApiKey* message) {
    keys::Key key;
    key.label = request.label;
    key.scopes = request.scopes;
    key.models = request.models;
    key.created = absl::UnixEpoch();
    key.expires = request.expires;
    key.limits = request.limits;
    admin::EncodeKey(key, message);
  }

  template <class Request, class Response>
  absl::Status Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&,
                                                            Response*),
                    const Request& request, Response* response) const {
    grpc::ClientContext context;
    if (!api_key_.empty()) context.AddMetadata("authorization", "Bearer " + api_key_);
    context.set_deadline(absl::ToChronoTime(absl::Now() + kTimeout));
    absl::Status status = remote::FromGrpc(((*stub_).*method)(&context, request, response));
    if (status.code() != absl::StatusCode::kUnavailable) return status;
    return absl::UnavailableError(
        absl::StrCat("no answer from ", target_, ": ", std::string(status.message()),
                     "\n  hint: --data DIR manages the keys of a data folder on this machine"));
  }

  const std::string target_;
  const std::string api_key_;
  const std::unique_ptr<v1::Admin::Stub> stub_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<KeyAdmin>> OpenKeyAdmin(const GlobalOptions& global,
                                                       const std::string& data, bool create) {
  if (data.empty()) {
    absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
        remote::MakeCredentials(ToRemoteOptions(global));
    if (!credentials.ok()) return credentials.status();
    std::string key(absl::StripAsciiWhitespace(global.api_key));
    // gRPC ends the process over metadata that it cannot send.
    if (!std::all_of(key.begin(), key.end(),
                     [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); })) {
      return absl::UnauthenticatedError(
          "the API key has characters that no key has; a key looks like weft_<id>_<secret>");
    }
    return std::make_unique<RemoteKeyAdmin>(global.target, std::move(key), *credentials);
  }
  absl::StatusOr<std::unique_ptr<keys::KeyStore>> store =
      keys::KeyStore::Open(data, {.create = create});
  if (!store.ok()) return store.status();
  return std::make_unique<LocalKeyAdmin>(data, *std::move(store));
}

}  // namespace weft::cli
