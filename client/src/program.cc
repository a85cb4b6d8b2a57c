#include "weft/program.h"

#include <utility>

#include "engine/graph/program.h"
#include "engine/graph/text.h"

namespace weft {

absl::StatusOr<Program> Program::Parse(const std::string& text, const std::string& file_name) {
  absl::StatusOr<graph::Program> program = graph::ParseProgram(text, file_name);
  if (!program.ok()) return program.status();
  return Program(*std::move(program));
}

Program::Program(graph::Program program)
    : graph_(std::make_shared<const graph::Program>(std::move(program))) {}

std::string Program::text() const { return graph::PrintProgram(*graph_); }

}  // namespace weft
