#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/weights/model_config.h"

namespace weft::models {

/// Reads the fields of a family's configuration, and collects the first error of several reads:
/// once all are read, look at `status()`. Not thread-safe.
class ConfigReader {
 public:
  /// `config` must outlive it.
  explicit ConfigReader(const weights::ModelConfig& config) : config_(config) {}

  template <typename T>
  T Get(const std::string& name, T fallback) {
    absl::StatusOr<T> value = config_.GetOr<T>(name, fallback);
    if (value.ok()) return *std::move(value);
    Fail(value.status());
    return fallback;
  }
  bool Has(const std::string& name) const { return config_.Has(name); }
  /// The field is there, and null.
  bool SaysNone(const std::string& name) const {
    return config_.json().contains(name) && !Has(name);
  }

  /// Of two names of a field the one that counts: `first` where it is there.
  std::string NameOf(const std::string& first, const std::string& second) const {
    return Has(first) ? first : second;
  }

  /// A count of something that there is at least one of.
  int64_t Size(const std::string& name, int64_t fallback);
  /// The same of layers, of which nobody has thousands.
  int64_t Layers(const std::string& name, int64_t fallback);
  /// The same; 0 where the field says none (null), `fallback` where it is absent.
  int64_t SizeOrNone(const std::string& name, int64_t fallback) {
    return Has(name) ? Size(name, 1) : SaysNone(name) ? 0 : fallback;
  }
  double NumberOrNone(const std::string& name, double fallback) {
    return Has(name) ? Get<double>(name, fallback) : SaysNone(name) ? 0 : fallback;
  }
  /// One id, several, or none (null).
  std::vector<int64_t> Ids(const std::string& name, std::vector<int64_t> fallback);
  /// A list of strings; empty where the field is absent or null.
  std::vector<std::string> Strings(const std::string& name);

  /// A list of integers; empty where the field is absent or null.
  std::vector<int64_t> Integers(const std::string& name);

  /// Refuse a field that asks for what is not served. `why` completes "`name`: ...".
  void Refuse(const std::string& name, const std::string& why);
  /// Refuse a field whose value makes no sense.
  void Invalid(const std::string& name, const std::string& why);
  /// Refuse any value of the field but this, which is also its default.
  template <typename T>
  void Only(const std::string& name, T served) {
    if (Get<T>(name, served) != served) RefuseValue(name);
  }

  const weights::ModelConfig& config() const { return config_; }
  const absl::Status& status() const { return status_; }

 private:
  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  void RefuseValue(const std::string& name);

  const weights::ModelConfig& config_;
  absl::Status status_;
};

}  // namespace weft::models
