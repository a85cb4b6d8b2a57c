#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/harness.h"

namespace weft::bench {

/// A forward of the model in `folder` over one prompt: in this process, without a program.
absl::StatusOr<Contender> MakeBarePass(const std::string& folder, const std::vector<int64_t>& ids);

}  // namespace weft::bench
