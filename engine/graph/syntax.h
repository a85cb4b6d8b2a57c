#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

/// The lexical rules that the parser, the printer and the checks share, so that what Check accepts
/// is what the text form can say.
namespace weft::graph {

inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
inline bool IsNameChar(char c) { return IsNameStart(c) || IsDigit(c); }
/// Of a component of a module's path: ModuleDict keys may hold a dash.
inline bool IsPathChar(char c) { return IsNameChar(c) || c == '-'; }
inline bool IsOperatorChar(char c) { return IsNameChar(c) || c == '.' || c == ':'; }

/// `[A-Za-z_][A-Za-z0-9_]*`: a value, a save, an argument.
bool IsName(absl::string_view text);
/// `transformer.h.5.mlp`: components joined by dots, not empty.
bool IsPath(absl::string_view text);
/// `aten::mul`, `aten::mul.Tensor`.
bool IsOperatorName(absl::string_view text);

/// True for well-formed UTF-8: no overlong forms, surrogates, or truncated sequences.
bool IsUtf8(const char* data, size_t size);
inline bool IsUtf8(absl::string_view text) { return IsUtf8(text.data(), text.size()); }

/// Append a code point as UTF-8. `code_point` must be a scalar value (below 0x110000, no
/// surrogate).
void AppendUtf8(uint32_t code_point, std::string* out);

/// Append `text` in double quotes with escapes, cut after about `max_bytes` with `...` inside.
/// Invalid UTF-8 comes out as U+FFFD.
void AppendQuoted(absl::string_view text, size_t max_bytes, std::string* out);

/// Text of ours that may hold a stranger's bytes, as a proto3 string must be.
std::string ToUtf8(const std::string& text);

/// Append a number so that it is read back exactly, and as floating point.
void AppendDouble(double value, std::string* out);
void AppendFloat(float value, std::string* out);

/// Conversions of the 16-bit formats by their bits, rounding to nearest even.
float HalfToFloat(uint16_t bits);
uint16_t FloatToHalf(float value);
float BFloat16ToFloat(uint16_t bits);
uint16_t FloatToBFloat16(float value);

}  // namespace weft::graph
