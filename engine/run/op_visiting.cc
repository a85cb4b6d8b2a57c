#include "engine/run/op_visiting.h"

#include <algorithm>
#include <utility>

#include "engine/run/memory_account.h"
#include "engine/run/overwrite.h"

namespace weft::run {
namespace {

/// A pattern as a value, `leaf()` at each of its tensors in turn.
c10::IValue ValueOf(const graph::Pattern& pattern, const std::function<c10::IValue()>& leaf) {
  if (std::holds_alternative<graph::Pattern::Tensor>(pattern.value)) return leaf();
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) {
    std::vector<c10::IValue> items;
    for (const graph::Pattern& item : tuple->items) items.push_back(ValueOf(item, leaf));
    return c10::ivalue::Tuple::create(std::move(items));
  }
  if (const auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) {
    c10::impl::GenericList items(c10::AnyType::get());
    for (const graph::Pattern& item : list->items) items.push_back(ValueOf(item, leaf));
    return items;
  }
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    c10::impl::GenericDict entries(c10::StringType::get(), c10::AnyType::get());
    for (const auto& [key, value] : dict->entries) entries.insert(key, ValueOf(value, leaf));
    return entries;
  }
  return {};
}

/// The tensors of a value of that pattern, in its order.
void CollectLeaves(const c10::IValue& value, std::vector<at::Tensor>& leaves) {
  if (value.isTensor()) {
    leaves.push_back(value.toTensor());
  } else if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) CollectLeaves(item, leaves);
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) CollectLeaves(item, leaves);
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) CollectLeaves(entry.value(), leaves);
  }
}

}  // namespace

// --- PartsVisiting
// --------------------------------------------------------------------------------

PartsVisiting::PartsVisiting(Pass& pass, int time, std::vector<at::Tensor>& parts, int64_t absent)
    : Visiting(pass, time),
      parts_(parts),
      original_(parts),
      absent_(absent),
      own_(parts.size(), false) {}

size_t PartsVisiting::PlaceOf(const Segment& segment) const {
  const auto present = pass_.present();
  const Segment* rows = segment.trunk != nullptr ? segment.trunk : &segment;
  const auto found = std::find(present.begin(), present.end(), rows);
  TORCH_CHECK(found != present.end() && original_[found - present.begin()].defined(),
              "these rows take no part here");
  return found - present.begin();
}

at::Tensor& PartsVisiting::PartOf(const Segment& segment) {
  const size_t place = PlaceOf(segment);
  if (!own_[place]) {
    // A node of its own: gradients come in the order in which they were asked for.
    parts_[place] = parts_[place].view_as(parts_[place]);
    own_[place] = true;
  }
  return parts_[place];
}

c10::IValue PartsVisiting::Read(const Segment& segment, bool written) {
  if (pass_.gradients()) return PartOf(segment);
  const size_t place = PlaceOf(segment);
  return written ? parts_[place] : original_[place];
}

c10::IValue PartsVisiting::ReadForGradient(const Segment& segment) {
  at::Tensor& part = PartOf(segment);
  part = WithGradient(part);
  return part;
}

c10::IValue PartsVisiting::ReadAllForGradient(absl::Span<Segment* const> segments) {
  const at::Tensor all = WithGradient(ReadAll(segments, true).toTensor());
  WriteAll(segments, all);
  return all;
}

at::Tensor PartsVisiting::Within(const at::Tensor& all, int64_t row, const at::Tensor& part) const {
  at::Tensor within = all.narrow(0, row, part.size(0));
  for (int64_t d = 1; d < part.dim(); ++d) {
    within = within.narrow(d, pass_.pad_left() ? all.size(d) - part.size(d) : 0, part.size(d));
  }
  return within;
}

c10::IValue PartsVisiting::ReadAll(absl::Span<Segment* const> segments, bool written) {
  std::vector<int64_t> sizes;
  int64_t batch = 0;
  at::TensorOptions options;
  for (const Segment* segment : segments) {
    batch += segment->input->batch();
    if (!segment->present) continue;
    const at::Tensor& part = original_[PlaceOf(*segment)];
    options = part.options();
    sizes.resize(part.dim(), 0);
    for (int64_t d = 1; d < part.dim(); ++d) sizes[d] = std::max(sizes[d], part.size(d));
  }
  TORCH_CHECK(!sizes.empty(), "no rows are here any more");
  sizes[0] = batch;
  at::Tensor all = at::full(sizes, absent_, options);
  int64_t row = 0;
  for (const Segment* segment : segments) {
    if (segment->present) {
      const at::Tensor part = Read(*segment, written).toTensor();
      Within(all, row, part).copy_(part);
    }
    row += segment->input->batch();
  }
  return all;
}

c10::IValue PartsVisiting::Writable(const Segment& segment) {
  if (pass_.gradients()) {
    at::Tensor& part = PartOf(segment);
    part = part.clone();
    return part;
  }
  const size_t place = PlaceOf(segment);
  if (!own_[place]) {
    // The pass's memory, as where rows are packed.
    const MemoryAccount::Charging nobody(nullptr);
    parts_[place] = parts_[place].clone();
    own_[place] = true;
  }
  return parts_[place];
}

void PartsVisiting::WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) {
  const at::Tensor all = LeafOf(rows);
  int64_t row = 0;
  for (const Segment* segment : segments) {
    if (segment->present) {
      const at::Tensor part = Writable(*segment).toTensor();
      Overwrite(part, Within(all, row, part));
    }
    row += segment->input->batch();
  }
}

// --- StructureVisiting
// ----------------------------------------------------------------------------

c10::IValue StructureVisiting::Build(const std::function<c10::IValue(Visiting&)>& leaf) {
  auto next = leaves_.begin();
  return ValueOf(pattern_, [&] { return leaf(**next++); });
}

c10::IValue StructureVisiting::Read(const Segment& segment, bool written) {
  return Build([&](Visiting& leaf) { return leaf.Read(segment, written); });
}

c10::IValue StructureVisiting::ReadForGradient(const Segment& segment) {
  return Build([&](Visiting& leaf) { return leaf.ReadForGradient(segment); });
}

c10::IValue StructureVisiting::ReadAllForGradient(absl::Span<Segment* const> segments) {
  return Build([&](Visiting& leaf) { return leaf.ReadAllForGradient(segments); });
}

c10::IValue StructureVisiting::ReadAll(absl::Span<Segment* const> segments, bool written) {
  return Build([&](Visiting& leaf) { return leaf.ReadAll(segments, written); });
}

c10::IValue StructureVisiting::Writable(const Segment& segment) {
  return Build([&](Visiting& leaf) { return leaf.Writable(segment); });
}

void StructureVisiting::WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) {
  std::vector<at::Tensor> leaves;
  CollectLeaves(rows, leaves);
  for (size_t i = 0; i < leaves.size(); ++i) leaves_[i]->WriteAll(segments, leaves[i]);
}

void StructureVisiting::Finish() {
  for (const auto& leaf : leaves_) leaf->Finish();
}

}  // namespace weft::run
