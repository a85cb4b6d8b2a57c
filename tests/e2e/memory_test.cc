#include <malloc.h>

#include <fstream>
#include <iostream>

#include "absl/synchronization/notification.h"
#include "engine/engine.h"
#include "engine/graph/text.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

/// Resident memory in bytes.
int64_t Resident() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

TEST(MemoryTest, TenThousandRunsLeaveNothingBehind) {
  auto engine = Engine::Create({.threads = 1});
  ASSERT_THAT(engine, IsOk());
  ASSERT_THAT(
      (*engine)->LoadModel("tiny", std::string(WEFT_SOURCE_DIR) + "/tests/parity/gpt2-tiny"),
      IsOk());
  int64_t after_thousand = 0;
  for (int i = 1; i <= 10000; ++i) {
    // Lengths, constants and floats vary; so do plans, within what a cache holds for good.
    std::string ids = "1";
    for (int t = 0; t < i % 7; ++t) ids += ", " + std::to_string((i + t) % 97);
    auto program = graph::ParseProgram("invoke [" + ids + R"(] {
      %h = read transformer.h.1.output
      %s = aten::mul(%h[:, -1], )" + std::to_string(i % 13) +
                                       R"(.5)
      write transformer.h.1.output[:, -1] = %s
      %p = read lm_head.output
      save h = %h
      save p = aten::argmax(%p, dim=-1)
    })");
    ASSERT_THAT(program, IsOk());
    absl::Notification ended;
    auto job = (*engine)->Submit("tiny", *std::move(program), {}, [&](Event event) {
      ASSERT_FALSE(std::holds_alternative<Failed>(event));
      if (std::holds_alternative<Completed>(event)) ended.Notify();
    });
    ASSERT_THAT(job, IsOk());
    ended.WaitForNotification();
    if (i == 1000) after_thousand = Resident();
  }
  const int64_t last = Resident();
  std::cout << "resident after 1000 runs: " << after_thousand / 1024
            << " KiB, after 10000: " << last / 1024 << " KiB\n";
#ifndef __SANITIZE_ADDRESS__  // which keeps freed memory for a while, and looks for leaks itself
  EXPECT_LT(last, after_thousand + after_thousand / 100);
#endif
}

}  // namespace
}  // namespace weft::testing
