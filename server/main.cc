#include <malloc.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "server/audit/audit_log.h"
#include "server/blobs/blob_store.h"
#include "server/config/config.h"
#include "server/config/reload.h"
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
#include "server/log.h"
#include "server/metrics/endpoint.h"
#include "server/metrics/metrics.h"
#include "server/server.h"
#include "server/service/status.h"

namespace weft::server {
namespace {

// Signals as calls on a thread, so that nothing runs inside a handler. To be made before any other
// thread, which inherits the mask.
class Signals {
 public:
  // SIGHUP keeps its usual meaning, the end of the terminal, where there is no file to read again.
  explicit Signals(bool reloads) {
    std::signal(SIGPIPE, SIG_IGN);
    // A shell starts background jobs with SIGINT ignored, and sigwait never sees what is ignored.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    if (reloads) sigaddset(&set_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::thread([this] { Listen(); }).detach();
  }

  // From now on the first signal asks to stop; before, it ends the process.
  void Serve() {
    absl::MutexLock lock(&mutex_);
    serving_ = true;
  }

  void AwaitStop() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&stop_));
  }

  // False once it is time to stop.
  bool AwaitReload() {
    absl::MutexLock lock(&mutex_);
    const auto wished = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || reload_; };
    mutex_.Await(absl::Condition(&wished));
    reload_ = false;
    return !stop_;
  }

  bool stopping() {
    absl::MutexLock lock(&mutex_);
    return stop_;
  }

 private:
  void Listen() {
    while (true) {
      int signal = 0;
      if (sigwait(&set_, &signal) != 0) continue;
      absl::MutexLock lock(&mutex_);
      if (signal == SIGHUP) {
        reload_ = true;
        continue;
      }
      if (!serving_ || stop_) _exit(128 + signal);
      spdlog::info("{}: draining; a second signal ends at once",
                   signal == SIGTERM ? "SIGTERM" : "SIGINT");
      stop_ = true;
    }
  }

  sigset_t set_;
  absl::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool reload_ ABSL_GUARDED_BY(mutex_) = false;
};

// A folder for as long as the process, where there is none for its state. A crash leaves it.
class TemporaryFolder {
 public:
  TemporaryFolder() = default;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  // Of mode 0700.
  absl::StatusOr<std::string> Make() {
    std::error_code error;
    std::string path = (std::filesystem::temp_directory_path(error) / "weftd-XXXXXX").string();
    if (error || mkdtemp(path.data()) == nullptr) {
      return absl::ErrnoToStatus(error ? error.value() : errno,
                                 absl::StrCat("cannot make the folder '", path,
                                              "' for blobs and edits; say where with --data"));
    }
    path_ = path;
    return path;
  }

 private:
  std::string path_;
};

absl::StatusOr<std::unique_ptr<blobs::BlobStore>> OpenBlobs(const std::string& folder,
                                                            const Config& config,
                                                            const edits::EditStore* edits) {
  blobs::BlobStore::Options options;
  options.limits = MakeServerOptions(config).blobs;
  options.held = [edits](const std::string& owner, const std::string& sha256) {
    return edits->HoldsBlob(owner, sha256);
  };
  absl::StatusOr<std::unique_ptr<blobs::BlobStore>> store =
      blobs::BlobStore::Open(folder, std::move(options));
  if (store.ok()) (*store)->StartCollecting();
  return store;
}

// Read the configuration that `argv` names again, and take it over if all of it is good.
void ReadAgain(int argc, char** argv, Config* running, Engine* engine, Server* server,
               Signals* signals) {
  const ParsedConfig parsed = ParseConfig(argc, argv);
  if (!parsed.config.has_value()) {
    for (const auto& line : absl::StrSplit(parsed.text, '\n', absl::SkipEmpty())) {
      spdlog::error("{}", std::string(line));
    }
    spdlog::error("SIGHUP: the configuration has errors, so nothing is changed");
    return;
  }
  for (const std::string& warning : parsed.warnings) spdlog::warn("{}", warning);
  Reload(*parsed.config, running, engine, server, [signals] { return signals->stopping(); });
}

absl::Status Serve(int argc, char** argv, Config config, Signals* signals) {
  // What can be refused at once is refused before minutes of loading.
  if (absl::Status checked =
          CheckListen(config.listen(), config.insecure() || config.has_tls_cert());
      !checked.ok()) {
    return checked;
  }
  std::unique_ptr<keys::KeyStore> keys;
  std::vector<keys::Key> known_keys;
  std::unique_ptr<audit::AuditLog> audit;
  if (config.keys()) {
    absl::StatusOr<std::unique_ptr<keys::KeyStore>> opened = keys::KeyStore::Open(config.data());
    if (!opened.ok()) return opened.status();
    keys = *std::move(opened);
    absl::StatusOr<std::vector<keys::Key>> listed = keys->List();
    if (!listed.ok()) return listed.status();
    if (listed->empty()) {
      spdlog::warn("there are no API keys yet: make one with 'weft keys create --data {}'",
                   config.data());
    }
    known_keys = *std::move(listed);
    audit::AuditLog::Options wanted;
    wanted.retention = absl::Hours(24) * config.audit_days();
    absl::StatusOr<std::unique_ptr<audit::AuditLog>> log =
        audit::AuditLog::Open(config.data(), wanted);
    if (!log.ok()) return log.status();
    audit = *std::move(log);
  } else {
    spdlog::warn("--no-keys: whoever reaches {} may do everything", config.listen());
  }

  // What keys keep; as long as the process where there is no folder for it.
  TemporaryFolder temporary;
  const absl::StatusOr<std::string> folder =
      config.data().empty() ? temporary.Make() : absl::StatusOr<std::string>(config.data());
  if (!folder.ok()) return folder.status();
  absl::StatusOr<std::unique_ptr<edits::EditStore>> edits =
      edits::EditStore::Open(*folder, {.limits = MakeServerOptions(config).edits});
  if (!edits.ok()) return edits.status();
  // For ever, so that nobody's room is taken by what nobody can reach.
  for (const keys::Key& key : known_keys) {
    if (key.revoked == absl::InfiniteFuture()) continue;
    if (absl::Status forgotten = (*edits)->Forget(key); !forgotten.ok()) return forgotten;
  }
  absl::StatusOr<std::unique_ptr<blobs::BlobStore>> blobs =
      OpenBlobs(*folder, config, edits->get());
  if (!blobs.ok()) return blobs.status();

  EngineOptions engine_options = MakeEngineOptions(config);
  ServerOptions server_options = MakeServerOptions(config);
  std::unique_ptr<metrics::Endpoint> endpoint;
  if (!config.metrics().empty()) {
    server_options.metrics = std::make_shared<metrics::Metrics>();
    engine_options.after_pass = [metrics = server_options.metrics](const PassReport& report) {
      metrics->CountPass(report);
    };
    absl::StatusOr<std::unique_ptr<metrics::Endpoint>> started =
        metrics::Endpoint::Start(config.metrics(), server_options.metrics);
    if (!started.ok()) return started.status();
    endpoint = *std::move(started);
    spdlog::info("metrics on http://{}/metrics", endpoint->address());
  }

  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(std::move(engine_options));
  if (!engine.ok()) return engine.status();
  for (const Model& model : config.model()) {
    if (absl::Status hosted = HostModel(model, engine->get()); !hosted.ok()) return hosted;
  }

  signals->Serve();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(
      server_options, engine->get(), keys.get(), audit.get(), blobs->get(), edits->get());
  if (!server.ok()) return server.status();
  std::printf("listening on %s\n", (*server)->address().c_str());
  std::fflush(stdout);
  spdlog::info("weftd {} serves {} model{} on {}", kVersion, config.model_size(),
               config.model_size() == 1 ? "" : "s", (*server)->address());

  // On a thread of its own: models take minutes to load, and a stop does not wait for them.
  std::atomic<uint32_t> drain_seconds = config.drain_seconds();
  std::thread reloads([&] {
    while (signals->AwaitReload()) {
      CatchAll("reading the configuration again", [&] {
        ReadAgain(argc, argv, &config, engine->get(), server->get(), signals);
        return absl::OkStatus();
      }).IgnoreError();
      drain_seconds = config.drain_seconds();
    }
  });
  signals->AwaitStop();
  (*server)->Shutdown(absl::Now() + absl::Seconds(drain_seconds.load()));
  reloads.join();
  (*engine)->Drain(absl::Now());
  spdlog::info("drained");
  return absl::OkStatus();
}

}  // namespace
}  // namespace weft::server

int main(int argc, char** argv) {
  using namespace weft::server;  // NOLINT(google-build-using-namespace)
  const ParsedConfig parsed = ParseConfig(argc, argv);
  if (!parsed.config.has_value()) {
    std::fputs(parsed.text.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  // Activations come and go with every pass: keep their memory instead of giving it back to the
  // system and taking it anew, page by page.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  // Lives as long as its thread: until the process ends.
  auto* const signals = new Signals(/*reloads=*/!parsed.file.empty());
  SetUpLog(parsed.config->log_level(), parsed.config->log_format());
  for (const std::string& warning : parsed.warnings) spdlog::warn("{}", warning);
  if (absl::Status served = Serve(argc, argv, *parsed.config, signals); !served.ok()) {
    spdlog::error("{}", std::string(served.message()));
    return 1;
  }
  return 0;
}
