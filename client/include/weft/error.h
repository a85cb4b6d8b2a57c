#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace weft {

/// What went wrong with a program, where, and the way out. A status's message says all of it; this
/// is for those who want the parts.
struct ErrorDetails {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;
  /// The statement's place in the program, from 1 (0: none), and its text.
  uint32_t node = 0;
  std::string statement;
  /// Where the client wrote the statement.
  std::string file;
  uint32_t line = 0;
  std::string hint;
  std::string site;
  /// Of a limit that time mends: after how many seconds the same request may be taken. 0: no such.
  double retry_after_seconds = 0;
};

/// The parts of an error, or nothing if `status` is OK. One that is not about a statement has only
/// a code and a message.
std::optional<ErrorDetails> GetError(const absl::Status& status);

}  // namespace weft
