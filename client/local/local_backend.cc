#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/local/local_blobs.h"
#include "client/local/local_edits.h"
#include "client/src/convert.h"
#include "client/src/model_state.h"
#include "engine/engine.h"
#include "engine/graph/edit_name.h"
#include "engine/graph/edited_program.h"
#include "engine/graph/error.h"
#include "engine/models/network.h"
#include "weft/local.h"

namespace weft {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

HostedModel Convert(const ModelSummary& summary) {
  return {summary.name,        summary.family,     summary.dtype,         summary.device,
          summary.fingerprint, summary.parameters, summary.has_tokenizer, summary.max_tokens,
          summary.vocabulary,  summary.adapters};
}

RunCost Convert(const Cost& cost) {
  return {cost.queue_seconds, cost.run_seconds,  cost.operator_seconds, cost.tokens,
          cost.passes,        cost.result_bytes, cost.peak_bytes};
}

std::vector<ErrorDetails> Convert(const std::vector<graph::Error>& errors) {
  std::vector<ErrorDetails> details;
  for (const graph::Error& error : errors) details.push_back(internal::FromGraph(error));
  return details;
}

std::optional<event::CacheEntry> Convert(const std::optional<CacheEntry>& entry) {
  if (!entry) return std::nullopt;
  return event::CacheEntry{entry->module, internal::PointName(entry->point), entry->visit};
}

/// Hands the engine's events, which come on its threads, to the thread that waits for the run.
class Mailbox {
 public:
  void Put(Event event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  Event Get() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](std::deque<Event>* events) { return !events->empty(); }, &events_));
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  absl::Mutex mutex_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
};

/// Ends a run that is left early, by an exception of the caller's on_event.
class JobScope {
 public:
  explicit JobScope(std::shared_ptr<Job> job) : job_(std::move(job)) {}
  ~JobScope() { job_->Cancel(); }

 private:
  const std::shared_ptr<Job> job_;
};

class LocalBackend final : public Backend {
 public:
  explicit LocalBackend(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  absl::StatusOr<Identity> WhoAmI() override {
    Identity identity;
    identity.label = "in process";
    identity.scopes = {"trace", "weights"};
    identity.models = {"*"};
    return identity;
  }

  absl::StatusOr<std::vector<HostedModel>> ListModels() override {
    std::vector<HostedModel> models;
    for (const ModelSummary& summary : engine_->ListModels()) models.push_back(Convert(summary));
    return models;
  }

  absl::StatusOr<ModelDescription> GetModel(const std::string& name) override {
    absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine_->GetModel(name);
    if (!info.ok()) return info.status();
    ModelDescription model;
    model.summary = Convert((*info)->summary);
    for (const ModuleInfo& module : (*info)->modules) {
      model.modules.push_back({module.path, module.type, module.detail});
    }
    const auto describe = [](const SiteInfo& site) -> SiteDescription {
      const bool readable = !std::holds_alternative<std::monostate>(site.value.value);
      return {site.site.module, internal::PointName(site.site.point),
              site.site.visit,  readable ? graph::ToString(site.value) : "",
              site.writable,    site.site.op,
              site.source};
    };
    for (const SiteInfo& site : (*info)->sites) model.sites.push_back(describe(site));
    for (const SiteInfo& site : (*info)->operations) model.operations.push_back(describe(site));
    for (const ParameterInfo& parameter : (*info)->parameters) {
      model.parameters.push_back(
          {parameter.path, static_cast<DType>(parameter.dtype), parameter.shape});
    }
    absl::StatusOr<uint64_t> passes = engine_->CountPasses(name);
    if (passes.ok()) model.passes = *passes;
    model.config_json = (*info)->config_json;
    return model;
  }

  absl::StatusOr<std::vector<OperatorDescription>> ListOperators() override {
    std::vector<OperatorDescription> operators;
    for (const OperatorInfo& info : engine_->ListOperators()) {
      OperatorDescription description;
      description.name = info.name;
      for (const OverloadInfo& overload : info.overloads) {
        description.overloads.push_back(
            {overload.schema, overload.makes, overload.in_place, overload.random});
      }
      operators.push_back(std::move(description));
    }
    return operators;
  }

  absl::StatusOr<std::vector<std::vector<int64_t>>> Tokenize(
      const std::string& model, const std::vector<std::string>& texts) override {
    absl::StatusOr<std::vector<TokenPieces>> pieces =
        engine_->Tokenize(model, texts, /*special_tokens=*/true);
    if (!pieces.ok()) return pieces.status();
    std::vector<std::vector<int64_t>> rows;
    for (TokenPieces& row : *pieces) rows.push_back(std::move(row.ids));
    return rows;
  }

  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string& model,
                                                      const std::vector<std::vector<int64_t>>& rows,
                                                      bool skip_special_tokens) override {
    return engine_->Detokenize(model, rows, skip_special_tokens);
  }

  absl::StatusOr<ValidationReport> Validate(const std::string& model, const Program& program,
                                            const RunSettings& settings) override {
    absl::StatusOr<Edited> edited = Edit(model, program, settings);
    if (!edited.ok()) return edited.status();
    if (absl::Status status = blobs_.Find(&edited->program); !status.ok()) {
      return edited->Explain(status);
    }
    absl::StatusOr<Validation> validation =
        engine_->Validate(model, edited->program, Options(settings));
    if (!validation.ok()) return edited->Explain(validation.status());
    for (graph::Error& warning : validation->warnings) warning = edited->Explain(warning);
    ValidationReport report;
    report.edits = edited->names();
    for (const Validation::SavedShape& save : validation->saves) {
      report.saves.push_back({save.name, graph::ToString(save.value)});
    }
    report.warnings = Convert(validation->warnings);
    report.estimate = Convert(validation->estimate);
    report.fingerprint = validation->fingerprint;
    return report;
  }

  absl::Status Run(const std::string& model, const Program& program, const RunSettings& settings,
                   absl::FunctionRef<void(RunEvent)> on_event) override {
    absl::StatusOr<Edited> edited = Edit(model, program, settings);
    if (!edited.ok()) return edited.status();
    if (absl::Status status = blobs_.Find(&edited->program); !status.ok()) {
      return edited->Explain(status);
    }
    // The engine may still call its sink when this returns early.
    auto mailbox = std::make_shared<Mailbox>();
    absl::StatusOr<std::shared_ptr<Job>> job =
        engine_->Submit(model, std::move(edited->program), Options(settings),
                        [mailbox](Event event) { mailbox->Put(std::move(event)); });
    if (!job.ok()) return edited->Explain(job.status());
    JobScope scope(*job);
    const std::shared_ptr<void> cancel =
        settings.cancellation.OnCancel([job = *job] { job->Cancel(); });

    bool ended = false;
    absl::Status end;
    while (!ended) {
      Event next = mailbox->Get();
      std::visit(Overloaded{
                     [&](Accepted& accepted) {
                       for (graph::Error& warning : accepted.warnings) {
                         warning = edited->Explain(warning);
                       }
                       on_event(event::Accepted{accepted.job_id, accepted.fingerprint,
                                                Convert(accepted.warnings), edited->names()});
                     },
                     [&](Queued& queued) { on_event(event::Queued{queued.position}); },
                     [&](Running&) { on_event(event::Running{}); },
                     [&](LogLine& log) {
                       on_event(event::Log{log.label, log.text});
                     },
                     [&](Result& result) {
                       absl::StatusOr<Value> value =
                           result.keep ? Keep(result.value) : internal::FromGraph(result.value);
                       if (value.ok()) {
                         on_event(event::Result{result.name, *std::move(value), result.step,
                                                result.point, Convert(result.entry)});
                       } else {
                         on_event(event::Missing{result.name, value.status()});
                       }
                     },
                     [&](NewTokens& tokens) {
                       on_event(event::NewTokens{tokens.invoke, tokens.point, tokens.step,
                                                 std::move(tokens.ids), std::move(tokens.texts)});
                     },
                     [&](Missing& missing) {
                       on_event(event::Missing{missing.name,
                                               graph::ToStatus(edited->Explain(missing.reason))});
                     },
                     [&](Completed& completed) {
                       ended = true;
                       on_event(event::Completed{completed.fingerprint, Convert(completed.cost)});
                     },
                     [&](Failed& failed) {
                       ended = true;
                       end = graph::ToStatus(edited->Explain(failed.error));
                     },
                 },
                 next);
    }
    return end;
  }

  absl::StatusOr<Blob> UploadBlob(const Tensor& tensor) override {
    return blobs_.Keep(internal::ToGraph(tensor));
  }
  absl::StatusOr<BlobList> ListBlobs() override { return blobs_.List(); }
  absl::Status DeleteBlob(const std::string& hash) override { return blobs_.Delete(hash); }

  absl::StatusOr<EditVersion> StoreEdit(const std::string& model, const std::string& name,
                                        const Program& edit,
                                        const StoreEditOptions& options) override {
    if (absl::Status good = graph::CheckEditName(name); !good.ok()) return good;
    absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine_->GetModel(model);
    if (!info.ok()) return info.status();
    graph::Program found = edit.graph();
    if (absl::Status status = blobs_.Find(&found); !status.ok()) return status;
    const uint64_t most_tokens =
        std::min((*info)->summary.max_tokens, engine_->limits().pass_tokens);
    const absl::Status fits = graph::CheckEditFits(
        name, found, options.tokens, most_tokens, internal::UnlimitedProgram(),
        [&](const graph::Program& probe) {
          return engine_->Validate(model, probe, Options(RunSettings())).status();
        });
    if (!fits.ok()) return fits;
    return edits_.Store(model, name, edit);
  }
  absl::StatusOr<EditList> ListEdits(const std::string& model) override {
    return edits_.List(model);
  }
  absl::StatusOr<StoredEdit> GetEdit(const std::string& model, const std::string& name,
                                     uint64_t version) override {
    return edits_.Get(model, name, version);
  }
  absl::StatusOr<uint64_t> DeleteEdit(const std::string& model, const std::string& name,
                                      uint64_t version) override {
    return edits_.Delete(model, name, version);
  }

 private:
  /// What the engine is given, and how what it says of that is told.
  struct Edited {
    graph::Program program;
    std::shared_ptr<const graph::EditedProgram> edits;  // null: there are none

    std::vector<std::string> names() const {
      return edits == nullptr ? std::vector<std::string>() : edits->names();
    }
    graph::Error Explain(const graph::Error& error) const {
      return edits == nullptr ? error : edits->Explain(error);
    }
    absl::Status Explain(const absl::Status& status) const {
      return edits == nullptr ? status : edits->Explain(status);
    }
  };
  absl::StatusOr<Edited> Edit(const std::string& model, const Program& program,
                              const RunSettings& settings) const {
    if (settings.edits.empty()) return Edited{program.graph(), nullptr};
    if (absl::Status found = engine_->GetModel(model).status(); !found.ok()) return found;
    absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> edits =
        edits_.Apply(model, settings.edits, program.graph(), internal::UnlimitedProgram());
    if (!edits.ok()) return edits.status();
    return Edited{(*edits)->program(), *edits};
  }

  /// The value with blobs for its tensors.
  absl::StatusOr<Value> Keep(const graph::HostValue& value) {
    return internal::FromGraph(value,
                               [this](const graph::HostTensor& tensor) -> absl::StatusOr<Value> {
                                 absl::StatusOr<Blob> blob = blobs_.Keep(tensor);
                                 if (!blob.ok()) return blob.status();
                                 return Value(*std::move(blob));
                               });
  }

  static RunOptions Options(const RunSettings& settings) {
    RunOptions options;
    options.deadline = absl::Now() + settings.deadline;
    options.exclusive = settings.exclusive;
    options.exact = settings.exact;
    options.seed = settings.seed;
    options.stream_tokens = settings.stream_tokens;
    options.access.weights = true;
    return options;
  }

  const std::unique_ptr<Engine> engine_;
  LocalBlobs blobs_;
  LocalEdits edits_;
};

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const LocalOptions& options) {
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  // Of a request, of which there is none.
  engine_options.limits.constant_bytes = std::numeric_limits<uint64_t>::max();
  return Engine::Create(engine_options);
}

}  // namespace

LoadProgress TerminalProgress() {
  if (isatty(STDERR_FILENO) == 0) return {};
  auto told = std::make_shared<int64_t>(-1);  // in percent
  return [told](const std::string& model, uint64_t bytes, uint64_t total_bytes) {
    const auto percent = static_cast<int64_t>(total_bytes == 0 ? 100 : 100 * bytes / total_bytes);
    const bool over = bytes == total_bytes;
    if (percent == *told && !over) return;
    *told = over ? -1 : percent;
    std::cerr << "\rloading " << model << ": " << percent << " % of " << (total_bytes >> 20)
              << " MiB" << (over ? "\n" : "") << std::flush;
  };
}

absl::StatusOr<std::shared_ptr<Backend>> MakeLocalBackend(const LocalOptions& options) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = MakeEngine(options);
  if (!engine.ok()) return engine.status();
  for (const auto& [name, adapters] : options.adapters) {
    if (options.models.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("adapters are given for `", name, "`, which is none of the models"));
  }
  for (const auto& [name, modules] : options.device_map) {
    if (options.models.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("modules are placed for `", name, "`, which is none of the models"));
  }
  for (const auto& [name, folder] : options.models) {
    LoadOptions load{
        .dtype = options.dtype, .device = options.device, .dispatch = options.dispatch};
    if (const auto found = options.device_map.find(name); found != options.device_map.end()) {
      load.device_map = found->second;
    }
    if (const auto found = options.adapters.find(name); found != options.adapters.end()) {
      load.adapters = found->second;
    }
    if (options.progress) {
      load.progress = [&options, &name = name](uint64_t bytes, uint64_t total_bytes) {
        options.progress(name, bytes, total_bytes);
        return absl::OkStatus();
      };
    }
    if (absl::Status status = (*engine)->LoadModel(name, folder, load); !status.ok()) return status;
  }
  return std::make_shared<LocalBackend>(*std::move(engine));
}

absl::StatusOr<Client> MakeLocalClient(const LocalOptions& options) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = MakeLocalBackend(options);
  if (!backend.ok()) return backend.status();
  return Client(*std::move(backend));
}

absl::StatusOr<Client> MakeLocalClient(const std::string& name, models::Network&& network) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = MakeEngine({});
  if (!engine.ok()) return engine.status();
  absl::Status status = (*engine)->HostNetwork(name, std::move(network));
  if (!status.ok()) return status;
  return Client(std::make_shared<LocalBackend>(*std::move(engine)));
}

}  // namespace weft
