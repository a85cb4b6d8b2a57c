#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/harness.h"

namespace weft::bench {

/// What gRPC itself takes, over loopback: a server that answers with bytes, and a client of it that
/// does nothing with them. Not thread-safe.
class GrpcBaseline {
 public:
  static constexpr uint64_t kMessageBytes = uint64_t{1} << 20;

  /// An echo answers with `answer_bytes`, after `work` if there is any; a stream has
  /// `stream_bytes`, in messages of `kMessageBytes` that refer to one buffer and are never copied
  /// by the server's own code.
  static absl::StatusOr<std::unique_ptr<GrpcBaseline>> Start(uint64_t answer_bytes,
                                                             uint64_t stream_bytes,
                                                             Contender work = nullptr);
  ~GrpcBaseline();

  /// Send `request` and await the answer; seconds.
  absl::StatusOr<double> Echo(const grpc::ByteBuffer& request);
  /// Read one stream to its end; seconds.
  absl::StatusOr<double> Stream();

 private:
  class Service;
  GrpcBaseline();
  /// Wait for an operation of the client's; false if it failed.
  bool Next();

  const std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::CompletionQueue queue_;
};

}  // namespace weft::bench
