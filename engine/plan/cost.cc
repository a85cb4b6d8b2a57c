#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "engine/plan/operators.h"

namespace weft::plan {
namespace {

struct Size {
  double elements = 0;
  double bytes = 0;

  void Include(const c10::IValue& value) {
    if (value.isTensor()) {
      const at::Tensor& tensor = value.toTensor();
      if (!tensor.defined()) return;
      const double numel = static_cast<double>(tensor.numel());
      elements = std::max(elements, numel);
      bytes = std::max(bytes, numel * static_cast<double>(tensor.element_size()));
    } else if (value.isTensorList()) {
      // All of a list are read (or made) together.
      Size sum;
      for (const at::Tensor& tensor : value.toTensorVector()) {
        sum.elements += static_cast<double>(tensor.numel());
        sum.bytes += static_cast<double>(tensor.numel()) * tensor.element_size();
      }
      elements = std::max(elements, sum.elements);
      bytes = std::max(bytes, sum.bytes);
    } else if (value.isTuple()) {
      for (const c10::IValue& item : value.toTupleRef().elements()) Include(item);
    }
  }
};

double LastSize(const at::Tensor& tensor, int from_end = 1) {
  return tensor.dim() < from_end ? 1 : static_cast<double>(tensor.size(-from_end));
}

double ResultElements(const c10::IValue& result) {
  Size size;
  size.Include(result);
  return size.elements;
}

/// The product of the sizes of all of an equation's letters: what a contraction of two operands
/// costs, and a bound for each step of a contraction of more.
double EinsumElements(const c10::Stack& arguments) {
  const std::string& equation = arguments[0].toStringRef();
  const std::vector<at::Tensor> operands = arguments[1].toTensorVector();
  std::map<char, double> sizes;
  double broadcast = 1;
  size_t operand = 0;
  int64_t dimension = 0;
  for (size_t i = 0; i < equation.size() && operand < operands.size(); ++i) {
    const char letter = equation[i];
    if (letter == '-') break;
    if (letter == ' ') continue;
    if (letter == ',') {
      ++operand;
      dimension = 0;
      continue;
    }
    const at::Tensor& tensor = operands[operand];
    if (letter == '.') {
      // `...` stands for what the operand's letters leave.
      int64_t letters = 0;
      for (size_t j = i + 3; j < equation.size() && equation[j] != ',' && equation[j] != '-'; ++j) {
        letters += equation[j] != ' ';
      }
      double product = 1;
      for (; dimension < tensor.dim() - letters; ++dimension) product *= tensor.size(dimension);
      broadcast = std::max(broadcast, product);
      i += 2;
      continue;
    }
    if (dimension < tensor.dim()) {
      double& size = sizes[letter];
      size = std::max(size, static_cast<double>(tensor.size(dimension++)));
    }
  }
  double product = broadcast;
  for (const auto& [letter, size] : sizes) product *= size;
  return product * std::max<double>(1, static_cast<double>(operands.size()) - 1);
}

double Elements(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined()
             ? static_cast<double>(value.toTensor().numel())
             : 1;
}

/// The dimensions that are summed over, from the sizes of what is multiplied and of the result.
double Contracted(const c10::IValue& a, const c10::IValue& b, const c10::IValue& result) {
  return std::sqrt(Elements(a) * Elements(b) / std::max<double>(1, ResultElements(result)));
}

double SmallerSide(const c10::Stack& arguments) {
  for (const c10::IValue& argument : arguments) {
    if (!argument.isTensor() || argument.toTensor().dim() < 2) continue;
    return std::min(LastSize(argument.toTensor()), LastSize(argument.toTensor(), 2));
  }
  return 1;
}

}  // namespace

CallCost CostOf(const OperatorRow& row, const c10::Stack& arguments, const c10::IValue& result) {
  Size size;
  for (const c10::IValue& argument : arguments) size.Include(argument);
  size.Include(result);
  CallCost cost;
  cost.workspace_bytes = row.workspace * size.bytes;
  cost.operations = row.cost_per_element * size.elements;
  // What a mask selects is written down as places first, and then broadcast.
  for (const c10::IValue& argument : arguments) {
    if (!argument.isList()) continue;
    for (const c10::IValue& item : argument.toListRef()) {
      if (!item.isTensor() || !item.toTensor().defined()) continue;
      const at::Tensor& mask = item.toTensor();
      if (mask.scalar_type() != at::kBool) continue;
      cost.workspace_bytes += 2.0 * sizeof(int64_t) *
                              static_cast<double>(mask.numel() * std::max<int64_t>(1, mask.dim()));
    }
  }
  switch (row.work) {
    case Work::kElements:
      if (row.makes == Makes::kView || row.makes == Makes::kOverlappingView) cost.operations = 0;
      break;
    case Work::kProduct:
      cost.operations +=
          2 * ResultElements(result) * LastSize(arguments[row.product_argument].toTensor());
      break;
    case Work::kEinsum:
      cost.operations += 2 * EinsumElements(arguments);
      break;
    case Work::kAttention: {
      const at::Tensor& query = arguments[0].toTensor();
      const at::Tensor& key = arguments[1].toTensor();
      const double pairs = static_cast<double>(query.numel()) * LastSize(key, 2);
      cost.operations += 4 * pairs;
      // The fallback writes the scores out.
      cost.workspace_bytes += 2 * pairs / std::max<double>(1, LastSize(query)) *
                              static_cast<double>(query.element_size());
      break;
    }
    case Work::kPairs:
      cost.operations += row.cost_per_element * ResultElements(result) *
                         LastSize(arguments[row.product_argument].toTensor());
      break;
    case Work::kContraction: {
      const int first = row.product_argument;
      cost.operations +=
          2 * ResultElements(result) * Contracted(arguments[first], arguments[first + 1], result);
      break;
    }
    case Work::kMatrices:
      cost.operations *= std::max<double>(1, SmallerSide(arguments));
      break;
    case Work::kConvolution: {
      const at::Tensor& weight = arguments[row.product_argument].toTensor();
      // [out, in, ...], or [in, out, ...] of a transposed one.
      const int out = absl::StrContains(row.name, "transpose") ? 1 : 0;
      const double per_channel =
          weight.dim() <= out ? 1 : Elements(weight) / std::max<double>(1, weight.size(out));
      cost.operations += 2 * ResultElements(result) * per_channel;
      // What lies under the weights is laid out as a matrix first.
      const at::Tensor& made = result.toTensor();
      const double channels = made.dim() < 2 ? 1 : std::max<double>(1, made.size(1));
      cost.workspace_bytes +=
          Elements(made) / channels * per_channel * static_cast<double>(made.element_size());
      break;
    }
    case Work::kWindows: {
      double window = 1;
      for (const c10::IValue& size : arguments[row.product_argument].toListRef()) {
        window *= static_cast<double>(std::max<int64_t>(1, size.toInt()));
      }
      cost.operations += ResultElements(result) * window;
      break;
    }
  }
  return cost;
}

}  // namespace weft::plan
