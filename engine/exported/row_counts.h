#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/exported/operators.h"

namespace weft::exported {

/// A number of a graph, as a form of the number of rows: `constant + rows * B`.
struct RowForm {
  int64_t constant = 0;
  int64_t rows = 0;

  static RowForm Of(int64_t number) { return {number, 0}; }
  bool depends() const { return rows != 0; }
  friend bool operator==(const RowForm&, const RowForm&) = default;
};

/// Nothing: it depends on the number of rows in another way (`max(B, 64)`), or nobody knows.
using MaybeRowForm = std::optional<RowForm>;

/// Arithmetic on sizes, of forms: true for every number of rows, not only for those that were
/// tried. Of kSize and kNumel, nothing.
MaybeRowForm Compute(SizeOperator op, const std::vector<MaybeRowForm>& arguments);

}  // namespace weft::exported
