#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "weft/client.h"

// The engine in this process: link weft::client_local, which brings LibTorch along.

namespace weft::models {
struct Network;
}

namespace weft {

/// How much of a model's weights was read.
using LoadProgress =
    std::function<void(const std::string& model, uint64_t bytes, uint64_t total_bytes)>;

/// Shows it as a line on stderr that is written over, if that is a terminal.
LoadProgress TerminalProgress();

struct LocalOptions {
  /// Folders as the Hub lays them out, by the name to host them as; or ids of models that were
  /// downloaded into the Hub's cache on this machine: `org/name`, `org/name@revision`.
  std::map<std::string, std::string> models;
  /// What their weights and activations are: `float32`, `bfloat16`, `float16`, or `auto`, what each
  /// checkpoint says.
  std::string dtype = "auto";
  /// Where they lie: `auto` (a GPU, or all of them, if there are any), `cpu`, `cuda`, `cuda:1`.
  std::string device = "auto";
  /// By model, modules that lie elsewhere with all below them: `model.layers.20` on `cuda:1`.
  std::map<std::string, std::map<std::string, std::string>> device_map = {};
  /// Load the weights. Without them folders need none: models can be looked at (tree, sites) and
  /// programs be scanned, on any machine, in next to no memory; runs are refused.
  bool dispatch = true;
  /// LoRA adapters, folders as the peft library saves them: by model, by the names that
  /// ModelOptions::adapter chooses them by.
  std::map<std::string, std::map<std::string, std::string>> adapters = {};
  /// Called on the loading thread for every few megabytes of weights that were read.
  LoadProgress progress = {};
  /// Of one pass's kernels; 0: as many as there are cores.
  int threads = 0;
};

/// Load the models; a backend whose runs have every right.
absl::StatusOr<std::shared_ptr<Backend>> MakeLocalBackend(const LocalOptions& options);
/// The same as a client: `MakeLocalClient({.models = {{"atlas", "models/atlas"}}})`.
absl::StatusOr<Client> MakeLocalClient(const LocalOptions& options);
/// A client of one network that was made in this process, hosted as `name`: see
/// engine/models/network.h, and engine/models/blocks.h for what to make it from.
absl::StatusOr<Client> MakeLocalClient(const std::string& name, models::Network&& network);

}  // namespace weft
