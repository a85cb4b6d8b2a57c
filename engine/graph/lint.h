#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"

namespace weft::graph {

/// Bounds on a program as such.
struct ProgramLimits {
  uint32_t nodes = 16384;
  uint64_t constant_bytes = uint64_t{4} << 20;
  uint32_t arguments = 256;  // of one node, items of lists included
};

/// Check what concerns the program alone: ids used before they exist or that yield no value,
/// parents (kinds and depth), exactly one trace (more is EXPERIMENTAL), at least one invoke, no
/// statement outside an invoke but constants, names of values and saves unique and well formed
/// (`[A-Za-z_][A-Za-z0-9_]*`), values of another trace, constants' bytes, statements after `stop`,
/// limits. Every error names the statement. Linear time.
absl::Status Check(const Program& program, const ProgramLimits& limits = {});

/// What is allowed but probably not meant: values that nothing uses, a read written before a write
/// of the same site in the same invoke and used only after it, programs that save nothing. The
/// errors' code is kOk.
std::vector<Error> Lint(const Program& program);

}  // namespace weft::graph
