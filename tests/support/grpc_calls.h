#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

/// For tests that call a server's stub themselves.
namespace weft::testing {

/// A grpc::Status with a code and a message that a matcher takes.
MATCHER_P2(GrpcIs, code, message, "") {
  *result_listener << arg.error_code() << ": " << arg.error_message();
  return arg.error_code() == code &&
         ::testing::ExplainMatchResult(message, arg.error_message(), result_listener);
}

/// The context of one call with a key, none if empty, that gives up after 30 s.
inline std::unique_ptr<grpc::ClientContext> ContextWith(const std::string& secret) {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!secret.empty()) context->AddMetadata("authorization", "Bearer " + secret);
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  return context;
}

}  // namespace weft::testing
