#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace weft {
namespace graph {
struct Program;
}  // namespace graph

/// A recorded or parsed program: what a client sends. Immutable; copies share it. Thread-safe.
class Program {
 public:
  /// Parse the text form (grammar: proto/README.md). kInvalidArgument with line, column and what
  /// was expected; `file_name` is for those messages.
  static absl::StatusOr<Program> Parse(const std::string& text,
                                       const std::string& file_name = "program");
  explicit Program(graph::Program program);

  /// The text form. Parse gives the same program back.
  std::string text() const;

  /// For this library's own use.
  const graph::Program& graph() const { return *graph_; }

 private:
  std::shared_ptr<const graph::Program> graph_;
};

}  // namespace weft
