#include "client/cli/login.h"

#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <iomanip>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "client/cli/commands.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

std::string ReadKey() {
  termios before = {};
  const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
  if (terminal) {
    std::cerr << "API key: " << std::flush;
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  std::string key;
  std::getline(std::cin, key);
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    std::cerr << "\n";
  }
  return std::string(absl::StripAsciiWhitespace(key));
}

/// `weft_<id>_****`.
std::string Masked(const std::string& key) {
  if (key.empty()) return "";
  const size_t id = key.find('_');
  const size_t secret = id == std::string::npos ? id : key.find('_', id + 1);
  return (secret == std::string::npos ? "" : key.substr(0, secret + 1)) + "****";
}

}  // namespace

int Login(const std::map<std::string, std::string>& flags, const std::string& profile, bool check) {
  absl::StatusOr<Configuration> configuration = LoadNewConfiguration(flags, profile);
  if (!configuration.ok()) return ReportUsage(configuration.status());
  const std::string key = ReadKey();
  if (key.empty()) {
    std::cerr << "weft: no key came from standard input\n";
    return kUsage;
  }
  if (check) {
    RemoteOptions options = configuration->options;
    options.api_key = key;
    absl::StatusOr<Client> client = Client::Connect(configuration->target, options);
    if (!client.ok()) {
      std::cerr << "weft: the key was not kept (--no-check keeps it all the same)\n";
      return Report(client.status());
    }
  }
  // All that the key was tried with, and nothing that was for another server. What is taken from
  // the file stays there as it is.
  std::map<std::string, std::string> settings;
  for (const Setting& setting : configuration->settings) {
    if (absl::StartsWith(setting.source, configuration->file)) continue;
    settings[setting.name] = setting.value;
  }
  for (const char* path : {"ca", "cert", "key"}) {
    const auto found = settings.find(path);
    if (found == settings.end() || found->second.empty()) continue;
    found->second = std::filesystem::absolute(found->second).string();
  }
  settings["target"] = configuration->target;
  settings["api_key"] = key;
  if (absl::Status saved = SaveProfile(configuration->file, configuration->profile, settings);
      !saved.ok()) {
    return Report(saved);
  }
  std::cerr << "weft: the key for " << configuration->target << " is in " << configuration->file
            << "\n";
  return kOk;
}

int ShowConfiguration(const Configuration& configuration) {
  std::cout << std::left << std::setw(9) << "file" << configuration.file << "\n"
            << std::setw(9) << "profile"
            << (configuration.profile.empty() ? "-" : configuration.profile) << "\n";
  for (const Setting& setting : configuration.settings) {
    const std::string value = setting.name == "api_key" ? Masked(setting.value) : setting.value;
    std::cout << std::setw(9) << setting.name << std::setw(32) << (value.empty() ? "-" : value)
              << " " << setting.source << "\n";
  }
  return kOk;
}

}  // namespace weft::cli
