#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace weft::weights {

/// The fields of a model's `config.json`.
///
/// `T` is int64_t, double, bool or std::string. A number for a double may be written as an
/// integer; nothing else is converted. Errors are kInvalidArgument and name the file and the field.
/// Immutable, so thread-safe.
class ModelConfig {
 public:
  /// Parse `json`, the content of the file `path`. Its top must be an object.
  static absl::StatusOr<ModelConfig> Parse(const std::string& path, const std::string& json);

  /// Parse the file `path`, of at most 64 MiB. kNotFound if there is none.
  static absl::StatusOr<ModelConfig> Read(const std::string& path);

  /// Return the field `name`. An error if it is absent, null or of another type.
  template <typename T>
  absl::StatusOr<T> Get(const std::string& name) const;

  /// Return the field `name`, or `fallback` where it is absent or null.
  template <typename T>
  absl::StatusOr<T> GetOr(const std::string& name, T fallback) const;

  /// Return whether the field is there and not null.
  bool Has(const std::string& name) const;

  const std::string& path() const { return path_; }
  const nlohmann::json& json() const { return json_; }

 private:
  std::string path_;
  nlohmann::json json_;
};

}  // namespace weft::weights
