#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"

namespace weft::metrics {

/// Follows one run and counts where its time goes. Not thread-safe.
class RunProgress {
 public:
  /// `metrics` may be null.
  explicit RunProgress(std::shared_ptr<Metrics> metrics) : metrics_(std::move(metrics)) {}

  /// `model` has accepted the run, and this happened to it.
  void Note(const std::string& model, const Event& event);
  /// The reader has everything, or has gone.
  void Delivered();

 private:
  const std::shared_ptr<Metrics> metrics_;
  const ModelMetrics* model_ = nullptr;  // once accepted
  absl::Time accepted_;
  std::optional<absl::Time> completed_;
};

}  // namespace weft::metrics
