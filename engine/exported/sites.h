#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/exported/dynamics.h"
#include "engine/exported/graph.h"
#include "engine/models/record_sites.h"

namespace weft::exported {

struct RecordLimits {
  uint64_t memory_bytes = 0;
  double seconds = 120;
};

/// Find the sites of a graph, in the order of their visits, and their shapes as forms of batch and
/// tokens, by running it at a few small sizes; and tell the graph their times.
absl::StatusOr<models::RecordedSites> RecordSites(Graph& graph, const Dynamics& dynamics,
                                                  const RecordLimits& limits);

}  // namespace weft::exported
