#pragma once

#include <chrono>

namespace weft::run {

/// Adds the seconds of its life to a total. What others add to it meanwhile is a part of them.
class Stopwatch {
 public:
  explicit Stopwatch(double* total) : total_(*total), before_(*total) {}
  ~Stopwatch() {
    total_ =
        before_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& total_;
  const double before_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace weft::run
