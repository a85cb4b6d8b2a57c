#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "weft/backend.h"

// Which server to use and how, as a user has set it up once. All functions here are thread-safe as
// long as nobody changes the environment.

namespace weft {

/// A setting, and where it comes from: `WEFT_TARGET`, `/home/me/.config/weft/config:3`, `default`.
struct Setting {
  std::string name;  // target, api_key, tls, ca, cert, key
  std::string value;
  std::string source;
};

/// What weft::Client::Connect() uses.
struct Configuration {
  std::string target;
  RemoteOptions options;
  /// What target and options were made from, in that order.
  std::vector<Setting> settings;
  /// The file, which need not exist, and the profile of it; empty for the lines before any profile.
  std::string file, profile;
  /// What the user should know: the file can be read by others, say.
  std::vector<std::string> warnings;
};

/// Read `$XDG_CONFIG_HOME/weft/config` (`~/.config/weft/config`): lines `name = value`, and after a
/// line `[profile]` those of that profile. `overrides`, by name, come before the environment
/// (WEFT_TARGET, WEFT_API_KEY, WEFT_TLS, WEFT_CA_FILE, WEFT_CERT_FILE, WEFT_KEY_FILE), and that
/// comes before the file. `profile` may be empty: then WEFT_PROFILE says which.
///
/// A profile describes one server: where another target is asked for, nothing of it is used, so
/// that no key goes where it does not belong. Without a target it is for localhost:50051.
/// kInvalidArgument names file and line; kFailedPrecondition a file that is there and cannot be
/// read; kNotFound the profiles that there are.
absl::StatusOr<Configuration> LoadConfiguration(
    const std::map<std::string, std::string>& overrides = {}, const std::string& profile = "");

/// The same, where `profile` need not be there yet.
absl::StatusOr<Configuration> LoadNewConfiguration(
    const std::map<std::string, std::string>& overrides, const std::string& profile);

/// Write settings, by name, into a profile of `file`, without those whose value is empty;
/// everything else in it stays. The file can be read by its owner alone.
absl::Status SaveProfile(const std::string& file, const std::string& profile,
                         const std::map<std::string, std::string>& settings);

}  // namespace weft
