#pragma once

#include <string>
#include <vector>

namespace weft::figures {

/// Round numbers from `low` to `high`, about `count` of them: 0, 0.2, 0.4... Empty if there is
/// nothing between the two.
std::vector<double> Ticks(double low, double high, int count);

/// A number in a few characters: `0.25`, `-3`, `1200`.
std::string NumberText(double number);

/// The least and the greatest of the values that are finite; 0 and 1 where there are none. Never
/// equal.
struct Range {
  double low = 0, high = 1;
};
Range FindRange(const std::vector<std::vector<double>>& values);

}  // namespace weft::figures
