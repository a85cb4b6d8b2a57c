#pragma once

#include <map>
#include <string>

#include "weft/config.h"

namespace weft::cli {

/// Read a key from standard input (without echo on a terminal), try it if `check`, and keep it in
/// the configuration file's profile, with what it was tried with: the flags, by name, and the
/// environment. What the profile says of another server goes. The exit code.
int Login(const std::map<std::string, std::string>& flags, const std::string& profile, bool check);

/// Print every setting and where it comes from, the key without its secret. The exit code.
int ShowConfiguration(const Configuration& configuration);

}  // namespace weft::cli
