#pragma once

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace weft::testing {

/// Sets variables of the environment, and puts back what was there when it goes.
class Environment {
 public:
  ~Environment() {
    for (const auto& [name, value] : before_) Put(name, value);
  }
  /// Nothing removes the variable.
  void Set(const std::string& name, const std::optional<std::string>& value) {
    const char* old = std::getenv(name.c_str());
    before_.emplace(name, old == nullptr ? std::optional<std::string>() : std::string(old));
    Put(name, value);
  }

 private:
  static void Put(const std::string& name, const std::optional<std::string>& value) {
    if (value) {
      setenv(name.c_str(), value->c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
  std::map<std::string, std::optional<std::string>> before_;
};

/// Without what a developer's own environment says about Weft; `folder` is where the client's
/// configuration file is looked for.
inline void ForgetConfiguration(Environment* environment, const std::string& folder) {
  for (const char* name : {"WEFT_TARGET", "WEFT_API_KEY", "WEFT_TLS", "WEFT_CA_FILE",
                           "WEFT_CERT_FILE", "WEFT_KEY_FILE", "WEFT_PROFILE"}) {
    environment->Set(name, std::nullopt);
  }
  environment->Set("XDG_CONFIG_HOME", folder);
}

}  // namespace weft::testing
