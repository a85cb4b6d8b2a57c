#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/graph/program.h"

namespace weft::graph {

/// Parse the text form (grammar in proto/README.md). kInvalidArgument with line, column, the line
/// itself and what was expected. A node's source is `file_name` and its line. Safe on any input:
/// bounded nesting, linear time.
absl::StatusOr<Program> ParseProgram(const std::string& text,
                                     const std::string& file_name = "program");

/// Print a program so that ParseProgram gives it back. Unnamed values are printed as %1, %2 by id.
/// Tensor constants of more than `max_elements` elements are elided (`...`), which does not parse
/// back; the default prints all.
std::string PrintProgram(const Program& program, int64_t max_elements = -1);

/// One statement, on one line, long constants and prompts elided: for errors.
std::string PrintStatement(const Program& program, NodeId node);

}  // namespace weft::graph
