#include "engine/devices/threads.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace weft::devices {
namespace {

constexpr int kShares = 4;

int64_t Threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

/// Whether there are soon as many: a thread's end takes a moment.
bool SoonAre(int64_t threads) {
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (Threads() != threads) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

TEST(GiveThreadsBackTest, EndsThemUntilWorkIsSharedOutAgain) {
  at::set_num_threads(kShares);
  const at::Tensor many = at::zeros({int64_t{1} << 20});
  GiveThreadsBack();
  const int64_t before = Threads();  // LibTorch has others, too
  for (int round = 0; round < 2; ++round) {
    at::add(many, 1);
    EXPECT_EQ(Threads(), before + kShares - 1);
    GiveThreadsBack();
    EXPECT_TRUE(SoonAre(before)) << Threads() << " of " << before;
  }
  GiveThreadsBack();  // there are none
}

}  // namespace
}  // namespace weft::devices
