#include "server/canary.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "server/log.h"

namespace weft::server {
namespace {

constexpr char kSave[] = "canary";

// How often to see which models there are.
constexpr absl::Duration kLook = absl::Seconds(1);

bool IsFloat(graph::DType dtype) {
  return dtype == graph::DType::kF64 || dtype == graph::DType::kF32 ||
         dtype == graph::DType::kF16 || dtype == graph::DType::kBF16;
}

// Whether the canary's one result says that there was a NaN. Not so if it says nothing.
bool IsNan(const graph::HostValue& value) {
  const auto* tensor = std::get_if<graph::HostTensor>(&value.value);
  return tensor != nullptr && tensor->bytes == 1 && tensor->data[0] != 0;
}

}  // namespace

struct Canary::Flight {
  absl::Mutex mutex;
  bool nan ABSL_GUARDED_BY(mutex) = false;
  std::optional<absl::Status> outcome ABSL_GUARDED_BY(mutex);
};

absl::StatusOr<graph::Program> MakeCanaryProgram(const ModelInfo& model) {
  // The last one: all of the model is run for it.
  const auto site = std::find_if(model.sites.rbegin(), model.sites.rend(), [](const auto& info) {
    const auto* tensor = std::get_if<graph::Pattern::Tensor>(&info.value.value);
    return tensor != nullptr && IsFloat(tensor->dtype);
  });
  if (site == model.sites.rend()) {
    return absl::FailedPreconditionError("the model has no site that gives a float tensor");
  }
  return graph::ParseProgram(absl::StrCat("invoke [0] { %h = read ", graph::ToString(site->site),
                                          " %nan = aten::isnan(%h) %any = aten::any(%nan) save ",
                                          kSave, " = %any }"));
}

Canary::Canary(Engine* engine, Options options, Listener listener,
               std::shared_ptr<metrics::Metrics> metrics)
    : engine_(engine),
      options_(options),
      listener_(std::move(listener)),
      metrics_(std::move(metrics)),
      wake_(std::make_shared<Wake>()) {}

Canary::~Canary() {
  for (const auto& [name, model] : models_) {
    if (model.job != nullptr) model.job->Cancel();
  }
}

absl::Time Canary::Step(absl::Time now) {
  std::set<std::string> hosted;
  for (const ModelSummary& summary : engine_->ListModels()) {
    hosted.insert(summary.name);
    if (models_.try_emplace(summary.name).second) Tell(summary.name, true);
  }
  for (auto it = models_.begin(); it != models_.end();) {
    if (hosted.contains(it->first)) {
      ++it;
      continue;
    }
    if (it->second.job != nullptr) it->second.job->Cancel();
    const std::string gone = it->first;
    it = models_.erase(it);
    Tell(gone, false);
  }
  absl::Time again = now + kLook;
  const bool sends = options_.period > absl::ZeroDuration();
  for (auto& [name, model] : models_) {
    if (model.flight != nullptr) Look(name, &model, now);
    if (sends && model.flight == nullptr && model.next <= now) Send(name, &model, now);
    if (sends && model.flight == nullptr) again = std::min(again, model.next);
    if (model.flight != nullptr && !model.late) {
      again = std::min(again, model.sent + options_.timeout);
    }
  }
  return again;
}

void Canary::Send(const std::string& name, Model* model, absl::Time now) {
  model->sent = now;
  model->next = now + options_.period;
  const auto flight = std::make_shared<Flight>();
  const auto sink = [flight, wake = wake_](const Event& event) {
    {
      absl::MutexLock lock(&flight->mutex);
      if (const auto* result = std::get_if<Result>(&event)) flight->nan |= IsNan(result->value);
      if (const auto* failed = std::get_if<Failed>(&event)) {
        flight->outcome = graph::ToStatus(failed->error);
      } else if (std::holds_alternative<Completed>(event)) {
        flight->outcome = flight->nan ? absl::DataLossError("the model's output has NaNs in it")
                                      : absl::OkStatus();
      }
      if (!flight->outcome.has_value()) return;
    }
    absl::MutexLock lock(&wake->mutex);
    wake->wanted = true;
  };
  const auto submit = [&]() -> absl::StatusOr<std::shared_ptr<Job>> {
    absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine_->GetModel(name);
    if (!info.ok()) return info.status();
    absl::StatusOr<graph::Program> program = MakeCanaryProgram(**info);
    if (!program.ok()) return program.status();
    RunOptions options;
    options.exclusive = true;
    options.priority = std::numeric_limits<int>::max();
    return engine_->Submit(name, *std::move(program), options, sink);
  };
  absl::StatusOr<std::shared_ptr<Job>> job = submit();
  if (!job.ok()) {
    Judge(name, model, job.status());
    return;
  }
  model->job = *std::move(job);
  model->flight = flight;
  Look(name, model, now);
}

void Canary::Look(const std::string& name, Model* model, absl::Time now) {
  std::optional<absl::Status> outcome;
  {
    absl::MutexLock lock(&model->flight->mutex);
    outcome = model->flight->outcome;
  }
  if (outcome.has_value()) {
    const bool judged = model->late && !outcome->ok();
    model->flight = nullptr;
    model->job = nullptr;
    model->late = false;
    if (!judged) Judge(name, model, *outcome);
  } else if (!model->late && now >= model->sent + options_.timeout) {
    model->late = true;
    Judge(name, model,
          absl::DeadlineExceededError(absl::StrCat("the canary was not back after ",
                                                   absl::FormatDuration(options_.timeout))));
    model->job->Cancel();
  }
}

void Canary::Judge(const std::string& name, Model* model, const absl::Status& outcome) {
  if (metrics_ != nullptr) {
    const metrics::ModelMetrics& metrics = metrics_->OfModel(name);
    (outcome.ok()  ? metrics.canaries_passed
     : model->late ? metrics.canaries_late
                   : metrics.canaries_failed)
        .Increment();
  }
  const bool changed = model->well != outcome.ok();
  model->well = outcome.ok();
  const LogScope scope({{"model", name}});
  if (!outcome.ok()) spdlog::error("the model is ill: {}", std::string(outcome.message()));
  if (!changed) return;
  if (outcome.ok()) spdlog::info("the model is well again");
  Tell(name, outcome.ok());
}

void Canary::Tell(const std::string& name, bool well) {
  if (metrics_ != nullptr) metrics_->OfModel(name).serving.Set(well ? 1 : 0);
  const bool all = std::all_of(models_.begin(), models_.end(),
                               [](const auto& entry) { return entry.second.well; });
  listener_(name, well, all);
}

void Canary::Run() {
  while (true) {
    absl::Time again = absl::Now() + kLook;
    try {
      again = Step(absl::Now());
    } catch (const std::exception& e) {
      spdlog::error("the canary: {}", e.what());
    }
    absl::MutexLock lock(&wake_->mutex);
    const auto woken = [this]() ABSL_SHARED_LOCKS_REQUIRED(wake_->mutex) {
      return wake_->wanted || wake_->stopping;
    };
    wake_->mutex.AwaitWithDeadline(absl::Condition(&woken), again);
    if (wake_->stopping) return;
    wake_->wanted = false;
  }
}

void Canary::Stop() {
  absl::MutexLock lock(&wake_->mutex);
  wake_->stopping = true;
}

}  // namespace weft::server
