#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/operators.h"
#include "tests/plan/operator_samples.h"

// Arguments written by hand, for operators whose shapes are their own.

namespace weft::plan {

using Arguments = std::vector<CallArgument>;
using Samples = std::vector<Arguments>;

/// Makes tensors as a sample's options say.
class Maker {
 public:
  explicit Maker(const SampleOptions& options) : options_(options) {}

  /// Values in (0.1, 0.9), 1 to 3, or either truth.
  at::Tensor operator()(std::vector<int64_t> shape) const { return Make(shape, options_.dtype); }

  at::Tensor Make(std::vector<int64_t> shape, at::ScalarType dtype) const {
    const bool transposed = options_.transposed && shape.size() > 1;
    if (transposed) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    at::Tensor tensor;
    if (dtype == at::kBool) {
      tensor = at::rand(shape).gt(0.5);
    } else if (c10::isIntegralType(dtype, false)) {
      tensor = at::randint(1, 4, shape, at::device(at::kCPU).dtype(dtype));
    } else {
      tensor = at::rand(shape).mul(0.8).add(0.1).to(dtype);
    }
    return transposed ? tensor.transpose(-1, -2) : tensor;
  }

  /// Integers in [0, size).
  at::Tensor Index(std::vector<int64_t> shape, int64_t size) const {
    return at::randint(0, size, shape, at::device(at::kCPU).dtype(at::kLong));
  }

  at::Tensor Mask(std::vector<int64_t> shape) const { return Make(std::move(shape), at::kBool); }
  at::ScalarType dtype() const { return options_.dtype; }
  at::Tensor Float(std::vector<int64_t> shape) const {
    return Make(std::move(shape),
                c10::isFloatingType(options_.dtype) ? options_.dtype : at::kFloat);
  }

 private:
  SampleOptions options_;
};

inline c10::IValue Ints(std::vector<int64_t> values) { return c10::List<int64_t>(values); }
inline c10::IValue Int(int64_t value) { return value; }
inline c10::IValue None() { return {}; }
inline c10::IValue Tensors(std::vector<at::Tensor> tensors) {
  return c10::List<at::Tensor>(tensors);
}
inline c10::IValue Indices(std::vector<at::Tensor> tensors) {
  c10::List<std::optional<at::Tensor>> list;
  for (const at::Tensor& tensor : tensors) {
    list.push_back(tensor.defined() ? std::optional(tensor) : std::nullopt);
  }
  return list;
}

/// Arguments by position, then by name.
inline Arguments Call(std::vector<c10::IValue> positional,
                      std::vector<std::pair<std::string, c10::IValue>> named = {}) {
  Arguments arguments;
  for (c10::IValue& value : positional) arguments.push_back({"", std::move(value)});
  for (auto& [name, value] : named) arguments.push_back({name, std::move(value)});
  return arguments;
}

using Recipe = std::function<Samples(const Maker& f)>;

/// By the operator's name, or by that of one overload.
const std::map<std::string, Recipe>& MatrixRecipes();
const std::map<std::string, Recipe>& RandomRecipes();

}  // namespace weft::plan
