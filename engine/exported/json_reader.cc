#include "engine/exported/json_reader.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/exported/archive.h"

namespace weft::exported {
namespace {

constexpr int kDeepest = 64;
constexpr size_t kMostValues = 3'000'000;
constexpr size_t kLongestString = 1 << 20;

const Json& Empty() {
  static const auto* const kEmpty = new Json();
  return *kEmpty;
}
const Json& EmptyList() {
  static const auto* const kEmpty = new Json(Json::array());
  return *kEmpty;
}
const Json& EmptyObject() {
  static const auto* const kEmpty = new Json(Json::object());
  return *kEmpty;
}

/// Why a text is not to be taken apart: brackets that nest too deep, or more values than there may
/// be, each of which is many times its text in memory. Looked at before a parser has to remember
/// them. Empty where it may.
std::string TooMuch(const std::string& text) {
  int depth = 0;
  size_t values = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepest) return absl::StrCat("its JSON nests deeper than ", kDeepest);
      ++values;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',') {
      ++values;
    }
  }
  return values > kMostValues ? absl::StrCat("its JSON holds more than ", kMostValues, " values")
                              : "";
}

}  // namespace

absl::StatusOr<Json> ParseJson(const std::string& where, const std::string& text) {
  if (const std::string why = TooMuch(text); !why.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", why));
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not valid JSON"));
  }
  return json;
}

void JsonReader::Fail(const std::string& message, absl::StatusCode code) {
  if (!status_.ok()) return;
  status_ =
      absl::Status(code, absl::StrCat(where_, ": ", place_, place_.empty() ? "" : ": ", message));
}

const Json& JsonReader::Find(const Json& object, const char* key) {
  if (!ok() || !object.is_object()) {
    if (ok()) Fail(absl::StrCat("an object with `", key, "` was expected"));
    return Empty();
  }
  const auto found = object.find(key);
  return found == object.end() ? Empty() : *found;
}

const Json& JsonReader::Get(const Json& object, const char* key) {
  const Json& found = Find(object, key);
  if (ok() && found.is_null()) Fail(absl::StrCat("there is no `", key, "`"));
  return found;
}

const Json& JsonReader::List(const Json& value, size_t most) {
  if (!ok()) return EmptyList();
  if (!value.is_array()) Fail("a list was expected");
  if (ok() && value.size() > most) {
    Fail(absl::StrCat("a list of ", value.size(), " items; at most ", most, " are read"),
         absl::StatusCode::kResourceExhausted);
  }
  return ok() ? value : EmptyList();
}

const Json& JsonReader::Object(const Json& value, size_t most) {
  if (!ok()) return EmptyObject();
  if (!value.is_object()) Fail("an object was expected");
  if (ok() && value.size() > most) {
    Fail(absl::StrCat("an object of ", value.size(), " fields; at most ", most, " are read"),
         absl::StatusCode::kResourceExhausted);
  }
  return ok() ? value : EmptyObject();
}

std::string JsonReader::String(const Json& value) {
  if (!ok()) return "";
  if (!value.is_string()) {
    Fail("a string was expected");
    return "";
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > kLongestString) {
    Fail(absl::StrCat("a string of ", text.size(), " bytes"));
    return "";
  }
  return text;
}

int64_t JsonReader::Integer(const Json& value) {
  if (!ok()) return 0;
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() ||
       value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits) {
    Fail("an integer of 64 bits was expected");
    return 0;
  }
  return value.get<int64_t>();
}

bool JsonReader::Bool(const Json& value) {
  if (!ok()) return false;
  if (!value.is_boolean()) {
    Fail("true or false was expected");
    return false;
  }
  return value.get<bool>();
}

double JsonReader::Number(const Json& value) {
  if (!ok()) return 0;
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  }
  Fail("a number was expected");
  return 0;
}

}  // namespace weft::exported
