#include "engine/weights/model_config.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace weft::weights {
namespace {

// Far more than any configuration needs, far less than what would exhaust the stack of code that
// walks the tree recursively.
constexpr int kMaxDepth = 64;

constexpr size_t kMaxJsonBytes = 64u << 20;

template <typename T>
constexpr const char* TypeText() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer of 64 bits";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
}

template <typename T>
bool Holds(const nlohmann::json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, double>) return value.is_number();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_same_v<T, int64_t>) {
    if (!value.is_number_unsigned()) return value.is_number_integer();
    return value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
  }
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  std::string content;
  constexpr size_t kStep = 1u << 16;
  while (file && content.size() <= kMaxJsonBytes) {
    size_t before = content.size();
    content.resize(before + kStep);
    file.read(content.data() + before, kStep);
    content.resize(before + static_cast<size_t>(file.gcount()));
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("cannot read ", path));
  if (content.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is larger than ", kMaxJsonBytes, " bytes"));
  }
  return content;
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfig::Read(const std::string& path) {
  absl::StatusOr<std::string> content = ReadSmallFile(path);
  if (!content.ok()) return content.status();
  return Parse(path, *content);
}

absl::StatusOr<ModelConfig> ModelConfig::Parse(const std::string& path, const std::string& json) {
  bool too_deep = false;
  auto limit_depth = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) too_deep = true;
    return !too_deep;
  };
  ModelConfig config;
  config.path_ = path;
  config.json_ = nlohmann::json::parse(json, limit_depth, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is nested deeper than ", kMaxDepth, " levels"));
  }
  if (config.json_.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not valid JSON in UTF-8"));
  }
  if (!config.json_.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " does not hold a JSON object"));
  }
  return config;
}

template <typename T>
absl::StatusOr<T> ModelConfig::Get(const std::string& name) const {
  auto field = json_.find(name);
  if (field == json_.end() || field->is_null()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, " has no field \"", name, "\", which must be ", TypeText<T>()));
  }
  if (!Holds<T>(*field)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": field \"", name, "\" must be ",
                                                   TypeText<T>(), ", but is a value of type ",
                                                   field->type_name()));
  }
  return field->template get<T>();
}

template <typename T>
absl::StatusOr<T> ModelConfig::GetOr(const std::string& name, T fallback) const {
  if (!Has(name)) return fallback;
  return Get<T>(name);
}

bool ModelConfig::Has(const std::string& name) const {
  auto field = json_.find(name);
  return field != json_.end() && !field->is_null();
}

template absl::StatusOr<bool> ModelConfig::Get(const std::string&) const;
template absl::StatusOr<int64_t> ModelConfig::Get(const std::string&) const;
template absl::StatusOr<double> ModelConfig::Get(const std::string&) const;
template absl::StatusOr<std::string> ModelConfig::Get(const std::string&) const;
template absl::StatusOr<bool> ModelConfig::GetOr(const std::string&, bool) const;
template absl::StatusOr<int64_t> ModelConfig::GetOr(const std::string&, int64_t) const;
template absl::StatusOr<double> ModelConfig::GetOr(const std::string&, double) const;
template absl::StatusOr<std::string> ModelConfig::GetOr(const std::string&, std::string) const;

}  // namespace weft::weights
