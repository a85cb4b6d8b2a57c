#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/exported/graph.h"
#include "engine/models/record_sites.h"

namespace weft::exported {

/// What a program is called with, as far as it may vary.
struct Dynamics {
  bool batch = false, tokens = false;  // the first and the second dimension of its input
  Range batches, lengths;              // what they may be; least == most where they are fixed
};

/// The symbols of the input's dimensions. kUnimplemented, with the way out, for dynamic dimensions
/// elsewhere, and for what is called with another number of tensors than one.
absl::StatusOr<Dynamics> FindDynamics(const Graph& graph);

struct RecordLimits {
  uint64_t memory_bytes = 0;
  double seconds = 120;
};

/// Find the sites of a graph, in the order of their visits, and their shapes as forms of batch and
/// tokens, by running it at a few small sizes; and tell the graph their times.
absl::StatusOr<models::RecordedSites> RecordSites(Graph& graph, const Dynamics& dynamics,
                                                  const RecordLimits& limits);

}  // namespace weft::exported
