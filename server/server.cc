#include "server/server.h"

#include <arpa/inet.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/service/admin_service.h"
#include "server/service/call.h"
#include "server/service/run_registry.h"
#include "server/service/weft_service.h"
#include "server/service/worker_pool.h"

namespace weft::server {
namespace {

// Room for framing, so that a request that is a little too large gets our own message.
constexpr uint64_t kRequestSlack = uint64_t{1} << 20;
constexpr int kMetadataBytes = 16 * 1024;
constexpr int kStreamsPerConnection = 256;
constexpr int kPoolThreads = 2;
constexpr size_t kPoolWaiting = 64;
// Each upload waits with one message, each run with what it is charged for.
constexpr size_t kBlobPoolWaiting = 1 << 20;
// For the last events of runs that were ended.
constexpr absl::Duration kFlush = absl::Seconds(2);

struct HostPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostPort> SplitHostPort(const std::string& listen) {
  const auto malformed = [&](const char* what) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", listen, "' ", what, ": write HOST:PORT, such as 127.0.0.1:50051"));
  };
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos) return malformed("has no port");
  HostPort split{listen.substr(0, colon), listen.substr(colon + 1)};
  int port;
  if (!absl::SimpleAtoi(split.port, &port) || port < 0 || port > 65535) {
    return malformed("has a port that is not a number from 0 to 65535");
  }
  if (absl::StartsWith(split.host, "[") && absl::EndsWith(split.host, "]")) {
    split.host = split.host.substr(1, split.host.size() - 2);
  } else if (absl::StrContains(split.host, ":")) {
    return malformed("has an IPv6 address without brackets");
  }
  if (split.host.empty()) return malformed("has no host");
  return split;
}

struct AddressInfoDeleter {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};
using AddressInfo = std::unique_ptr<addrinfo, AddressInfoDeleter>;

absl::StatusOr<AddressInfo> Resolve(const HostPort& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* info = nullptr;
  const int code = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &info);
  if (code != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve the host '", address.host, "': ", gai_strerror(code)));
  }
  return AddressInfo(info);
}

bool IsLoopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
  }
  if (address.sa_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
  }
  return false;
}

// Bind and let go, to learn what keeps `split` from being listened on; gRPC does not say.
absl::Status TryListen(const std::string& listen, const HostPort& split) {
  absl::StatusOr<AddressInfo> info = Resolve(split);
  if (!info.ok()) return info.status();
  bool listens = false;
  int reason = EADDRNOTAVAIL;
  // A name may stand for several addresses, not all of which this machine need have.
  for (const addrinfo* a = info->get(); a != nullptr; a = a->ai_next) {
    const int socket_fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (socket_fd < 0) continue;
    const int on = 1;
    setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(socket_fd, a->ai_addr, a->ai_addrlen) == 0 && ::listen(socket_fd, 1) == 0) {
      listens = true;
    } else {
      reason = errno;
    }
    close(socket_fd);
    if (reason == EADDRINUSE) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen, ": another program uses that port. Stop it, ",
                       "or choose another with --listen (port 0 takes a free one)"));
    }
  }
  return listens ? absl::OkStatus()
                 : absl::UnavailableError(
                       absl::StrCat("cannot listen on ", listen, ": ", strerror(reason)));
}

RunRegistry::Options RegistryOptions(const ServerOptions& options) {
  return {options.max_runs, options.max_pending_bytes, options.max_log_bytes,
          options.slow_reader_timeout, options.metrics};
}

Gate::Listener AuditListener(audit::AuditLog* log) {
  return [log](const Call& call, const CallEnd& end) {
    audit::Entry entry;
    entry.time = end.time;
    entry.key_id = call.key.id;
    entry.peer = call.peer;
    entry.method = call.method;
    entry.model = call.model;
    entry.job_id = call.job_id;
    entry.trace_id = call.trace_id;
    entry.subject = call.subject;
    entry.code = static_cast<int>(end.code);
    entry.seconds = absl::ToDoubleSeconds(end.time - call.arrived);
    entry.tokens = call.tokens;
    entry.result_bytes = call.result_bytes;
    log->Record(std::move(entry));
  };
}

}  // namespace

absl::Status CheckAddress(const std::string& listen, bool open) {
  absl::StatusOr<HostPort> split = SplitHostPort(listen);
  if (!split.ok()) return split.status();
  if (open) return absl::OkStatus();
  absl::StatusOr<AddressInfo> info = Resolve(*split);
  if (!info.ok()) return info.status();
  for (const addrinfo* a = info->get(); a != nullptr; a = a->ai_next) {
    if (!IsLoopback(*a->ai_addr)) {
      return absl::FailedPreconditionError(absl::StrCat(
          listen,
          " can be reached from other machines, and this server has no TLS: keys and data would "
          "travel readable. Give it --tls-cert and --tls-key, or listen on 127.0.0.1 behind a "
          "proxy "
          "that terminates TLS, or add --insecure where the network itself is trusted"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckListen(const std::string& listen, bool open) {
  if (absl::Status checked = CheckAddress(listen, open); !checked.ok()) return checked;
  return TryListen(listen, *SplitHostPort(listen));
}

Server::Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Engine* engine,
                                                      keys::KeyStore* keys, audit::AuditLog* audit,
                                                      blobs::BlobStore* blobs,
                                                      edits::EditStore* edits) {
  const bool open = options.insecure || options.tls.on();
  if (absl::Status checked = CheckListen(options.listen, open); !checked.ok()) return checked;
  if (const TlsFindings found = CheckTls(options.tls, absl::Now()); !found.errors.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(found.errors[0].field, ": ", found.errors[0].text));
  }

  std::unique_ptr<Server> server(new Server());
  RunRegistry::KeyCheck check_key;
  if (keys != nullptr) {
    check_key = [keys](const std::string& id) {
      const absl::Status good = keys->CheckNotRevoked(id);
      // A store that cannot be read for a moment ends nothing.
      return absl::IsUnauthenticated(good) ? good : absl::OkStatus();
    };
  }
  server->registry_ = std::make_shared<RunRegistry>(RegistryOptions(options), std::move(check_key));
  server->pool_ = std::make_unique<WorkerPool>(kPoolThreads, kPoolWaiting);
  server->blob_pool_ = std::make_unique<WorkerPool>(kPoolThreads, kBlobPoolWaiting);
  server->blobs_ = blobs;
  server->edits_ = edits;
  WeftService::Options service;
  service.request_bytes = options.request_bytes;
  service.features = options.features;
  if (blobs != nullptr) service.features.push_back("blobs");
  if (edits != nullptr) service.features.push_back("edits");
  std::vector<Gate::Listener> listeners;
  if (audit != nullptr) listeners.push_back(AuditListener(audit));
  server->gate_ = std::make_unique<Gate>(keys, options.metrics, std::move(listeners));
  server->service_ = std::make_unique<WeftService>(
      engine, server->gate_.get(), service, server->registry_, server->pool_.get(),
      RunStream::Keeper{blobs, server->blob_pool_.get()}, edits);
  server->admin_ =
      std::make_unique<AdminService>(server->gate_.get(), keys, audit, options.request_bytes,
                                     server->registry_, server->pool_.get());

  grpc::EnableDefaultHealthCheckService(true);
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  server->credentials_ =
      options.tls.on() ? MakeServerCredentials(options.tls) : grpc::InsecureServerCredentials();
  builder.AddListeningPort(options.listen, server->credentials_, &server->port_);
  builder.RegisterService(server->service_.get());
  builder.RegisterService(server->admin_.get());
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.request_bytes + kRequestSlack));
  // A compressed request could become a thousand times its size before anybody has looked at it.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  // Otherwise a second server on the same port would quietly share its clients.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
  // Notice clients that vanished without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  // Reflection is the one service with threads of its own.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
  builder.SetResourceQuota(grpc::ResourceQuota("weftd").SetMaxThreads(16));
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ <= 0) {
    server->server_ = nullptr;
    // Taken in between, or gRPC has reasons of its own.
    if (absl::Status checked = CheckListen(options.listen, open); !checked.ok()) {
      return checked;
    }
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen, ": gRPC could not use the address"));
  }
  const size_t colon = options.listen.rfind(':');
  server->address_ = absl::StrCat(options.listen.substr(0, colon), ":", server->port_);
  server->watcher_ = std::thread([registry = server->registry_] {
    const auto watch = [&registry] {
      registry->Watch();
      return absl::OkStatus();
    };
    // After an exception it goes on: somebody has to look at the runs.
    while (!CatchAll("watching runs", watch).ok()) {
    }
  });
  server->WatchModels(options, engine, audit);
  return server;
}

void Server::WatchModels(const ServerOptions& options, Engine* engine,
                         const audit::AuditLog* audit) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  const std::string service = v1::Weft::service_full_name();
  if (options.metrics != nullptr) {
    metrics::Sources sources{.engine = engine};
    if (audit != nullptr) sources.dropped_audit_entries = [audit] { return audit->dropped(); };
    if (blobs_ != nullptr) {
      sources.blobs = [blobs = blobs_] {
        const blobs::BlobStore::Usage usage = blobs->usage();
        return metrics::Sources::Kept{usage.bytes, usage.blobs};
      };
    }
    if (edits_ != nullptr) {
      sources.edits = [edits = edits_] {
        const absl::StatusOr<edits::EditStore::Usage> usage = edits->usage();
        return usage.ok() ? metrics::Sources::Kept{usage->bytes, usage->edits}
                          : metrics::Sources::Kept();
      };
    }
    options.metrics->Observe(std::move(sources));
  }
  SetLimits(options);
  health->SetServingStatus(service, true);
  health->SetServingStatus(v1::Admin::service_full_name(), true);
  canary_ = std::make_unique<Canary>(
      engine, options.canary,
      [health, service](const std::string& model, bool well, bool all_well) {
        health->SetServingStatus(absl::StrCat(service, "/", model), well);
        health->SetServingStatus(service, all_well);
      },
      options.metrics);
  // Before anybody can ask.
  canary_->Step(absl::Now());
  canary_thread_ = std::thread([canary = canary_.get()] { canary->Run(); });
}

void Server::SetLimits(const ServerOptions& options) {
  registry_->SetOptions(RegistryOptions(options));
  if (blobs_ != nullptr) blobs_->SetLimits(options.blobs);
  if (edits_ != nullptr) edits_->SetLimits(options.edits);
  if (registry_->metrics() == nullptr) return;
  registry_->metrics()->pending_result_bytes_limit.Set(
      static_cast<double>(options.max_pending_bytes));
}

Server::~Server() { Shutdown(absl::Now()); }

void Server::Shutdown(absl::Time deadline) {
  absl::MutexLock lock(&shutdown_mutex_);
  if (server_ != nullptr) {
    registry_->StopAccepting();
    server_->GetHealthCheckService()->Shutdown();
    canary_->Stop();
    canary_thread_.join();
    canary_ = nullptr;
    if (!registry_->WaitUntilEmpty(deadline)) {
      registry_->EndAll(absl::UnavailableError("the server shut down before the run had ended"));
      registry_->WaitUntilEmpty(absl::Now() + kFlush);
    }
    // Other calls get a moment, then all are cancelled; returns when every callback has.
    server_->Shutdown(absl::ToChronoTime(absl::Now() + absl::Milliseconds(200)));
    server_ = nullptr;
    if (registry_->metrics() != nullptr) registry_->metrics()->Observe({});
  }
  pool_ = nullptr;
  blob_pool_ = nullptr;
  registry_->StopWatching();
  if (watcher_.joinable()) watcher_.join();
}

}  // namespace weft::server
