#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/remote/tls.h"
#include "weft/backend.h"

namespace weft {
namespace {

// grpc.health.v1's request is a string and its response an enum, each as field 1: on the wire they
// are these wrappers.
using HealthRequest = google::protobuf::StringValue;
using HealthResponse = google::protobuf::Int32Value;
constexpr int kServing = 1;

}  // namespace

absl::Status CheckHealth(const std::string& target, const RemoteOptions& options,
                         const std::string& model) {
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
      remote::MakeCredentials(options);
  if (!credentials.ok()) return credentials.status();
  grpc::TemplatedGenericStub<HealthRequest, HealthResponse> stub(
      grpc::CreateChannel(target, *credentials));
  HealthRequest request;
  request.set_value("weft.v1.Weft");
  if (!model.empty()) absl::StrAppend(request.mutable_value(), "/", model);
  HealthResponse response;
  grpc::Status status;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
  absl::Notification answered;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                 [&](grpc::Status end) {
                   status = std::move(end);
                   answered.Notify();
                 });
  answered.WaitForNotification();
  const std::string what = model.empty() ? target : absl::StrCat("'", model, "' at ", target);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) {
    return absl::NotFoundError(absl::StrCat(what, " is not there"));
  }
  if (!status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("no answer about ", what, ": ", status.error_message(),
                     remote::ExplainTls(status.error_message(), remote::UsesTls(options))));
  }
  if (response.value() != kServing) {
    return absl::UnavailableError(absl::StrCat(what, " is not serving"));
  }
  return absl::OkStatus();
}

}  // namespace weft
