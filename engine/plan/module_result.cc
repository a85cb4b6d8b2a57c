#include "engine/plan/module_result.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"

namespace weft::plan {

using graph::Point;

absl::StatusOr<c10::IValue> ModuleResult(const ModelSpec& model, int module,
                                         const c10::IValue& input, RowCount rows, bool all_rows) {
  const SiteSpec& in = model.sites()[model.FindSite(module, Point::kInput, 0)];
  const SiteSpec& out = model.sites()[model.FindSite(module, Point::kOutput, 0)];
  const auto* pattern = std::get_if<graph::Pattern::Tensor>(&in.pattern.value);
  if (pattern == nullptr || !input.isTensor()) {
    return absl::InvalidArgumentError("a module is called with a tensor");
  }
  const at::Tensor& given = input.toTensor();
  const c10::ScalarType dtype = ToScalarType(pattern->dtype);
  if (given.scalar_type() != dtype) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`", in.site.module, "` takes ", graph::ToString(pattern->dtype), ", and is given ",
        graph::ToString(FromScalarType(given.scalar_type())), "; convert with aten::to"));
  }
  if (!model.modules()[module].rowwise) {
    const at::Tensor expected = MetaOf(in.pattern, rows).toTensor();
    if (all_rows || given.sizes() != expected.sizes()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "`", in.site.module, "` looks at whole prompts, so it takes a value of its invoke's ",
          "shape ", all_rows ? "(and `invoke { }` has none)" : c10::str(expected.sizes()),
          ", and is given ", c10::str(given.sizes())));
    }
    return MetaOf(out.pattern, rows);
  }
  // Leading dimensions are free; what follows batch and tokens is the module's.
  const auto leading = static_cast<size_t>(model.LeadingOf(in));
  const size_t own = pattern->shape.size() - leading;
  const auto sizes = given.sizes();
  bool fits = sizes.size() >= own;
  for (size_t i = 0; fits && i < own; ++i) {
    fits = sizes[sizes.size() - own + i] == pattern->shape[leading + i].At(1, 1);
  }
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("`", in.site.module, "` takes ",
                                                   graph::ToString(in.pattern),
                                                   ", and is given the shape ", c10::str(sizes)));
  }
  return MapTensors(MetaOf(out.pattern, {1, 1}), [&](const at::Tensor& tensor) {
    std::vector<int64_t> shape(sizes.begin(), sizes.end() - static_cast<int64_t>(own));
    const at::IntArrayRef behind = tensor.sizes().slice(leading);
    shape.insert(shape.end(), behind.begin(), behind.end());
    return at::empty(shape, tensor.options());
  });
}

std::vector<int64_t> LeadingOf(const ModelSpec& model, int module, at::IntArrayRef input) {
  const SiteSpec& in = model.sites()[model.FindSite(module, Point::kInput, 0)];
  const auto& pattern = std::get<graph::Pattern::Tensor>(in.pattern.value);
  const size_t own = pattern.shape.size() - static_cast<size_t>(model.leading());
  return input.slice(0, input.size() - std::min(own, input.size())).vec();
}

c10::IValue ValueInside(const ModelSpec& model, int site, at::IntArrayRef leading) {
  return MapTensors(MetaOf(model.sites()[site].pattern, {1, 1}), [&](const at::Tensor& tensor) {
    std::vector<int64_t> shape = leading.vec();
    const at::IntArrayRef own = tensor.sizes().slice(model.leading());
    shape.insert(shape.end(), own.begin(), own.end());
    return at::empty(shape, tensor.options());
  });
}

CallCost CostOfModule(const ModelSpec& model, int module, const at::Tensor& input, RowCount rows) {
  const SiteSpec& in = model.sites()[model.FindSite(module, Point::kInput, 0)];
  double own = 1;
  const auto& shape = std::get<graph::Pattern::Tensor>(in.pattern.value).shape;
  for (size_t i = model.LeadingOf(in); i < shape.size(); ++i)
    own *= static_cast<double>(shape[i].At(1, 1));
  const double count = own == 0 ? 0 : static_cast<double>(input.numel()) / own;
  const ModuleWork& work = model.WorkOf(module);
  CallCost cost;
  cost.operations =
      count * (2 * work.weights + own + 4 * work.mixing * static_cast<double>(rows.tokens));
  // A module's input and output at its widest are there at once.
  cost.workspace_bytes = 2 * count * work.activations;
  return cost;
}

int CountTensors(const graph::Pattern& pattern) {
  int count = std::holds_alternative<graph::Pattern::Tensor>(pattern.value) ? 1 : 0;
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) {
    for (const graph::Pattern& item : tuple->items) count += CountTensors(item);
  }
  if (const auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) {
    for (const graph::Pattern& item : list->items) count += CountTensors(item);
  }
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    for (const auto& [key, value] : dict->entries) count += CountTensors(value);
  }
  return count;
}

}  // namespace weft::plan
