#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/audit/audit_log.h"
#include "server/blobs/blob_store.h"
#include "server/canary.h"
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
#include "server/metrics/metrics.h"
#include "server/tls.h"

namespace grpc {
class Server;
class ServerCredentials;
}  // namespace grpc

namespace weft::server {

class AdminService;
class Gate;
class RunRegistry;
class WeftService;
class WorkerPool;

struct ServerOptions {
  /// HOST:PORT; port 0 takes a free one.
  std::string listen = "127.0.0.1:50051";
  TlsFiles tls;
  /// Allow an address off loopback although there is no TLS.
  bool insecure = false;
  bool reflection = true;
  uint64_t request_bytes = uint64_t{4} << 20;
  uint32_t max_runs = 1024;
  uint64_t max_pending_bytes = uint64_t{4} << 30;
  uint64_t max_log_bytes = uint64_t{1} << 20;
  /// Also of clients that upload.
  absl::Duration slow_reader_timeout = absl::Seconds(60);
  blobs::BlobStore::Limits blobs;
  edits::EditStore::Limits edits;
  /// Kinds beyond the base contract that the engine executes.
  std::vector<std::string> features;
  Canary::Options canary;
  /// Null: nothing is counted.
  std::shared_ptr<metrics::Metrics> metrics;
};

/// Whether `listen` is an address that may be listened on: kInvalidArgument if it is not HOST:PORT,
/// kFailedPrecondition if it is not this machine's loopback and not `open` (to other machines: TLS,
/// or told so), kUnavailable if the host cannot be resolved.
absl::Status CheckAddress(const std::string& listen, bool open);

/// CheckAddress, and whether that is possible now: kUnavailable if the address is taken or is not
/// this machine's.
absl::Status CheckListen(const std::string& listen, bool open);

/// The gRPC server: weft.v1.Weft on an engine, with health (grpc.health.v1) and reflection.
///
/// Health answers for the process (the empty name), for `weft.v1.Weft`, which serves while every
/// model is well, and for `weft.v1.Weft/MODEL`; see Canary. A server that shuts down serves
/// nothing.
///
/// Thread-safe.
class Server {
 public:
  /// Listen and serve. Without `keys` (null) every caller may do everything; without `audit`
  /// nothing is written down; without `blobs` there are no uploads, and nothing is kept; without
  /// `edits` none are stored. All must outlive the server. Errors are CheckListen's, and
  /// kInvalidArgument for CheckTls's.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, Engine* engine,
                                                       keys::KeyStore* keys,
                                                       audit::AuditLog* audit = nullptr,
                                                       blobs::BlobStore* blobs = nullptr,
                                                       edits::EditStore* edits = nullptr);
  /// Shutdown at once.
  ~Server();

  int port() const { return port_; }
  /// HOST:PORT with the port that was taken.
  const std::string& address() const { return address_; }

  /// Take max_runs, max_pending_bytes, slow_reader_timeout and the limits of blobs and edits from
  /// `options`, for what comes from now on.
  void SetLimits(const ServerOptions& options);

  /// Refuse new runs with kUnavailable, wait for those that stream until `deadline`, end the rest,
  /// and stop listening. Calls after the first do nothing.
  void Shutdown(absl::Time deadline);

 private:
  Server();
  void WatchModels(const ServerOptions& options, Engine* engine, const audit::AuditLog* audit);

  std::shared_ptr<RunRegistry> registry_;
  blobs::BlobStore* blobs_ = nullptr;
  edits::EditStore* edits_ = nullptr;
  std::unique_ptr<WorkerPool> pool_;
  /// Writes blobs: apart from the other, since disks take their time.
  std::unique_ptr<WorkerPool> blob_pool_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<WeftService> service_;
  std::unique_ptr<AdminService> admin_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Canary> canary_;
  std::thread watcher_;
  std::thread canary_thread_;
  int port_ = 0;
  std::string address_;
  absl::Mutex shutdown_mutex_;
};

}  // namespace weft::server
