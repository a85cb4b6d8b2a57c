#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/models/module.h"
#include "engine/models/network.h"

namespace weft::models {

// The parts that families are built from. Each is one operator call, so that an operator keeps its
// usual name: at::linear, at::layer_norm, and not torch::nn::functional.

/// `x W^T + b`, weights `[out, in]`. `type` tells transformers' Conv1D (GPT-2's transposed linear)
/// from torch's Linear.
class LinearImpl : public Module {
 public:
  LinearImpl(at::Tensor weight, at::Tensor bias, bool conv1d = false)
      : weight_(std::move(weight)), bias_(std::move(bias)), conv1d_(conv1d) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return conv1d_ ? "Conv1D" : "Linear"; }
  std::string detail() const override;
  bool rowwise() const override { return true; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override;
  std::optional<LinearShape> linear_shape() const override {
    return LinearShape{weight_.size(1), weight_.size(0)};
  }

 private:
  const at::Tensor weight_, bias_;
  const bool conv1d_;
};

class LayerNormImpl : public Module {
 public:
  LayerNormImpl(at::Tensor weight, at::Tensor bias, double eps)
      : weight_(std::move(weight)), bias_(std::move(bias)), eps_(eps) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return "LayerNorm"; }
  std::string detail() const override;
  bool rowwise() const override { return true; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override;

 private:
  const at::Tensor weight_, bias_;
  const double eps_;
};

/// Norms that families write out themselves, computed in float32 over the last dimensions of
/// `weight`.
class OwnNormImpl : public Module {
 public:
  enum class Kind : uint8_t {
    kRms,       // the weight times what was normed, in the model's dtype: Llama
    kRmsFloat,  // the weight is multiplied in float32: OLMo 2
    kRmsPlus1,  // 1 + weight, in float32: Gemma
    kCentred,   // a LayerNorm without bias, in float32, over the last dimension: Cohere
  };
  OwnNormImpl(std::string type, Kind kind, at::Tensor weight, double eps)
      : type_(std::move(type)), kind_(kind), weight_(std::move(weight)), eps_(eps) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return type_; }
  std::string detail() const override;
  bool rowwise() const override { return true; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override;

 private:
  const std::string type_;
  const Kind kind_;
  const at::Tensor weight_;
  const double eps_;
};

class EmbeddingImpl : public Module {
 public:
  explicit EmbeddingImpl(at::Tensor weight) : weight_(std::move(weight)) {}
  /// One that multiplies what it finds, in the weight's dtype: Gemma.
  EmbeddingImpl(std::string type, at::Tensor weight, double scale);
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override;
  std::string type() const override { return type_; }
  std::string detail() const override;
  bool rowwise() const override { return true; }
  int64_t input_range() const override { return weight_.size(0); }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override;

 private:
  const std::string type_ = "Embedding";
  const at::Tensor weight_, scale_;  // scale_: without dimensions; undefined for none
};

/// The identity: models are hosted in evaluation mode. A boundary all the same, as in transformers.
class DropoutImpl : public Module {
 public:
  explicit DropoutImpl(double p) : p_(p) {}
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return "Dropout"; }
  std::string detail() const override;
  bool rowwise() const override { return true; }

 private:
  const double p_;
};

/// One of transformers' activations (ACT2FN), by its name in config.json.
class ActivationImpl : public Module {
 public:
  /// kUnimplemented, naming those that there are.
  static absl::StatusOr<std::unique_ptr<ActivationImpl>> Make(const std::string& name);
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return type_; }
  bool rowwise() const override { return true; }

 private:
  using Function = at::Tensor (*)(const at::Tensor&);
  ActivationImpl(std::string type, Function function)
      : type_(std::move(type)), function_(function) {}

  const std::string type_;
  const Function function_;
};

/// A list of modules, which is never called itself.
class ModuleListImpl : public Module {
 public:
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return "ModuleList"; }
  template <typename T>
  T* Append(std::unique_ptr<T> child) {
    return Own(std::to_string(children().size()), std::move(child));
  }
};

/// Modules called one after the other.
class SequentialImpl : public Module {
 public:
  at::Tensor forward(run::Pass& pass, at::Tensor x) override;
  std::string type() const override { return "Sequential"; }
  bool rowwise() const override;
  int64_t input_range() const override;
  template <typename T>
  T* Append(std::unique_ptr<T> child) {
    return Own(std::to_string(children().size()), std::move(child));
  }
};

/// Takes `NAME.weight`, and `NAME.bias` where there is to be one.
absl::StatusOr<std::unique_ptr<LinearImpl>> MakeLinear(ParameterSource& source,
                                                       const std::string& name, int64_t in,
                                                       int64_t out, bool bias);
absl::StatusOr<std::unique_ptr<LinearImpl>> MakeConv1D(ParameterSource& source,
                                                       const std::string& name, int64_t in,
                                                       int64_t out);
absl::StatusOr<std::unique_ptr<LayerNormImpl>> MakeLayerNorm(ParameterSource& source,
                                                             const std::string& name, int64_t size,
                                                             double eps, bool bias = true);

}  // namespace weft::models
