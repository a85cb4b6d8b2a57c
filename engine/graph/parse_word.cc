#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/parser.h"

namespace weft::graph {
namespace {

/// Of the line that an error shows, around the place.
constexpr size_t kMaxShown = 120;

}  // namespace

bool Parser::FailAt(const char* place, const std::string& message) {
  if (!status_.ok()) return false;
  const char* line_begin = place;
  while (line_begin > begin_ && line_begin[-1] != '\n') --line_begin;
  const char* line_end = place;
  while (line_end < end_ && *line_end != '\n') ++line_end;
  const auto line = static_cast<uint32_t>(1 + std::count(begin_, line_begin, '\n'));
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  const auto column = 1 + std::count_if(line_begin, place, is_start);

  const char* shown_begin =
      place - line_begin > static_cast<ptrdiff_t>(kMaxShown) ? place - kMaxShown : line_begin;
  const char* shown_end =
      line_end - place > static_cast<ptrdiff_t>(kMaxShown) ? place + kMaxShown : line_end;
  std::string shown(shown_begin, shown_end);
  const bool text = IsUtf8(shown);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    if (!text && static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  const auto indent = text ? std::count_if(shown_begin, place, is_start) : place - shown_begin;

  Error error;
  error.code = absl::StatusCode::kInvalidArgument;
  error.source = {file_name_, line};
  error.message = absl::StrCat(file_name_, ":", line, ":", column, ": ", message, "\n  ", shown,
                               "\n  ", std::string(indent, ' '), "^");
  status_ = ToStatus(error);
  return false;
}

bool Parser::Expected(const std::string& what) {
  Skip();
  if (p_ == end_) return Fail(absl::StrCat("expected ", what, ", but the text ends here"));
  return Fail(absl::StrCat("expected ", what));
}

void Parser::Skip() {
  while (p_ < end_) {
    if (*p_ == '\n') {
      ++line_;
      ++p_;
    } else if (*p_ == ' ' || *p_ == '\t' || *p_ == '\r') {
      ++p_;
    } else if (*p_ == '#') {
      p_ = std::find(p_, end_, '\n');
    } else {
      return;
    }
  }
}

absl::string_view Parser::PeekWord() {
  Skip();
  const char* word_end = std::find_if_not(p_, end_, IsNameChar);
  return {p_, static_cast<size_t>(word_end - p_)};
}

bool Parser::TakeWord(absl::string_view word) {
  if (PeekWord() != word) return false;
  p_ += word.size();
  return true;
}

absl::string_view Parser::TakeWhile(bool (*accept)(char)) {
  const char* start = p_;
  p_ = std::find_if_not(p_, end_, accept);
  return {start, static_cast<size_t>(p_ - start)};
}

bool Parser::AtNumber() {
  Skip();
  if (p_ == end_) return false;
  if (IsDigit(*p_) || *p_ == '-') return true;
  const absl::string_view word = PeekWord();
  return word == "inf" || word == "nan";
}

bool Parser::ParseString(std::string* out) {
  if (!At('"')) return Expected("a text in double quotes");
  const char* start = p_++;
  while (true) {
    const char* run =
        std::find_if(p_, end_, [](char c) { return c == '"' || c == '\\' || c == '\n'; });
    out->append(p_, run);
    p_ = run;
    if (p_ == end_ || *p_ == '\n') return FailAt(start, "this text has no closing quote");
    if (*p_ == '"') {
      ++p_;
      break;
    }
    if (!ParseEscape(out)) return false;
  }
  return IsUtf8(*out) || FailAt(start, "this text is not valid UTF-8");
}

bool Parser::ParseEscape(std::string* out) {
  const char* start = p_++;
  const char c = p_ < end_ ? *p_++ : '\0';
  switch (c) {
    case 'n':
      out->push_back('\n');
      return true;
    case 't':
      out->push_back('\t');
      return true;
    case 'r':
      out->push_back('\r');
      return true;
    case '"':
    case '\\':
      out->push_back(c);
      return true;
    case 'u':
      break;
    default:
      return FailAt(start, "unknown escape; there are \\n \\t \\r \\\" \\\\ and \\u{HEX}");
  }
  uint32_t code_point = 0;
  if (p_ < end_ && *p_ == '{') {
    const std::from_chars_result parsed =
        std::from_chars(p_ + 1, std::min(end_, p_ + 9), code_point, 16);
    const bool scalar = code_point < 0x110000 && (code_point < 0xD800 || code_point > 0xDFFF);
    if (parsed.ec == std::errc() && parsed.ptr < end_ && *parsed.ptr == '}' && scalar) {
      p_ = parsed.ptr + 1;
      AppendUtf8(code_point, out);
      return true;
    }
  }
  return FailAt(start, "expected \\u{HEX} with a code point of Unicode");
}

bool Parser::ParseName(std::string* out, const char* what) {
  Skip();
  if (p_ == end_ || !IsNameStart(*p_)) return Expected(what);
  const absl::string_view word = TakeWhile(IsNameChar);
  out->assign(word.data(), word.size());
  return true;
}

bool Parser::TakeNumber(absl::string_view* digits, bool* floating) {
  Skip();
  const char* start = p_;
  const char* q = p_;
  const auto take_digits = [&] {
    const char* first = q;
    while (q < end_ && IsDigit(*q)) ++q;
    return q > first;
  };
  *floating = false;
  if (q < end_ && *q == '-') ++q;
  const auto word_is = [&](absl::string_view word) {
    return static_cast<size_t>(end_ - q) >= word.size() &&
           absl::string_view(q, word.size()) == word;
  };
  if (word_is("inf") || word_is("nan")) {
    q += 3;
    *floating = true;
  } else {
    if (!take_digits()) return Expected("a number");
    if (q < end_ && *q == '.') {
      ++q;
      take_digits();
      *floating = true;
    }
    if (q < end_ && (*q == 'e' || *q == 'E')) {
      ++q;
      if (q < end_ && (*q == '+' || *q == '-')) ++q;
      if (!take_digits()) return FailAt(start, "this number's exponent has no digits");
      *floating = true;
    }
  }
  if (q < end_ && (IsNameChar(*q) || *q == '.')) return FailAt(start, "this is not a number");
  *digits = {start, static_cast<size_t>(q - start)};
  p_ = q;
  return true;
}

bool Parser::ParseInteger(int64_t* out) {
  absl::string_view digits;
  bool floating = false;
  Skip();
  const char* start = p_;
  if (p_ == end_ || (!IsDigit(*p_) && *p_ != '-')) return Expected("an integer");
  if (!TakeNumber(&digits, &floating)) return false;
  if (floating) return FailAt(start, "expected an integer, not a float");
  const auto parsed = std::from_chars(digits.begin(), digits.end(), *out);
  return parsed.ec == std::errc() || FailAt(start, "this integer does not fit 64 bits");
}

bool Parser::ParseNumber(Argument* out) {
  absl::string_view digits;
  bool floating = false;
  Skip();
  const char* start = p_;
  if (!TakeNumber(&digits, &floating)) return false;
  if (!floating) {
    const auto parsed =
        std::from_chars(digits.begin(), digits.end(), out->value.emplace<int64_t>(0));
    return parsed.ec == std::errc() || FailAt(start, "this integer does not fit 64 bits");
  }
  const auto parsed = std::from_chars(digits.begin(), digits.end(), out->value.emplace<double>(0));
  return parsed.ec == std::errc() || FailAt(start, "this number does not fit a float");
}

bool Parser::ParseUnsigned(uint32_t* out) {
  Skip();
  const char* start = p_;
  int64_t integer = 0;
  if (!ParseInteger(&integer)) return false;
  *out = static_cast<uint32_t>(integer);
  return (integer >= 0 && integer <= std::numeric_limits<uint32_t>::max()) ||
         FailAt(start, "expected a number from 0 to 4294967295");
}

bool Parser::ParseFloat(double* out) {
  Argument number;
  if (!ParseNumber(&number)) return false;
  const auto* integer = std::get_if<int64_t>(&number.value);
  *out = integer != nullptr ? static_cast<double>(*integer) : std::get<double>(number.value);
  return true;
}

bool Parser::ParseBool(bool* out) {
  *out = TakeWord("true");
  return *out || TakeWord("false") || Expected("`true` or `false`");
}

bool Parser::ParseDTypeName(DType* out) {
  std::string name;
  if (!ParseName(&name, "a dtype")) return false;
  absl::StatusOr<DType> dtype = ParseDType(name);
  if (!dtype.ok()) return FailAt(p_ - name.size(), std::string(dtype.status().message()));
  *out = *dtype;
  return true;
}

bool Parser::ParseIntegers(std::vector<int64_t>* out) {
  if (!Expect('[')) return false;
  while (!Take(']')) {
    if (!ParseInteger(&out->emplace_back())) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return true;
}

bool Parser::ParseStrings(std::vector<std::string>* out) {
  if (!Expect('[')) return false;
  while (!Take(']')) {
    if (!ParseString(&out->emplace_back())) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return true;
}

}  // namespace weft::graph
