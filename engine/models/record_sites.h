#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/models/module.h"
#include "engine/models/network.h"
#include "engine/plan/model_spec.h"

namespace weft::models {

struct RecordedSites {
  std::vector<plan::SiteSpec> sites;  // in the order of visits
  std::vector<plan::OperationSpec> operations;
  std::vector<int> leaves;  // among `sites`, where Pass::Leave is asked
  /// The rows of several invokes cannot be told apart in a pass: each has one of its own.
  bool one_invoke = false;
};

/// Find a network's sites, and their shapes as forms of batch and tokens, by tiny real forwards.
///
/// What an operator inside a module takes or gives is a site where it is packed rows, and holds, at
/// the place of a prompt's rows, what depends on that prompt alone: tried by changing its
/// neighbours. `modules` and `paths` are in tree order; taps are set.
absl::StatusOr<RecordedSites> RecordSites(const Network& network, absl::Span<Module* const> modules,
                                          absl::Span<const std::string> paths, bool pad_left);

}  // namespace weft::models
