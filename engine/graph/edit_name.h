#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::graph {

/// A run has at most so many stored edits.
inline constexpr size_t kMaxEditsOfRun = 32;

/// How a stored edit is named: `steer` is its latest version, `steer@2` that one.
struct EditName {
  std::string name;
  uint64_t version = 0;  // 0: the latest

  std::string ToString() const;
  friend bool operator==(const EditName&, const EditName&) = default;
};

/// kInvalidArgument for what names no edit.
absl::StatusOr<EditName> ParseEditName(const std::string& text);
/// kInvalidArgument unless `name` has 1 to 128 letters, digits, `.`, `_` and `-`.
absl::Status CheckEditName(const std::string& name);

}  // namespace weft::graph
