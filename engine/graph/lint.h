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
  /// Values of the program's sweeps; and of one node the cached modules, listed steps, messages of
  /// chats, stop strings.
  uint32_t list_items = 4096;
};

/// Check what concerns the program alone:
///
/// - ids used before they exist, where they are not seen (a value of a sweep, of steps or of a
///   branch is seen inside it alone), or that yield no value;
/// - parents: which kinds stand in which, containers whole and at most kMaxDepth deep, an invoke
///   with rows in each trace, nothing but constants outside invokes, steps in generations alone;
/// - regions: carries first and in order, `yield` last and of the right number, results right after
///   their region and in order, nothing assigned to a name from outside;
/// - sweeps: parameters of one length, used inside alone and where their values fit;
/// - names of values and of saves: unique and well formed (`[A-Za-z_][A-Za-z0-9_]*`); a name may be
///   saved in both branches of an `if`;
/// - statements that never run because a `stop` stands before them;
/// - options of generations, constants' bytes, limits.
///
/// Every error names the statement. Linear time.
absl::Status Check(const Program& program, const ProgramLimits& limits = {});

/// What is allowed but probably not meant: values that nothing uses, a read written before a write
/// of the same site in the same invoke and used only after it, carries that no step reads, sweeps'
/// parameters that nothing uses, sweeps and programs that save nothing. The errors' code is kOk.
std::vector<Error> Lint(const Program& program);

}  // namespace weft::graph
