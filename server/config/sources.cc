#include "server/config/sources.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace weft::server {
namespace {

using google::protobuf::FieldDescriptor;

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, int, const std::string& message) override {
    if (message_.empty()) message_ = message;
  }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

// `cuda:1`, or `model.layers.20:cuda:1` for a module.
void AddDevice(const std::string& value, Model* model) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(value, absl::MaxSplits(':', 1));
  const bool index = parts.second.find_first_not_of("0123456789") == std::string::npos;
  if (index) return model->set_device(value);
  Placement* added = model->add_placement();
  added->set_module(parts.first);
  added->set_device(parts.second);
}

void AddAdapter(const std::string& value, Model* model) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(value, absl::MaxSplits(':', 1));
  Adapter* added = model->add_adapter();
  added->set_name(parts.first);
  added->set_folder(parts.second);
}

}  // namespace

std::string FlagOf(const FieldDescriptor& field) {
  return absl::StrCat("--", absl::StrReplaceAll(field.name(), {{"_", "-"}}));
}

std::string DefaultOf(const FieldDescriptor& field) {
  if (field.is_repeated() || field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return "";
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return field.default_value_string();
  std::string text;
  google::protobuf::TextFormat::PrintFieldValueToString(Config::default_instance(), &field, -1,
                                                        &text);
  return text;
}

absl::Status SetField(const FieldDescriptor& field, const std::string& text, Config* config) {
  const google::protobuf::Reflection& reflection = *config->GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    if (field.is_repeated()) {
      reflection.AddString(config, &field, text);
    } else {
      reflection.SetString(config, &field, text);
    }
    return absl::OkStatus();
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    // The one message is a model.
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' is not NAME=FOLDER, such as atlas=models/atlas"));
    }
    Model* model = config->add_model();
    model->set_name(text.substr(0, equals));
    std::string folder = text.substr(equals + 1);
    // From the last option backwards, as a folder's name may hold commas.
    const std::pair<std::string, void (*)(const std::string&, Model*)> options[] = {
        {",dtype=", [](const std::string& value, Model* to) { to->set_dtype(value); }},
        {",device=", AddDevice},
        {",adapter=", AddAdapter}};
    for (;;) {
      size_t last = std::string::npos, end = 0;
      void (*add)(const std::string&, Model*) = nullptr;
      for (const auto& [name, adds] : options) {
        const size_t at = folder.rfind(name);
        if (at == std::string::npos || (last != std::string::npos && at < last)) continue;
        last = at;
        end = at + name.size();
        add = adds;
      }
      if (add == nullptr) break;
      add(folder.substr(end), model);
      folder.resize(last);
    }
    model->set_folder(folder);
    return absl::OkStatus();
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (parser.ParseFieldValueFromString(text, &field, config)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", text, "': ", error.message()));
}

absl::StatusOr<uint64_t> ParseBytes(const std::string& text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string unit = absl::AsciiStrToLower(absl::StripAsciiWhitespace(text.substr(digits)));
  int shift = 0;
  if (!unit.empty() && unit != "b") {
    const size_t power = std::string("kmgtp").find(unit[0]);
    const std::string rest = unit.substr(1);
    shift =
        power != std::string::npos && (rest.empty() || rest == "b" || rest == "ib" || rest == "i")
            ? 10 * static_cast<int>(power + 1)
            : 64;
  }
  uint64_t bytes;
  if (shift == 64 || !absl::SimpleAtoi(text.substr(0, digits), &bytes) ||
      bytes > std::numeric_limits<uint64_t>::max() >> shift) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not a number of bytes: write 1048576, 64MiB or 4GiB"));
  }
  return bytes << shift;
}

void Problems::MovePlace(const FieldDescriptor& field, int from, int to) {
  if (auto place = places_.extract({&field, from}); !place.empty()) {
    places_[{&field, to}] = place.mapped();
  }
}

std::string Problems::Placed(const FieldDescriptor& field, int index,
                             const std::string& what) const {
  const auto place = places_.find({&field, index});
  if (place == places_.end()) return absl::StrCat(field.name(), " (", FlagOf(field), "): ", what);
  if (absl::StartsWith(place->second, "--")) return absl::StrCat(place->second, ": ", what);
  return absl::StrCat(place->second, ": ", field.name(), ": ", what);
}

void Problems::Add(const FieldDescriptor& field, const std::string& what, int index) {
  AddLine(Placed(field, index, what));
}

void Problems::Add(const std::string& field, const std::string& what, int index) {
  Add(*Config::descriptor()->FindFieldByName(field), what, index);
}

void Problems::Warn(const std::string& field, const std::string& what) {
  warnings_.push_back(Placed(*Config::descriptor()->FindFieldByName(field), -1, what));
}

}  // namespace weft::server
