#pragma once

#include <ATen/core/ivalue.h>

#include <vector>

namespace weft::plan {

/// The items of a tuple, list or dict, in order; none of what is no structure.
inline std::vector<c10::IValue> ItemsOf(const c10::IValue& value) {
  std::vector<c10::IValue> items;
  if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) items.push_back(item);
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) items.push_back(item);
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) items.push_back(entry.value());
  }
  return items;
}

}  // namespace weft::plan
