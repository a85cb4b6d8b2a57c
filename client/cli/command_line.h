#pragma once

#include "client/cli/commands.h"

namespace weft::cli {

/// The program `weft`: parse the command line, run what it says, return the exit code.
///
/// `make_local` is what --local needs. It is null in `weft` itself, which then goes on as
/// `weft-local`: loading LibTorch takes longer than most commands.
int Main(int argc, char** argv, LocalBackendMaker make_local);

}  // namespace weft::cli
