#include "examples/figures/axis.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "examples/figures/figures.h"

namespace weft::figures {

std::vector<double> Ticks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || !std::isfinite(high - low) || count < 1) return ticks;
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough * 0.8) step = factor * power;
  }
  for (double i = std::ceil(low / step - 1e-6); i * step <= high + step * 1e-6; ++i) {
    ticks.push_back(i * step);
  }
  return ticks;
}

std::string NumberText(double number) {
  // -0, and what is left of 0 after adding up steps.
  return absl::StrFormat("%.4g", std::abs(number) < 1e-12 ? 0 : number);
}

std::string Decimals(double number, int decimals) {
  const std::string text = absl::StrFormat("%.*f", decimals, number);
  const bool zero = text.find_first_not_of("-0.") == std::string::npos;
  return zero && text[0] == '-' ? text.substr(1) : text;
}

Range FindRange(const std::vector<std::vector<double>>& values) {
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const std::vector<double>& row : values) {
    for (const double value : row) {
      if (!std::isfinite(value)) continue;
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  }
  if (range.low > range.high) return {0, 1};
  if (range.low == range.high) range.high = range.low + 1;
  return range;
}

}  // namespace weft::figures
