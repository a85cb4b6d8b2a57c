#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/parser.h"

namespace weft::graph {
namespace {

template <typename T>
void AppendRaw(T value, std::string* bytes) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  bytes->append(raw, sizeof(T));
}

}  // namespace

bool Parser::ParseExpression(NodeId* out) {
  Skip();
  Nested nested(&expression_depth_);
  if (expression_depth_ > kMaxDepth) {
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
  if (*p_ == '"') {
    *indexable = false;
    Constant constant;
    if (!ParseString(&constant.plain.emplace<std::string>())) return false;
    *out = Add(std::move(constant), line);
    return true;
  }
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
  if (word == "int" || word == "float" || word == "bool") {
    *indexable = false;
    return ParsePlain(word, out);
  }
  if (TakeWord("call")) return ParseCall(out);
  if (TakeWord("tensor")) return ParseTensor(out);
  if (TakeWord("blob")) return ParseBlob(out);
  const char* start = p_;
  p_ += word.size();
  if (!word.empty() && At('(')) {
    return FailAt(start, absl::StrCat("operators are written with their namespace, aten::", word));
  }
  return FailAt(
      start,
      "expected a value: %x, a number, a string, read SITE, param PATH, call MODULE(...), "
      "aten::name(...), tensor(...), blob(...), or [...], (...), {...}");
}

bool Parser::ParseCall(NodeId* out) {
  const uint32_t line = line_;
  static constexpr char kModule[] = "a module's path, such as transformer.ln_f";
  Call call;
  if (!ParsePath(&call.module, kModule)) return false;
  // A module may be called that, too.
  if (call.module == "watched" && !At('(')) {
    call.watched = true;
    if (!ParsePath(&call.module, kModule)) return false;
  }
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

bool Parser::ParsePlain(absl::string_view type, NodeId* out) {
  const uint32_t line = line_;
  Constant constant;
  p_ += type.size();
  if (!Expect('(')) return false;
  if (type == "int") {
    if (!ParseInteger(&constant.plain.emplace<int64_t>())) return false;
  } else if (type == "float") {
    if (!ParseFloat(&constant.plain.emplace<double>())) return false;
  } else if (!ParseBool(&constant.plain.emplace<bool>())) {
    return false;
  }
  if (!Expect(')')) return false;
  *out = Add(std::move(constant), line);
  return true;
}

bool Parser::ParseTensor(NodeId* out) {
  const uint32_t line = line_;
  const char* start = p_;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  if (!Expect('(') || !ParseDTypeName(&dtype) || !Expect(',') || !ParseIntegers(&shape) ||
      !Expect(',') || !Expect('[')) {
    return false;
  }
  std::string bytes;
  while (!Take(']')) {
    if (At('.')) return Fail("this tensor was shortened when it was printed");
    if (!ParseElement(dtype, &bytes)) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  if (!Expect(')')) return false;
  absl::StatusOr<HostTensor> tensor = HostTensor::Make(dtype, std::move(shape), std::move(bytes));
  if (!tensor.ok()) return FailAt(start, std::string(tensor.status().message()));
  *out = Add(Constant{*std::move(tensor)}, line);
  return true;
}

bool Parser::ParseBlob(NodeId* out) {
  const uint32_t line = line_;
  Constant constant;
  std::string hash;
  if (!Expect('(') || !ParseDTypeName(&constant.tensor.dtype) || !Expect(',') ||
      !ParseIntegers(&constant.tensor.shape) || !Expect(',')) {
    return false;
  }
  Skip();
  const char* start = p_;
  if (!ParseString(&hash)) return false;
  const bool hex = std::all_of(hash.begin(), hash.end(), [](unsigned char c) {
    return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
  if (!hex || hash.size() != 2 * kBlobHashSize) {
    return FailAt(start, "a blob is named by its SHA-256 in 64 hexadecimal digits");
  }
  constant.blob = absl::HexStringToBytes(hash);
  Take(',');
  if (!Expect(')')) return false;
  *out = Add(std::move(constant), line);
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
  SweepUse use;
  Skip();
  if (p_ == end_) return Expected("a value");
  if (TakeUse(&use)) {
    out->value = use;
    return true;
  }
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
  // `bool` is a dtype, and bool(true) a value.
  if (absl::StatusOr<DType> dtype = ParseDType(std::string(word)); dtype.ok()) {
    const char* const start = p_;
    const uint32_t line = line_;
    p_ += word.size();
    if (!At('(')) {
      out->value = *dtype;
      return true;
    }
    p_ = start;
    line_ = line;
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
  Slice slice;
  SweepUse use;
  if (TakeUse(&use)) {
    if (!At(':')) {
      *out = use;
      return true;
    }
    slice.start_parameter = use;
  }
  if (At('%')) return ParseReference(&out->emplace<NodeRef>().id);
  if (AtOperator()) return ParseExpression(&out->emplace<NodeRef>().id);
  if (At('"')) return ParseString(&out->emplace<std::string>());
  if (TakeWord("none")) {
    *out = NewAxis();
    return true;
  }
  if (At('.')) {
    if (end_ - p_ < 3 || p_[1] != '.' || p_[2] != '.') return Expected("`...`");
    p_ += 3;
    *out = Ellipsis();
    return true;
  }
  const auto at_bound = [this] {
    Skip();
    return p_ < end_ && (IsDigit(*p_) || *p_ == '-');
  };
  if (at_bound()) {
    int64_t integer = 0;
    if (!ParseInteger(&integer)) return false;
    if (!At(':')) {
      *out = integer;
      return true;
    }
    slice.start = integer;
  }
  if (!Take(':'))
    return Expected("an index: a number, a slice a:b, `...`, none, %x, an operator or \"key\"");
  if (TakeUse(&use)) {
    slice.stop_parameter = use;
  } else if (at_bound() && !ParseInteger(&slice.stop.emplace())) {
    return false;
  }
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
                                         std::holds_alternative<SweepUse>(out->back()) ||
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

}  // namespace weft::graph
