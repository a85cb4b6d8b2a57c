#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/config/config.pb.h"
#include "server/server.h"
#include "server/tls.h"

namespace weft::server {

/// A configuration, whole and checked; or the text and exit code to end with: help, the answer of
/// --check-config, or everything that is wrong, a line each.
struct ParsedConfig {
  std::optional<Config> config;
  std::string file;  // of --config, or empty
  std::vector<std::string> warnings;
  std::string text;
  int exit_code = 0;
};

/// Read the command line and the file of its --config. Listens nowhere and loads nothing, so it
/// may be called for the configuration of a server that runs.
ParsedConfig ParseConfig(int argc, const char* const* argv);

TlsFiles MakeTlsFiles(const Config& config);
/// Of a configuration that was checked.
EngineOptions MakeEngineOptions(const Config& config);
ServerOptions MakeServerOptions(const Config& config);

}  // namespace weft::server
