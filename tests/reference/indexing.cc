#include "tests/reference/indexing.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace weft::reference {
namespace {

c10::IValue ItemOf(const c10::IValue& whole, const graph::IndexTerm& term) {
  if (const auto* key = std::get_if<std::string>(&term)) return whole.toGenericDict().at(*key);
  int64_t index = std::get<int64_t>(term);
  if (whole.isGenericDict()) {
    for (const auto& entry : whole.toGenericDict()) {
      if (index-- == 0) return entry.value();
    }
    throw std::invalid_argument("no such item");
  }
  const std::vector<c10::IValue> items =
      whole.isTuple() ? whole.toTupleRef().elements().vec() : whole.toListRef().vec();
  const auto size = static_cast<int64_t>(items.size());
  return items.at(index < 0 ? index + size : index);
}

}  // namespace

Indexed IndexView(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms,
                  const std::function<at::Tensor(graph::NodeId)>& value) {
  Indexed found{whole, c10::List<std::optional<at::Tensor>>()};
  size_t next = 0;
  while (next < terms.size() && !found.view.isTensor()) {
    found.view = ItemOf(found.view, terms[next++]);
  }
  if (next == terms.size()) return found;
  at::Tensor view = found.view.toTensor();
  int64_t taken = 0;
  for (size_t i = next; i < terms.size(); ++i) {
    if (const auto* ref = std::get_if<graph::NodeRef>(&terms[i])) {
      const at::Tensor index = value(ref->id);
      taken += index.scalar_type() == at::kBool ? index.dim() : 1;
    } else if (std::holds_alternative<int64_t>(terms[i]) ||
               std::holds_alternative<graph::Slice>(terms[i])) {
      ++taken;
    }
  }
  const int64_t left_out = view.dim() - taken;
  int64_t dim = 0;
  std::vector<std::pair<int64_t, at::Tensor>> tensors;
  for (size_t i = next; i < terms.size(); ++i) {
    if (const auto* index = std::get_if<int64_t>(&terms[i])) {
      view = view.select(dim, *index);
    } else if (const auto* slice = std::get_if<graph::Slice>(&terms[i])) {
      view = view.slice(dim++, slice->start, slice->stop, slice->step.value_or(1));
    } else if (std::holds_alternative<graph::NewAxis>(terms[i])) {
      view = view.unsqueeze(dim++);
    } else if (std::holds_alternative<graph::Ellipsis>(terms[i])) {
      dim += left_out;
    } else {
      const at::Tensor index = value(std::get<graph::NodeRef>(terms[i]).id);
      tensors.emplace_back(dim, index);
      dim += index.scalar_type() == at::kBool ? index.dim() : 1;
    }
  }
  for (auto& [place, tensor] : tensors) {
    while (static_cast<int64_t>(found.indices.size()) < place)
      found.indices.push_back(std::nullopt);
    found.indices.push_back(std::move(tensor));
  }
  found.view = view;
  return found;
}

void AssignTo(const Indexed& place, const at::Tensor& value) {
  const at::Tensor view = place.view.toTensor();
  if (place.indices.empty()) {
    view.copy_(value);
    return;
  }
  view.index_put_(place.indices, value.to(view.scalar_type()));
}

}  // namespace weft::reference
