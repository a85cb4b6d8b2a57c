#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "weft/local.h"

namespace weft::testing {

/// What `weft --local` needs, on one thread.
inline absl::StatusOr<std::shared_ptr<Backend>> HostLocally(const cli::LocalModel& model) {
  return MakeLocalBackend({.models = {{model.name, model.folder}},
                           .device = model.device,
                           .dispatch = model.dispatch,
                           .adapters = {{model.name, model.adapters}},
                           .threads = 1});
}

}  // namespace weft::testing
