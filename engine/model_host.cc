#include "engine/model_host.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/describe_model.h"
#include "engine/devices/device_map.h"
#include "engine/devices/threads.h"
#include "engine/exported/exported_model.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "engine/plan/operators.h"
#include "engine/weights/hosting_dtype.h"
#include "engine/weights/hub_cache.h"
#include "engine/weights/hub_folder.h"

namespace weft {
namespace {

/// Operations of a program's own that are planned into a shared pass; beyond it others would wait.
constexpr double kSharedOperations = 1e9;
/// Work below which a second thread costs more than it brings.
constexpr double kSerialOperations = 1e8;

/// Text of whatever a model may choose: ids that no token has are left out.
run::Decode DecoderOf(std::shared_ptr<const text::Tokenizer> tokenizer) {
  return [tokenizer =
              std::move(tokenizer)](absl::Span<const int64_t> ids) -> absl::StatusOr<std::string> {
    absl::StatusOr<std::string> text = tokenizer->Decode(ids);
    if (text.ok()) return text;
    std::vector<int64_t> known;
    for (const int64_t id : ids) {
      if (tokenizer->IdToToken(id).ok()) known.push_back(id);
    }
    return tokenizer->Decode(known);
  };
}

absl::Status NoTokenizer() {
  return absl::FailedPreconditionError("this model has no tokenizer; give it token ids or tensors");
}

/// Only runs that call the same module share a pass.
bool CallsPart(const plan::Plan& plan) {
  return std::any_of(plan.traces.begin(), plan.traces.end(),
                     [](const plan::PlannedTrace& trace) { return trace.root != 0; });
}

plan::PlanLimits PlanLimitsOf(const Limits& limits) {
  return {limits.value_elements, limits.result_bytes, limits.peak_bytes, limits.pass_tokens};
}

}  // namespace

// --- HostedJob ----------------------------------------------------------------------------------

HostedJob::HostedJob(std::string id, ModelHost& host, graph::Program program, plan::Planned planned,
                     std::vector<run::InvokeInput> inputs, const RunOptions& options,
                     const Limits& limits, EventSink sink)
    : id_(std::move(id)),
      fingerprint_(host.info()->summary.fingerprint),
      program_(std::move(program)),
      planned_(std::move(planned)),
      priority_(options.priority),
      alone_(options.exclusive || options.exact || planned_.plan->gradients ||
             planned_.plan->alone || CallsPart(*planned_.plan) ||
             planned_.check->operations > kSharedOperations),
      run_(*planned_.plan, program_, host.model().spec(), host.model(), std::move(inputs),
           {.shared_operator_seconds = limits.shared_operator_seconds,
            .operator_seconds = limits.operator_seconds,
            .memory_bytes = limits.peak_bytes},
           options.deadline, host.tokens()),
      queued_at_(absl::Now()),
      host_(&host),
      sink_(std::move(sink)) {
  run_.set_seed(options.seed);
  run_.set_stream_tokens(options.stream_tokens);
  cost_.tokens = planned_.check->rows;
  cost_.peak_bytes = planned_.check->peak_bytes;
}

void HostedJob::Tell(Event event) {
  {
    absl::MutexLock lock(&mutex_);
    untold_.push_back(std::move(event));
    if (telling_) return;  // whoever is telling goes on with this one
    telling_ = true;
  }
  while (true) {
    Event next;
    {
      absl::MutexLock lock(&mutex_);
      if (untold_.empty()) {
        telling_ = false;
        return;
      }
      next = std::move(untold_.front());
      untold_.pop_front();
    }
    const bool last =
        std::holds_alternative<Completed>(next) || std::holds_alternative<Failed>(next);
    try {
      sink_(std::move(next));
    } catch (...) {
      // The sink's trouble is not the run's.
    }
    if (last) {
      // What it holds goes with it: this job, perhaps, whose caller holds it too.
      sink_ = nullptr;
      return;
    }
  }
}

void HostedJob::Cancel() {
  run_.Cancel();
  ModelHost* host;
  {
    absl::MutexLock lock(&host_mutex_);
    if (host_ == nullptr) return;
    host = host_;
    host->JobBegins();  // keeps it while it is asked
  }
  if (host->Dequeue(*this)) {  // otherwise a pass has it, and notices
    run_.CheckAlive(absl::Now());
    Finish();
  }
  host->JobEnded();
}

void HostedJob::Moved(uint32_t position) {
  if (started_.load() || position_.exchange(position) == position) return;
  Tell(Queued{position});
}

void HostedJob::Start() {
  if (started_.exchange(true)) return;
  cost_.queue_seconds = absl::ToDoubleSeconds(absl::Now() - queued_at_);
  Tell(Running{});
}

void HostedJob::CountPass(double seconds) {
  ++cost_.passes;
  cost_.run_seconds += seconds;
}

void HostedJob::TellSaved() {
  for (run::LogEntry& entry : run_.TakeLogs()) {
    Tell(LogLine{entry.node, std::move(entry.label), std::move(entry.text)});
  }
  for (run::SavedItem& item : run_.TakeSaved()) {
    const plan::PlannedSave& save = planned_.plan->saves[item.save];
    Result result{save.name, run::ToHostValue(item.value), /*more_follows=*/true, save.keep};
    result.step = item.step;
    result.point = save.point;
    if (save.entry) result.entry = CacheEntry{save.entry->module, save.entry->point, item.visit};
    item.value = c10::IValue();
    Tell(std::move(result));
  }
  for (run::NewTokens& tokens : run_.TakeNewTokens()) {
    const plan::PlannedInvoke& invoke = planned_.plan->invokes[tokens.invoke];
    NewTokens told{static_cast<uint32_t>(invoke.place), std::nullopt,
                   static_cast<uint32_t>(tokens.step), std::move(tokens.ids),
                   std::move(tokens.texts)};
    if (invoke.point) told.point = *invoke.point;
    Tell(std::move(told));
  }
}

void HostedJob::Finish() {
  started_.store(true);
  cost_.operator_seconds += run_.operator_seconds();
  TellSaved();
  cost_.result_bytes = 0;
  if (run_.status().ok()) {
    for (size_t i = 0; i < planned_.plan->saves.size(); ++i) {
      const plan::PlannedSave& save = planned_.plan->saves[i];
      const std::string reason = run_.MissingFrom(static_cast<int>(i));
      if (reason.empty()) continue;
      Tell(Missing{save.name,
                   graph::FromStatus(graph::StatementError(absl::StatusCode::kFailedPrecondition,
                                                           program_, save.node, reason))});
    }
  }
  if (run_.status().ok()) {
    cost_.result_bytes = planned_.check->result_bytes;
    Tell(Completed{fingerprint_, cost_});
  } else {
    Tell(Failed{graph::FromStatus(run_.status())});
  }
  ModelHost* host;
  {
    absl::MutexLock lock(&host_mutex_);
    host = std::exchange(host_, nullptr);
  }
  host->JobEnded();
}

// --- ModelHost ----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<ModelHost>> ModelHost::Load(const std::string& name,
                                                           const std::string& folder_or_id,
                                                           const LoadOptions& load,
                                                           const EngineOptions& options) {
  const absl::Cleanup threads = [] { devices::GiveThreadsBack(); };
  absl::StatusOr<std::optional<at::ScalarType>> dtype = weights::ParseHostingDtype(load.dtype);
  if (!dtype.ok()) return dtype.status();
  if (exported::IsArchive(folder_or_id)) {
    if (*dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder_or_id,
          " is hosted in the dtypes that it was exported with: `dtype` is for folders"));
    }
    if (!load.adapters.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder_or_id, " is hosted as it was exported: `adapter` is for folders; merge it into ",
          "the module (peft: merge_and_unload) and export that"));
    }
    if (!load.dispatch) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder_or_id, " has its weights with it: models without are folders"));
    }
    if (!load.device_map.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder_or_id, " is one graph, and lies on one device: `device_map` is for folders"));
    }
    std::error_code unknown;
    const uint64_t bytes = std::filesystem::file_size(folder_or_id, unknown);
    absl::StatusOr<devices::DeviceMap> map =
        devices::MakeDeviceMap(load.device, {}, {{"", unknown ? 0 : bytes}});  // no block of it
    if (!map.ok()) return map.status();
    absl::StatusOr<models::Network> network = exported::LoadNetwork(
        folder_or_id, {.memory_bytes = options.limits.peak_bytes, .device = map->root()});
    if (!network.ok()) return network.status();
    return Host(name, *std::move(network), options);
  }
  absl::StatusOr<std::string> folder = weights::FindModelFolder(folder_or_id);
  if (!folder.ok()) return folder.status();
  absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(*folder, load.dispatch);
  if (!hub.ok()) return hub.status();
  absl::StatusOr<std::string> type = hub->config().GetOr<std::string>("model_type", "");
  if (!type.ok()) return type.status();
  absl::StatusOr<std::string> tokenizer_class =
      hub->config().GetOr<std::string>("tokenizer_class", "");
  if (!tokenizer_class.ok()) return tokenizer_class.status();
  absl::StatusOr<text::ModelText> text =
      text::ModelText::LoadModelText(*folder, hub->tokenizer_path(), *type, *tokenizer_class);
  if (!text.ok()) return text.status();
  absl::StatusOr<models::Network> network = absl::InternalError("not made");
  absl::Status status = plan::CatchTorch([&] {
    network = models::MakeNetwork(*hub, {.dtype = *dtype,
                                         .device = load.device,
                                         .device_map = load.device_map,
                                         .dispatch = load.dispatch,
                                         .progress = load.progress});
    return network.status();
  });
  if (!status.ok()) return status;
  // Unless the folder says otherwise, a decoder is padded on the left, so that the last column is
  // every prompt's last token, and an encoder on the right, so that the first is its first.
  const bool pad_left = text->pad_left.value_or(network->no_generation.empty());
  absl::StatusOr<std::unique_ptr<models::HostedModel>> model =
      models::HostedModel::Host(*std::move(network), pad_left);
  if (!model.ok()) return model.status();
  for (const auto& [adapter, adapter_folder] : load.adapters) {
    if (absl::Status added = (*model)->AddAdapter(adapter, adapter_folder); !added.ok()) {
      return absl::Status(added.code(), absl::StrCat("adapter `", adapter, "`: ", added.message()));
    }
  }

  const int64_t vocabulary = (*model)->network().vocabulary;
  const std::vector<int64_t>& ends = (*model)->network().eos_ids;
  int64_t pad_id = text->pad_id;
  if (pad_id < 0 || pad_id >= vocabulary) pad_id = ends.empty() ? 0 : ends[0];
  if (pad_id < 0 || pad_id >= vocabulary) pad_id = 0;
  return Make(name, *std::move(model), std::move(text->tokenizer), std::move(text->chat_template),
              {.pad_left = pad_left, .pad_id = pad_id}, hub->config().json().dump(2), options);
}

absl::StatusOr<std::unique_ptr<ModelHost>> ModelHost::Host(const std::string& name,
                                                           models::Network network,
                                                           const EngineOptions& options) {
  const absl::Cleanup threads = [] { devices::GiveThreadsBack(); };
  if (network.root == nullptr) return absl::InvalidArgumentError("a network needs a root");
  if (!network.input && network.vocabulary < 1) {
    return absl::InvalidArgumentError("a network of token ids needs a vocabulary");
  }
  if (network.max_tokens < 1) {
    return absl::InvalidArgumentError("a network needs `max_tokens`");
  }
  constexpr bool kPadLeft = true;
  const std::string config = network.config_json;
  absl::StatusOr<std::unique_ptr<models::HostedModel>> model =
      models::HostedModel::Host(std::move(network), kPadLeft);
  if (!model.ok()) return model.status();
  return Make(name, *std::move(model), nullptr, NoTokenizer(), {.pad_left = kPadLeft}, config,
              options);
}

std::unique_ptr<ModelHost> ModelHost::Make(const std::string& name,
                                           std::unique_ptr<models::HostedModel> model,
                                           std::shared_ptr<const text::Tokenizer> tokenizer,
                                           ChatTemplate chat_template, run::TokenOptions tokens,
                                           const std::string& config_json,
                                           const EngineOptions& options) {
  auto info = DescribeModel(name, *model, config_json, tokenizer != nullptr);
  tokens.eos_ids = model->network().eos_ids;
  tokens.vocabulary = model->network().vocabulary;
  tokens.max_tokens = model->network().max_tokens;
  if (tokenizer != nullptr) tokens.decode = DecoderOf(tokenizer);
  auto host = std::unique_ptr<ModelHost>(new ModelHost(std::move(model), std::move(tokenizer),
                                                       std::move(chat_template), std::move(tokens),
                                                       options));
  host->parameters_ = static_cast<double>(info->summary.parameters);
  host->info_ = std::move(info);
  host->scheduler_ = std::make_unique<batch::Scheduler>(
      *host, static_cast<int64_t>(options.limits.pass_tokens), options.limits.peak_bytes);
  return host;
}

ModelHost::ModelHost(std::unique_ptr<models::HostedModel> model,
                     std::shared_ptr<const text::Tokenizer> tokenizer, ChatTemplate chat_template,
                     run::TokenOptions tokens, const EngineOptions& options)
    : options_(options),
      model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      chat_template_(std::move(chat_template)),
      tokens_(std::move(tokens)),
      inputs_(model_->spec(), tokenizer_.get(), chat_template_, tokens_, model_->network().input,
              model_->network().vocabulary, model_->network().max_tokens),
      plans_(model_->spec(), PlanLimitsOf(options.limits)),
      limits_(options.limits) {}

ModelHost::~ModelHost() {
  CancelAll();
  AwaitIdle(absl::InfiniteFuture());
}

ModelStats ModelHost::stats() const {
  return {
      .queued = scheduler_->queued(), .plan_hits = plans_.hits(), .plan_misses = plans_.misses()};
}

absl::StatusOr<std::vector<TokenPieces>> ModelHost::Tokenize(const std::vector<std::string>& texts,
                                                             bool special_tokens) const {
  if (tokenizer_ == nullptr) return NoTokenizer();
  std::vector<TokenPieces> out;
  for (const std::string& text : texts) {
    TokenPieces row;
    absl::StatusOr<std::vector<int64_t>> ids = tokenizer_->Encode(text, special_tokens);
    if (!ids.ok()) return ids.status();
    row.ids = *std::move(ids);
    for (int64_t id : row.ids) {
      absl::StatusOr<std::string> piece = tokenizer_->IdToToken(id);
      if (!piece.ok()) return piece.status();
      row.pieces.push_back(*std::move(piece));
    }
    out.push_back(std::move(row));
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> ModelHost::Detokenize(
    const std::vector<std::vector<int64_t>>& rows, bool skip_special_tokens) const {
  if (tokenizer_ == nullptr) return NoTokenizer();
  std::vector<std::string> out;
  for (const std::vector<int64_t>& row : rows) {
    absl::StatusOr<std::string> text = tokenizer_->Decode(row, skip_special_tokens);
    if (!text.ok()) return text.status();
    out.push_back(*std::move(text));
  }
  return out;
}

absl::StatusOr<std::vector<int64_t>> ModelHost::PointsPerPass(
    const graph::Program& program, absl::Span<const plan::RowCount> counts, uint64_t pass_tokens,
    bool one_invoke) {
  struct Sweep {
    graph::NodeId node, trace;
    uint64_t rows = 0;  // of a point
  };
  std::vector<Sweep> sweeps;
  absl::flat_hash_map<graph::NodeId, uint64_t> used;  // of the first pass, by trace
  size_t input = 0;
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    const graph::Node& node = program.at(id);
    if (std::holds_alternative<graph::Sweep>(node.kind)) sweeps.push_back({id, node.parent});
    if (!std::holds_alternative<graph::Invoke>(node.kind)) continue;
    // Of prompts that a sweep fills in the longest, so that any points fit together.
    uint64_t rows = 0;
    for (size_t i = program.InputsOf(id); i > 0; --i) {
      const plan::RowCount& count = counts[input++];
      rows = std::max(rows, static_cast<uint64_t>(count.batch * count.tokens));
    }
    if (!sweeps.empty() && sweeps.back().node == node.parent) {
      sweeps.back().rows += rows;
    } else {
      used[node.parent] += rows;
      if (used[node.parent] > pass_tokens) {
        return graph::StatementError(
            absl::StatusCode::kResourceExhausted, program, id,
            absl::StrCat("up to here the trace has ", used[node.parent],
                         " rows, pads included; a pass holds at most ", pass_tokens),
            "split the trace");
      }
    }
  }
  std::vector<int64_t> points;
  for (const Sweep& sweep : sweeps) {
    const auto& parameters = std::get<graph::Sweep>(program.at(sweep.node).kind).parameters;
    const uint64_t all = parameters.empty() ? 0 : parameters[0].size();
    uint64_t& before = used[sweep.trace];
    const uint64_t rows = std::max<uint64_t>(1, sweep.rows);
    uint64_t fit = std::min(all, (pass_tokens - before) / rows);
    if (one_invoke) fit = std::min<uint64_t>(fit, 1);
    if (fit == 0 && all > 0) {
      return graph::StatementError(
          absl::StatusCode::kResourceExhausted, program, sweep.node,
          absl::StrCat("a point of the sweep has ", rows, " rows, beside ", before,
                       " of the trace; a pass holds at most ", pass_tokens),
          "split the trace");
    }
    before += fit * rows;
    points.push_back(static_cast<int64_t>(fit));
  }
  return points;
}

absl::StatusOr<ModelHost::Prepared> ModelHost::Prepare(const graph::Program& program,
                                                       const RunOptions& options,
                                                       const Limits& limits) {
  // Large prompts are made ready by several threads.
  const absl::Cleanup threads = [] { devices::GiveThreadsBack(); };
  if (absl::Status status = graph::Check(program, {limits.nodes, limits.constant_bytes});
      !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckAdapters(program); !status.ok()) return status;
  absl::StatusOr<InvokeInputs> made = inputs_.Make(program, options.owner, limits.pass_tokens);
  if (!made.ok()) return made.status();
  Prepared prepared;
  prepared.inputs = std::move(made->inputs);
  const std::vector<plan::RowCount>& counts = made->counts;
  absl::StatusOr<std::vector<int64_t>> points =
      PointsPerPass(program, counts, limits.pass_tokens, model_->spec().input().one_invoke);
  if (!points.ok()) return points.status();
  absl::StatusOr<plan::Planned> planned =
      plans_.Get(program, counts, *points, options.stream_tokens);
  if (!planned.ok()) return planned.status();
  prepared.planned = *std::move(planned);
  if (prepared.planned.plan->uses_weights && !options.access.weights) {
    return absl::PermissionDeniedError(
        "the program reads parameters (`param`), for which the key needs the scope `weights`");
  }
  return prepared;
}

absl::Status ModelHost::CheckAdapters(const graph::Program& program) const {
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    const auto* trace = std::get_if<graph::Trace>(&program.at(id).kind);
    if (trace == nullptr || trace->adapter.empty()) continue;
    if (model_->FindAdapter(trace->adapter) != nullptr) continue;
    const std::vector<std::string>& names = info_->summary.adapters;
    return graph::StatementError(
        absl::StatusCode::kNotFound, program, id,
        absl::StrCat("the model has no adapter \"", absl::CHexEscape(trace->adapter), "\"; ",
                     names.empty() ? "it is hosted without any"
                                   : absl::StrCat("there is ", absl::StrJoin(names, ", "))));
  }
  return absl::OkStatus();
}

Cost ModelHost::EstimateOf(const Prepared& prepared) {
  Cost estimate;
  estimate.tokens = prepared.planned.check->rows;
  estimate.result_bytes = prepared.planned.check->result_bytes;
  estimate.peak_bytes = prepared.planned.check->peak_bytes;
  return estimate;
}

absl::StatusOr<Validation> ModelHost::Validate(const graph::Program& program,
                                               const RunOptions& options) {
  absl::StatusOr<Prepared> prepared = Prepare(program, options, limits());
  if (!prepared.ok()) return prepared.status();
  Validation validation;
  const plan::Planned& planned = prepared->planned;
  for (size_t i = 0; i < planned.plan->saves.size(); ++i) {
    const plan::PlannedSave& save = planned.plan->saves[i];
    // Of a list the type of its items, once; of a cache each of its entries.
    if (save.point.value_or(0) > 0) continue;
    validation.saves.push_back(
        {save.entry ? absl::StrCat(save.name, ".", graph::ToString(*save.entry)) : save.name,
         planned.check->saves[i]});
  }
  validation.warnings = graph::Lint(program);
  validation.estimate = EstimateOf(*prepared);
  validation.fingerprint = info_->summary.fingerprint;
  return validation;
}

absl::StatusOr<std::shared_ptr<Job>> ModelHost::Submit(std::string job_id, graph::Program program,
                                                       const RunOptions& options, EventSink sink) {
  if (options.deadline <= absl::Now()) {
    return absl::DeadlineExceededError("the deadline has passed before the run was queued");
  }
  if (!model_->network().dispatched) {
    return absl::FailedPreconditionError(
        "the weights of this model were not loaded (`dispatch` is false): it can be looked at, and "
        "programs be validated; load it with them to run programs");
  }
  const Limits limits = this->limits();
  absl::StatusOr<Prepared> prepared = Prepare(program, options, limits);
  if (!prepared.ok()) return prepared.status();
  if (options.admit) {
    if (absl::Status admitted = options.admit(EstimateOf(*prepared)); !admitted.ok()) {
      return admitted;
    }
  }
  std::vector<graph::Error> warnings = graph::Lint(program);
  auto job =
      std::make_shared<HostedJob>(job_id, *this, std::move(program), std::move(prepared->planned),
                                  std::move(prepared->inputs), options, limits, std::move(sink));
  {
    absl::MutexLock lock(&mutex_);
    if (retired_) {
      return absl::UnavailableError(
          "the model is being replaced or unloaded; try again in a moment");
    }
    std::erase_if(jobs_, [](const auto& other) { return other.expired(); });
    jobs_.push_back(job);
    ++live_;
  }
  job->Tell(Accepted{std::move(job_id), info_->summary.fingerprint, std::move(warnings)});
  scheduler_->Add(job);
  return std::shared_ptr<Job>(std::move(job));
}

void ModelHost::UseThreads(int64_t rows) {
  // Asking opens a file, which is too much for every pass.
  static const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  // A thread's first question or shared work sets it to what was last set by any.
  if (threads_now_ == 0) at::get_num_threads();
  const int most = options_.threads > 0 ? options_.threads : cores;
  const int threads = 2 * parameters_ * static_cast<double>(rows) < kSerialOperations ? 1 : most;
  if (threads == threads_now_) return;
  at::set_num_threads(threads);
  threads_now_ = threads;
}

absl::Status ModelHost::RunOnce(absl::Span<HostedJob* const> jobs) {
  std::vector<run::Run*> runs;
  std::vector<std::string> ids;
  int64_t rows = 0;
  for (HostedJob* job : jobs) {
    runs.push_back(&job->run());
    rows += job->rows();
    if (options_.before_pass) ids.push_back(job->id());
  }
  UseThreads(rows);
  const auto start = std::chrono::steady_clock::now();
  absl::Status status;
  if (options_.before_pass) {
    status = plan::CatchTorch([&] { return options_.before_pass(ids); });
  }
  if (status.ok()) status = model_->Run(runs);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (HostedJob* job : jobs) job->CountPass(seconds);
  if (options_.after_pass) {
    PassReport report{.model = info_->summary.name,
                      .runs = static_cast<uint32_t>(jobs.size()),
                      .rows = static_cast<uint64_t>(rows),
                      .seconds = seconds,
                      .ok = status.ok()};
    for (run::Run* run : runs) report.segments += static_cast<uint32_t>(run->segments().size());
    try {
      options_.after_pass(report);
    } catch (...) {
      // Counting must not cost a run its pass.
    }
  }
  return status;
}

void ModelHost::RunPass(absl::Span<const std::shared_ptr<batch::Work>> work) {
  std::vector<HostedJob*> jobs;
  for (const auto& item : work) jobs.push_back(static_cast<HostedJob*>(item.get()));
  for (HostedJob* job : jobs) job->Start();
  absl::Status status = RunOnce(jobs);
  if (!status.ok() && jobs.size() == 1) jobs[0]->run().Fail(status);
  if (!status.ok() && jobs.size() > 1) {
    // Somebody broke the pass for all. Nothing of it counts: each is run by itself, and only who
    // breaks that pass too is at fault.
    for (HostedJob* job : jobs) {
      // Who had failed by itself has nothing left to begin again with.
      if (!job->run().status().ok()) continue;
      absl::Status alone = RunOnce({&job, 1});
      if (!alone.ok()) job->run().Fail(alone);
    }
  }
  for (size_t i = 0; i < jobs.size(); ++i) {
    run::Run& run = jobs[i]->run();
    if (!run.finished()) run.CheckAlive(absl::Now());
    if (run.status().ok() && !run.evicted() && !run.finished()) {
      jobs[i]->TellSaved();
      // A next token goes before whoever waits to begin: they share its pass. A pass of one's own,
      // or another trace, waits its turn.
      if (run.generating() && !jobs[i]->alone()) {
        scheduler_->Continue(work[i]);
      } else {
        scheduler_->Add(work[i]);
      }
    } else if (run.status().ok() && run.evicted()) {
      jobs[i]->RunAlone();
      scheduler_->Add(work[i]);
    } else {
      jobs[i]->Finish();
    }
  }
}

void ModelHost::Rest() { devices::GiveThreadsBack(); }

void ModelHost::JobBegins() {
  absl::MutexLock lock(&mutex_);
  ++live_;
}

void ModelHost::JobEnded() {
  absl::MutexLock lock(&mutex_);
  --live_;
}

bool ModelHost::AwaitIdle(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return live_ == 0; };
  return mutex_.AwaitWithDeadline(absl::Condition(&idle), deadline);
}

void ModelHost::Retire() {
  absl::MutexLock lock(&mutex_);
  retired_ = true;
}

Limits ModelHost::limits() {
  absl::MutexLock lock(&mutex_);
  return limits_;
}

void ModelHost::SetLimits(const Limits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
  plans_.SetLimits(PlanLimitsOf(limits));
  scheduler_->SetBounds(static_cast<int64_t>(limits.pass_tokens), limits.peak_bytes);
}

void ModelHost::CancelAll() {
  std::vector<std::weak_ptr<HostedJob>> jobs;
  {
    absl::MutexLock lock(&mutex_);
    jobs = jobs_;
  }
  for (const auto& weak : jobs) {
    if (auto job = weak.lock()) job->Cancel();
  }
}

}  // namespace weft
