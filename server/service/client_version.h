#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "server/service/wire.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {

/// The client_version in the bytes of a RunRequest or StoreEditRequest, which need not parse; empty
/// if it is not found. Looks at few fields, whatever the bytes are.
std::string FindClientVersion(const grpc::ByteBuffer& request);

/// `status`, by which a request was refused that this server does not understand or execute. Where
/// the client is newer than the server, its hint names both versions and the way out. What is no
/// version is left out.
absl::Status WithVersions(const absl::Status& status, const std::string& client_version);

/// Whether a request has a program, and says its client's version.
template <class Request>
inline constexpr bool kHasProgram =
    std::is_same_v<Request, v1::RunRequest> || std::is_same_v<Request, v1::StoreEditRequest>;

/// ParseRequest, where what this server cannot parse may be a newer client's.
template <class Request>
absl::Status Parse(const grpc::ByteBuffer& bytes, uint64_t max_bytes, Request* message) {
  absl::Status parsed = ParseRequest(bytes, max_bytes, message);
  if (parsed.ok() || !kHasProgram<Request>) return parsed;
  return WithVersions(parsed, FindClientVersion(bytes));
}

/// And so may be what it does not execute.
template <class Request>
absl::Status Explain(const absl::Status& status, const grpc::ByteBuffer& request) {
  if (!kHasProgram<Request> || !absl::IsUnimplemented(status)) return status;
  return WithVersions(status, FindClientVersion(request));
}

}  // namespace weft::server
