#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/edits.h"
#include "engine/graph/error.h"
#include "engine/graph/lint.h"
#include "engine/graph/program.h"

namespace weft::graph {

/// A program with stored edits applied, for whoever runs it: what is said about a statement of it
/// becomes what was meant of the statement that somebody wrote. Immutable; thread-safe.
class EditedProgram {
 public:
  struct NamedProgram {
    std::string name;  // as errors call it, `steer@2`
    Program program;
  };
  /// Apply `edits`, in order. Errors are ApplyEdits'.
  static absl::StatusOr<std::shared_ptr<const EditedProgram>> Make(Program program,
                                                                   std::vector<NamedProgram> edits,
                                                                   const ProgramLimits& limits);

  /// What runs.
  const Program& program() const { return applied_; }
  /// The names of the edits.
  std::vector<std::string> names() const;

  /// The number of a statement in the program as it was before; kNoNode for one of an edit.
  NodeId Before(NodeId node) const;
  /// Of a statement of the first edit, its number there; kNoNode for another.
  NodeId OfEdit(NodeId node) const;
  /// An error about what runs as one about the program as it was before, with its statement there;
  /// about a statement of an edit, it names the edit, that statement and where it was written.
  Error Explain(Error error) const;
  absl::Status Explain(const absl::Status& status) const;

 private:
  EditedProgram(Program program, std::vector<NamedProgram> edits)
      : program_(std::move(program)), edits_(std::move(edits)) {}

  const Program program_;
  const std::vector<NamedProgram> edits_;
  Program applied_;
  std::vector<Origin> origins_;  // of applied_'s statements
};

/// Check that an edit holds for a model: CheckEdit, and `plan` what it gives on some input there.
///
/// `tokens` is the length of that input. 0: of several lengths, up to `max_tokens`, one must do,
/// since an edit may be for long prompts or for short ones alone. Errors name the edit and the
/// statement, with its number in `edit`.
absl::Status CheckEditFits(const std::string& name, const Program& edit, uint32_t tokens,
                           uint64_t max_tokens, const ProgramLimits& limits,
                           absl::FunctionRef<absl::Status(const Program&)> plan);

}  // namespace weft::graph
