#pragma once

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

struct LocalOptions {
  /// Folders as the Hub lays them out, by the name to host them as.
  std::map<std::string, std::string> models;
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
