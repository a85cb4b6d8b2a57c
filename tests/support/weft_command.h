#pragma once

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli/command_line.h"

namespace weft::testing {

struct CommandOutput {
  int code = 0;
  std::string out, err;
};

/// Run `weft ARGUMENTS...` in this process, and take what it prints.
inline CommandOutput RunWeft(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "weft");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  std::ostringstream out, err;
  std::streambuf* const out_before = std::cout.rdbuf(out.rdbuf());
  std::streambuf* const err_before = std::cerr.rdbuf(err.rdbuf());
  const int code = cli::Main(static_cast<int>(argv.size()), argv.data(), nullptr);
  std::cout.rdbuf(out_before);
  std::cerr.rdbuf(err_before);
  return {code, out.str(), err.str()};
}

}  // namespace weft::testing
