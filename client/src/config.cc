#include "weft/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace weft {
namespace {

constexpr char kDefaultTarget[] = "localhost:50051";

struct Name {
  const char* name;
  const char* variable;
  bool is_path;
};
constexpr std::array<Name, 6> kNames = {{{"target", "WEFT_TARGET", false},
                                         {"api_key", "WEFT_API_KEY", false},
                                         {"tls", "WEFT_TLS", false},
                                         {"ca", "WEFT_CA_FILE", true},
                                         {"cert", "WEFT_CERT_FILE", true},
                                         {"key", "WEFT_KEY_FILE", true}}};

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string ConfigurationFile() {
  const std::string folder = Variable("XDG_CONFIG_HOME"), home = Variable("HOME");
  if (absl::StartsWith(folder, "/")) return folder + "/weft/config";
  return home.empty() ? std::string() : home + "/.config/weft/config";
}

/// A line `name = value` or `[profile]`; neither for empty lines and comments.
struct Line {
  std::string text;
  std::string profile;  // that the line begins
  std::string name, value;
};

/// None where there is no file. What is there and cannot be read is an error: taken for empty, it
/// would be replaced with all keys that it holds.
absl::StatusOr<std::vector<Line>> ReadLines(const std::string& path) {
  std::vector<Line> lines;
  std::ifstream file(path);
  if (!file.is_open() && (errno == ENOENT || errno == ENOTDIR)) return lines;
  for (Line line; std::getline(file, line.text); lines.push_back(std::exchange(line, {}))) {
    const std::string text(absl::StripAsciiWhitespace(line.text));
    if (text.empty() || text[0] == '#' || text[0] == ';') continue;
    const auto refuse = [&](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", lines.size() + 1, ": ", what));
    };
    if (text[0] == '[') {
      if (text.size() < 3 || text.back() != ']') return refuse("a profile begins with [name]");
      line.profile = text.substr(1, text.size() - 2);
      continue;
    }
    const size_t equals = text.find('=');
    if (equals == std::string::npos) return refuse("a line is name = value, or [profile]");
    line.name = std::string(absl::StripAsciiWhitespace(text.substr(0, equals)));
    line.value = std::string(absl::StripAsciiWhitespace(text.substr(equals + 1)));
    if (std::none_of(kNames.begin(), kNames.end(),
                     [&](const Name& name) { return line.name == name.name; })) {
      return refuse(absl::StrCat(
          "there is no setting '", line.name, "'; there are ",
          absl::StrJoin(kNames, ", ", [](std::string* out, const Name& n) { *out += n.name; })));
    }
  }
  // A folder can be opened, and reading it fails.
  if (!file.is_open() || file.bad()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read ", path, ": ", std::strerror(errno),
                     "; make it readable, or let XDG_CONFIG_HOME name another folder"));
  }
  return lines;
}

/// Lines [begin, end) of a profile; nothing if it is not there.
std::optional<std::pair<size_t, size_t>> FindProfile(const std::vector<Line>& lines,
                                                     const std::string& profile) {
  const auto begins = [](const Line& line) { return !line.profile.empty(); };
  auto begin = lines.begin();
  if (!profile.empty()) {
    begin =
        std::find_if(begin, lines.end(), [&](const Line& line) { return line.profile == profile; });
    if (begin == lines.end()) return std::nullopt;
    ++begin;
  }
  const auto end = std::find_if(begin, lines.end(), begins);
  return std::pair<size_t, size_t>(begin - lines.begin(), end - lines.begin());
}

std::string AbsolutePath(const std::string& value, const std::string& file) {
  if (absl::StartsWith(value, "~/")) return Variable("HOME") + value.substr(1);
  return (std::filesystem::path(file).parent_path() / value).string();
}

absl::StatusOr<Configuration> Load(const std::map<std::string, std::string>& overrides,
                                   const std::string& profile, bool new_profile) {
  Configuration configuration;
  configuration.file = ConfigurationFile();
  configuration.profile = profile.empty() ? Variable("WEFT_PROFILE") : profile;

  std::map<std::string, Setting> in_file;
  absl::StatusOr<std::vector<Line>> lines = ReadLines(configuration.file);
  if (!lines.ok()) return lines.status();
  if (const auto range = FindProfile(*lines, configuration.profile)) {
    for (size_t i = range->first; i < range->second; ++i) {
      const Line& line = (*lines)[i];
      if (line.name.empty()) continue;
      in_file[line.name] = {line.name, line.value, absl::StrCat(configuration.file, ":", i + 1)};
    }
  } else if (!new_profile) {
    std::vector<std::string> names;
    for (const Line& line : *lines) {
      if (!line.profile.empty()) names.push_back(line.profile);
    }
    return absl::NotFoundError(
        absl::StrCat("there is no profile '", configuration.profile, "' in ", configuration.file,
                     "; there are: ", names.empty() ? "none" : absl::StrJoin(names, ", ")));
  }

  const auto choose = [&](const Name& name) -> Setting {
    if (const auto found = overrides.find(name.name); found != overrides.end()) {
      return {name.name, found->second,
              absl::StrCat("--", absl::StrReplaceAll(found->first, {{"_", "-"}}))};
    }
    if (std::string value = Variable(name.variable); !value.empty()) {
      return {name.name, value, name.variable};
    }
    if (const auto found = in_file.find(name.name); found != in_file.end()) {
      Setting setting = found->second;
      if (name.is_path) setting.value = AbsolutePath(setting.value, configuration.file);
      return setting;
    }
    return {name.name, name.name == std::string("target") ? kDefaultTarget : "", "default"};
  };
  configuration.target = choose(kNames[0]).value;
  // Without a target they are for the default one, not for any.
  const auto of_file = in_file.find("target");
  const std::string meant = of_file == in_file.end() ? kDefaultTarget : of_file->second.value;
  if (!in_file.empty() && meant != configuration.target) {
    configuration.warnings.push_back(
        absl::StrCat("the settings in ", configuration.file, " are for ", meant,
                     of_file == in_file.end() ? ", since no target is among them" : "",
                     ": nothing of them is used for ", configuration.target));
    in_file.clear();
  }
  for (const Name& name : kNames) configuration.settings.push_back(choose(name));

  const std::vector<Setting>& settings = configuration.settings;
  configuration.options.api_key = settings[1].value;
  if (!settings[2].value.empty() &&
      !absl::SimpleAtob(settings[2].value, &configuration.options.tls)) {
    return absl::InvalidArgumentError(
        absl::StrCat(settings[2].source, ": tls is true or false, not '", settings[2].value, "'"));
  }
  configuration.options.ca_file = settings[3].value;
  configuration.options.cert_file = settings[4].value;
  configuration.options.key_file = settings[5].value;

  struct stat info = {};
  const bool holds_key =
      std::any_of(lines->begin(), lines->end(), [](const Line& l) { return l.name == "api_key"; });
  if (holds_key && stat(configuration.file.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    configuration.warnings.push_back(absl::StrCat(
        configuration.file, " holds a key and others may read it: chmod 600 ", configuration.file));
  }
  return configuration;
}

absl::Status Failed(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

/// A new file beside the old one, readable by its owner alone, takes its place when it is whole.
absl::Status Replace(const std::string& path, const std::string& content) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkstemp(temporary.data());  // with mode 0600
  if (file < 0) return Failed(absl::StrCat("cannot write beside ", path));
  absl::Status status;
  for (size_t at = 0; at < content.size() && status.ok();) {
    const ssize_t count = write(file, content.data() + at, content.size() - at);
    if (count < 0 && errno != EINTR) status = Failed(absl::StrCat("cannot write ", temporary));
    if (count > 0) at += static_cast<size_t>(count);
  }
  if (status.ok() && fsync(file) != 0) status = Failed(absl::StrCat("cannot write ", temporary));
  close(file);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = Failed(absl::StrCat("cannot write ", path));
  }
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace

absl::StatusOr<Configuration> LoadConfiguration(const std::map<std::string, std::string>& overrides,
                                                const std::string& profile) {
  return Load(overrides, profile, /*new_profile=*/false);
}

absl::StatusOr<Configuration> LoadNewConfiguration(
    const std::map<std::string, std::string>& overrides, const std::string& profile) {
  return Load(overrides, profile, /*new_profile=*/true);
}

absl::Status SaveProfile(const std::string& file, const std::string& profile,
                         const std::map<std::string, std::string>& settings) {
  if (file.empty()) return absl::FailedPreconditionError("neither XDG_CONFIG_HOME nor HOME is set");
  if (absl::StrContains(profile, "]") || absl::StrContains(profile, "\n")) {
    return absl::InvalidArgumentError("a profile's name has neither ] nor line ends");
  }
  std::error_code error;
  // Where the file is a link, what it points to is written.
  const std::string path = std::filesystem::weakly_canonical(file, error).string();
  if (error)
    return absl::UnavailableError(absl::StrCat("cannot write ", file, ": ", error.message()));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const bool new_folder = std::filesystem::create_directories(folder, error);
  if (new_folder) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  if (error)
    return absl::UnavailableError(absl::StrCat("cannot make ", folder, ": ", error.message()));

  absl::StatusOr<std::vector<Line>> lines = ReadLines(path);
  if (!lines.ok()) return lines.status();
  if (!FindProfile(*lines, profile)) lines->push_back({absl::StrCat("[", profile, "]"), profile});
  for (const auto& [name, value] : settings) {
    if (absl::StrContains(value, "\n")) {
      return absl::InvalidArgumentError(absl::StrCat(name, " has several lines"));
    }
    Line line = {absl::StrCat(name, " = ", value), "", name, value};
    const auto range = *FindProfile(*lines, profile);
    const auto begin = lines->begin() + range.first, end = lines->begin() + range.second;
    const auto is_old = [&](const Line& at) { return at.name == name; };
    const auto old = std::find_if(begin, end, is_old);
    const auto at = (old == end ? begin : old) - lines->begin();
    // All of them: where there are several, the last one would count.
    lines->erase(std::remove_if(old, end, is_old), end);
    if (!value.empty()) lines->insert(lines->begin() + at, std::move(line));
  }
  return Replace(path, absl::StrJoin(*lines, "", [](std::string* out, const Line& line) {
                   absl::StrAppend(out, line.text, "\n");
                 }));
}

}  // namespace weft
