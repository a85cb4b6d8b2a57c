#pragma once

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"

namespace weft::metrics {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;

/// The name of a gRPC code as it stands in labels and logs: `OK`, `INVALID_ARGUMENT`.
const char* CodeName(absl::StatusCode code);

/// What is counted of one hosted model; see docs/metrics.md.
struct ModelMetrics {
  Counter& passes;
  Counter& broken_passes;
  Histogram& pass_seconds;
  Histogram& pass_rows;
  Histogram& pass_segments;
  Histogram& pass_runs;
  Histogram& queue_seconds;
  Histogram& run_pass_seconds;
  Histogram& operator_seconds;
  Histogram& delivery_seconds;
  Counter& tokens;
  Counter& result_bytes;
  Counter& canaries_passed;
  Counter& canaries_failed;
  Counter& canaries_late;
  Gauge& serving;
};

/// What is read when somebody asks; empty functions are read as nothing.
struct Sources {
  const Engine* engine = nullptr;
  std::function<uint64_t()> dropped_audit_entries;
  /// What keys keep on the server.
  struct Kept {
    uint64_t bytes = 0;
    uint64_t count = 0;
  };
  std::function<Kept()> blobs;
  std::function<Kept()> edits;
};

/// Everything that the server counts, and what is read when somebody asks. docs/metrics.md has the
/// meaning of each.
///
/// Labels have closed sets of values: methods, codes, reasons, and models, which operators name.
/// Never a key, a job or a caller's text. Whoever counts holds a pointer that is null where nothing
/// is served. Thread-safe.
class Metrics final : public prometheus::Collectable {
 private:
  prometheus::Registry registry_;  // before all that it holds
  prometheus::Family<Counter>& blobs_;

 public:
  Metrics();

  /// From now on read these. Returns when nobody reads what was observed before.
  void Observe(Sources sources) ABSL_LOCKS_EXCLUDED(sources_mutex_);

  /// A call of weft.v1 has ended.
  void CountCall(const std::string& method, absl::StatusCode code, double seconds);
  /// A call ended before it did anything: with this code, or, where the caller is over a limit,
  /// with that limit's name, one of a closed set.
  void CountRefusal(absl::StatusCode code, const std::string& limit = "");
  /// A run that a model had accepted has ended.
  void CountRun(const std::string& model, absl::StatusCode code);
  void CountPass(const PassReport& report);

  /// The metrics of a model that is or was hosted. The reference lives as long as this.
  const ModelMetrics& OfModel(const std::string& model) ABSL_LOCKS_EXCLUDED(models_mutex_);

  Gauge& active_calls;
  Gauge& active_runs;
  Gauge& pending_result_bytes;
  Gauge& pending_result_bytes_limit;
  Counter& slow_readers;
  Counter& dropped_run_log_lines;
  Counter& blobs_uploaded;
  Counter& blobs_existed;
  Counter& blobs_kept;
  Counter& blob_upload_bytes;

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  prometheus::Family<Counter>& requests_;
  prometheus::Family<Histogram>& request_seconds_;
  prometheus::Family<Counter>& refusals_;
  prometheus::Family<Counter>& runs_;
  prometheus::Family<Histogram>& run_phases_;
  prometheus::Family<Counter>& passes_;
  prometheus::Family<Histogram>& pass_seconds_;
  prometheus::Family<Histogram>& pass_rows_;
  prometheus::Family<Histogram>& pass_segments_;
  prometheus::Family<Histogram>& pass_runs_;
  prometheus::Family<Counter>& tokens_;
  prometheus::Family<Counter>& result_bytes_;
  prometheus::Family<Counter>& canaries_;
  prometheus::Family<Gauge>& serving_;

  absl::Mutex models_mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<const ModelMetrics>> models_
      ABSL_GUARDED_BY(models_mutex_);
  mutable absl::Mutex sources_mutex_;
  Sources sources_ ABSL_GUARDED_BY(sources_mutex_);
};

}  // namespace weft::metrics
