#include <malloc.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "server/config/config.h"
#include "server/keys/key_store.h"
#include "server/log.h"
#include "server/metrics/endpoint.h"
#include "server/metrics/metrics.h"
#include "server/server.h"

namespace weft::server {
namespace {

// Signals as calls on a thread, so that nothing runs inside a handler. To be made before any other
// thread, which inherits the mask.
class Signals {
 public:
  Signals() {
    std::signal(SIGPIPE, SIG_IGN);
    // A shell starts background jobs with SIGINT ignored, and sigwait never sees what is ignored.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::thread([this] { Listen(); }).detach();
  }

  // From now on the first signal ends Wait; before, it ends the process.
  void Serve() {
    absl::MutexLock lock(&mutex_);
    serving_ = true;
  }

  void Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&stop_));
  }

 private:
  void Listen() {
    while (true) {
      int signal = 0;
      if (sigwait(&set_, &signal) != 0) continue;
      absl::MutexLock lock(&mutex_);
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
};

absl::Status LoadModels(const Config& config, Engine* engine) {
  for (const Model& model : config.model()) {
    spdlog::info("loading {} from {}", model.name(), model.folder());
    const absl::Time start = absl::Now();
    if (absl::Status loaded = engine->LoadModel(model.name(), model.folder()); !loaded.ok()) {
      return absl::Status(loaded.code(), "cannot load the model '" + model.name() + "' from '" +
                                             model.folder() +
                                             "': " + std::string(loaded.message()));
    }
    absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine->GetModel(model.name());
    if (!info.ok()) return info.status();
    const ModelSummary& summary = (*info)->summary;
    spdlog::info("loaded {}: {}, {:.1f} million parameters, {} on {}, {:.2f} s", model.name(),
                 summary.family, static_cast<double>(summary.parameters) / 1e6, summary.dtype,
                 summary.device, absl::ToDoubleSeconds(absl::Now() - start));
  }
  return absl::OkStatus();
}

absl::Status Serve(const Config& config, Signals* signals) {
  // What can be refused at once is refused before minutes of loading.
  if (absl::Status checked =
          CheckListen(config.listen(), config.insecure() || config.has_tls_cert());
      !checked.ok()) {
    return checked;
  }
  std::unique_ptr<keys::KeyStore> keys;
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
  } else {
    spdlog::warn("--no-keys: whoever reaches {} may do everything", config.listen());
  }

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
  if (absl::Status loaded = LoadModels(config, engine->get()); !loaded.ok()) return loaded;

  signals->Serve();
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(server_options, engine->get(), keys.get());
  if (!server.ok()) return server.status();
  std::printf("listening on %s\n", (*server)->address().c_str());
  std::fflush(stdout);
  spdlog::info("weftd {} serves {} model{} on {}", kVersion, config.model_size(),
               config.model_size() == 1 ? "" : "s", (*server)->address());

  signals->Wait();
  (*server)->Shutdown(absl::Now() + absl::Seconds(config.drain_seconds()));
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
  auto* const signals = new Signals();
  SetUpLog(parsed.config->log_level(), parsed.config->log_format());
  for (const std::string& warning : parsed.warnings) spdlog::warn("{}", warning);
  if (absl::Status served = Serve(*parsed.config, signals); !served.ok()) {
    spdlog::error("{}", std::string(served.message()));
    return 1;
  }
  return 0;
}
