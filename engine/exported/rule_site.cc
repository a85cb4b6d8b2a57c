#include <algorithm>

#include "engine/exported/row_rules.h"

namespace weft::exported {

RuleSite::RuleSite(const Graph& graph, const BoundNode& node, const Samples& a, const Samples& b,
                   const RowFacts& facts)
    : graph_(graph), node_(node), a_(a), b_(b), facts_(facts) {
  for (const BoundNode::Fill& fill : node_.fills) AddTensors(fill.argument, fill.from);
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const Tensor& x, const Tensor& y) { return x.argument < y.argument; });
  for (const Output& output : graph_.program.nodes[node_.node].outputs) {
    for (const ValueId value : output.values) {
      if (value != kNoValue) results_.push_back(value);
    }
  }
}

void RuleSite::AddTensors(int argument, const Argument& from) {
  if (const auto* use = std::get_if<Argument::Use>(&from.value)) {
    if (!graph_.program.values[use->value].tensor) return;
    // What the model was exported with is not among the samples.
    const c10::IValue& given = graph_.given[use->value];
    tensors_.push_back(
        {argument, use->value, facts_.rows[use->value],
         given.isTensor() ? given.toTensor().sizes().vec() : a_.values[use->value].sizes});
  }
  if (const auto* list = std::get_if<Argument::List>(&from.value)) {
    for (const Argument& item : list->items) AddTensors(argument, item);
  }
}

const RuleSite::Tensor* RuleSite::FindTensor(const char* name) const {
  const int at = PlaceOf(name);
  for (const Tensor& tensor : tensors_) {
    if (tensor.argument == at) return &tensor;
  }
  return nullptr;
}

bool RuleSite::AnyRows() const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [](const Tensor& tensor) { return tensor.rows.any(); });
}

bool RuleSite::OthersHaveRows() const {
  return tensors_.size() > 1 && std::any_of(tensors_.begin() + 1, tensors_.end(),
                                            [](const Tensor& t) { return t.rows.any(); });
}

int RuleSite::PlaceOf(const char* name) const {
  return node_.op.handle->schema().argumentIndexWithName(name).value_or(-1);
}

std::optional<c10::IValue> RuleSite::Constant(const char* name) const {
  const int at = PlaceOf(name);
  if (at < 0) return std::nullopt;
  for (const BoundNode::Fill& fill : node_.fills) {
    if (fill.argument == at) return std::nullopt;
  }
  return node_.stack[at];
}

std::optional<std::vector<int64_t>> RuleSite::Dimensions(const char* name, int64_t rank) const {
  const std::optional<c10::IValue> value = Constant(name);
  if (!value) return std::nullopt;
  std::vector<int64_t> dims;
  if (value->isInt()) dims = {value->toInt()};
  if (value->isIntList()) dims = value->toIntVector();
  if (dims.empty()) return std::nullopt;
  for (int64_t& dim : dims) {
    if (dim < 0) dim += rank;
    if (dim < 0 || dim >= rank) return std::nullopt;
  }
  return dims;
}

MaybeRowForm RuleSite::FormOf(const Argument& argument) const {
  if (const auto* use = std::get_if<Argument::Use>(&argument.value)) {
    // Tensors are looked at by the rules.
    if (graph_.program.values[use->value].tensor) return RowForm();
    return facts_.forms[use->value];
  }
  return RowForm();
}

bool RuleSite::CountsRows(bool takes_shape) const {
  for (const BoundNode::Fill& fill : node_.fills) {
    const std::string& name = node_.op.handle->schema().arguments()[fill.argument].name();
    const auto* list = std::get_if<Argument::List>(&fill.from.value);
    if (list == nullptr) {
      const MaybeRowForm form = FormOf(fill.from);
      if (!form || form->depends()) return true;
      continue;
    }
    int growing = 0;
    for (const Argument& item : list->items) {
      const MaybeRowForm form = FormOf(item);
      if (!form) return true;
      if (!form->depends()) continue;
      ++growing;
      // A whole number of entries for each row, so that other sizes are what they were when tried.
      if (form->constant != 0 || form->rows < 0) return true;
    }
    const bool shape = name == "size" || name == "shape" || name == "sizes";
    if (growing > (takes_shape && shape ? 1 : 0)) return true;
  }
  return false;
}

int64_t RuleSite::Growing(ValueId value) const {
  const std::vector<int64_t>&x = a_.values[value].sizes, &y = b_.values[value].sizes;
  if (x.size() != y.size()) return -2;
  int64_t found = -1;
  for (size_t d = 0; d < x.size(); ++d) {
    if (x[d] == y[d]) continue;
    if (found >= 0) return -2;
    found = static_cast<int64_t>(d);
  }
  return found;
}

bool RuleSite::IsEmpty(ValueId value) const {
  const std::vector<int64_t>& sizes = SizesOf(value);
  return Growing(value) == -1 && std::count(sizes.begin(), sizes.end(), 0) > 0;
}

}  // namespace weft::exported
