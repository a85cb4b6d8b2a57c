#include "engine/graph/version.h"

#include <array>
#include <cstddef>

namespace weft::graph {
namespace {

constexpr size_t kMaxDigits = 6;

using Numbers = std::array<int, 3>;

std::optional<Numbers> ParseVersion(const std::string& text) {
  Numbers numbers{};
  size_t at = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0 && (at == text.size() || text[at++] != '.')) return std::nullopt;
    const size_t begin = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      if (at - begin == kMaxDigits) return std::nullopt;
      numbers[i] = 10 * numbers[i] + (text[at] - '0');
    }
    if (at == begin) return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  return numbers;
}

}  // namespace

std::optional<int> CompareVersions(const std::string& a, const std::string& b) {
  const std::optional<Numbers> left = ParseVersion(a), right = ParseVersion(b);
  if (!left || !right) return std::nullopt;
  if (*left == *right) return 0;
  return *left < *right ? -1 : 1;
}

}  // namespace weft::graph
