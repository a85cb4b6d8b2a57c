#include "server/metrics/metrics.h"

#include <cmath>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/metrics/process.h"

namespace weft::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::Family;
using prometheus::Labels;
using prometheus::MetricFamily;
using prometheus::MetricType;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

// A tenth of a millisecond, which the smallest pass takes, to minutes.
const Buckets& Seconds() {
  static const auto& buckets =
      *new Buckets{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1,
                   0.25, 0.5,    1,    2.5,  5,      10,   25,   50,    100,  250};
  return buckets;
}

// Powers of two up to `last`.
Buckets Powers(double last) {
  Buckets buckets;
  for (double bound = 1; bound <= last; bound *= 2) buckets.push_back(bound);
  return buckets;
}

Family<Counter>& MakeCounters(Registry* registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
}
Family<Gauge>& MakeGauges(Registry* registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry);
}
Family<Histogram>& MakeHistograms(Registry* registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry);
}

// What a code means where it refuses a call. Failures of the server's own are none.
const char* ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnauthenticated:
      return "unauthenticated";
    case absl::StatusCode::kPermissionDenied:
      return "permission";
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return "invalid";
    case absl::StatusCode::kNotFound:
      return "not_found";
    case absl::StatusCode::kUnimplemented:
      return "unimplemented";
    case absl::StatusCode::kResourceExhausted:
      return "exhausted";
    case absl::StatusCode::kUnavailable:
      return "unavailable";
    case absl::StatusCode::kDeadlineExceeded:
      return "deadline";
    default:
      return nullptr;
  }
}

// Every value of `reason`, the names of keys' limits among them: all are there from the start, so
// that a first refusal is seen as an increase.
constexpr const char* kReasons[] = {
    "unauthenticated", "permission",   "invalid",     "not_found",           "unimplemented",
    "exhausted",       "unavailable",  "deadline",    "requests_per_minute", "tokens_per_minute",
    "concurrent_runs", "result_bytes", "run_seconds", "generated_tokens",    "blob_bytes"};

// A metric that is read when somebody asks.
class Reading {
 public:
  Reading(const char* name, MetricType type, const char* help) {
    family_.name = name;
    family_.type = type;
    family_.help = help;
  }
  void Add(const Labels& labels, double value) {
    ClientMetric metric;
    for (const auto& [name, label] : labels) metric.label.push_back({name, label});
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family_.metric.push_back(std::move(metric));
  }
  void MoveTo(std::vector<MetricFamily>* families) {
    if (!family_.metric.empty()) families->push_back(std::move(family_));
  }

 private:
  MetricFamily family_;
};

void ReadModels(const Engine& engine, std::vector<MetricFamily>* families) {
  Reading parameters("weft_model_parameters", MetricType::Gauge, "Parameters of a hosted model.");
  Reading bytes("weft_model_parameter_bytes", MetricType::Gauge,
                "Memory of a hosted model's parameters.");
  Reading queued("weft_queue_length", MetricType::Gauge, "Runs that wait for a pass.");
  Reading plans("weft_plan_cache_requests_total", MetricType::Counter,
                "Programs whose plan was found in the cache (hit) or made (miss).");
  for (const ModelSummary& summary : engine.ListModels()) {
    const Labels model = {{"model", summary.name}};
    parameters.Add(model, static_cast<double>(summary.parameters));
    bytes.Add(model, static_cast<double>(summary.parameter_bytes));
    const absl::StatusOr<ModelStats> stats = engine.GetStats(summary.name);
    if (!stats.ok()) continue;  // gone since it was listed
    queued.Add(model, static_cast<double>(stats->queued));
    plans.Add({{"model", summary.name}, {"result", "hit"}}, static_cast<double>(stats->plan_hits));
    plans.Add({{"model", summary.name}, {"result", "miss"}},
              static_cast<double>(stats->plan_misses));
  }
  for (Reading* reading : {&parameters, &bytes, &queued, &plans}) reading->MoveTo(families);
}

// Under the names that all of Prometheus's clients use.
void ReadThisProcess(std::vector<MetricFamily>* families) {
  const ProcessStats process = ReadProcess();
  const auto add = [&](const char* name, MetricType type, const char* help, double value) {
    Reading reading(name, type, help);
    reading.Add({}, value);
    reading.MoveTo(families);
  };
  add("process_resident_memory_bytes", MetricType::Gauge, "Resident memory of the server.",
      process.resident_bytes);
  add("process_cpu_seconds_total", MetricType::Counter, "User and system CPU time.",
      process.cpu_seconds);
  add("process_start_time_seconds", MetricType::Gauge, "When the server started, unix time.",
      process.start_unix_seconds);
  add("process_open_fds", MetricType::Gauge, "Open file descriptors.", process.open_files);
  add("weft_memory_limit_bytes", MetricType::Gauge,
      "Memory that the server may have: its control group's bound, or the machine's memory.",
      process.memory_limit_bytes);
}

}  // namespace

const char* CodeName(absl::StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "UNKNOWN";
}

Metrics::Metrics()
    : blobs_(MakeCounters(&registry_, "weft_blobs_stored_total",
                          "Blobs that came in: uploaded, existed already, or kept by a run.")),
      active_calls(
          MakeGauges(&registry_, "weft_active_calls", "Calls of weft.v1 in progress.").Add({})),
      active_runs(
          MakeGauges(&registry_, "weft_active_runs", "Runs that wait, run or are being read.")
              .Add({})),
      pending_result_bytes(MakeGauges(&registry_, "weft_pending_result_bytes",
                                      "Bytes of results that wait for their readers.")
                               .Add({})),
      pending_result_bytes_limit(MakeGauges(&registry_, "weft_pending_result_bytes_limit",
                                            "How many may wait (--max-pending-bytes).")
                                     .Add({})),
      slow_readers(MakeCounters(&registry_, "weft_slow_readers_total",
                                "Runs ended because their reader took nothing for too long.")
                       .Add({})),
      dropped_run_log_lines(MakeCounters(&registry_, "weft_run_log_lines_dropped_total",
                                         "Lines of `log` that did not fit before a slow reader.")
                                .Add({})),
      blobs_uploaded(blobs_.Add({{"result", "uploaded"}})),
      blobs_existed(blobs_.Add({{"result", "existed"}})),
      blobs_kept(blobs_.Add({{"result", "kept"}})),
      blob_upload_bytes(MakeCounters(&registry_, "weft_blob_upload_bytes_total",
                                     "Bytes of uploads, of those too that came to nothing.")
                            .Add({})),
      requests_(MakeCounters(&registry_, "weft_requests_total", "Calls of weft.v1 that ended.")),
      request_seconds_(MakeHistograms(&registry_, "weft_request_duration_seconds",
                                      "Time of a call from its arrival to its end.")),
      refusals_(
          MakeCounters(&registry_, "weft_refusals_total",
                       "Calls that ended before anything was run, or by a limit, by reason.")),
      runs_(MakeCounters(&registry_, "weft_runs_total", "Runs that a model accepted and ended.")),
      run_phases_(MakeHistograms(
          &registry_, "weft_run_phase_seconds",
          "Where a run's time went: queue, pass, operators (part of pass), delivery.")),
      passes_(MakeCounters(&registry_, "weft_passes_total", "Forward passes.")),
      pass_seconds_(
          MakeHistograms(&registry_, "weft_pass_duration_seconds", "Time of a forward pass.")),
      pass_rows_(MakeHistograms(&registry_, "weft_pass_rows", "Rows of a pass, pads included.")),
      pass_segments_(MakeHistograms(&registry_, "weft_pass_segments", "Invokes in a pass.")),
      pass_runs_(MakeHistograms(&registry_, "weft_pass_runs", "Runs that share a pass.")),
      tokens_(MakeCounters(&registry_, "weft_tokens_total", "Tokens of completed runs.")),
      result_bytes_(MakeCounters(&registry_, "weft_result_bytes_total",
                                 "Bytes of results of completed runs.")),
      canaries_(MakeCounters(&registry_, "weft_canary_runs_total",
                             "Canary programs by result: ok, failed, late.")),
      serving_(MakeGauges(&registry_, "weft_model_serving",
                          "1 if the model's last canary came back in time, else 0.")) {
  MakeGauges(&registry_, "weft_build_info", "1, with the server's version.")
      .Add({{"version", kVersion}})
      .Set(1);
  for (const char* reason : kReasons) refusals_.Add({{"reason", reason}});
}

void Metrics::Observe(Sources sources) {
  absl::MutexLock lock(&sources_mutex_);
  sources_ = std::move(sources);
  if (sources_.engine == nullptr) return;
  // So that every series is there before its first event.
  for (const ModelSummary& summary : sources_.engine->ListModels()) OfModel(summary.name);
}

void Metrics::CountCall(const std::string& method, absl::StatusCode code, double seconds) {
  requests_.Add({{"method", method}, {"code", CodeName(code)}}).Increment();
  request_seconds_.Add({{"method", method}}, Seconds()).Observe(seconds);
}

void Metrics::CountRefusal(absl::StatusCode code, const std::string& limit) {
  const char* reason = ReasonOf(code);
  if (reason == nullptr) return;
  refusals_.Add({{"reason", limit.empty() ? reason : limit}}).Increment();
}

void Metrics::CountRun(const std::string& model, absl::StatusCode code) {
  runs_.Add({{"model", model}, {"code", CodeName(code)}}).Increment();
}

void Metrics::CountPass(const PassReport& report) {
  const ModelMetrics& model = OfModel(report.model);
  (report.ok ? model.passes : model.broken_passes).Increment();
  model.pass_seconds.Observe(report.seconds);
  model.pass_rows.Observe(static_cast<double>(report.rows));
  model.pass_segments.Observe(report.segments);
  model.pass_runs.Observe(report.runs);
}

const ModelMetrics& Metrics::OfModel(const std::string& model) {
  absl::MutexLock lock(&models_mutex_);
  std::unique_ptr<const ModelMetrics>& metrics = models_[model];
  if (metrics != nullptr) return *metrics;
  static const Buckets rows = Powers(65536);
  static const Buckets counts = Powers(1024);
  const Labels labels = {{"model", model}};
  const auto with = [&](const char* name, const char* value) {
    return Labels{{"model", model}, {name, value}};
  };
  metrics.reset(new ModelMetrics{
      .passes = passes_.Add(with("result", "ok")),
      .broken_passes = passes_.Add(with("result", "broken")),
      .pass_seconds = pass_seconds_.Add(labels, Seconds()),
      .pass_rows = pass_rows_.Add(labels, rows),
      .pass_segments = pass_segments_.Add(labels, counts),
      .pass_runs = pass_runs_.Add(labels, counts),
      .queue_seconds = run_phases_.Add(with("phase", "queue"), Seconds()),
      .run_pass_seconds = run_phases_.Add(with("phase", "pass"), Seconds()),
      .operator_seconds = run_phases_.Add(with("phase", "operators"), Seconds()),
      .delivery_seconds = run_phases_.Add(with("phase", "delivery"), Seconds()),
      .tokens = tokens_.Add(labels),
      .result_bytes = result_bytes_.Add(labels),
      .canaries_passed = canaries_.Add(with("result", "ok")),
      .canaries_failed = canaries_.Add(with("result", "failed")),
      .canaries_late = canaries_.Add(with("result", "late")),
      .serving = serving_.Add(labels),
  });
  metrics->serving.Set(1);
  return *metrics;
}

std::vector<MetricFamily> Metrics::Collect() const {
  std::vector<MetricFamily> families = registry_.Collect();
  ReadThisProcess(&families);
  absl::MutexLock lock(&sources_mutex_);
  Reading dropped("weft_audit_entries_dropped_total", MetricType::Counter,
                  "Entries of the audit log that were lost.");
  const auto& lost = sources_.dropped_audit_entries;
  dropped.Add({}, lost ? static_cast<double>(lost()) : 0);
  dropped.MoveTo(&families);
  const Sources::Kept blobs = sources_.blobs ? sources_.blobs() : Sources::Kept();
  Reading bytes("weft_blob_bytes", MetricType::Gauge,
                "Bytes of all blobs, each counted as at least 64 KiB.");
  bytes.Add({}, static_cast<double>(blobs.bytes));
  bytes.MoveTo(&families);
  Reading count("weft_blobs", MetricType::Gauge, "Blobs that are kept.");
  count.Add({}, static_cast<double>(blobs.count));
  count.MoveTo(&families);
  const Sources::Kept edits = sources_.edits ? sources_.edits() : Sources::Kept();
  Reading edit_bytes("weft_edit_bytes", MetricType::Gauge, "Bytes of all stored edits.");
  edit_bytes.Add({}, static_cast<double>(edits.bytes));
  edit_bytes.MoveTo(&families);
  Reading versions("weft_edits", MetricType::Gauge, "Stored edits, each version counted.");
  versions.Add({}, static_cast<double>(edits.count));
  versions.MoveTo(&families);
  if (sources_.engine != nullptr) ReadModels(*sources_.engine, &families);
  return families;
}

}  // namespace weft::metrics
