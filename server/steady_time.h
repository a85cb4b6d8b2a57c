#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace weft::server {

/// A time of a clock that nobody sets, not even a machine that was asleep: for how long something
/// has lasted, and not for the time of day.
inline absl::Time SteadyNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace weft::server
