#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/config/config.h"
#include "server/server.h"

namespace weft::server {

/// What a running server has to do for a new configuration. Fields are named as in the schema.
struct Changes {
  std::vector<Model> load;     // new names
  std::vector<Model> replace;  // names whose folder, dtype or adapters changed
  std::vector<std::string> unload;
  std::vector<std::string> now;      // fields that take effect at once, but for `model`
  std::vector<std::string> restart;  // fields that need a restart
};

Changes Compare(const Config& running, const Config& wanted);

/// Load a model that is new, and log what it is; kCancelled once `stopping`. Errors name it and its
/// folder.
absl::Status HostModel(
    const Model& model, Engine* engine,
    const std::function<bool()>& stopping = [] { return false; });

/// Bring a running server to `wanted`, which was checked: models, limits, log level. What fails or
/// needs a restart is logged by name and stays. `running` becomes what is in effect. Loads no
/// further once `stopping`.
void Reload(
    const Config& wanted, Config* running, Engine* engine, Server* server,
    const std::function<bool()>& stopping = [] { return false; });

}  // namespace weft::server
