#include "engine/graph/syntax.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

namespace weft::graph {
namespace {

/// The length of the well-formed sequence at the start of `data`, 0 if there is none.
size_t SequenceLength(const unsigned char* data, size_t size) {
  const unsigned char lead = data[0];
  if (lead < 0x80) return 1;
  size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (size < length || data[1] < low || data[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (data[i] < 0x80 || data[i] > 0xBF) return 0;
  }
  return length;
}

template <typename T>
void AppendShortest(T value, std::string* out) {
  if (std::isnan(value)) {
    out->append("nan");
    return;
  }
  char buffer[40];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  const absl::string_view digits(buffer, result.ptr - buffer);
  out->append(digits.data(), digits.size());
  if (digits.find_first_of(".einf") == absl::string_view::npos) out->append(".0");
}

}  // namespace

bool IsName(absl::string_view text) {
  if (text.empty() || !IsNameStart(text[0])) return false;
  for (char c : text) {
    if (!IsNameChar(c)) return false;
  }
  return true;
}

bool IsPath(absl::string_view text) {
  char previous = '.';
  for (char c : text) {
    if (c == '.' ? previous == '.' : !IsPathChar(c)) return false;
    previous = c;
  }
  return previous != '.';
}

bool IsOperatorName(absl::string_view text) {
  const size_t colons = text.find("::");
  if (colons == absl::string_view::npos) return false;
  if (!IsName(text.substr(0, colons))) return false;
  absl::string_view rest = text.substr(colons + 2);
  const size_t dot = rest.find('.');
  if (dot == absl::string_view::npos) return IsName(rest);
  return IsName(rest.substr(0, dot)) && IsName(rest.substr(dot + 1));
}

bool IsUtf8(const char* data, size_t size) {
  const auto* p = reinterpret_cast<const unsigned char*>(data);
  const unsigned char* end = p + size;
  while (p < end) {
    // Eight ASCII characters at a time.
    if (end - p >= 8) {
      uint64_t word;
      std::memcpy(&word, p, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        p += 8;
        continue;
      }
    }
    const size_t length = SequenceLength(p, end - p);
    if (length == 0) return false;
    p += length;
  }
  return true;
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  const auto add = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xC0 | (code_point >> 6));
    add(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    add(0xE0 | (code_point >> 12));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  } else {
    add(0xF0 | (code_point >> 18));
    add(0x80 | ((code_point >> 12) & 0x3F));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  }
}

void AppendQuoted(absl::string_view text, size_t max_bytes, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  size_t i = 0;
  while (i < text.size()) {
    if (i >= max_bytes) {
      out->append("...");
      break;
    }
    const char c = text[i];
    const size_t length =
        SequenceLength(reinterpret_cast<const unsigned char*>(text.data()) + i, text.size() - i);
    if (length == 0) {
      AppendUtf8(0xFFFD, out);
      ++i;
      continue;
    }
    if (length > 1) {
      out->append(text.data() + i, length);
    } else if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out->append("\\u{");
      out->push_back(kHex[(c >> 4) & 0xF]);
      out->push_back(kHex[c & 0xF]);
      out->push_back('}');
    } else {
      out->push_back(c);
    }
    i += length;
  }
  out->push_back('"');
}

std::string ToUtf8(const std::string& text) {
  if (IsUtf8(text)) return text;
  std::string quoted;
  AppendQuoted(text, text.size(), &quoted);
  return quoted.substr(1, quoted.size() - 2);
}

void AppendDouble(double value, std::string* out) { AppendShortest(value, out); }
void AppendFloat(float value, std::string* out) { AppendShortest(value, out); }

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1F;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000 | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;
  if (magnitude >= 0x47800000) return sign | 0x7C00;
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 lines the value's last place up with the half's, and rounds.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3F000000);
  }
  const uint32_t odd = (magnitude >> 13) & 1;
  return sign | static_cast<uint16_t>((magnitude - 0x38000000 + 0xFFF + odd) >> 13);
}

float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace weft::graph
