#include "tests/support/program_equality.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace weft::graph {
namespace {

bool Same(const std::vector<Argument>& a, const std::vector<Argument>& b);

bool Same(const Argument& a, const Argument& b) {
  if (a.name != b.name || a.value.index() != b.value.index()) return false;
  if (const auto* list = std::get_if<Argument::List>(&a.value)) {
    return Same(*list, std::get<Argument::List>(b.value));
  }
  if (const auto* number = std::get_if<double>(&a.value)) {
    const double other = std::get<double>(b.value);
    if (std::isnan(*number) && std::isnan(other)) return true;
    return std::bit_cast<uint64_t>(*number) == std::bit_cast<uint64_t>(other);
  }
  if (const auto* ref = std::get_if<NodeRef>(&a.value)) return *ref == std::get<NodeRef>(b.value);
  if (const auto* value = std::get_if<bool>(&a.value)) return *value == std::get<bool>(b.value);
  if (const auto* value = std::get_if<int64_t>(&a.value)) {
    return *value == std::get<int64_t>(b.value);
  }
  if (const auto* value = std::get_if<std::string>(&a.value)) {
    return *value == std::get<std::string>(b.value);
  }
  if (const auto* value = std::get_if<DType>(&a.value)) return *value == std::get<DType>(b.value);
  return true;
}

bool Same(const std::vector<Argument>& a, const std::vector<Argument>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Same(a[i], b[i])) return false;
  }
  return true;
}

bool Same(const std::vector<IndexTerm>& a, const std::vector<IndexTerm>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].index() != b[i].index()) return false;
    if (const auto* slice = std::get_if<Slice>(&a[i])) {
      const Slice& other = std::get<Slice>(b[i]);
      if (slice->start != other.start || slice->stop != other.stop || slice->step != other.step) {
        return false;
      }
    }
    if (const auto* integer = std::get_if<int64_t>(&a[i])) {
      if (*integer != std::get<int64_t>(b[i])) return false;
    }
    if (const auto* ref = std::get_if<NodeRef>(&a[i])) {
      if (*ref != std::get<NodeRef>(b[i])) return false;
    }
    if (const auto* key = std::get_if<std::string>(&a[i])) {
      if (*key != std::get<std::string>(b[i])) return false;
    }
  }
  return true;
}

bool SameKind(const Trace& a, const Trace& b) { return a.label == b.label; }
bool SameKind(const Invoke& a, const Invoke& b) {
  if (a.input.index() != b.input.index()) return false;
  if (const auto* prompts = std::get_if<Invoke::Prompts>(&a.input)) {
    const auto& other = std::get<Invoke::Prompts>(b.input);
    return prompts->texts == other.texts && prompts->no_special_tokens == other.no_special_tokens;
  }
  if (const auto* tokens = std::get_if<Invoke::Tokens>(&a.input)) {
    return tokens->rows == std::get<Invoke::Tokens>(b.input).rows;
  }
  return true;
}
bool SameKind(const Constant& a, const Constant& b) {
  return a.tensor.dtype == b.tensor.dtype && a.tensor.shape == b.tensor.shape &&
         a.tensor.bytes == b.tensor.bytes &&
         (a.tensor.bytes == 0 || std::memcmp(a.tensor.data, b.tensor.data, a.tensor.bytes) == 0);
}
bool SameKind(const Read& a, const Read& b) { return a.site == b.site; }
bool SameKind(const Operator& a, const Operator& b) {
  return a.name == b.name && Same(a.arguments, b.arguments);
}
bool SameKind(const Index& a, const Index& b) {
  return a.target == b.target && Same(a.terms, b.terms);
}
bool SameKind(const Structure& a, const Structure& b) {
  return a.kind == b.kind && Same(a.items, b.items);
}
bool SameKind(const Call& a, const Call& b) {
  return a.module == b.module && Same(a.arguments, b.arguments);
}
bool SameKind(const Parameter& a, const Parameter& b) { return a.path == b.path; }
bool SameKind(const Write& a, const Write& b) {
  return a.site == b.site && Same(a.index, b.index) && a.value == b.value;
}
bool SameKind(const Assign& a, const Assign& b) {
  return a.target == b.target && Same(a.index, b.index) && a.value == b.value;
}
bool SameKind(const Skip& a, const Skip& b) {
  return a.module == b.module && a.visit == b.visit && a.value == b.value;
}
bool SameKind(const Save& a, const Save& b) { return a.name == b.name && a.value == b.value; }
bool SameKind(const Log& a, const Log& b) { return a.label == b.label && a.value == b.value; }
bool SameKind(const Stop&, const Stop&) { return true; }
bool SameKind(const Backward& a, const Backward& b) {
  return a.loss == b.loss && a.gradient == b.gradient;
}
bool SameKind(const GradRead& a, const GradRead& b) { return a.value == b.value; }
bool SameKind(const GradWrite& a, const GradWrite& b) {
  return a.value == b.value && a.gradient == b.gradient;
}

}  // namespace

std::string FirstDifference(const Program& a, const Program& b) {
  for (size_t i = 0; i < a.nodes.size() && i < b.nodes.size(); ++i) {
    const Node& left = a.nodes[i];
    const Node& right = b.nodes[i];
    const std::string node = absl::StrCat("node ", i + 1, ": ");
    if (left.parent != right.parent) return node + "parent";
    if (left.name != right.name) return node + "name";
    if (left.kind.index() != right.kind.index()) return node + "kind";
    const bool same = std::visit(
        [&right](const auto& kind) {
          return SameKind(kind, std::get<std::decay_t<decltype(kind)>>(right.kind));
        },
        left.kind);
    if (!same) return node + "value";
  }
  if (a.nodes.size() != b.nodes.size()) {
    return absl::StrCat(a.nodes.size(), " nodes, not ", b.nodes.size());
  }
  return "";
}

}  // namespace weft::graph
