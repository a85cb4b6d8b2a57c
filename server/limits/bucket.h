#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace weft::limits {

/// A token bucket that holds a minute's worth and begins full. Not thread-safe.
class Bucket {
 public:
  /// Take `amount` at a rate of `per_minute`, or nothing: then return how long until there is as
  /// much. InfiniteDuration if the bucket never holds as much.
  absl::Duration Take(double amount, double per_minute, absl::Time now) {
    const absl::Duration wait = Wait(amount, per_minute, now);
    if (wait == absl::ZeroDuration()) level_ = std::max(level_ - amount, 0.0);
    return wait;
  }

  /// Give back what was taken.
  void Give(double amount) { level_ += amount; }

  /// What Take would return.
  absl::Duration Wait(double amount, double per_minute, absl::Time now) {
    Fill(per_minute, now);
    if (amount > per_minute) return absl::InfiniteDuration();
    // What was waited for must be there in spite of rounding.
    if (level_ + kRounding >= amount) return absl::ZeroDuration();
    return absl::Minutes((amount - level_) / per_minute);
  }

 private:
  static constexpr double kRounding = 1e-6;

  void Fill(double per_minute, absl::Time now) {
    if (filled_ == absl::InfinitePast()) {
      level_ = per_minute;
      filled_ = now;
    }
    const absl::Duration passed = std::max(now - filled_, absl::ZeroDuration());
    level_ = std::min(level_ + absl::ToDoubleMinutes(passed) * per_minute, per_minute);
    filled_ = std::max(filled_, now);
  }

  double level_ = 0;
  absl::Time filled_ = absl::InfinitePast();
};

}  // namespace weft::limits
