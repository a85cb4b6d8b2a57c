#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/structure.h"

// How many elements a mask selects is known only while running. Until then a value is planned at
// the most that there can be, and everything that follows from it is asked what it would be with
// one more, and with none: what would differ depends on data.

namespace weft::plan {
namespace {

/// Structures nest no deeper than graph::kMaxDepth.
bool SameSizes(const c10::IValue& a, const c10::IValue& b) {
  if (a.tagKind() != b.tagKind()) return false;
  if (a.isTensor()) {
    return a.toTensor().sizes() == b.toTensor().sizes() &&
           a.toTensor().scalar_type() == b.toTensor().scalar_type();
  }
  if (a.isInt()) return a.toInt() == b.toInt();
  const std::vector<c10::IValue> left = ItemsOf(a), right = ItemsOf(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), SameSizes);
}

/// Adds for each tensor in `value` where its shape differs from that of one of the others.
void AddDimensions(const c10::IValue& value, const c10::IValue& a, const c10::IValue& b,
                   std::vector<std::vector<bool>>& out) {
  if (value.isTensor()) {
    const at::IntArrayRef sizes = value.toTensor().sizes();
    std::vector<bool>& differ = out.emplace_back(sizes.size(), false);
    for (const c10::IValue* other : {&a, &b}) {
      const at::IntArrayRef others = other->toTensor().sizes();
      for (size_t i = 0; i < sizes.size(); ++i) {
        if (others.size() != sizes.size() || others[i] != sizes[i]) differ[i] = true;
      }
    }
    return;
  }
  const std::vector<c10::IValue> items = ItemsOf(value), of_a = ItemsOf(a), of_b = ItemsOf(b);
  for (size_t i = 0; i < items.size(); ++i) AddDimensions(items[i], of_a[i], of_b[i], out);
}

}  // namespace

c10::IValue PlanBuilder::MetaAt(Slot slot, Selected selected) const {
  const std::shared_ptr<const OtherSizes>& other = slots_[slot].other;
  if (other == nullptr || selected == Selected::kAll) return slots_[slot].meta;
  return selected == Selected::kNone ? other->none : other->one_more;
}

absl::StatusOr<std::shared_ptr<const OtherSizes>> PlanBuilder::OtherSizesOf(
    const c10::IValue& meta, absl::Span<const Slot> from,
    absl::FunctionRef<absl::StatusOr<c10::IValue>(Selected)> make) const {
  absl::StatusOr<c10::IValue> one_more = make(Selected::kOneMore);
  if (!one_more.ok()) {
    return Refuse(absl::StrCat("how many elements a mask selects depends on data, and this needs "
                               "to know it: ",
                               graph::FromStatus(one_more.status()).message),
                  "use aten::where or aten::masked_fill, which keep the shape, or reduce what is "
                  "selected first");
  }
  OtherSizes other{*std::move(one_more), meta, false};
  other.doubtful = std::any_of(from.begin(), from.end(),
                               [this](Slot slot) { return slots_[slot].other->doubtful; });
  if (!other.doubtful) {
    absl::StatusOr<c10::IValue> none = make(Selected::kNone);
    if (none.ok()) {
      other.none = *std::move(none);
    } else {
      other.doubtful = true;
    }
  }
  // With none there may be another structure only if there is one with all, which `one_more` shows.
  if (meta.tagKind() != other.one_more.tagKind() || meta.tagKind() != other.none.tagKind() ||
      (!meta.isTensor() && (ItemsOf(meta).size() != ItemsOf(other.one_more).size() ||
                            ItemsOf(meta).size() != ItemsOf(other.none).size()))) {
    return Refuse(
        "how many tensors this gives depends on how many elements a mask selects, and so "
        "on data",
        "use aten::where or aten::masked_fill, which keep the shape");
  }
  if (!other.doubtful && SameSizes(meta, other.one_more) && SameSizes(meta, other.none)) {
    return nullptr;
  }
  return std::make_shared<const OtherSizes>(std::move(other));
}

bool PlanBuilder::Varies(Slot slot) const {
  const std::shared_ptr<const OtherSizes>& other = slots_[slot].other;
  return other != nullptr && (!SameSizes(slots_[slot].meta, other->one_more) ||
                              !SameSizes(slots_[slot].meta, other->none));
}

absl::Status PlanBuilder::NeedsSize(Slot slot, const std::string& what) const {
  if (!SizeByData(slot)) return absl::OkStatus();
  return Refuse(absl::StrCat(what,
                             " needs a value whose size is known before the run, and that of "
                             "this one depends on how many elements a mask selects"),
                "reduce it first, as with aten::sum, or use aten::where, which keeps the shape");
}

std::vector<std::vector<bool>> PlanBuilder::DimensionsByData(Slot slot) const {
  std::vector<std::vector<bool>> out;
  if (Varies(slot)) {
    AddDimensions(slots_[slot].meta, slots_[slot].other->one_more, slots_[slot].other->none, out);
  }
  return out;
}

}  // namespace weft::plan
