#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "absl/status/status.h"

namespace weft::server {

/// The client_version in the bytes of a RunRequest, which need not parse; empty if it is not found.
/// Looks at few fields, whatever the bytes are.
std::string FindClientVersion(const grpc::ByteBuffer& request);

/// `status`, by which a request was refused that this server does not understand or execute. Where
/// the client is newer than the server, its hint names both versions and the way out. What is no
/// version is left out.
absl::Status WithVersions(const absl::Status& status, const std::string& client_version);

}  // namespace weft::server
