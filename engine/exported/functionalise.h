#pragma once

#include "absl/status/status.h"
#include "engine/exported/program.h"

namespace weft::exported {

/// Rewrite operators that write into their arguments (`relu_`, `x[:, 0] = y`) as ones that make new
/// values, which later nodes then use, views of what was written included. Nothing in a hosted
/// program writes into a value that somebody may have read.
///
/// kUnimplemented, naming the node and the way out, for what cannot be told apart without running
/// it, and for what changes an input, a weight or a buffer.
absl::Status Functionalise(Program& program);

}  // namespace weft::exported
