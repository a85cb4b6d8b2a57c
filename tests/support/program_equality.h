#pragma once

#include <string>

#include "engine/graph/program.h"

namespace weft::graph {

/// Where `a` and `b` differ first, as in `node 3: value`; empty if they are the same but for the
/// sources of their statements. Floats are compared by their bits, all NaNs of arguments alike.
std::string FirstDifference(const Program& a, const Program& b);

}  // namespace weft::graph
