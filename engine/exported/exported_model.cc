#include "engine/exported/exported_model.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/exported/executor.h"
#include "engine/exported/functionalise.h"
#include "engine/exported/graph.h"
#include "engine/exported/program.h"
#include "engine/exported/sites.h"
#include "engine/exported/weights.h"
#include "engine/graph/content_hash.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft::exported {
namespace {

/// A graph and what its modules share. Const once its sites are recorded.
struct Shared {
  Graph graph;
  Options options;
};

/// A module of an exported program. What it does is in the graph, which runs it with all others.
class ExportedModule final : public models::Module {
 public:
  ExportedModule(std::shared_ptr<Shared> shared, int module) : shared_(std::move(shared)) {
    const Graph& graph = shared_->graph;
    info_ = &graph.modules[module];
    call_ = info_->first_call;
    for (const int child : info_->children) {
      Own(graph.modules[child].name, std::make_unique<ExportedModule>(shared_, child));
    }
  }

  std::string type() const override { return info_->type; }
  bool packs() const override { return false; }

  std::string why_no_site(bool input) const override {
    if (!info_->why.empty()) return info_->why;
    if (call_ < 0) return "the exported program has no call of it";
    const ModuleCall& call = shared_->graph.calls[call_];
    return input ? call.input.why : call.output.why;
  }

  std::string why_not_alone() const override {
    if (call_ >= 0) {
      const ModuleCall& call = shared_->graph.calls[call_];
      if (call.self_contained && call.output.structure.kind == Structure::Kind::kLeaf &&
          call.output.why.empty() && call.input.why.empty()) {
        return "";
      }
    }
    return "it needs more than its input";
  }

  /// By itself, out of band.
  at::Tensor forward(run::Pass& /*pass*/, at::Tensor x) override {
    TORCH_CHECK(why_not_alone().empty(), "this module cannot be called by itself");
    return Executor(shared_->graph, nullptr, shared_->options.memory_bytes).RunCall(call_, x);
  }

  void CallAsRoot(run::Pass& pass) override {
    const size_t count = call_ == 0 ? shared_->graph.user_inputs.size() : 1;
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < count; ++i) {
      std::vector<at::Tensor> rows;
      for (const run::Segment* segment : pass.present()) {
        const run::InvokeInput& given = *segment->input;
        TORCH_CHECK(i <= given.others.size(), "the program is given too few tensors");
        rows.push_back((i == 0 ? given.values : given.others[i - 1]).to(shared_->graph.device));
      }
      inputs.push_back(rows.size() == 1 ? rows[0] : at::cat(rows, 0));
    }
    Executor executor(shared_->graph, &pass, shared_->options.memory_bytes);
    if (call_ == 0) {
      executor.Run(inputs);
    } else {
      TORCH_CHECK(why_not_alone().empty(), "this module cannot be called by itself");
      executor.RunCall(call_, inputs[0]);
    }
  }

 private:
  const std::shared_ptr<Shared> shared_;
  const ModuleInfo* info_;
  int call_ = -1;
};

/// What a client sees as the model's configuration.
absl::StatusOr<std::string> Configuration(const Program& program) {
  absl::StatusOr<std::string> hash =
      graph::ContentHash::Of(program.graph_json.data(), program.graph_json.size());
  if (!hash.ok()) return hash.status();
  const nlohmann::json json = {{"exported_program",
                                {{"torch_version", program.torch_version},
                                 {"nodes", program.nodes.size()},
                                 {"sha256", graph::ContentHash::ToText(*hash)}}}};
  return json.dump(2);
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  if (status.ok() || absl::StartsWith(std::string(status.message()), path)) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<models::Network> Make(const Archive& archive, const Options& options) {
  absl::StatusOr<Program> program = ReadProgram(archive);
  if (!program.ok()) return program.status();
  absl::StatusOr<std::string> config = Configuration(*program);
  if (!config.ok()) return config.status();
  program->graph_json.clear();
  if (absl::Status status = Functionalise(*program); !status.ok()) return status;
  absl::StatusOr<Graph> graph = MakeGraph(*std::move(program));
  if (!graph.ok()) return graph.status();
  graph->device = options.device;
  if (absl::Status status = LoadWeights(archive, *graph); !status.ok()) return status;
  absl::StatusOr<Dynamics> dynamics = FindDynamics(*graph);
  if (!dynamics.ok()) return dynamics.status();
  auto shared = std::make_shared<Shared>(Shared{*std::move(graph), options});

  models::Network network;
  network.root = std::make_unique<ExportedModule>(shared, 0);
  network.family = "exported";
  network.devices = devices::DeviceMap(options.device);
  network.config_json = *std::move(config);
  network.input = InputOf(shared->graph, *dynamics);
  network.max_tokens = dynamics->tokens ? dynamics->lengths.most : 1;
  for (const Input& given : shared->graph.program.inputs) {
    if (given.kind != Input::Kind::kParameter && given.kind != Input::Kind::kBuffer) continue;
    const at::Tensor weight = shared->graph.given[given.value].toTensor();
    if (weight.is_floating_point()) network.dtype = weight.scalar_type();
    network.parameters[given.target] = weight;
  }
  network.record_sites = [shared, dynamics = *dynamics, path = archive.path()]() {
    absl::StatusOr<models::RecordedSites> sites =
        RecordSites(shared->graph, dynamics, {.memory_bytes = shared->options.memory_bytes});
    if (!sites.ok()) sites = InFile(path, sites.status());
    return sites;
  };
  return network;
}

}  // namespace

bool IsArchive(const std::string& path) { return absl::EndsWith(path, ".pt2"); }

absl::StatusOr<models::Network> MakeNetwork(const Archive& archive, const Options& options) {
  absl::StatusOr<models::Network> network = absl::InternalError("not made");
  absl::Status status = plan::CatchTorch([&] {
    network = Make(archive, options);
    return network.status();
  });
  if (!status.ok()) return InFile(archive.path(), status);
  return network;
}

absl::StatusOr<models::Network> LoadNetwork(const std::string& path, const Options& options) {
  absl::StatusOr<Archive> archive = Archive::Open(path);
  if (!archive.ok()) return archive.status();
  return MakeNetwork(*archive, options);
}

}  // namespace weft::exported
