#include "server/metrics/run_progress.h"

#include <variant>

#include "absl/time/clock.h"

namespace weft::metrics {

void RunProgress::Note(const std::string& model, const Event& event) {
  if (metrics_ == nullptr) return;
  if (std::holds_alternative<Accepted>(event)) {
    model_ = &metrics_->OfModel(model);
    accepted_ = absl::Now();
  }
  if (model_ == nullptr) return;
  if (std::holds_alternative<Running>(event)) {
    model_->queue_seconds.Observe(absl::ToDoubleSeconds(absl::Now() - accepted_));
  } else if (const auto* completed = std::get_if<Completed>(&event)) {
    const Cost& cost = completed->cost;
    completed_ = absl::Now();
    model_->run_pass_seconds.Observe(cost.run_seconds);
    model_->operator_seconds.Observe(cost.operator_seconds);
    model_->tokens.Increment(static_cast<double>(cost.tokens));
    model_->result_bytes.Increment(static_cast<double>(cost.result_bytes));
  }
}

void RunProgress::Delivered() {
  if (!completed_.has_value()) return;
  model_->delivery_seconds.Observe(absl::ToDoubleSeconds(absl::Now() - *completed_));
  completed_.reset();
}

}  // namespace weft::metrics
