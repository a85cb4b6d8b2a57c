#include <map>
#include <memory>
#include <string>

#include "client/cli/command_line.h"
#include "weft/local.h"

namespace {

absl::StatusOr<std::shared_ptr<weft::Backend>> MakeLocal(
    const std::string& name, const std::string& folder,
    const std::map<std::string, std::string>& adapters) {
  return weft::MakeLocalBackend({.models = {{name, folder}},
                                 .adapters = {{name, adapters}},
                                 .progress = weft::TerminalProgress()});
}

}  // namespace

int main(int argc, char** argv) { return weft::cli::Main(argc, argv, MakeLocal); }
