#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "weft/location.h"
#include "weft/param.h"
#include "weft/tensor.h"
#include "weft/var.h"

namespace weft {

/// What a parameter of a sweep is at each point: whole numbers, numbers, names or prompts, prompts
/// as rows of token ids, tensors, or values from before the sweep. `Values({0.5, 1.0, 2.0})`,
/// `Values(Input::Rows{{5, 11}, {7}})`.
class Values {
 public:
  using Variant = std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string>,
                               std::vector<Arg>, std::vector<std::vector<int64_t>>>;

  template <typename T>
  Values(std::initializer_list<T> values, Location where = Location::current())  // NOLINT
      : Values(std::vector<T>(values), where) {}
  template <typename T>
  Values(const std::vector<T>& values, Location where = Location::current())  // NOLINT
      : where_(where) {
    if constexpr (std::is_integral_v<T>) {
      value_ = std::vector<int64_t>(values.begin(), values.end());
    } else if constexpr (std::is_floating_point_v<T>) {
      value_ = std::vector<double>(values.begin(), values.end());
    } else if constexpr (std::is_convertible_v<T, std::string>) {
      value_ = std::vector<std::string>(values.begin(), values.end());
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      value_ = values;
    } else {
      value_ = std::vector<Arg>(values.begin(), values.end());
    }
  }
  explicit Values(Variant value, Location where = Location::current())
      : value_(std::move(value)), where_(where) {}

  size_t size() const;
  const Variant& value() const { return value_; }
  const Location& where() const { return where_; }

  /// Each value `times` times in a row; all values `times` times over.
  Values Each(size_t times) const;
  Values Over(size_t times) const;

  /// Of a column of a Grid: how many values it was made of; 0 of others.
  size_t grid_size() const { return grid_size_; }
  Values OfGrid(size_t size) const {
    Values column = *this;
    column.grid_size_ = size;
    return column;
  }

 private:
  Variant value_;
  Location where_;
  size_t grid_size_ = 0;
};

/// Whole numbers, as Python's: `Range(12)` is 0 to 11, `Range(0, 12, 3)` is 0, 3, 6, 9.
Values Range(int64_t stop, Location where = Location::current());
Values Range(int64_t start, int64_t stop, int64_t step = 1, Location where = Location::current());

/// A sweep over every combination, the last one changing fastest:
/// `trace.sweep(Grid(Range(12), Range(5)), [&](Param layer, Param token) { ... })`. What is saved
/// inside comes as a list; `list.at({layer, token})` is its item at these places of the columns.
template <typename... Rest>
std::array<Values, 1 + sizeof...(Rest)> Grid(const Values& first, const Rest&... rest) {
  std::array<Values, 1 + sizeof...(Rest)> columns = {first, Values(rest)...};
  size_t points = 1;
  for (const Values& column : columns) points *= column.size();
  size_t before = 1;
  for (Values& column : columns) {
    const size_t size = column.size();
    const size_t after = size == 0 ? 0 : points / before / size;
    column = column.Each(after).Over(before).OfGrid(size);
    before *= size;
  }
  return columns;
}

}  // namespace weft
