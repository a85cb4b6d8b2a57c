#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/value.h"
#include "engine/models/hosted_model.h"
#include "engine/plan/plan_cache.h"

namespace weft::bench {

/// The model in a Hub folder, in `dtype`; nothing: the checkpoint's. On `device`, such as `cuda:0`.
absl::StatusOr<std::unique_ptr<models::HostedModel>> HostFolder(
    const std::string& folder, std::optional<at::ScalarType> dtype = std::nullopt,
    const std::string& device = "cpu");

/// Token ids; transformers_beside.py and nnsight_beside.py make the same.
std::vector<int64_t> MakePrompt(int64_t tokens, int64_t row = 0, int64_t vocabulary = 50257);

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
