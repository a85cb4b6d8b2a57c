#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/graph/program.h"

namespace weft::graph {

/// What went wrong, where, and the way out: the one structured error of the contract.
struct Error {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;
  NodeId node = kNoNode;
  std::string statement;  // the node's text
  SourceLocation source;
  std::string hint;
  std::string site;
  /// Of a limit that time mends: after how many seconds the same request may be taken. 0: no such.
  double retry_after_seconds = 0;
};

/// Carry an Error inside an absl::Status (as a payload; the status's message is complete by itself:
/// message, statement, source and hint).
absl::Status ToStatus(const Error& error);
/// The reverse; a status without a payload gives its code and message.
Error FromStatus(const absl::Status& status);

/// A status about one statement of a program: fills in the statement's text and its source.
absl::Status StatementError(absl::StatusCode code, const Program& program, NodeId node,
                            const std::string& message, const std::string& hint = "");

}  // namespace weft::graph
