#pragma once

#include <vector>

#include "engine/graph/program.h"

namespace weft::graph {

/// Give every id that `node` holds, its parent too, the number that `to` has for it: values that it
/// uses, the region whose result it is, sweeps whose parameters it uses. `to` is indexed by the old
/// ids and knows all of them; kNoNode stays.
void Renumber(const std::vector<NodeId>& to, Node* node);

}  // namespace weft::graph
