#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace weft::plan {

/// Why programs may not use an operator that is not among `names` (sorted): see
/// OperatorTable::WhyNot.
absl::Status RefusalOf(const std::string& name, absl::Span<const std::string> names);

}  // namespace weft::plan
