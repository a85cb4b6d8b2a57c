#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/harness.h"
#include "engine/models/hosted_model.h"

namespace weft::bench {

/// Until `device` has done what it was told.
void Await(at::Device device);

/// The seconds of one forward with nobody in it.
absl::StatusOr<double> TimeForward(models::HostedModel& model, const run::InvokeInput& input);

/// A forward of the model in `folder` over one prompt: in this process, without a program.
absl::StatusOr<Contender> MakeBarePass(const std::string& folder, const std::vector<int64_t>& ids);

}  // namespace weft::bench
