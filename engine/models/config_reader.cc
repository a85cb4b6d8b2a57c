#include "engine/models/config_reader.h"

#include "absl/strings/str_cat.h"

namespace weft::models {

int64_t ConfigReader::Size(const std::string& name, int64_t fallback) {
  constexpr int64_t kMost = int64_t{1} << 32;
  const int64_t value = Get<int64_t>(name, fallback);
  if (value < 1 || value > kMost) Invalid(name, absl::StrCat("is ", value, ", which is no size"));
  return value;
}

std::vector<int64_t> ConfigReader::Ids(const std::string& name, std::vector<int64_t> fallback) {
  if (!config_.json().contains(name)) return fallback;
  const auto& value = config_.json()[name];
  std::vector<int64_t> ids;
  if (value.is_number_integer()) ids.push_back(value.template get<int64_t>());
  if (value.is_array()) {
    for (const auto& id : value) {
      if (id.is_number_integer()) ids.push_back(id.template get<int64_t>());
    }
  }
  if (ids.empty() && !value.is_null()) Invalid(name, "is neither a token id nor a list of them");
  return ids;
}

std::vector<std::string> ConfigReader::Strings(const std::string& name) {
  std::vector<std::string> strings;
  if (!Has(name)) return strings;
  const auto& value = config_.json()[name];
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_string();
    if (good) strings.push_back(value[i].template get<std::string>());
  }
  if (!good) Invalid(name, "must be a list of strings");
  return strings;
}

std::vector<int64_t> ConfigReader::Integers(const std::string& name) {
  std::vector<int64_t> integers;
  if (!Has(name)) return integers;
  const auto& value = config_.json()[name];
  bool good = value.is_array();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = value[i].is_number_integer();
    if (good) integers.push_back(value[i].template get<int64_t>());
  }
  if (!good) Invalid(name, "must be a list of integers");
  return integers;
}

void ConfigReader::Refuse(const std::string& name, const std::string& why) {
  Fail(absl::UnimplementedError(absl::StrCat(config_.path(), ": `", name, "`: ", why)));
}

void ConfigReader::Invalid(const std::string& name, const std::string& why) {
  Fail(absl::InvalidArgumentError(absl::StrCat(config_.path(), ": `", name, "` ", why)));
}

void ConfigReader::RefuseValue(const std::string& name) {
  Refuse(name, absl::StrCat(config_.json()[name].dump(), " is not served"));
}

}  // namespace weft::models
