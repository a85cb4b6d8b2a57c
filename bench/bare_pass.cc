#include "bench/bare_pass.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include <memory>
#include <utility>

#include "bench/program_run.h"
#include "engine/models/hosted_model.h"

namespace weft::bench {

void Await(at::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

absl::StatusOr<double> TimeForward(models::HostedModel& model, const run::InvokeInput& input) {
  at::Tensor output;
  const double seconds = Time([&] {
    output = model.Forward(input);
    Await(output.device());
  });
  if (!output.defined()) return absl::InternalError("the bare pass gave nothing");
  return seconds;
}

absl::StatusOr<Contender> MakeBarePass(const std::string& folder, const std::vector<int64_t>& ids) {
  absl::StatusOr<std::unique_ptr<models::HostedModel>> hosted = HostFolder(folder);
  if (!hosted.ok()) return hosted.status();
  struct Pass {
    std::unique_ptr<models::HostedModel> model;
    run::InvokeInput input;
  };
  auto pass = std::make_shared<Pass>();
  pass->model = *std::move(hosted);
  pass->input = run::InvokeInput::Make({ids}, /*pad=*/0, /*pad_left=*/true);
  return [pass]() -> absl::StatusOr<double> {
    // As the engine does for passes that are too small to share out; of each thread its own.
    thread_local const bool alone = (at::set_num_threads(1), true);
    static_cast<void>(alone);
    return TimeForward(*pass->model, pass->input);
  };
}

}  // namespace weft::bench
