#pragma once

#include <vector>

#include "absl/types/span.h"
#include "engine/plan/operators.h"

namespace weft::plan {

/// What rows of one kind have in common, as the table is written. Arguments are named as in the
/// schema.
struct RowTraits {
  Makes makes = Makes::kFresh;
  uint8_t dtypes = kBools | kInts | kFloats;
  double cost = 1;
  double workspace = 0;
  Work work = Work::kElements;
  const char* product_argument = nullptr;
  bool same_dtype = false;
  bool takes_numbers = false;
  absl::Status (*check)(const c10::Stack& stack) = nullptr;
  absl::Status (*check_values)(const c10::Stack& stack) = nullptr;
  /// Space-separated; device, layout, memory format and the like are refused everywhere.
  const char* refused = "";

  struct Indices {
    const char* index = nullptr;
    const char* source = "self";
    const char* dimension = nullptr;  // an argument; null for the constant
    int constant = 0;
    bool negative = false;
    const char* ignore = nullptr;
  };
  std::vector<Indices> indices = {};
};

struct RowGroup {
  /// `mul.Tensor mul.Scalar`: overloads, in the order in which they are tried. An in-place
  /// overload's twin has its name without the underscore, unless it is written
  /// `pow_.Scalar=pow.Tensor_Scalar`.
  const char* overloads;
  RowTraits traits;
};

/// The rows of the operator table, as they are written down.
absl::Span<const RowGroup> OperatorRows();

}  // namespace weft::plan
