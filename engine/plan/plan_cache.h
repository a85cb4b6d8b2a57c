#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/plan/planner.h"

namespace weft::plan {

/// A plan, and what it means for one set of token counts.
struct Planned {
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const PlanCheck> check;
};

/// The plans of one model by signature, and under each the checks by token counts. What is cached
/// holds no payloads, permissions or identities. Errors are not cached. Thread-safe.
class PlanCache {
 public:
  /// `model` must outlive the cache. `limits` are those of every plan, until others are set.
  PlanCache(const ModelSpec& model, const PlanLimits& limits) : model_(model), limits_(limits) {}

  /// Plan a program that passed graph::Check, or find its plan.
  /// `points_per_pass` and `every_token` as of MakePlan.
  absl::StatusOr<Planned> Get(const graph::Program& program, absl::Span<const RowCount> rows,
                              absl::Span<const int64_t> points_per_pass = {},
                              bool every_token = false) ABSL_LOCKS_EXCLUDED(mutex_);

  /// Forgets every plan: they were checked against the limits before.
  void SetLimits(const PlanLimits& limits) ABSL_LOCKS_EXCLUDED(mutex_);

  /// Programs that were found, and those that were planned or checked anew and valid.
  uint64_t hits() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t misses() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::shared_ptr<const Plan> plan;
    absl::flat_hash_map<std::vector<int64_t>, std::shared_ptr<const PlanCheck>> checks;
  };

  const ModelSpec& model_;
  mutable absl::Mutex mutex_;
  PlanLimits limits_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;  // of the limits
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  /// Of all entries; when it is too much everything is dropped, which costs a plan each.
  size_t instructions_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t hits_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t misses_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace weft::plan
