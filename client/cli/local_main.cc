#include <memory>
#include <string>

#include "client/cli/command_line.h"
#include "weft/local.h"

namespace {

absl::StatusOr<std::shared_ptr<weft::Backend>> MakeLocal(const std::string& name,
                                                         const std::string& folder) {
  return weft::MakeLocalBackend({.models = {{name, folder}}, .progress = weft::TerminalProgress()});
}

}  // namespace

int main(int argc, char** argv) { return weft::cli::Main(argc, argv, MakeLocal); }
