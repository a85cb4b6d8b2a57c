#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/server.h"

namespace weft::server {

/// What the command line of weftd says.
struct Config {
  struct Model {
    std::string name;
    std::string folder;
  };
  std::vector<Model> models;
  std::string data_folder;
  bool keys = true;
  EngineOptions engine;
  ServerOptions server;
  absl::Duration drain = absl::Seconds(30);
  std::string log_level = "info";
};

/// A command line read, or the text and exit code to end with: help, or what is wrong with it.
struct ParsedConfig {
  std::optional<Config> config;
  std::string text;
  int exit_code = 0;
};

ParsedConfig ParseConfig(int argc, const char* const* argv);

}  // namespace weft::server
