#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/graph/error.h"
#include "engine/graph/syntax.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

/// Of the line that an error shows, around the place.
constexpr size_t kMaxShown = 120;

/// Words of the contract that this version does not execute, where a statement or header begins.
constexpr absl::string_view kLater[] = {"steps", "if",    "sweep",   "cache",
                                        "yield", "carry", "generate"};
constexpr absl::string_view kLaterPoints[] = {"inputs", "q", "k", "v", "scores", "probs", "z"};

template <size_t N>
bool Contains(const absl::string_view (&words)[N], absl::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

template <typename T>
void AppendRaw(T value, std::string* bytes) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  bytes->append(raw, sizeof(T));
}

/// A parser by recursive descent, without a separate lexer: what a character means depends on where
/// it stands (a dash inside a path, a dot inside a number). Every function returns false once
/// `status_` is set, and leaves the place after what it took.
class Parser {
 public:
  Parser(const std::string& text, const std::string& file_name)
      : begin_(text.data()), p_(begin_), end_(begin_ + text.size()), file_name_(file_name) {}

  absl::StatusOr<Program> Parse() {
    if (!ParseAll()) return status_;
    return std::move(program_);
  }

 private:
  // Places and errors.
  bool FailAt(const char* place, const std::string& message,
              absl::StatusCode code = absl::StatusCode::kInvalidArgument);
  bool Fail(const std::string& message) { return FailAt(p_, message); }
  bool Expected(const std::string& what);
  bool NotExecuted(const char* place, absl::string_view name) {
    return FailAt(place,
                  absl::StrCat("`", name, "` is in the contract but not executed by this version"),
                  absl::StatusCode::kUnimplemented);
  }

  // Characters. Spaces, line ends and comments stand anywhere between words.
  void Skip();
  bool At(char c) {
    Skip();
    return p_ < end_ && *p_ == c;
  }
  bool Take(char c) {
    if (!At(c)) return false;
    ++p_;
    return true;
  }
  bool Expect(char c) { return Take(c) || Expected(absl::StrCat("`", std::string(1, c), "`")); }
  /// The word of name characters at the place, without taking it.
  absl::string_view PeekWord();
  bool TakeWord(absl::string_view word);
  absl::string_view TakeWhile(bool (*accept)(char));
  bool AtNumber();
  /// True at a word and `::`, whatever the word means elsewhere.
  bool AtOperator() {
    const absl::string_view word = PeekWord();
    const size_t left = end_ - p_ - word.size();
    return !word.empty() && IsNameStart(word[0]) && left > 1 && word.end()[0] == ':' &&
           word.end()[1] == ':';
  }

  // Words.
  bool ParseString(std::string* out);
  bool ParseEscape(std::string* out);
  bool ParseName(std::string* out, const char* what);
  /// Digits with a sign, without the rest of a float.
  bool ParseInteger(int64_t* out);
  /// The extent of the number at the place; `floating` if it has a dot, an exponent, or is a word.
  bool TakeNumber(absl::string_view* digits, bool* floating);
  bool ParseNumber(Argument* out);
  bool ParseReference(NodeId* out);
  bool ParsePath(std::string* out, const char* what);
  bool ParseModuleVisit(absl::string_view text, const char* place, std::string* module,
                        uint32_t* visit);
  bool ParseSite(Site* out);

  // Values.
  NodeId Add(decltype(Node::kind) kind, uint32_t line) {
    Node& node = program_.nodes.emplace_back();
    node.parent = parent_;
    node.source = {file_name_, line};
    node.kind = std::move(kind);
    return static_cast<NodeId>(program_.nodes.size());
  }
  bool ParseExpression(NodeId* out);
  bool ParsePrimary(NodeId* out, bool* indexable);
  bool ParseCall(NodeId* out);
  bool ParseOperator(NodeId* out);
  bool ParseLiteralConstant(NodeId* out);
  bool ParseTensor(NodeId* out);
  bool ParseElement(DType dtype, std::string* bytes);
  bool ParseFloatElement(DType dtype, std::string* bytes);
  bool ParseStructure(NodeId* out);
  enum class Context { kCall, kStructure };
  bool ParseArgumentList(char close, Context context, int list_depth, std::vector<Argument>* out);
  bool ParseArgumentValue(Context context, int list_depth, Argument* out);
  bool ParseTerms(std::vector<IndexTerm>* out);
  bool ParseTerm(IndexTerm* out);
  bool ParseChainedTerms(std::vector<IndexTerm>* out);
  bool ParseIndexes(NodeId* value);

  // Statements.
  bool ParseAll();
  bool ParseInvoke();
  bool ParseInvokeInput(Invoke* invoke);
  bool ParseTokenRow(std::vector<int64_t>* row);
  bool ParseStatement();
  bool ParseValueStatement();
  bool ParseDefinition(const char* place, std::string name, uint32_t line);
  bool ParseWrite();
  bool ParseSkipModule();
  bool ParseSave();
  bool ParseLog();
  bool ParseBackward();
  bool ParseGradWrite();

  const char* const begin_;
  const char* p_;
  const char* const end_;
  const std::string& file_name_;
  uint32_t line_ = 1;
  int depth_ = 0;  // of expressions inside expressions
  NodeId parent_ = kNoNode;
  Program program_;
  absl::flat_hash_map<std::string, NodeId> values_;
  absl::Status status_;
};

/// Counts the nesting of expressions while it lives.
class Nested {
 public:
  explicit Nested(int* depth) : depth_(depth) { ++*depth_; }
  ~Nested() { --*depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  int* const depth_;
};

bool Parser::FailAt(const char* place, const std::string& message, absl::StatusCode code) {
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
  error.code = code;
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

bool Parser::ParseReference(NodeId* out) {
  if (!At('%')) return Expected("a value such as %x");
  const char* start = p_++;
  const absl::string_view name = TakeWhile(IsNameChar);
  const auto found = values_.find(name);
  if (found == values_.end()) return FailAt(start, absl::StrCat("%", name, " is not defined"));
  *out = found->second;
  return true;
}

bool Parser::ParsePath(std::string* out, const char* what) {
  Skip();
  const char* start = p_;
  const absl::string_view path = TakeWhile([](char c) { return IsPathChar(c) || c == '.'; });
  if (p_ < end_ && *p_ == '$') return NotExecuted(p_, "sweep");
  if (!IsPath(path)) return FailAt(start, absl::StrCat("expected ", what));
  out->assign(path.data(), path.size());
  return true;
}

bool Parser::ParseModuleVisit(absl::string_view text, const char* place, std::string* module,
                              uint32_t* visit) {
  const size_t at = text.find('@');
  const absl::string_view path = text.substr(0, at);
  if (!path.empty() && !IsPath(path)) {
    return FailAt(place, "expected a module's path, such as transformer.h.5.mlp");
  }
  module->assign(path.data(), path.size());
  if (at == absl::string_view::npos) return true;
  const absl::string_view digits = text.substr(at + 1);
  const auto parsed = std::from_chars(digits.begin(), digits.end(), *visit);
  return (parsed.ec == std::errc() && parsed.ptr == digits.end()) ||
         FailAt(place + at, "expected the number of a visit after `@`");
}

bool Parser::ParseSite(Site* out) {
  Skip();
  const char* start = p_;
  const absl::string_view text =
      TakeWhile([](char c) { return IsPathChar(c) || c == '.' || c == '@'; });
  if (p_ < end_ && *p_ == '$') return NotExecuted(p_, "sweep");
  static constexpr char kExpected[] =
      "expected a site: MODULE.output, MODULE.input, .output of the root, or the invoke's ids, "
      "mask, "
      "positions, rows, result";
  const size_t dot = text.rfind('.');
  if (dot == absl::string_view::npos) {
    for (Point point :
         {Point::kResult, Point::kIds, Point::kMask, Point::kPositions, Point::kRows}) {
      if (ToString(Site{.point = point}) == text) {
        out->point = point;
        return true;
      }
    }
    return FailAt(start, kExpected);
  }
  const absl::string_view point = text.substr(dot + 1);
  const char* point_place = start + dot + 1;
  if (point == "output") {
    out->point = Point::kOutput;
  } else if (point == "input") {
    out->point = Point::kInput;
  } else if (Contains(kLaterPoints, point) || (point == "op" && p_ < end_ && *p_ == '(')) {
    return NotExecuted(point_place, absl::StrCat(".", point));
  } else {
    return FailAt(text.empty() ? start : point_place, kExpected);
  }
  return ParseModuleVisit(text.substr(0, dot), start, &out->module, &out->visit);
}

bool Parser::ParseExpression(NodeId* out) {
  Skip();
  Nested nested(&depth_);
  if (depth_ > kMaxDepth) {
    return Fail(absl::StrCat("expressions nest deeper than ", kMaxDepth));
  }
  bool indexable = true;
  return ParsePrimary(out, &indexable) && (!indexable || ParseIndexes(out));
}

bool Parser::ParsePrimary(NodeId* out, bool* indexable) {
  Skip();
  const uint32_t line = line_;
  if (p_ == end_) return Expected("a value");
  if (*p_ == '%') return ParseReference(out);
  if (*p_ == '[' || *p_ == '(' || *p_ == '{') return ParseStructure(out);
  if (AtOperator()) return ParseOperator(out);
  const absl::string_view word = PeekWord();
  if (AtNumber() || word == "true" || word == "false") {
    *indexable = false;
    return ParseLiteralConstant(out);
  }
  if (TakeWord("read")) {
    Read read;
    if (!ParseSite(&read.site)) return false;
    *out = Add(std::move(read), line);
    return true;
  }
  if (TakeWord("param")) {
    Parameter parameter;
    if (!ParsePath(&parameter.path, "a parameter's path, such as transformer.wte.weight")) {
      return false;
    }
    *out = Add(std::move(parameter), line);
    return true;
  }
  if (TakeWord("grad")) {
    GradRead read;
    Skip();
    if (!At('%')) return Expected("the value whose gradient is read, as in grad %h");
    if (!ParseReference(&read.value)) return false;
    *out = Add(std::move(read), line);
    return true;
  }
  if (TakeWord("call")) return ParseCall(out);
  if (TakeWord("tensor")) return ParseTensor(out);
  const char* start = p_;
  p_ += word.size();
  if (!word.empty() && At('(')) {
    return FailAt(start, absl::StrCat("operators are written with their namespace, aten::", word));
  }
  return FailAt(start,
                "expected a value: %x, a number, read SITE, param PATH, call MODULE(...), "
                "aten::name(...), tensor(...), or [...], (...), {...}");
}

bool Parser::ParseCall(NodeId* out) {
  const uint32_t line = line_;
  Skip();
  const char* start = p_;
  Call call;
  if (!ParsePath(&call.module, "a module's path, such as transformer.ln_f")) return false;
  if (call.module == "watched" && !At('(')) return NotExecuted(start, "watched");
  if (!Expect('(') || !ParseArgumentList(')', Context::kCall, 0, &call.arguments)) return false;
  *out = Add(std::move(call), line);
  return true;
}

bool Parser::ParseOperator(NodeId* out) {
  const uint32_t line = line_;
  const char* start = p_;
  const absl::string_view name = TakeWhile(IsOperatorChar);
  if (!IsOperatorName(name)) return FailAt(start, "expected an operator, such as aten::mul");
  Operator op;
  op.name.assign(name.data(), name.size());
  if (!Expect('(') || !ParseArgumentList(')', Context::kCall, 0, &op.arguments)) return false;
  *out = Add(std::move(op), line);
  return true;
}

bool Parser::ParseLiteralConstant(NodeId* out) {
  const uint32_t line = line_;
  Argument literal;
  std::string bytes;
  DType dtype = DType::kBool;
  if (TakeWord("true")) {
    bytes.push_back(1);
  } else if (TakeWord("false")) {
    bytes.push_back(0);
  } else {
    if (!ParseNumber(&literal)) return false;
    if (const auto* integer = std::get_if<int64_t>(&literal.value)) {
      dtype = DType::kI64;
      AppendRaw(*integer, &bytes);
    } else {
      dtype = DType::kF32;
      AppendRaw(static_cast<float>(std::get<double>(literal.value)), &bytes);
    }
  }
  absl::StatusOr<HostTensor> tensor = HostTensor::Make(dtype, {}, std::move(bytes));
  if (!tensor.ok()) return Fail(std::string(tensor.status().message()));
  *out = Add(Constant{*std::move(tensor)}, line);
  return true;
}

bool Parser::ParseTensor(NodeId* out) {
  const uint32_t line = line_;
  const char* start = p_;
  std::string name;
  if (!Expect('(') || !ParseName(&name, "a dtype")) return false;
  absl::StatusOr<DType> dtype = ParseDType(name);
  if (!dtype.ok()) return FailAt(p_ - name.size(), std::string(dtype.status().message()));
  std::vector<int64_t> shape;
  if (!Expect(',') || !ParseTokenRow(&shape) || !Expect(',') || !Expect('[')) return false;
  std::string bytes;
  while (!Take(']')) {
    if (At('.')) return Fail("this tensor was shortened when it was printed");
    if (!ParseElement(*dtype, &bytes)) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  if (!Expect(')')) return false;
  absl::StatusOr<HostTensor> tensor = HostTensor::Make(*dtype, std::move(shape), std::move(bytes));
  if (!tensor.ok()) return FailAt(start, std::string(tensor.status().message()));
  *out = Add(Constant{*std::move(tensor)}, line);
  return true;
}

bool Parser::ParseElement(DType dtype, std::string* bytes) {
  Skip();
  const char* start = p_;
  const auto integer = [&](auto as) {
    using Integer = decltype(as);
    int64_t value = 0;
    if (!ParseInteger(&value)) return false;
    if (value < std::numeric_limits<Integer>::min() ||
        value > std::numeric_limits<Integer>::max()) {
      return FailAt(start, absl::StrCat("this does not fit ", ToString(dtype)));
    }
    AppendRaw(static_cast<Integer>(value), bytes);
    return true;
  };
  switch (dtype) {
    case DType::kBool: {
      const bool value = TakeWord("true");
      if (!value && !TakeWord("false")) return Expected("`true` or `false`");
      bytes->push_back(value ? 1 : 0);
      return true;
    }
    case DType::kU8:
      return integer(uint8_t{});
    case DType::kI8:
      return integer(int8_t{});
    case DType::kI16:
      return integer(int16_t{});
    case DType::kI32:
      return integer(int32_t{});
    case DType::kI64:
      return integer(int64_t{});
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
    case DType::kF64:
      return ParseFloatElement(dtype, bytes);
    case DType::kC64:
    case DType::kC128: {
      const DType part = dtype == DType::kC64 ? DType::kF32 : DType::kF64;
      return Expect('(') && ParseFloatElement(part, bytes) && Expect(',') &&
             ParseFloatElement(part, bytes) && Expect(')');
    }
  }
  return FailAt(start, "unknown dtype");
}

bool Parser::ParseFloatElement(DType dtype, std::string* bytes) {
  Skip();
  const char* start = p_;
  const auto fail = [&] {
    return FailAt(start, absl::StrCat("this does not fit ", ToString(dtype)));
  };
  if (end_ - p_ > 2 && p_[0] == '0' && p_[1] == 'x') {
    uint64_t bits = 0;
    const auto parsed = std::from_chars(p_ + 2, end_, bits, 16);
    const int64_t width = 8 * SizeOf(dtype);
    if (parsed.ec != std::errc() || (width < 64 && bits >> width != 0)) return fail();
    p_ = parsed.ptr;
    if (width == 16) AppendRaw(static_cast<uint16_t>(bits), bytes);
    if (width == 32) AppendRaw(static_cast<uint32_t>(bits), bytes);
    if (width == 64) AppendRaw(bits, bytes);
    return true;
  }
  absl::string_view digits;
  bool floating = false;
  if (!TakeNumber(&digits, &floating)) return false;
  if (dtype == DType::kF64) {
    double value = 0;
    if (std::from_chars(digits.begin(), digits.end(), value).ec != std::errc()) return fail();
    if (std::isnan(value)) value = std::bit_cast<double>(uint64_t{0x7FF8000000000000});
    AppendRaw(value, bytes);
    return true;
  }
  float value = 0;
  if (std::from_chars(digits.begin(), digits.end(), value).ec != std::errc()) return fail();
  if (std::isnan(value)) value = std::bit_cast<float>(uint32_t{0x7FC00000});
  if (dtype == DType::kF32) AppendRaw(value, bytes);
  if (dtype == DType::kF16) AppendRaw(FloatToHalf(value), bytes);
  if (dtype == DType::kBF16) AppendRaw(FloatToBFloat16(value), bytes);
  return true;
}

bool Parser::ParseStructure(NodeId* out) {
  const uint32_t line = line_;
  const char* start = p_;
  Structure structure;
  if (Take('[')) {
    structure.kind = Structure::Kind::kList;
    if (!ParseArgumentList(']', Context::kStructure, 0, &structure.items)) return false;
  } else if (Take('(')) {
    structure.kind = Structure::Kind::kTuple;
    if (!ParseArgumentList(')', Context::kStructure, 0, &structure.items)) return false;
    const char* last = p_ - 2;
    while (last > start && (*last == ' ' || *last == '\t' || *last == '\r' || *last == '\n'))
      --last;
    if (structure.items.size() == 1 && *last != ',') {
      return FailAt(start, "a tuple of one is written (%a,)");
    }
  } else {
    structure.kind = Structure::Kind::kDict;
    if (!Expect('{')) return false;
    while (!Take('}')) {
      Argument& item = structure.items.emplace_back();
      if (!ParseString(&item.name) || !Expect(':') ||
          !ParseArgumentValue(Context::kStructure, 0, &item))
        return false;
      if (!Take(',') && !At('}')) return Expected("`,` or `}`");
    }
  }
  *out = Add(std::move(structure), line);
  return true;
}

bool Parser::ParseArgumentList(char close, Context context, int list_depth,
                               std::vector<Argument>* out) {
  while (!Take(close)) {
    Argument argument;
    const absl::string_view word = PeekWord();
    if (context == Context::kCall && list_depth == 0 && !word.empty() && IsNameStart(word[0])) {
      // A name only if an equals sign follows.
      const char* start = p_;
      const uint32_t line = line_;
      p_ += word.size();
      if (Take('=')) {
        argument.name.assign(word.data(), word.size());
      } else {
        p_ = start;
        line_ = line;
      }
    }
    if (!ParseArgumentValue(context, list_depth, &argument)) return false;
    out->push_back(std::move(argument));
    if (!Take(',') && !At(close)) {
      return Expected(absl::StrCat("`,` or `", std::string(1, close), "`"));
    }
  }
  return true;
}

bool Parser::ParseArgumentValue(Context context, int list_depth, Argument* out) {
  Skip();
  if (p_ == end_) return Expected("a value");
  if (AtOperator()) return ParseExpression(&out->value.emplace<NodeRef>().id);
  if (AtNumber()) return ParseNumber(out);
  if (*p_ == '"') return ParseString(&out->value.emplace<std::string>());
  if (*p_ == '[') {
    if (list_depth >= kMaxListDepth) {
      // A structure's inner lists beyond that are values of their own, as its tuples are.
      if (context == Context::kStructure) return ParseExpression(&out->value.emplace<NodeRef>().id);
      return Fail(absl::StrCat("lists nest deeper than ", kMaxListDepth));
    }
    ++p_;
    return ParseArgumentList(']', context, list_depth + 1, &out->value.emplace<Argument::List>());
  }
  const absl::string_view word = PeekWord();
  if (word == "true" || word == "false") {
    out->value = word == "true";
    p_ += word.size();
    return true;
  }
  if (TakeWord("none")) return true;
  if (absl::StatusOr<DType> dtype = ParseDType(std::string(word)); dtype.ok()) {
    out->value = *dtype;
    p_ += word.size();
    return true;
  }
  return ParseExpression(&out->value.emplace<NodeRef>().id);
}

bool Parser::ParseTerms(std::vector<IndexTerm>* out) {
  if (!Expect('[')) return false;
  const size_t before = out->size();
  while (!Take(']')) {
    if (!ParseTerm(&out->emplace_back())) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return out->size() > before || FailAt(p_ - 1, "expected an index between the brackets");
}

bool Parser::ParseTerm(IndexTerm* out) {
  Skip();
  if (p_ == end_) return Expected("an index");
  if (*p_ == '%') return ParseReference(&out->emplace<NodeRef>().id);
  if (*p_ == '"') return ParseString(&out->emplace<std::string>());
  if (TakeWord("none")) {
    *out = NewAxis();
    return true;
  }
  if (*p_ == '.') {
    if (end_ - p_ < 3 || p_[1] != '.' || p_[2] != '.') return Expected("`...`");
    p_ += 3;
    *out = Ellipsis();
    return true;
  }
  const auto at_bound = [this] {
    Skip();
    return p_ < end_ && (IsDigit(*p_) || *p_ == '-');
  };
  Slice slice;
  if (at_bound()) {
    int64_t integer = 0;
    if (!ParseInteger(&integer)) return false;
    if (!At(':')) {
      *out = integer;
      return true;
    }
    slice.start = integer;
  }
  if (!Take(':')) return Expected("an index: a number, a slice a:b, `...`, none, %x or \"key\"");
  if (at_bound() && !ParseInteger(&slice.stop.emplace())) return false;
  if (Take(':') && at_bound() && !ParseInteger(&slice.step.emplace())) return false;
  *out = slice;
  return true;
}

bool Parser::ParseChainedTerms(std::vector<IndexTerm>* out) {
  // x[0][:, -1] = y means x[0, :, -1] = y; x[:][0] = y would not mean x[:, 0] = y.
  bool lone = true;
  while (At('[')) {
    if (!lone) {
      return Fail("only a lone integer or key may stand in the brackets before the last");
    }
    const size_t before = out->size();
    if (!ParseTerms(out)) return false;
    lone = out->size() == before + 1 && (std::holds_alternative<int64_t>(out->back()) ||
                                         std::holds_alternative<std::string>(out->back()));
  }
  return true;
}

bool Parser::ParseIndexes(NodeId* value) {
  while (At('[')) {
    const uint32_t line = line_;
    Index index;
    index.target = *value;
    if (!ParseTerms(&index.terms)) return false;
    *value = Add(std::move(index), line);
  }
  return true;
}

bool Parser::ParseAll() {
  Trace trace;
  const uint32_t line = line_;
  if (TakeWord("trace") && !ParseString(&trace.label)) return false;
  const NodeId root = Add(std::move(trace), line);
  while (true) {
    Skip();
    if (p_ == end_) return true;
    parent_ = root;
    const char* start = p_;
    const absl::string_view word = PeekWord();
    if (word == "invoke") {
      if (!ParseInvoke()) return false;
    } else if (*p_ == '%') {
      if (!ParseValueStatement()) return false;
      if (!std::holds_alternative<Constant>(program_.nodes.back().kind)) {
        return FailAt(start, "this stands outside an invoke; only constants may");
      }
    } else if (word == "trace") {
      return NotExecuted(start, "more than one trace");
    } else if (Contains(kLater, word)) {
      return NotExecuted(start, word);
    } else {
      return Expected("`invoke`, or a constant such as `%c = tensor(...)`");
    }
  }
}

bool Parser::ParseInvoke() {
  const uint32_t line = line_;
  if (!TakeWord("invoke")) return Expected("`invoke`");
  Invoke invoke;
  if (!ParseInvokeInput(&invoke) || !Expect('{')) return false;
  parent_ = Add(std::move(invoke), line);
  while (!Take('}')) {
    if (p_ == end_) return Expected("a statement or `}`");
    if (!ParseStatement()) return false;
  }
  return true;
}

bool Parser::ParseInvokeInput(Invoke* invoke) {
  if (At('{')) {
    invoke->input.emplace<Invoke::AllRows>();
    return true;
  }
  if (At('"')) {
    auto& prompts = invoke->input.emplace<Invoke::Prompts>();
    if (!ParseString(&prompts.texts.emplace_back())) return false;
    prompts.no_special_tokens = TakeWord("no_special_tokens");
    return true;
  }
  if (!At('[')) {
    return Expected("a prompt, a list of prompts, token ids, or `{`");
  }
  const char* start = p_++;
  if (At('"')) {
    auto& prompts = invoke->input.emplace<Invoke::Prompts>();
    while (!Take(']')) {
      if (!ParseString(&prompts.texts.emplace_back())) return false;
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
    prompts.no_special_tokens = TakeWord("no_special_tokens");
    return true;
  }
  auto& tokens = invoke->input.emplace<Invoke::Tokens>();
  if (At('[')) {
    while (!Take(']')) {
      if (!ParseTokenRow(&tokens.rows.emplace_back())) return false;
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
    return true;
  }
  if (At(']')) return FailAt(start, "an invoke needs at least one prompt or token");
  p_ = start;
  return ParseTokenRow(&tokens.rows.emplace_back());
}

bool Parser::ParseTokenRow(std::vector<int64_t>* row) {
  if (!Expect('[')) return false;
  while (!Take(']')) {
    if (!ParseInteger(&row->emplace_back())) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return true;
}

bool Parser::ParseStatement() {
  Skip();
  const char* start = p_;
  const uint32_t line = line_;
  if (*p_ == '%') return ParseValueStatement();
  const absl::string_view word = PeekWord();
  if (AtOperator() || word == "call" || word == "read") {
    NodeId unused = kNoNode;
    return ParseExpression(&unused);
  }
  if (word == "write") return ParseWrite();
  if (word == "skip") return ParseSkipModule();
  if (word == "save") return ParseSave();
  if (word == "log") return ParseLog();
  if (word == "backward") return ParseBackward();
  if (word == "grad") return ParseGradWrite();
  if (TakeWord("stop")) {
    Add(Stop(), line);
    return true;
  }
  if (Contains(kLater, word)) return NotExecuted(start, word);
  if (word == "invoke" || word == "trace") {
    return FailAt(start, absl::StrCat("`", word, "` cannot stand inside an invoke"));
  }
  if (word == "tensor" || word == "param") {
    return FailAt(start, "this value needs a name: %x = ...");
  }
  return Expected(
      "a statement: %x = ..., write, save, skip, log, backward, stop, or an operator such as "
      "aten::add_(%h, 1)");
}

bool Parser::ParseValueStatement() {
  const char* start = p_;
  const uint32_t line = line_;
  ++p_;
  const absl::string_view name = TakeWhile(IsNameChar);
  const bool number = !name.empty() && std::all_of(name.begin(), name.end(), IsDigit);
  if (!number && !IsName(name)) {
    return FailAt(start, "expected a value's name: letters, digits and underscores after `%`");
  }
  if (Take('=')) return ParseDefinition(start, std::string(name), line);
  const auto found = values_.find(name);
  if (found == values_.end()) {
    return FailAt(start, absl::StrCat("%", name, " is not defined"));
  }
  if (!At('[')) return Expected("`=` or `[`");

  // Assignment or a use that only indexes: known after the brackets.
  const char* brackets = p_;
  const uint32_t brackets_line = line_;
  NodeId target = found->second;
  std::vector<IndexTerm> skipped;
  while (At('[')) {
    skipped.clear();
    if (!ParseTerms(&skipped)) return false;
  }
  const bool assignment = At('=');
  p_ = brackets;
  line_ = brackets_line;
  if (!assignment) return ParseIndexes(&target);
  Assign assign;
  assign.target = target;
  if (!ParseChainedTerms(&assign.index) || !Expect('=') || !ParseExpression(&assign.value)) {
    return false;
  }
  Add(std::move(assign), line);
  return true;
}

bool Parser::ParseDefinition(const char* place, std::string name, uint32_t line) {
  if (values_.contains(name)) {
    return FailAt(place, absl::StrCat("%", name,
                                      " is already defined; give each value a name of "
                                      "its own"));
  }
  const size_t before = program_.nodes.size();
  Skip();
  const char* value_place = p_;
  NodeId value = kNoNode;
  if (!ParseExpression(&value)) return false;
  if (program_.nodes.size() == before) {
    return FailAt(value_place, "this value has a name already; use that one");
  }
  Node& node = program_.nodes[value - 1];
  node.source.line = line;
  if (!IsDigit(name[0])) node.name = name;
  values_.emplace(std::move(name), value);
  return true;
}

bool Parser::ParseWrite() {
  const uint32_t line = line_;
  Write write;
  if (!TakeWord("write") || !ParseSite(&write.site) || !ParseChainedTerms(&write.index) ||
      !Expect('=') || !ParseExpression(&write.value)) {
    return false;
  }
  Add(std::move(write), line);
  return true;
}

bool Parser::ParseSkipModule() {
  const uint32_t line = line_;
  if (!TakeWord("skip")) return false;
  Skip();
  const char* start = p_;
  const absl::string_view text =
      TakeWhile([](char c) { return IsPathChar(c) || c == '.' || c == '@'; });
  if (p_ < end_ && *p_ == '$') return NotExecuted(p_, "sweep");
  ::weft::graph::Skip skip;
  if (!ParseModuleVisit(text, start, &skip.module, &skip.visit)) return false;
  if (skip.module.empty()) return FailAt(start, "expected a module's path");
  if (!Expect('=') || !ParseExpression(&skip.value)) return false;
  Add(std::move(skip), line);
  return true;
}

bool Parser::ParseSave() {
  const uint32_t line = line_;
  Save save;
  if (!TakeWord("save") || !ParseName(&save.name, "a name for the saved value") || !Expect('=') ||
      !ParseExpression(&save.value)) {
    return false;
  }
  Add(std::move(save), line);
  return true;
}

bool Parser::ParseBackward() {
  const char* start = p_;
  const uint32_t line = line_;
  Backward backward;
  if (!TakeWord("backward")) return false;
  if (std::holds_alternative<Backward>(program_.at(parent_).kind)) {
    return FailAt(start, "a `backward` cannot stand inside another");
  }
  if (!ParseExpression(&backward.loss)) return false;
  if (TakeWord("from") && !ParseExpression(&backward.gradient)) return false;
  if (!Expect('{')) return false;
  const NodeId outside = parent_;
  parent_ = Add(std::move(backward), line);
  while (!Take('}')) {
    if (p_ == end_) return Expected("a statement or `}`");
    if (!ParseStatement()) return false;
  }
  parent_ = outside;
  return true;
}

bool Parser::ParseGradWrite() {
  const uint32_t line = line_;
  GradWrite write;
  if (!TakeWord("grad")) return false;
  Skip();
  if (!At('%')) return Expected("the value whose gradient is written, as in grad %h = %g");
  if (!ParseReference(&write.value) || !Expect('=') || !ParseExpression(&write.gradient)) {
    return false;
  }
  Add(std::move(write), line);
  return true;
}

bool Parser::ParseLog() {
  const uint32_t line = line_;
  Log log;
  if (!TakeWord("log") || (At('"') && !ParseString(&log.label)) || !ParseExpression(&log.value)) {
    return false;
  }
  Add(std::move(log), line);
  return true;
}

}  // namespace

absl::StatusOr<Program> ParseProgram(const std::string& text, const std::string& file_name) {
  return Parser(text, file_name).Parse();
}

}  // namespace weft::graph
