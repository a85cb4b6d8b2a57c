#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::exported {

using Json = nlohmann::json;

/// Parse text of bounded depth and number of values. kInvalidArgument, naming `where`.
absl::StatusOr<Json> ParseJson(const std::string& where, const std::string& text);

/// Takes a stranger's JSON apart. The first thing that is not as it should be is kept as the
/// status, with the place that was set last, and from then on everything reads as empty: a caller
/// looks at the status once, after loops that are bounded by what was read.
class JsonReader {
 public:
  explicit JsonReader(std::string where) : where_(std::move(where)) {}

  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  /// What is read next, for errors: `node linear_1`.
  void At(std::string place) { place_ = std::move(place); }
  void Fail(const std::string& message, absl::StatusCode code = absl::StatusCode::kInvalidArgument);

  /// A field of an object; null, and no error, where there is none.
  const Json& Find(const Json& object, const char* key);
  /// A field that must be there.
  const Json& Get(const Json& object, const char* key);
  /// A list, of at most `most` items; an empty one after an error.
  const Json& List(const Json& value, size_t most);
  const Json& Object(const Json& value, size_t most);
  std::string String(const Json& value);
  int64_t Integer(const Json& value);
  bool Bool(const Json& value);
  /// A number, or torch's words for what JSON has no number for.
  double Number(const Json& value);

 private:
  const std::string where_;
  std::string place_;
  absl::Status status_;
};

}  // namespace weft::exported
