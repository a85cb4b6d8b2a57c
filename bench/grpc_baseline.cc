#include "bench/grpc_baseline.h"

#include <grpcpp/generic/async_generic_service.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace weft::bench {
namespace {

constexpr char kEcho[] = "/weft.bench/Echo";
constexpr char kStream[] = "/weft.bench/Stream";

}  // namespace

class GrpcBaseline::Service : public grpc::CallbackGenericService {
 public:
  /// Before the server starts.
  void Prepare(uint64_t answer_bytes, uint64_t stream_bytes, Contender work) {
    work_ = std::move(work);
    const grpc::Slice answer(std::string(answer_bytes, 'a'));
    answer_ = grpc::ByteBuffer(&answer, 1);
    bytes_.assign(stream_bytes, 's');
  }

 private:
  /// Answers one call: one message for an echo, all of the buffer for a stream.
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    Reactor(const Service& service, bool echo) : service_(service), echo_(echo) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) {
        Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a call without a request"));
      } else if (echo_) {
        if (service_.work_ != nullptr && !service_.work_().ok()) {
          Finish(grpc::Status(grpc::StatusCode::INTERNAL, "the work failed"));
          return;
        }
        message_ = service_.answer_;
        StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
      } else {
        WriteNext();
      }
    }
    void OnWriteDone(bool ok) override {
      if (echo_) return;
      if (ok) {
        WriteNext();
      } else {
        Finish(grpc::Status::CANCELLED);
      }
    }
    void OnDone() override { delete this; }

   private:
    void WriteNext() {
      const uint64_t bytes = std::min(kMessageBytes, service_.bytes_.size() - sent_);
      if (bytes == 0) {
        Finish(grpc::Status::OK);
        return;
      }
      const grpc::Slice slice(service_.bytes_.data() + sent_, bytes, grpc::Slice::STATIC_SLICE);
      message_ = grpc::ByteBuffer(&slice, 1);
      sent_ += bytes;
      StartWrite(&message_);
    }

    const Service& service_;
    const bool echo_;
    grpc::ByteBuffer request_, message_;
    uint64_t sent_ = 0;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Reactor(*this, context->method() == kEcho);
  }

  Contender work_;
  grpc::ByteBuffer answer_;
  std::string bytes_;
};

GrpcBaseline::GrpcBaseline() : service_(std::make_unique<Service>()) {}

absl::StatusOr<std::unique_ptr<GrpcBaseline>> GrpcBaseline::Start(uint64_t answer_bytes,
                                                                  uint64_t stream_bytes,
                                                                  Contender work) {
  auto baseline = std::unique_ptr<GrpcBaseline>(new GrpcBaseline());
  baseline->service_->Prepare(answer_bytes, stream_bytes, std::move(work));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(baseline->service_.get());
  baseline->server_ = builder.BuildAndStart();
  if (baseline->server_ == nullptr || port == 0) {
    return absl::UnavailableError("the server to compare with cannot listen on 127.0.0.1");
  }
  baseline->stub_ = std::make_unique<grpc::GenericStub>(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  return baseline;
}

GrpcBaseline::~GrpcBaseline() {
  stub_ = nullptr;
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
  if (server_ != nullptr) server_->Shutdown();
}

bool GrpcBaseline::Next() {
  void* tag = nullptr;
  bool ok = false;
  return queue_.Next(&tag, &ok) && ok;
}

absl::StatusOr<double> GrpcBaseline::Echo(const grpc::ByteBuffer& request) {
  grpc::Status status;
  grpc::ByteBuffer answer;
  const double seconds = Time([&] {
    grpc::ClientContext context;
    const auto call = stub_->PrepareUnaryCall(&context, kEcho, request, &queue_);
    call->StartCall();
    call->Finish(&answer, &status, this);
    Next();
  });
  if (!status.ok()) return absl::InternalError(absl::StrCat("echo: ", status.error_message()));
  return seconds;
}

absl::StatusOr<double> GrpcBaseline::Stream() {
  grpc::Status status;
  uint64_t got = 0;
  const double seconds = Time([&] {
    grpc::ClientContext context;
    const auto call = stub_->PrepareCall(&context, kStream, &queue_);
    call->StartCall(this);
    Next();
    const grpc::Slice nothing("");
    call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), this);
    Next();
    while (true) {
      grpc::ByteBuffer message;
      call->Read(&message, this);
      if (!Next()) break;
      got += message.Length();
    }
    call->Finish(&status, this);
    Next();
  });
  if (!status.ok()) return absl::InternalError(absl::StrCat("stream: ", status.error_message()));
  if (got == 0) return absl::InternalError("stream: it was empty");
  return seconds;
}

}  // namespace weft::bench
