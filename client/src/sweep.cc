#include "weft/sweep.h"

namespace weft {

size_t Values::size() const {
  return std::visit([](const auto& values) { return values.size(); }, value_);
}

Values Values::Each(size_t times) const {
  return std::visit(
      [&](const auto& values) {
        std::decay_t<decltype(values)> repeated;
        for (const auto& value : values) repeated.insert(repeated.end(), times, value);
        return Values(Variant(std::move(repeated)), where_);
      },
      value_);
}

Values Values::Over(size_t times) const {
  return std::visit(
      [&](const auto& values) {
        std::decay_t<decltype(values)> repeated;
        for (size_t i = 0; i < times; ++i) {
          repeated.insert(repeated.end(), values.begin(), values.end());
        }
        return Values(Variant(std::move(repeated)), where_);
      },
      value_);
}

Values Range(int64_t stop, Location where) { return Range(0, stop, 1, where); }

Values Range(int64_t start, int64_t stop, int64_t step, Location where) {
  std::vector<int64_t> values;
  for (int64_t value = start; step > 0 ? value < stop : step < 0 && value > stop; value += step) {
    values.push_back(value);
  }
  return Values(values, where);
}

}  // namespace weft
