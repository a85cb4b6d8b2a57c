#include "engine/run/memory_account.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/graph/error.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft::run {
namespace {

using ::testing::AllOf;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr uint64_t kMegabyte = 1 << 20;

at::Tensor Bytes(uint64_t bytes) { return at::empty({static_cast<int64_t>(bytes)}, at::kByte); }

class MemoryAccountTest : public ::testing::Test {
 protected:
  void SetUp() override { InstallMemoryAccounts(); }
};

TEST_F(MemoryAccountTest, ChargesWhatIsAllocatedAndCreditsWhatIsFreed) {
  MemoryAccount account(0);
  at::Tensor before = Bytes(kMegabyte);
  std::optional<at::Tensor> kept, freed;
  {
    const MemoryAccount::Charging charging(&account);
    kept = Bytes(kMegabyte);
    freed = Bytes(2 * kMegabyte);
    EXPECT_EQ(account.bytes(), 3 * kMegabyte);
    freed.reset();
    EXPECT_EQ(account.bytes(), kMegabyte);
    before = at::Tensor();
  }
  const at::Tensor after = Bytes(kMegabyte);
  EXPECT_EQ(account.bytes(), kMegabyte);
  EXPECT_EQ(account.peak_bytes(), 3 * kMegabyte);
  kept.reset();
  EXPECT_EQ(account.bytes(), 0U);
}

TEST_F(MemoryAccountTest, RefusesWhatIsBeyondTheLimitAndStaysAsItWas) {
  MemoryAccount account(2 * kMegabyte);
  const MemoryAccount::Charging charging(&account);
  at::Tensor kept = Bytes(kMegabyte);
  EXPECT_THROW(Bytes(kMegabyte + 1), c10::OutOfMemoryError);
  EXPECT_EQ(account.bytes(), kMegabyte);
  EXPECT_EQ(account.refused_bytes(), 2 * kMegabyte + 1);
  kept = at::Tensor();
  EXPECT_NO_THROW(Bytes(2 * kMegabyte));
}

TEST_F(MemoryAccountTest, AViewOrAReferenceIsNotCharged) {
  MemoryAccount account(0);
  const MemoryAccount::Charging charging(&account);
  const at::Tensor whole = Bytes(kMegabyte);
  const at::Tensor part = whole.slice(0, 0, 10), same = whole;
  EXPECT_EQ(account.bytes(), kMegabyte);
}

TEST_F(MemoryAccountTest, MemoryIsCreditedByWhateverThreadFreesIt) {
  MemoryAccount account(0);
  std::vector<at::Tensor> tensors;
  {
    const MemoryAccount::Charging charging(&account);
    for (int i = 0; i < 100; ++i) tensors.push_back(Bytes(1000));
  }
  EXPECT_EQ(account.bytes(), 100'000U);
  std::thread([theirs = std::move(tensors)]() mutable {
    theirs.clear();
    // Another thread charges what it says itself, which here is nobody.
    const at::Tensor own = Bytes(kMegabyte);
  }).join();
  EXPECT_EQ(account.bytes(), 0U);
}

TEST_F(MemoryAccountTest, MemoryMayOutliveItsAccount) {
  auto account = std::make_unique<MemoryAccount>(0);
  at::Tensor tensor;
  {
    const MemoryAccount::Charging charging(account.get());
    tensor = at::ones({1000});
  }
  account.reset();
  EXPECT_EQ(tensor.sum().item<float>(), 1000);
  tensor = at::Tensor();
}

TEST_F(MemoryAccountTest, KernelsOnSeveralThreadsAreChargedAndStopped) {
  const int threads = at::get_num_threads();
  at::set_num_threads(4);
  MemoryAccount account(32 * kMegabyte);
  {
    const MemoryAccount::Charging charging(&account);
    const at::Tensor x = at::rand({1024, 1024});
    EXPECT_GE(account.bytes(), 4 * kMegabyte);
    const at::Tensor y = at::softmax(at::matmul(x, x), -1).sum();
    const at::Tensor z = std::get<0>(at::sort(x));
    EXPECT_THROW(at::cat({x, x, x, x, x, x, x, x}), c10::OutOfMemoryError);
    EXPECT_EQ(at::matmul(x, x).sizes(), x.sizes());
  }
  at::set_num_threads(threads);
  EXPECT_EQ(account.bytes(), 0U);
  EXPECT_LE(account.peak_bytes(), account.limit());
}

// An operator that takes much more than anybody would estimate: its workspace is 64 MiB.
at::Tensor Greedy(const at::Tensor& x) {
  const at::Tensor workspace = at::zeros({16 << 20});
  return x + workspace[0];
}
TORCH_LIBRARY_FRAGMENT(weft_test, library) { library.def("greedy(Tensor x) -> Tensor", &Greedy); }

/// A run whose `aten::neg` is the greedy operator.
class RunMemoryTest : public ::testing::Test {
 protected:
  struct Prepared {
    graph::Program program;
    plan::Plan plan;
    plan::PlanCheck check;
    std::unique_ptr<run::Run> run;
  };
  std::unique_ptr<Prepared> Prepare(const std::string& body, uint64_t memory_bytes) {
    auto out = std::make_unique<Prepared>();
    out->program = testing::ParseAndCheck("invoke [64, 65, 66] {\n" + body + "\n}").value();
    const std::vector<plan::RowCount> rows = testing::CountRows(out->program);
    out->plan = plan::MakePlan(out->program, model_.spec(), rows).value();
    out->check =
        plan::CheckPlan(out->plan, out->program, model_.spec(), rows, {.peak_bytes = memory_bytes})
            .value();
    for (plan::Instruction& instruction :
         out->plan.traces[0].stages[plan::PlannedTrace::kFirst].instructions) {
      auto* call = std::get_if<plan::CallOperator>(&instruction.what);
      if (call != nullptr && call->call.row->name == "aten::neg") call->call.row = &greedy_;
    }
    out->run = std::make_unique<run::Run>(out->plan, out->program, model_.spec(), model_.hosted(),
                                          std::vector{InvokeInput::Make({{64, 65, 66}}, 0, true)},
                                          RunLimits{.memory_bytes = memory_bytes},
                                          absl::InfiniteFuture(), TokenOptions());
    return out;
  }

  LocalModel& model_ = LocalModel::Tiny();
  const plan::OperatorRow greedy_ = {
      .name = "weft_test::greedy",
      .handle = c10::Dispatcher::singleton().findSchemaOrThrow("weft_test::greedy", "")};
};

constexpr char kGreedy[] = "%h = read transformer.h.0.output\n save x = aten::neg(%h)";

TEST_F(RunMemoryTest, AnOperatorThatTakesMoreThanEstimatedIsStoppedByName) {
  const auto greedy = Prepare(kGreedy, kMegabyte);
  EXPECT_LT(greedy->check.peak_bytes, 10'000U);
  run::Run* const runs[] = {greedy->run.get()};
  ASSERT_THAT(model_.hosted().Run(runs), IsOk());
  EXPECT_THAT(greedy->run->status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("here the program would hold 67"), HasSubstr("aten::neg"),
                             HasSubstr("at most 1048576 are allowed"),
                             HasSubstr("save or use less at a time"))));
  EXPECT_EQ(greedy->run->memory().bytes(), 0U);
}

TEST_F(RunMemoryTest, TheNeighbourInItsPassIsUntouched) {
  constexpr char kBody[] = "save h = read transformer.h.2.output\n save p = read lm_head.output";
  const auto alone = Prepare(kBody, kMegabyte);
  run::Run* const one[] = {alone->run.get()};
  ASSERT_THAT(model_.hosted().Run(one), IsOk());
  const auto greedy = Prepare(kGreedy, kMegabyte), beside = Prepare(kBody, kMegabyte);
  run::Run* const both[] = {greedy->run.get(), beside->run.get()};
  ASSERT_THAT(model_.hosted().Run(both), IsOk());
  EXPECT_EQ(greedy->run->status().code(), absl::StatusCode::kResourceExhausted);
  ASSERT_THAT(beside->run->status(), IsOk());
  for (int i = 0; i < 2; ++i) {
    ExpectClose(beside->run->saved()[i].value.toTensor(), alone->run->saved()[i].value.toTensor());
  }
  // The greedy one's memory is nobody else's.
  EXPECT_LT(beside->run->memory().peak_bytes(), 10'000U);
}

TEST_F(RunMemoryTest, WithRoomForItTheGreedyOperatorRuns) {
  const auto greedy = Prepare(kGreedy, 128 * kMegabyte);
  run::Run* const runs[] = {greedy->run.get()};
  ASSERT_THAT(model_.hosted().Run(runs), IsOk());
  ASSERT_THAT(greedy->run->status(), IsOk());
  EXPECT_GE(greedy->run->memory().peak_bytes(), 64 * kMegabyte);
  EXPECT_EQ(greedy->run->memory().bytes(), 3 * 32 * sizeof(float));
}

TEST_F(RunMemoryTest, WhatARunTakesIsWithinItsEstimate) {
  const auto run = Prepare(R"(
    %h = read transformer.h.1.output
    %s = aten::softmax(aten::matmul(%h, aten::transpose(%h, 1, 2)), -1)
    write transformer.h.1.output[:, -1] = aten::mean(%h, [1])
    %y = call transformer.h.2(%h)
    save s = aten::sum(%s)
    save y = %y
    save parts = (%h, [aten::mul(%y, 2.0)]))",
                           0);
  run::Run* const runs[] = {run->run.get()};
  ASSERT_THAT(model_.hosted().Run(runs), IsOk());
  ASSERT_THAT(run->run->status(), IsOk());
  EXPECT_GT(run->run->memory().peak_bytes(), 0U);
  EXPECT_LE(run->run->memory().peak_bytes(), run->check.peak_bytes);
}

TEST_F(RunMemoryTest, AfterAThousandRunsNothingIsHeld) {
  uint64_t peak = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto run = Prepare(R"(
      %h = read transformer.h.0.output
      %x = aten::mul(%h, 2.0)
      %x[:, 0] = tensor(float32, [], [1.0])
      save x = %x)",
                             kMegabyte);
    run::Run* const runs[] = {run->run.get()};
    ASSERT_THAT(model_.hosted().Run(runs), IsOk());
    ASSERT_THAT(run->run->status(), IsOk());
    if (i == 0) peak = run->run->memory().peak_bytes();
    EXPECT_EQ(run->run->memory().peak_bytes(), peak);
    run->run->TakeSaved();
    ASSERT_EQ(run->run->memory().bytes(), 0U) << i;
  }
}

}  // namespace
}  // namespace weft::run
