#pragma once

#include "engine/graph/program.h"

namespace weft::graph {

/// Have large tensor constants that several invokes of a trace hold, the same bytes in memory,
/// stand once at the head of the trace. Changes numbers, and no meaning.
void HoistConstants(Program* program);

}  // namespace weft::graph
