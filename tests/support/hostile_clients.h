#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

// Clients that mean no good, for tests and for bench: what they do to others is what is looked at.
namespace weft::testing {

/// Sends calls with a key that nobody has, at a steady rate, until it is destroyed.
class Flood {
 public:
  Flood(const std::string& address, int per_second);
  ~Flood();

  /// Calls that were answered with UNAUTHENTICATED or RESOURCE_EXHAUSTED.
  uint64_t refused() const { return refused_; }
  /// Calls that ended otherwise.
  uint64_t others() const { return others_; }

 private:
  void Send(int per_second);
  void Receive();

  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> sent_ = 0, refused_ = 0, others_ = 0;
  std::thread sender_, receiver_;
};

/// Connections that say that they speak HTTP/2, and nothing more, until it is destroyed.
class IdleConnections {
 public:
  /// `address` is an IPv4 address and a port. kUnavailable if one cannot be opened.
  static absl::StatusOr<IdleConnections> Open(const std::string& address, int count);
  IdleConnections(IdleConnections&& other) = default;
  IdleConnections& operator=(IdleConnections&&) = delete;
  ~IdleConnections();

  /// Those that the server has not closed.
  int alive() const;

 private:
  IdleConnections() = default;

  std::vector<int> sockets_;
};

/// Runs whose results nobody reads, until it is destroyed.
class SlowReaders {
 public:
  /// `request` is the bytes of a RunRequest; `secret` a key that may run it.
  SlowReaders(const std::string& address, const std::string& secret, const std::string& request,
              int count);
  ~SlowReaders();

 private:
  struct Call;
  std::vector<std::unique_ptr<Call>> calls_;
};

}  // namespace weft::testing
