#include <ATen/Parallel.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/benchmarks.h"
#include "bench/mlp.h"
#include "bench/program_run.h"
#include "engine/batch/scheduler.h"
#include "engine/models/hosted_model.h"
#include "engine/plan/plan_cache.h"

namespace weft::bench {
namespace {

constexpr int kRounds = 15;
constexpr int kSamples = 400;  // of a round
constexpr double kMicro = 1e6;

/// A program of one row that saves what the first `saves` layers give, as a client sends it.
absl::StatusOr<std::string> ProgramBytes(int saves) {
  std::string text = "invoke [1] {\n";
  for (int i = 0; i < saves; ++i) {
    absl::StrAppend(&text, "%v", i, " = read layers.", i, ".output\nsave s", i, " = %v", i, "\n");
  }
  return BytesOf(text + "}\n");
}

/// Work for a scheduler whose passes do nothing but look at the clock.
class Hop : public batch::Work {
 public:
  int64_t rows() const override { return 1; }
  uint64_t bytes() const override { return 0; }
  bool begun() const override { return false; }
  bool over() const override { return false; }
  bool alone() const override { return false; }
  int priority() const override { return 0; }
  void Moved(uint32_t) override {}
};

class ClockWorker : public batch::Worker {
 public:
  void RunPass(absl::Span<const std::shared_ptr<batch::Work>>) override {
    arrived_.store(std::chrono::steady_clock::now().time_since_epoch().count(),
                   std::memory_order_release);
  }
  void Rest() override {}
  /// The time of the pass, once there was one.
  std::chrono::steady_clock::time_point Await() {
    std::chrono::steady_clock::rep ticks = 0;
    while ((ticks = arrived_.exchange(0, std::memory_order_acquire)) == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(ticks));
  }

 private:
  std::atomic<std::chrono::steady_clock::rep> arrived_{0};
};

Contender OfProgram(std::string bytes, size_t saves, models::HostedModel& model,
                    plan::PlanCache* plans) {
  return [bytes = std::move(bytes), saves, &model, plans]() -> absl::StatusOr<double> {
    plan::PlanCache cold(model.spec(), ServerLimits());
    absl::StatusOr<size_t> values = 0;
    const double seconds = Time([&] {
      auto run = RunBytes(bytes, model, plans != nullptr ? *plans : cold);
      values = run.ok() ? absl::StatusOr<size_t>(run->size()) : run.status();
    });
    if (!values.ok()) return values.status();
    if (*values != saves) return absl::InternalError("a save has no value");
    return seconds;
  };
}

}  // namespace

absl::Status MeasureOverhead(const Options&, Report& report) {
  // As the engine does for passes as small as this one.
  at::set_num_threads(1);
  absl::StatusOr<std::unique_ptr<models::HostedModel>> model = HostMlp();
  if (!model.ok()) return model.status();
  plan::PlanCache plans((*model)->spec(), ServerLimits());

  std::vector<Contender> contenders;
  const auto input = run::InvokeInput::Make({{1}}, /*pad=*/0, (*model)->pad_left());
  contenders.push_back([&]() -> absl::StatusOr<double> {
    at::Tensor output;
    const double seconds = Time([&] { output = (*model)->Forward(input); });
    if (output.numel() != kMlpWidth) return absl::InternalError("the bare pass gave no row");
    return seconds;
  });
  for (size_t saves : {0, 1, 12}) {
    absl::StatusOr<std::string> bytes = ProgramBytes(static_cast<int>(saves));
    if (!bytes.ok()) return bytes.status();
    contenders.push_back(OfProgram(*bytes, saves, **model, &plans));
    if (saves == 12) contenders.push_back(OfProgram(*bytes, saves, **model, nullptr));
  }
  enum { kBare, kEmpty, kOne, kTwelve, kCold };
  absl::StatusOr<Interleaved> measured = Interleaved::Measure(contenders, kRounds, kSamples);
  if (!measured.ok()) return measured.status();

  report.Add({"empty program, over the bare pass", "us",
              measured->Of([](auto t) { return kMicro * (t[kEmpty] - t[kBare]); }), 20});
  report.Add({"a save of one row, one of 1", "us",
              measured->Of([](auto t) { return kMicro * (t[kOne] - t[kEmpty]); }), 3});
  report.Add({"a save of one row, one of 12", "us",
              measured->Of([](auto t) { return kMicro * (t[kTwelve] - t[kEmpty]) / 12; }), 3});
  report.Add({"12 saves, over the bare pass", "us",
              measured->Of([](auto t) { return kMicro * (t[kTwelve] - t[kBare]); })});
  report.Add({"the same with a plan of its own, over a cached one", "us",
              measured->Of([](auto t) { return kMicro * (t[kCold] - t[kTwelve]); })});
  report.Add({"the bare pass: MLP, 12 layers of width 64, 1 row", "us",
              measured->Of([](auto t) { return kMicro * t[kBare]; })});

  ClockWorker worker;
  batch::Scheduler scheduler(worker, /*max_rows=*/1024, /*max_bytes=*/0);
  absl::StatusOr<Interleaved> hops =
      Interleaved::Measure({[&]() -> absl::StatusOr<double> {
                             const auto start = std::chrono::steady_clock::now();
                             scheduler.Add(std::make_shared<Hop>());
                             return std::chrono::duration<double>(worker.Await() - start).count();
                           }},
                           kRounds, kSamples);
  if (!hops.ok()) return hops.status();
  report.Add({"the queue: from Add to the pass on the model's thread", "us",
              hops->Of([](auto t) { return kMicro * t[0]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
