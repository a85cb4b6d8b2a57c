#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/exported/graph.h"

namespace weft::exported {

/// What trying a graph at some sizes showed of a value.
struct Sample {
  c10::ScalarType dtype = c10::ScalarType::Undefined;  // of a tensor
  std::vector<int64_t> sizes;
  int64_t number = 0;  // of a size
};

/// One forward: by value.
struct Samples {
  int64_t batch = 0;
  std::vector<Sample> values;
};

/// Whether the rows of several prompts can be run together, and how they lie in each value: set
/// Graph::layouts. That holds where every operator is known to compute row i of its results from
/// row i of its arguments alone, and from what does not depend on the input: operator by operator,
/// by rules, and not by trying, since prompts of different people meet in a pass. A layout of
/// dimension -1: the value has no rows of its own, or they lie apart.
///
/// Returns why not, naming the node; empty where they can. `a` and `b` are of different batches.
std::string FindLayouts(Graph& graph, const Samples& a, const Samples& b);

}  // namespace weft::exported
