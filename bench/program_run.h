#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/value.h"
#include "engine/models/hosted_model.h"
#include "engine/plan/plan_cache.h"

namespace weft::bench {

/// The limits that a server has.
plan::PlanLimits ServerLimits();

/// A program in the text form as a client sends it.
absl::StatusOr<std::string> BytesOf(const std::string& text);

/// From bytes to values in one pass, as the server does it but for its threads. Gives what was
/// saved, in order.
absl::StatusOr<std::vector<graph::HostValue>> RunBytes(const std::string& bytes,
                                                       models::HostedModel& model,
                                                       plan::PlanCache& plans);

}  // namespace weft::bench
