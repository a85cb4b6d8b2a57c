#include "engine/models/blocks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/kernels/linear.h"
#include "engine/kernels/norm.h"
#include "engine/kernels/row_wise.h"
#include "engine/run/adapter.h"

namespace weft::models {

at::Tensor LinearImpl::forward(run::Pass& pass, at::Tensor x) {
  at::Tensor y = kernels::Linear(
      x, weight_, bias_, pass.OneRowEach() ? kernels::Rows::kOfSteps : kernels::Rows::kOfPrompts);
  if (pass.adapted()) [[unlikely]] {
    return run::Adapt(pass, input_tap() / 2, x, std::move(y));
  }
  return y;
}

std::vector<std::pair<std::string, at::Tensor>> LinearImpl::parameters() const {
  // Of a Conv1D the checkpoint's own, `[in, out]`, is shown by whoever loaded it.
  if (conv1d_) return {};
  std::vector<std::pair<std::string, at::Tensor>> parameters = {{"weight", weight_}};
  if (bias_.defined()) parameters.emplace_back("bias", bias_);
  return parameters;
}

std::string LinearImpl::detail() const {
  if (conv1d_) return absl::StrCat("nf=", weight_.size(0), ", nx=", weight_.size(1));
  return absl::StrCat("in_features=", weight_.size(1), ", out_features=", weight_.size(0),
                      ", bias=", bias_.defined() ? "True" : "False");
}

at::Tensor LayerNormImpl::forward(run::Pass&, at::Tensor x) {
  return at::layer_norm(x, weight_.sizes(), weight_, bias_, eps_);
}

std::vector<std::pair<std::string, at::Tensor>> LayerNormImpl::parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> parameters = {{"weight", weight_}};
  if (bias_.defined()) parameters.emplace_back("bias", bias_);
  return parameters;
}

std::string LayerNormImpl::detail() const {
  return absl::StrCat("(", weight_.size(0), ",), eps=", eps_, ", elementwise_affine=True");
}

at::Tensor OwnNormImpl::forward(run::Pass&, at::Tensor x) {
  if (kernels::CanNorm(x, weight_)) {
    using kernels::NormKind;
    const NormKind kind = kind_ == Kind::kRms        ? NormKind::kRoundThenWeigh
                          : kind_ == Kind::kRmsPlus1 ? NormKind::kWeighBy1Plus
                                                     : NormKind::kWeigh;
    return kernels::Norm(x, weight_, eps_, kind, /*centred=*/kind_ == Kind::kCentred);
  }
  const c10::ScalarType type = x.scalar_type();
  x = x.to(at::kFloat);
  if (kind_ == Kind::kCentred) x = at::sub(x, at::mean(x, {-1}, /*keepdim=*/true));
  const at::Tensor variance = at::mean(at::pow(x, 2), {-1}, /*keepdim=*/true);
  x = at::mul(x, at::rsqrt(at::add(variance, eps_)));
  switch (kind_) {
    case Kind::kRms:
      return at::mul(weight_, x.to(type));
    case Kind::kRmsPlus1:
      return at::mul(x, at::add(weight_.to(at::kFloat), 1)).to(type);
    case Kind::kRmsFloat:
    case Kind::kCentred:
      break;
  }
  return at::mul(weight_.to(at::kFloat), x).to(type);
}

std::vector<std::pair<std::string, at::Tensor>> OwnNormImpl::parameters() const {
  return {{"weight", weight_}};
}

std::string OwnNormImpl::detail() const {
  if (kind_ == Kind::kCentred) return "";
  return absl::StrCat("(", weight_.size(0), ",), eps=", eps_);
}

EmbeddingImpl::EmbeddingImpl(std::string type, at::Tensor weight, double scale)
    : type_(std::move(type)),
      weight_(std::move(weight)),
      scale_(at::scalar_tensor(scale, weight_.options())) {}

at::Tensor EmbeddingImpl::forward(run::Pass&, at::Tensor ids) {
  at::Tensor found = at::embedding(weight_, ids);
  return scale_.defined() ? at::mul(found, scale_) : found;
}

std::vector<std::pair<std::string, at::Tensor>> EmbeddingImpl::parameters() const {
  return {{"weight", weight_}};
}

std::string EmbeddingImpl::detail() const {
  return absl::StrCat(weight_.size(0), ", ", weight_.size(1));
}

at::Tensor DropoutImpl::forward(run::Pass&, at::Tensor x) { return x; }

std::string DropoutImpl::detail() const { return absl::StrCat("p=", p_, ", inplace=False"); }

at::Tensor ModuleListImpl::forward(run::Pass&, at::Tensor x) { return x; }

at::Tensor SequentialImpl::forward(run::Pass& pass, at::Tensor x) {
  for (const auto& [name, child] : children()) x = Call(pass, *child, std::move(x));
  return x;
}

bool SequentialImpl::rowwise() const {
  return std::all_of(children().begin(), children().end(),
                     [](const auto& child) { return child.second->rowwise(); });
}

int64_t SequentialImpl::input_range() const {
  return children().empty() ? 0 : children().front().second->input_range();
}

absl::StatusOr<std::unique_ptr<ActivationImpl>> ActivationImpl::Make(const std::string& name) {
  struct Known {
    const char* name;
    const char* type;
    Function function;
  };
  static constexpr Known kKnown[] = {
      {"gelu", "GELUActivation", [](const at::Tensor& x) { return at::gelu(x); }},
      {"gelu_new", "NewGELUActivation", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {"gelu_fast", "FastGELUActivation", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {"gelu_pytorch_tanh", "GELUTanh", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {"quick_gelu", "QuickGELUActivation",
       [](const at::Tensor& x) { return at::mul(x, at::sigmoid(at::mul(x, 1.702))); }},
      {"relu", "ReLU", [](const at::Tensor& x) { return at::relu(x); }},
      {"silu", "SiLUActivation", [](const at::Tensor& x) { return at::silu(x); }},
      {"swish", "SiLUActivation", [](const at::Tensor& x) { return at::silu(x); }},
      {"sigmoid", "Sigmoid", [](const at::Tensor& x) { return at::sigmoid(x); }},
      {"tanh", "Tanh", [](const at::Tensor& x) { return at::tanh(x); }},
      {"linear", "LinearActivation", [](const at::Tensor& x) { return x; }},
  };
  std::string names;
  for (const Known& known : kKnown) {
    if (name == known.name) {
      return std::unique_ptr<ActivationImpl>(new ActivationImpl(known.type, known.function));
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", known.name);
  }
  return absl::UnimplementedError(
      absl::StrCat("activation `", name, "` is not served; there are: ", names));
}

at::Tensor ActivationImpl::forward(run::Pass&, at::Tensor x) {
  return kernels::RowWise(function_, x);
}

absl::StatusOr<std::unique_ptr<LinearImpl>> MakeLinear(ParameterSource& source,
                                                       const std::string& name, int64_t in,
                                                       int64_t out, bool bias) {
  absl::StatusOr<at::Tensor> weight = source.Param(absl::StrCat(name, ".weight"), {out, in});
  if (!weight.ok()) return weight.status();
  absl::StatusOr<at::Tensor> add = at::Tensor();
  if (bias) add = source.Param(absl::StrCat(name, ".bias"), {out});
  if (!add.ok()) return add.status();
  return std::make_unique<LinearImpl>(*std::move(weight), *std::move(add));
}

absl::StatusOr<std::unique_ptr<LinearImpl>> MakeConv1D(ParameterSource& source,
                                                       const std::string& name, int64_t in,
                                                       int64_t out) {
  absl::StatusOr<at::Tensor> weight =
      source.TransposedParam(absl::StrCat(name, ".weight"), in, out);
  if (!weight.ok()) return weight.status();
  absl::StatusOr<at::Tensor> bias = source.Param(absl::StrCat(name, ".bias"), {out});
  if (!bias.ok()) return bias.status();
  return std::make_unique<LinearImpl>(*std::move(weight), *std::move(bias), /*conv1d=*/true);
}

absl::StatusOr<std::unique_ptr<LayerNormImpl>> MakeLayerNorm(ParameterSource& source,
                                                             const std::string& name, int64_t size,
                                                             double eps, bool bias) {
  absl::StatusOr<at::Tensor> weight = source.Param(absl::StrCat(name, ".weight"), {size});
  if (!weight.ok()) return weight.status();
  absl::StatusOr<at::Tensor> add = at::Tensor();
  if (bias) add = source.Param(absl::StrCat(name, ".bias"), {size});
  if (!add.ok()) return add.status();
  return std::make_unique<LayerNormImpl>(*std::move(weight), *std::move(add), eps);
}

}  // namespace weft::models
