#include <map>
#include <memory>
#include <string>

#include "client/cli/command_line.h"
#include "weft/local.h"

namespace {

absl::StatusOr<std::shared_ptr<weft::Backend>> MakeLocal(const weft::cli::LocalModel& model) {
  return weft::MakeLocalBackend({.models = {{model.name, model.folder}},
                                 .device = model.device,
                                 .dispatch = model.dispatch,
                                 .adapters = {{model.name, model.adapters}},
                                 .progress = weft::TerminalProgress()});
}

}  // namespace

int main(int argc, char** argv) { return weft::cli::Main(argc, argv, MakeLocal); }
