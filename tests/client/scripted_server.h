#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "engine/graph/version.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::client_test {

/// A server that plays what a test scripted.
class ScriptedService final : public v1::Weft::Service {
 public:
  std::function<grpc::Status(grpc::ServerContext*, const v1::RunRequest&,
                             grpc::ServerWriter<v1::RunEvents>*)>
      run;
  /// What WhoAmI answers; a good key where it is not set.
  std::function<grpc::Status()> who_am_i;
  /// What StoreEdit answers, and what is to be known of an upload.
  std::function<grpc::Status(const v1::StoreEditRequest&)> store_edit;
  std::function<void()> uploaded;
  std::string version = kVersion;

  std::string authorization() const {
    absl::MutexLock lock(&mutex_);
    return authorization_;
  }

  grpc::Status Run(grpc::ServerContext* context, const v1::RunRequest* request,
                   grpc::ServerWriter<v1::RunEvents>* writer) override {
    return run(context, *request, writer);
  }
  grpc::Status WhoAmI(grpc::ServerContext* context, const v1::WhoAmIRequest*,
                      v1::WhoAmIResponse* response) override {
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end()) {
      absl::MutexLock lock(&mutex_);
      authorization_ = std::string(found->second.data(), found->second.size());
    }
    response->set_key_id("k1");
    return who_am_i ? who_am_i() : grpc::Status::OK;
  }
  grpc::Status StoreEdit(grpc::ServerContext*, const v1::StoreEditRequest* request,
                         v1::StoreEditResponse*) override {
    return store_edit(*request);
  }
  grpc::Status Upload(grpc::ServerContext*, grpc::ServerReader<v1::UploadRequest>* reader,
                      v1::UploadResponse* response) override {
    v1::UploadRequest message;
    while (reader->Read(&message)) {
    }
    response->mutable_blob()->set_expires_unix_seconds(
        absl::ToUnixSeconds(absl::Now() + absl::Hours(1)));
    uploaded();
    return grpc::Status::OK;
  }
  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* info) override {
    info->set_version(version);
    return grpc::Status::OK;
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* model) override {
    if (request->name() != "toy") {
      v1::Error error;
      error.set_message("no such model");
      error.set_hint("there is toy");
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "short", error.SerializeAsString());
    }
    model->mutable_summary()->set_name("toy");
    v1::SiteInfo* site = model->add_sites();
    site->set_module("h");
    site->set_point(v1::Site::POINT_OUTPUT);
    v1::TensorPattern* pattern = site->mutable_value()->mutable_tensor();
    pattern->set_dtype(v1::DTYPE_F32);
    pattern->add_shape()->set_batch(1);
    pattern->add_shape()->set_constant(4);
    model->add_modules();
    model->add_modules()->set_path("h");
    return grpc::Status::OK;
  }

 private:
  mutable absl::Mutex mutex_;
  std::string authorization_ ABSL_GUARDED_BY(mutex_);
};

/// Serves a service on a port of this machine's while it lives.
class ScriptedServer {
 public:
  ~ScriptedServer() { Stop(); }

  /// The address. `port` 0 takes a free one.
  std::string Start(grpc::Service* service, int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    return absl::StrCat("127.0.0.1:", port_);
  }
  int port() const { return port_; }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_ = nullptr;
  }

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

inline v1::RunEvent CompletedEvent() {
  v1::RunEvent event;
  event.mutable_completed()->mutable_cost()->set_tokens(7);
  return event;
}

}  // namespace weft::client_test
