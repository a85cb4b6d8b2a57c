#pragma once

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "weft/backend.h"

namespace weft::remote {

/// Whether the connection is to be encrypted.
bool UsesTls(const RemoteOptions& options);

/// kInvalidArgument naming the file that cannot be read, is not PEM, or lacks its other half.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const RemoteOptions& options);

/// What `error`, which gRPC gave for a connection, means as far as TLS is concerned, and what to
/// do: a sentence to append, or nothing. `tls` is whether this side has it.
std::string ExplainTls(const std::string& error, bool tls);

}  // namespace weft::remote
