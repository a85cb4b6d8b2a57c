#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/graph/error.h"
#include "engine/graph/lint.h"
#include "engine/graph/program.h"

namespace weft::graph {

/// A stored edit: a program of one trace with one `invoke { }`, whose statements act as if they
/// were written first in every invoke of the programs that it is applied to.
struct Edit {
  std::string name;  // as errors call it
  const Program* program = nullptr;
};

/// Check that `program` can be an edit and holds as a program: it has one trace, which is no
/// generation, no sweep, one `invoke { }`, and no `stop`. Errors name the edit and the statement.
absl::Status CheckEdit(const std::string& name, const Program& program,
                       const ProgramLimits& limits = {});

/// Where a statement of a program with edits is from.
struct Origin {
  uint32_t edit = 0;  // which of the edits, from 1; 0: the program itself
  NodeId node = kNoNode;
};

/// `program` with the statements of `edits`, in order, at the head of each invoke that has rows of
/// its own, in each trace that calls the module that the edit's trace names as its root.
///
/// An edit's constants stand in a trace once, but for those that are changed in place. Its
/// statements are of step 0, or of the steps that its `steps` regions name; a trace that is no
/// generation has one step, so there a region that selects it is written out (its saves are lists
/// of one all the same), and one that does not is left out. Values are renamed where their name is
/// taken; sources become `edit NAME, FILE`. `origins`, if given, is the origin of each statement,
/// in their order.
///
/// Errors about an edit name it and its statement; their `node` is none, as it is no statement of
/// `program`.
///
/// kInvalidArgument: an edit or the program does not pass its check; an edit saves where more than
/// one invoke would save, in a step that a plain trace does not have, or under a name that is
/// taken; an `invoke { }` stands before one with rows, so that it would see these before the edit.
/// kResourceExhausted: the result has more than `limits` allow. Otherwise `limits` are for the
/// caller to check on the result.
absl::StatusOr<Program> ApplyEdits(const Program& program, absl::Span<const Edit> edits,
                                   const ProgramLimits& limits = {},
                                   std::vector<Origin>* origins = nullptr);

/// `error`, about a statement of the edit `name`, as one in a program that it is applied to.
Error InEdit(const std::string& name, Error error);

}  // namespace weft::graph
