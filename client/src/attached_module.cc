#include "weft/attached_module.h"

#include "absl/strings/str_cat.h"
#include "client/src/attached_part.h"
#include "client/src/recording.h"
#include "weft/ops.h"

namespace weft {
namespace {

using internal::AttachedPart;
using internal::Recording;

std::string ShapeOf(const Tensor& tensor, int64_t dim) {
  return dim < tensor.dim() ? std::to_string(tensor.size(dim)) : "?";
}

/// `x @ weight + bias`, in the other orientation than Linear's.
AttachedModule Project(const Tensor& weight, const std::optional<Tensor>& bias) {
  const auto body = [weight, bias](const AttachedModule&, const Var& x) {
    const Var product = x.matmul(weight);
    return bias.has_value() ? product + *bias : product;
  };
  return AttachedModule::Compose(
      "Linear", {}, body,
      absl::StrCat("in_features=", ShapeOf(weight, 0), ", out_features=", ShapeOf(weight, 1),
                   ", bias=", bias.has_value() ? "True" : "False"));
}

}  // namespace

namespace internal {

std::shared_ptr<const AttachedPart> AttachedPart::Find(const std::string& name) const {
  const size_t dot = name.find('.');
  const std::string first = name.substr(0, dot);
  for (const auto& [part_name, part] : parts) {
    if (part_name != first) continue;
    return dot == std::string::npos ? part : part->Find(name.substr(dot + 1));
  }
  return nullptr;
}

std::shared_ptr<const AttachedPart> AttachedPart::Copy(const AttachedPart& part) {
  auto copy = std::make_shared<AttachedPart>(part);
  for (auto& [name, child] : copy->parts) child = Copy(*child);
  return copy;
}

}  // namespace internal

AttachedModule AttachedModule::Compose(const std::string& type, const Parts& parts, Body body,
                                       const std::string& detail) {
  auto part = std::make_shared<AttachedPart>();
  part->type = type;
  part->detail = detail;
  part->body = std::move(body);
  for (const auto& [name, module] : parts) {
    if (module.part_ != nullptr) part->parts.emplace_back(name, AttachedPart::Copy(*module.part_));
  }
  return AttachedModule(std::move(part));
}

AttachedModule AttachedModule::Linear(const Tensor& weight, const std::optional<Tensor>& bias) {
  const auto body = [weight, bias](const AttachedModule&, const Var& x) {
    return bias.has_value() ? linear(x, weight, *bias) : linear(x, weight);
  };
  return Compose("Linear", {}, body,
                 absl::StrCat("in_features=", ShapeOf(weight, 1), ", out_features=",
                              ShapeOf(weight, 0), ", bias=", bias.has_value() ? "True" : "False"));
}

AttachedModule AttachedModule::Activation(const std::string& op_name) {
  const auto body = [op_name](const AttachedModule&, const Var& x) {
    return op(absl::StrCat("aten::", op_name), {x});
  };
  return Compose("Activation", {}, body, op_name);
}

AttachedModule AttachedModule::Sequence(const Parts& parts) {
  std::vector<std::string> names;
  for (const auto& [name, part] : parts) names.push_back(name);
  return Compose("Sequential", parts, [names](const AttachedModule& self, const Var& x) {
    Var value = x;
    for (const std::string& name : names) value = self[name](value);
    return value;
  });
}

AttachedModule AttachedModule::Residual(const AttachedModule& inner) {
  return Compose("Residual", {{"inner", inner}},
                 [](const AttachedModule& self, const Var& x) { return x + self["inner"](x); });
}

AttachedModule AttachedModule::Lora(const Tensor& a, const Tensor& b, double scale) {
  const auto body = [scale](const AttachedModule& self, const Var& x) {
    const Var product = self["b"](self["a"](x));
    return scale == 1 ? product : product * scale;
  };
  return Compose("LoRA", {{"a", Linear(a)}, {"b", Linear(b)}}, body,
                 absl::StrCat("rank=", ShapeOf(a, 0), ", scale=", scale));
}

AttachedModule AttachedModule::Sae(const SaeWeights& weights) {
  std::optional<Tensor> centre;
  if (weights.subtract_b_dec) centre = weights.b_dec;
  const auto body = [centre](const AttachedModule& self, const Var& x) {
    const Var centred = centre.has_value() ? x - *centre : x;
    return self["decoder"](self["acts"](self["encoder"](centred)));
  };
  return Compose("SAE",
                 {{"encoder", Project(weights.w_enc, weights.b_enc)},
                  {"acts", Activation(weights.activation)},
                  {"decoder", Project(weights.w_dec, weights.b_dec)}},
                 body, absl::StrCat("features=", ShapeOf(weights.w_dec, 0)));
}

Var AttachedModule::operator()(const Operand& x) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->CallAttached(part_.get(), x);
}

AttachedModule AttachedModule::operator[](const std::string& name) const {
  return AttachedModule(part_ == nullptr ? nullptr : part_->Find(name));
}

Var AttachedModule::output(Location where) const {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->AttachedOutput(part_.get(), where);
}

Var AttachedModule::input(Location where) const {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->AttachedInput(part_.get(), where);
}

const std::string& AttachedModule::type() const {
  static const std::string* const kNone = new std::string();
  return part_ == nullptr ? *kNone : part_->type;
}

}  // namespace weft
