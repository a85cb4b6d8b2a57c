#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"

namespace weft::testing {

/// A job of the fake engine. Tests say what happens to it with Emit; a cancelled one fails by
/// itself, once. Thread-safe.
class FakeJob final : public Job {
 public:
  FakeJob(std::string id, EventSink sink) : id_(std::move(id)), sink_(std::move(sink)) {}

  const std::string& id() const override { return id_; }

  void Cancel() override {
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    Fail(absl::StatusCode::kCancelled, "cancelled");
  }

  /// Hand one event to the sink, if the run has not ended.
  void Emit(Event event) {
    absl::MutexLock emit(&emit_mutex_);
    if (sink_ == nullptr) return;
    const bool last =
        std::holds_alternative<Completed>(event) || std::holds_alternative<Failed>(event);
    sink_(std::move(event));
    if (last) sink_ = nullptr;
  }

  void Accept() { Emit(Accepted{.job_id = id_, .fingerprint = "fake"}); }
  void Complete() { Emit(Completed{.fingerprint = "fake"}); }
  void Fail(absl::StatusCode code, const std::string& message) {
    graph::Error error;
    error.code = code;
    error.message = message;
    Emit(Failed{std::move(error)});
  }

  bool cancelled() const {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }
  /// False if nobody cancelled in `timeout`.
  bool WaitForCancel(absl::Duration timeout = absl::Seconds(10)) const {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), timeout);
  }

 private:
  const std::string id_;
  absl::Mutex emit_mutex_;
  EventSink sink_ ABSL_GUARDED_BY(emit_mutex_);
  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

/// An engine without models or kernels: tests script what its runs do. Thread-safe, but for
/// the scripts, which are set before it is used.
class FakeEngine final : public Engine {
 public:
  struct Submission {
    std::string model;
    graph::Program program;
    RunOptions options;
  };
  /// Called by Submit on the caller's thread. An error refuses the run; the job may be kept and
  /// used by any thread later. By default a run is accepted and completed.
  std::function<absl::Status(std::shared_ptr<FakeJob>, const Submission&)> on_submit =
      [](const std::shared_ptr<FakeJob>& job, const Submission&) {
        job->Accept();
        job->Complete();
        return absl::OkStatus();
      };
  std::function<absl::StatusOr<Validation>(const Submission&)> on_validate =
      [](const Submission&) -> absl::StatusOr<Validation> { return Validation(); };
  std::function<absl::StatusOr<std::vector<TokenPieces>>(const std::vector<std::string>&, bool)>
      on_tokenize = [](const std::vector<std::string>& texts,
                       bool) -> absl::StatusOr<std::vector<TokenPieces>> {
    std::vector<TokenPieces> rows;
    for (const std::string& text : texts) {
      rows.push_back({{static_cast<int64_t>(text.size())}, {text}});
    }
    return rows;
  };

  /// What every model says of itself.
  ModelStats stats;
  /// What every program's plan says that it takes.
  Cost estimate;

  FakeEngine() { AddModel("atlas"); }

  void AddModel(const std::string& name) {
    auto info = std::make_shared<ModelInfo>();
    info->summary.name = name;
    info->summary.family = "fake";
    info->summary.fingerprint = "fake";
    info->summary.vocabulary = 100;
    info->modules.push_back({.path = "", .type = "Fake"});
    absl::MutexLock lock(&mutex_);
    models_[name] = std::move(info);
  }

  /// A site of one element, after those that the model has.
  void AddSite(const std::string& model, const std::string& module, graph::DType dtype) {
    absl::MutexLock lock(&mutex_);
    auto info = std::make_shared<ModelInfo>(*models_.at(model));
    info->sites.push_back(
        {.site = {.module = module},
         .value = {graph::Pattern::Tensor{.dtype = dtype, .shape = {{.constant = 1}}}}});
    models_[model] = std::move(info);
  }

  /// Called by LoadModel and ReplaceModel; an error refuses the model.
  std::function<absl::Status(const std::string& name, const std::string& folder,
                             const LoadOptions& options)>
      on_load = [](const std::string&, const std::string&, const LoadOptions&) {
        return absl::OkStatus();
      };

  absl::Status HostNetwork(const std::string&, models::Network&&) override {
    return absl::UnimplementedError("no networks here");
  }
  absl::Status LoadModel(const std::string& name, const std::string& folder,
                         const LoadOptions& options) override {
    if (absl::Status loaded = on_load(name, folder, options); !loaded.ok()) return loaded;
    AddModel(name);
    return absl::OkStatus();
  }
  absl::Status ReplaceModel(const std::string& name, const std::string& folder,
                            const LoadOptions& options) override {
    if (absl::Status found = GetModel(name).status(); !found.ok()) return found;
    return LoadModel(name, folder, options);
  }
  absl::Status UnloadModel(const std::string& name) override {
    if (absl::Status found = GetModel(name).status(); !found.ok()) return found;
    absl::MutexLock lock(&mutex_);
    models_.erase(name);
    return absl::OkStatus();
  }
  std::vector<ModelSummary> ListModels() const override {
    std::vector<ModelSummary> models;
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, info] : models_) models.push_back(info->summary);
    return models;
  }
  absl::StatusOr<std::shared_ptr<const ModelInfo>> GetModel(
      const std::string& name) const override {
    absl::MutexLock lock(&mutex_);
    const auto found = models_.find(name);
    if (found == models_.end()) {
      return absl::NotFoundError(absl::StrCat("there is no model '", name, "'"));
    }
    return found->second;
  }
  absl::StatusOr<uint64_t> CountPasses(const std::string&) const override {
    absl::MutexLock lock(&mutex_);
    return submissions_;
  }
  absl::StatusOr<uint64_t> CountModuleCalls(const std::string&) const override { return 0; }
  absl::StatusOr<ModelStats> GetStats(const std::string& name) const override {
    if (absl::Status found = GetModel(name).status(); !found.ok()) return found;
    return stats;
  }
  absl::StatusOr<std::vector<TokenPieces>> Tokenize(const std::string&,
                                                    const std::vector<std::string>& texts,
                                                    bool special_tokens) const override {
    return on_tokenize(texts, special_tokens);
  }
  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string&,
                                                      const std::vector<std::vector<int64_t>>& rows,
                                                      bool) const override {
    std::vector<std::string> texts;
    for (const auto& row : rows) texts.push_back(absl::StrCat(row.size(), " tokens"));
    return texts;
  }
  absl::StatusOr<Validation> Validate(const std::string& model, const graph::Program& program,
                                      const RunOptions& options) override {
    if (absl::Status found = GetModel(model).status(); !found.ok()) return found;
    return on_validate({model, program, options});
  }
  absl::StatusOr<std::shared_ptr<Job>> Submit(const std::string& model, graph::Program program,
                                              const RunOptions& options, EventSink sink) override {
    if (absl::Status found = GetModel(model).status(); !found.ok()) return found;
    if (options.admit) {
      if (absl::Status admitted = options.admit(estimate); !admitted.ok()) return admitted;
    }
    uint64_t number;
    {
      absl::MutexLock lock(&mutex_);
      number = ++submissions_;
    }
    auto job = std::make_shared<FakeJob>(absl::StrCat("job-", number), std::move(sink));
    absl::Status submitted = on_submit(job, {model, std::move(program), options});
    if (!submitted.ok()) return submitted;
    return job;
  }
  std::vector<OperatorInfo> ListOperators() const override {
    return {{.name = "aten::mul",
             .overloads = {{.schema = "aten::mul.Tensor(Tensor self, Tensor other) -> Tensor",
                            .makes = "fresh"}}}};
  }
  Limits limits() const override {
    absl::MutexLock lock(&mutex_);
    return limits_;
  }
  void SetLimits(const Limits& limits) override {
    absl::MutexLock lock(&mutex_);
    limits_ = limits;
  }
  std::string device() const override { return "cpu"; }
  void Drain(absl::Time) override {}

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<ModelInfo>> models_ ABSL_GUARDED_BY(mutex_);
  Limits limits_ ABSL_GUARDED_BY(mutex_);
  uint64_t submissions_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace weft::testing
