#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/llama_config.h"
#include "engine/models/network.h"

namespace weft::models {

/// Makes modules of a checkpoint's weights, and collects the first error: what it then gives is
/// nullptr, and not to be called.
class LlamaMaker {
 public:
  /// Both must outlive it.
  LlamaMaker(const LlamaConfig& config, ParameterSource& source)
      : config_(config), source_(source) {}
  const LlamaConfig& config() const { return config_; }

  std::unique_ptr<LinearImpl> Linear(const std::string& name, int64_t in, int64_t out, bool bias) {
    return Take(MakeLinear(source_, name, in, out, bias));
  }
  std::unique_ptr<LayerNormImpl> LayerNorm(const std::string& name, int64_t size, bool bias) {
    return Take(MakeLayerNorm(source_, name, size, config_.eps, bias));
  }
  /// A norm of the family's kind.
  std::unique_ptr<Module> NormOf(const std::string& name, std::vector<int64_t> shape) {
    if (config_.norm == LlamaConfig::Norm::kLayerNorm)
      return LayerNorm(name, shape[0], /*bias=*/true);
    const bool centred = config_.norm == LlamaConfig::Norm::kCentred;
    return std::make_unique<OwnNormImpl>(
        absl::StrCat(config_.prefix, centred ? "LayerNorm" : "RMSNorm"), KindOf(config_.norm),
        Weight(absl::StrCat(name, ".weight"), shape), config_.eps);
  }
  at::Tensor Weight(const std::string& name, at::IntArrayRef shape) {
    absl::StatusOr<at::Tensor> weight = source_.Param(name, shape);
    if (weight.ok()) return *std::move(weight);
    Fail(weight.status());
    return {};
  }
  std::unique_ptr<ActivationImpl> Activation() { return Take(ActivationImpl::Make(config_.act)); }
  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  std::unique_ptr<T> Take(absl::StatusOr<std::unique_ptr<T>> made) {
    if (made.ok()) return *std::move(made);
    Fail(made.status());
    return nullptr;
  }
  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  static OwnNormImpl::Kind KindOf(LlamaConfig::Norm norm) {
    switch (norm) {
      case LlamaConfig::Norm::kRmsFloat:
        return OwnNormImpl::Kind::kRmsFloat;
      case LlamaConfig::Norm::kRmsPlus1:
        return OwnNormImpl::Kind::kRmsPlus1;
      case LlamaConfig::Norm::kCentred:
        return OwnNormImpl::Kind::kCentred;
      case LlamaConfig::Norm::kRms:
      case LlamaConfig::Norm::kLayerNorm:
        break;
    }
    return OwnNormImpl::Kind::kRms;
  }

  const LlamaConfig& config_;
  ParameterSource& source_;
  absl::Status status_;
};

}  // namespace weft::models
