#include "bench/program_run.h"

#include <utility>

#include "engine/graph/codec.h"
#include "engine/graph/lint.h"
#include "engine/graph/message_arena.h"
#include "engine/graph/text.h"
#include "engine/models/network.h"
#include "engine/run/run.h"
#include "engine/weights/hub_folder.h"
#include "weft/v1/program.pb.h"

namespace weft::bench {

absl::StatusOr<std::unique_ptr<models::HostedModel>> HostFolder(const std::string& folder,
                                                                std::optional<at::ScalarType> dtype,
                                                                const std::string& device) {
  absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(folder);
  if (!hub.ok()) return hub.status();
  absl::StatusOr<models::Network> network =
      models::MakeNetwork(*hub, {.dtype = dtype, .device = device});
  if (!network.ok()) return network.status();
  return models::HostedModel::Host(*std::move(network), /*pad_left=*/true);
}

std::vector<int64_t> MakePrompt(int64_t tokens, int64_t row, int64_t vocabulary) {
  std::vector<int64_t> ids(tokens);
  for (int64_t i = 0; i < tokens; ++i) ids[i] = (7919 * (tokens * row + i + 1)) % vocabulary;
  return ids;
}

plan::PlanLimits ServerLimits() {
  return {.value_elements = uint64_t{1} << 30,
          .result_bytes = uint64_t{8} << 30,
          .peak_bytes = uint64_t{16} << 30};
}

absl::StatusOr<std::string> BytesOf(const std::string& text) {
  absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
  if (!program.ok()) return program.status();
  v1::Program message;
  graph::EncodeProgram(*program, &message);
  return message.SerializeAsString();
}

absl::StatusOr<std::vector<graph::HostValue>> RunBytes(const std::string& bytes,
                                                       models::HostedModel& model,
                                                       plan::PlanCache& plans) {
  graph::MessageArena arena;
  auto& message = *arena.Make<v1::Program>();
  if (absl::Status status = graph::ParseChecked(bytes.data(), bytes.size(), &message);
      !status.ok()) {
    return status;
  }
  absl::StatusOr<graph::Program> program = graph::DecodeProgram(message);
  if (!program.ok()) return program.status();
  if (absl::Status status = graph::Check(*program); !status.ok()) return status;
  std::vector<run::InvokeInput> inputs;
  std::vector<plan::RowCount> counts;
  for (const graph::Node& node : program->nodes) {
    const auto* invoke = std::get_if<graph::Invoke>(&node.kind);
    if (invoke == nullptr) continue;
    inputs.push_back(run::InvokeInput::Make(std::get<graph::Invoke::Tokens>(invoke->input).rows,
                                            /*pad=*/0, model.pad_left()));
    counts.push_back({inputs.back().batch(), inputs.back().tokens()});
  }
  absl::StatusOr<plan::Planned> planned = plans.Get(*program, counts);
  if (!planned.ok()) return planned.status();
  run::Run run(*planned->plan, *program, model.spec(), model, std::move(inputs), run::RunLimits(),
               absl::InfiniteFuture(), {.pad_left = model.pad_left()});
  run::Run* const runs[] = {&run};
  if (absl::Status status = model.Run(runs); !status.ok()) return status;
  if (!run.status().ok()) return run.status();
  std::vector<graph::HostValue> values;
  values.reserve(run.saved().size());
  for (const run::SavedItem& saved : run.saved()) values.push_back(run::ToHostValue(saved.value));
  return values;
}

}  // namespace weft::bench
