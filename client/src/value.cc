#include "weft/value.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {
namespace {

const Value& Nothing() {
  static const Value* const kNothing = new Value();
  return *kNothing;
}

/// As Python's repr.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (char c : text) {
    if (c == '\n') {
      quoted += "\\n";
    } else {
      if (c == '\'' || c == '\\') quoted += '\\';
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string Joined(const std::vector<Value>& items, std::string (Value::*text)() const) {
  return absl::StrJoin(items, ", ",
                       [text](std::string* out, const Value& item) { *out += (item.*text)(); });
}

std::string InParentheses(const std::vector<Value>& items, std::string (Value::*text)() const) {
  return absl::StrCat("(", Joined(items, text), items.size() == 1 ? ",)" : ")");
}

std::string InBraces(const Value::Dict& dict, std::string (Value::*text)() const) {
  return absl::StrCat("{",
                      absl::StrJoin(dict.entries, ", ",
                                    [text](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, entry.first, ": ",
                                                      (entry.second.*text)());
                                    }),
                      "}");
}

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

size_t Value::size() const {
  if (const auto* list = FindAs<List>()) return list->items.size();
  if (const auto* tuple = FindAs<Tuple>()) return tuple->items.size();
  if (const auto* dict = FindAs<Dict>()) return dict->entries.size();
  return 0;
}

const Value& Value::operator[](size_t index) const {
  if (index < size()) {
    if (const auto* list = FindAs<List>()) return list->items[index];
    if (const auto* tuple = FindAs<Tuple>()) return tuple->items[index];
    return FindAs<Dict>()->entries[index].second;
  }
  internal::Fail(absl::StrCat("item ", index, " of ", Type()));
  return Nothing();
}

const Value& Value::operator[](const std::string& key) const {
  if (const auto* dict = FindAs<Dict>()) {
    for (const auto& [name, value] : dict->entries) {
      if (name == key) return value;
    }
  }
  internal::Fail(absl::StrCat("key ", Quoted(key), " of ", Type()));
  return Nothing();
}

const Tensor& Value::tensor() const {
  const Tensor* tensor = FindAs<Tensor>();
  if (tensor == nullptr) internal::Fail(absl::StrCat("a ", Kind(), " used as a tensor"));
  return *tensor;
}

std::string Value::Kind() const {
  static constexpr const char* kKinds[] = {"none",   "tensor", "bool",  "int",  "float",
                                           "string", "list",   "tuple", "dict", "blob"};
  return kKinds[value_.index()];
}

std::string Value::Type() const {
  return std::visit(
      Overloaded{
          [](const Tensor& tensor) { return tensor.Type(); },
          [](const Blob& blob) { return absl::StrCat("blob ", blob.Type()); },
          [](const List& list) { return absl::StrCat("[", Joined(list.items, &Value::Type), "]"); },
          [](const Tuple& tuple) { return InParentheses(tuple.items, &Value::Type); },
          [](const Dict& dict) { return InBraces(dict, &Value::Type); },
          [this](const auto&) { return Kind(); },
      },
      value_);
}

std::string Value::ToString() const {
  return std::visit(
      Overloaded{
          [](std::monostate) { return std::string("None"); },
          [](const Tensor& tensor) { return tensor.ToString(); },
          [](const Blob& blob) { return blob.ToString(); },
          [](bool value) { return std::string(value ? "True" : "False"); },
          [](int64_t value) { return absl::StrCat(value); },
          [](double value) { return absl::StrCat(value); },
          [](const std::string& value) { return Quoted(value); },
          [](const List& list) {
            return absl::StrCat("[", Joined(list.items, &Value::ToString), "]");
          },
          [](const Tuple& tuple) { return InParentheses(tuple.items, &Value::ToString); },
          [](const Dict& dict) { return InBraces(dict, &Value::ToString); },
      },
      value_);
}

std::ostream& operator<<(std::ostream& out, const Value& value) { return out << value.ToString(); }

}  // namespace weft
