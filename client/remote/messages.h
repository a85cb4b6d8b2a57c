#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "weft/backend.h"
#include "weft/v1/weft.pb.h"

// From the wire's messages to the public types.

namespace weft::remote {

/// A call's status, with the weft.v1.Error of its details where there is one.
absl::Status FromGrpc(const grpc::Status& status);

ErrorDetails FromMessage(const v1::Error& message);
Identity FromMessage(const v1::WhoAmIResponse& message);
HostedModel FromMessage(const v1::ModelSummary& message);
ModelDescription FromMessage(const v1::Model& message);
OperatorDescription FromMessage(const v1::OperatorInfo& message);
ValidationReport FromMessage(const v1::ValidateResponse& message);
RunCost FromMessage(const v1::Cost& message);
EditVersion FromMessage(const v1::Edit& message);
/// Everything of a result but its value.
event::Result PlaceOf(const v1::Result& message);
event::Accepted FromMessage(const v1::Accepted& message);
event::Completed FromMessage(const v1::Completed& message);
event::NewTokens FromMessage(const v1::NewTokens& message);

}  // namespace weft::remote
