#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/graph/program.h"
#include "tests/support/local_run.h"

namespace weft::reference {

/// The program with something wrong in one to three of its statements: ids, parents, names, sites,
/// arguments, indices, shapes, or the order of statements. It may still be a valid one.
graph::Program Spoil(const graph::Program& program, uint64_t seed);

/// Check, plan and run a program as a server does.
absl::Status RunAll(testing::LocalModel& model, const graph::Program& program);

}  // namespace weft::reference
