#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "engine/devices/devices.h"
#include "engine/model_host.h"
#include "engine/plan/operators.h"

namespace weft {
namespace {

class EngineImpl : public Engine {
 public:
  explicit EngineImpl(EngineOptions options)
      : options_(std::move(options)), limits_(options_.limits) {
    std::random_device random;
    job_prefix_ = absl::StrFormat("%08x", random());
  }

  ~EngineImpl() override {
    absl::MutexLock lock(&mutex_);
    for (const Retired& retired : retired_) {
      if (auto host = retired.host.lock()) host->CancelAll();
    }
    retired_.clear();  // waits for each
  }

  absl::Status LoadModel(const std::string& name, const std::string& folder,
                         const LoadOptions& options) override {
    return Add(name, [&] { return ModelHost::Load(name, folder, options, options_); });
  }

  absl::Status HostNetwork(const std::string& name, models::Network&& network) override {
    return Add(name, [&] { return ModelHost::Host(name, std::move(network), options_); });
  }

  absl::Status ReplaceModel(const std::string& name, const std::string& folder,
                            const LoadOptions& options) override {
    if (absl::Status found = FindHost(name).status(); !found.ok()) return found;
    absl::StatusOr<std::unique_ptr<ModelHost>> host =
        Named(name, ModelHost::Load(name, folder, options, options_));
    if (!host.ok()) return host.status();
    absl::MutexLock lock(&mutex_);
    (*host)->SetLimits(limits_);
    std::shared_ptr<ModelHost>& place = hosts_[name];
    if (place != nullptr) Retire(std::move(place));
    place = *std::move(host);
    return absl::OkStatus();
  }

  absl::Status UnloadModel(const std::string& name) override {
    if (absl::Status found = FindHost(name).status(); !found.ok()) return found;
    absl::MutexLock lock(&mutex_);
    if (auto host = hosts_.extract(name); !host.empty()) Retire(std::move(host.mapped()));
    return absl::OkStatus();
  }

  std::vector<ModelSummary> ListModels() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<ModelSummary> models;
    for (const auto& [name, host] : hosts_) models.push_back(host->info()->summary);
    return models;
  }

  absl::StatusOr<std::shared_ptr<const ModelInfo>> GetModel(
      const std::string& name) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(name);
    if (!host.ok()) return host.status();
    return (*host)->info();
  }

  absl::StatusOr<uint64_t> CountPasses(const std::string& name) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(name);
    if (!host.ok()) return host.status();
    return (*host)->model().passes();
  }

  absl::StatusOr<uint64_t> CountModuleCalls(const std::string& name) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(name);
    if (!host.ok()) return host.status();
    return (*host)->model().module_calls();
  }

  absl::StatusOr<ModelStats> GetStats(const std::string& name) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(name);
    if (!host.ok()) return host.status();
    return (*host)->stats();
  }

  absl::StatusOr<std::vector<TokenPieces>> Tokenize(const std::string& model,
                                                    const std::vector<std::string>& texts,
                                                    bool special_tokens) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(model);
    if (!host.ok()) return host.status();
    return (*host)->Tokenize(texts, special_tokens);
  }

  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string& model,
                                                      const std::vector<std::vector<int64_t>>& rows,
                                                      bool skip_special_tokens) const override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(model);
    if (!host.ok()) return host.status();
    return (*host)->Detokenize(rows, skip_special_tokens);
  }

  absl::StatusOr<Validation> Validate(const std::string& model, const graph::Program& program,
                                      const RunOptions& options) override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(model);
    if (!host.ok()) return host.status();
    return (*host)->Validate(program, options);
  }

  absl::StatusOr<std::shared_ptr<Job>> Submit(const std::string& model, graph::Program program,
                                              const RunOptions& options, EventSink sink) override {
    absl::StatusOr<std::shared_ptr<ModelHost>> host = FindHost(model);
    if (!host.ok()) return host.status();
    if (draining_.load()) {
      return absl::UnavailableError("the server is shutting down; try again in a moment");
    }
    return (*host)->Submit(absl::StrCat("job-", job_prefix_, "-", ++next_job_), std::move(program),
                           options, std::move(sink));
  }

  std::vector<OperatorInfo> ListOperators() const override {
    std::vector<OperatorInfo> operators;
    for (const plan::OperatorRow* row : plan::OperatorTable::Get().rows()) {
      if (operators.empty() || operators.back().name != row->name) {
        operators.push_back({row->name, {}});
      }
      OverloadInfo overload;
      overload.schema = plan::ProgramSchema(*row);
      overload.makes = row->makes == plan::Makes::kView              ? "view"
                       : row->makes == plan::Makes::kOverlappingView ? "overlapping_view"
                       : row->makes == plan::Makes::kMaybeView       ? "maybe_view"
                                                                     : "fresh";
      overload.in_place = row->in_place();
      overload.random = row->random;
      operators.back().overloads.push_back(std::move(overload));
    }
    return operators;
  }

  Limits limits() const override {
    absl::MutexLock lock(&mutex_);
    return limits_;
  }

  void SetLimits(const Limits& limits) override {
    absl::MutexLock lock(&mutex_);
    limits_ = limits;
    for (const auto& [name, host] : hosts_) host->SetLimits(limits);
  }

  std::string device() const override {
    std::vector<std::string> names;
    for (const devices::Accelerator& each : devices::ListAccelerators()) {
      names.push_back(each.device.str());
    }
    return names.empty() ? "cpu" : absl::StrJoin(names, ", ");
  }

  void Drain(absl::Time deadline) override {
    draining_.store(true);
    std::vector<std::shared_ptr<ModelHost>> hosts;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [name, host] : hosts_) hosts.push_back(host);
      for (const Retired& retired : retired_) {
        if (auto host = retired.host.lock()) hosts.push_back(std::move(host));
      }
    }
    // Whoever was admitted a moment ago is counted, or refused.
    for (const auto& host : hosts) host->Retire();
    for (const auto& host : hosts) {
      if (host->AwaitIdle(deadline)) continue;
      host->CancelAll();
      host->AwaitIdle(absl::InfiniteFuture());
    }
  }

 private:
  // A model that is hosted no more, on its way out.
  struct Retired {
    std::weak_ptr<ModelHost> host;
    std::future<void> gone;
  };

  using Made = absl::StatusOr<std::unique_ptr<ModelHost>>;

  static Made Named(const std::string& name, Made host) {
    if (host.ok()) return host;
    return absl::Status(host.status().code(),
                        absl::StrCat("model `", name, "`: ", host.status().message()));
  }

  static absl::Status Taken(const std::string& name) {
    return absl::AlreadyExistsError(absl::StrCat("there is a model `", name, "` already"));
  }

  absl::Status Add(const std::string& name, absl::FunctionRef<Made()> make) {
    if (name.empty()) return absl::InvalidArgumentError("a model needs a name");
    {
      absl::MutexLock lock(&mutex_);
      if (hosts_.contains(name)) return Taken(name);
    }
    Made host = Named(name, make());
    if (!host.ok()) return host.status();
    absl::MutexLock lock(&mutex_);
    (*host)->SetLimits(limits_);
    // Whoever was quicker with the same name keeps it.
    if (!hosts_.try_emplace(name, *std::move(host)).second) return Taken(name);
    return absl::OkStatus();
  }

  void Retire(std::shared_ptr<ModelHost> host) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::erase_if(retired_, [](const Retired& retired) {
      return retired.gone.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
    host->Retire();
    std::weak_ptr<ModelHost> weak = host;
    retired_.push_back(
        {std::move(weak), std::async(std::launch::async, [host = std::move(host)]() mutable {
           host->AwaitIdle(absl::InfiniteFuture());
           host.reset();
         })});
  }

  absl::StatusOr<std::shared_ptr<ModelHost>> FindHost(const std::string& name) const {
    absl::MutexLock lock(&mutex_);
    auto it = hosts_.find(name);
    if (it != hosts_.end()) return it->second;
    return absl::NotFoundError(absl::StrCat(
        "there is no model `", name, "`; there ",
        hosts_.empty()
            ? "are none"
            : absl::StrCat(hosts_.size() == 1 ? "is: " : "are: ",
                           absl::StrJoin(hosts_, ", ", [](std::string* out, auto& entry) {
                             absl::StrAppend(out, "`", entry.first, "`");
                           }))));
  }

  const EngineOptions options_;
  std::string job_prefix_;
  std::atomic<uint64_t> next_job_{0};
  std::atomic<bool> draining_{false};
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<ModelHost>> hosts_ ABSL_GUARDED_BY(mutex_);
  std::vector<Retired> retired_ ABSL_GUARDED_BY(mutex_);
  Limits limits_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineOptions options) {
  if (options.threads < 0) return absl::InvalidArgumentError("threads must not be negative");
  // Before anything asks LibTorch whether there are any: it remembers the answer.
  devices::LoadAccelerators();
  // Made here and not by the first request.
  plan::OperatorTable::Get();
  return std::make_unique<EngineImpl>(std::move(options));
}

}  // namespace weft
