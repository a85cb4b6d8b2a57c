#include "engine/text/utf8.h"

#include <cstdint>

namespace weft::text {
namespace {

/// What may follow a lead byte: how many bytes, and the range of the first of them.
struct Sequence {
  size_t trail;
  uint8_t low;
  uint8_t high;
};

std::optional<Sequence> SequenceOf(uint8_t lead) {
  if (lead < 0x80) return Sequence{0, 0, 0};
  if (lead < 0xC2) return std::nullopt;
  if (lead < 0xE0) return Sequence{1, 0x80, 0xBF};
  if (lead == 0xE0) return Sequence{2, 0xA0, 0xBF};
  if (lead == 0xED) return Sequence{2, 0x80, 0x9F};
  if (lead < 0xF0) return Sequence{2, 0x80, 0xBF};
  if (lead == 0xF0) return Sequence{3, 0x90, 0xBF};
  if (lead < 0xF4) return Sequence{3, 0x80, 0xBF};
  if (lead == 0xF4) return Sequence{3, 0x80, 0x8F};
  return std::nullopt;
}

}  // namespace

std::optional<size_t> FindInvalidUtf8(absl::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const std::optional<Sequence> sequence = SequenceOf(static_cast<uint8_t>(bytes[at]));
    if (!sequence.has_value() || bytes.size() - at <= sequence->trail) return at;
    for (size_t i = 1; i <= sequence->trail; ++i) {
      const auto byte = static_cast<uint8_t>(bytes[at + i]);
      const uint8_t low = i == 1 ? sequence->low : 0x80;
      const uint8_t high = i == 1 ? sequence->high : 0xBF;
      if (byte < low || byte > high) return at;
    }
    at += sequence->trail + 1;
  }
  return std::nullopt;
}

}  // namespace weft::text
