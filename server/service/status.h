#pragma once

#include <grpcpp/support/status.h>

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace weft::server {

/// The gRPC status of an error: its code and message, and in the details a serialised
/// weft.v1.Error. Both are cut to what a client accepts in trailers (8 KiB); a run's `failed` event
/// has the whole.
grpc::Status ToGrpcStatus(const absl::Status& status);

/// Call `body` and turn what it throws into a status: bad_alloc into kResourceExhausted, the rest
/// into kInternal, with the exception's text in the log alone. Exceptions must not reach gRPC.
absl::Status CatchAll(const char* where, const std::function<absl::Status()>& body);

/// `text` cut to at most `bytes` at a character's boundary, with `...` where something is missing;
/// bytes that are not UTF-8 become `?`.
std::string CutText(const std::string& text, size_t bytes);

}  // namespace weft::server
