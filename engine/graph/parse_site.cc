#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/graph/parser.h"

namespace weft::graph {
namespace {

constexpr char kExpectedSite[] =
    "expected a site: MODULE.output, MODULE.input, MODULE.inputs, attention's MODULE.q (k, v, "
    "scores, probs, z), MODULE.op(NAME).output, .output of the root, or the invoke's ids, mask, "
    "positions, rows, result, logits, samples";

bool IsSiteChar(char c) { return IsPathChar(c) || c == '.' || c == '@' || c == '$'; }

/// The point that is written like this; false if there is none among `points`.
template <size_t N>
bool FindPoint(absl::string_view text, const Point (&points)[N], Point* out) {
  for (Point point : points) {
    const std::string site = ToString(Site{.point = point});
    if (text != (OfInvoke(point) ? site : site.substr(1))) continue;
    *out = point;
    return true;
  }
  return false;
}
constexpr Point kOfInvoke[] = {Point::kResult, Point::kIds,    Point::kMask,    Point::kPositions,
                               Point::kRows,   Point::kLogits, Point::kSamples, Point::kBeamScores};
constexpr Point kOfModule[] = {Point::kOutput, Point::kInput,  Point::kInputs, Point::kQ, Point::kK,
                               Point::kV,      Point::kScores, Point::kProbs,  Point::kZ};

}  // namespace

bool Parser::ParseReference(NodeId* out) {
  if (!At('%')) return Expected("a value such as %x");
  const char* start = p_++;
  const absl::string_view name = TakeWhile(IsNameChar);
  const auto found = values_.find(name);
  if (found != values_.end()) {
    *out = found->second;
    return true;
  }
  if (sweep_names_.contains(name)) {
    return FailAt(start, absl::StrCat("%", name,
                                      " is a parameter of the sweep: a prompt, an argument, an "
                                      "index, a slice's bound or a part of a site's path. Make it "
                                      "a value with an operator"));
  }
  return FailAt(start, absl::StrCat("%", name, " is not defined"));
}

bool Parser::TakeUse(SweepUse* out) {
  if (sweep_names_.empty() || !At('%')) return false;
  const char* start = p_++;
  const auto found = sweep_names_.find(TakeWhile(IsNameChar));
  if (found == sweep_names_.end()) {
    p_ = start;
    return false;
  }
  *out = {sweep_, found->second};
  return true;
}

bool Parser::ParsePath(std::string* out, const char* what) {
  Skip();
  const char* start = p_;
  const absl::string_view path = TakeWhile([](char c) { return IsPathChar(c) || c == '.'; });
  if (p_ < end_ && *p_ == '$') return Fail("only in the path of a site can a sweep fill in a part");
  if (!IsPath(path)) return FailAt(start, absl::StrCat("expected ", what));
  out->assign(path.data(), path.size());
  return true;
}

bool Parser::ParseModuleVisit(absl::string_view text, const char* place, std::string* module,
                              uint32_t* visit, std::vector<PathParameter>* parameters) {
  const size_t at = text.find('@');
  const absl::string_view path = text.substr(0, at);
  uint32_t component = 0;
  const char* next = place;
  if (!path.empty()) {
    for (absl::string_view part : absl::StrSplit(path, '.')) {
      if (component > 0) module->push_back('.');
      if (!part.empty() && part[0] == '$') {
        if (parameters == nullptr) {
          return FailAt(next, "only in the path of a site can a sweep fill in a part");
        }
        const auto found = sweep_names_.find(part.substr(1));
        if (found == sweep_names_.end()) {
          return FailAt(next, absl::StrCat("`", part,
                                           "` is not a parameter of a sweep around "
                                           "this"));
        }
        parameters->push_back({component, {sweep_, found->second}});
        module->push_back('$');
      } else if (!part.empty() && IsPath(part)) {
        module->append(part.data(), part.size());
      } else {
        return FailAt(place, "expected a module's path, such as transformer.h.5.mlp");
      }
      next += part.size() + 1;
      ++component;
    }
  }
  if (at == absl::string_view::npos) return true;
  const absl::string_view digits = text.substr(at + 1);
  const auto parsed = std::from_chars(digits.begin(), digits.end(), *visit);
  return (parsed.ec == std::errc() && parsed.ptr == digits.end()) ||
         FailAt(place + at, "expected the number of a visit after `@`");
}

bool Parser::ParseSite(Site* out) {
  Skip();
  const char* start = p_;
  const absl::string_view text = TakeWhile(IsSiteChar);
  const size_t dot = text.rfind('.');
  if (dot == absl::string_view::npos) {
    return FindPoint(text, kOfInvoke, &out->point) || FailAt(start, kExpectedSite);
  }
  const absl::string_view point = text.substr(dot + 1);
  const char* point_place = start + dot + 1;
  if (point == "op" && p_ < end_ && *p_ == '(') {
    ++p_;
    if (!ParseName(&out->op, "an operation of the module, such as linear_0") || !Expect(')')) {
      return false;
    }
    if (p_ == end_ || *p_ != '.') return Expected("`.output` or `.input` of the operation");
    point_place = ++p_;
    const absl::string_view of_operation = TakeWhile(IsNameChar);
    if (!FindPoint(of_operation, kOfModule, &out->point)) return FailAt(point_place, kExpectedSite);
  } else if (!FindPoint(point, kOfModule, &out->point)) {
    return FailAt(text.empty() ? start : point_place, kExpectedSite);
  }
  return ParseModuleVisit(text.substr(0, dot), start, &out->module, &out->visit, &out->parameters);
}

}  // namespace weft::graph
