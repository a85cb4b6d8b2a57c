#pragma once

#include <spdlog/formatter.h>

#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace weft::server {

/// Something that a line says beside its text, under a name of our own.
struct LogField {
  const char* name;
  std::variant<std::string, double> value;
};
using LogFields = std::vector<LogField>;

/// While it lives, every line that this thread logs has `fields` too. Scopes nest: the inner one
/// counts.
class LogScope {
 public:
  explicit LogScope(LogFields fields);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

 private:
  const LogFields fields_;
  const LogFields* const outer_;
};

/// Lines of `text` (`TIME LEVEL MESSAGE name=value ...`) or `json` (an object). A record is one
/// line of printable ASCII whatever is in it: what somebody else wrote cannot look like a line of
/// ours.
std::unique_ptr<spdlog::formatter> MakeLogFormatter(const std::string& format);

/// Log to stderr, gRPC's own lines too. `level`: trace, debug, info, warn or error.
void SetUpLog(const std::string& level, const std::string& format);

}  // namespace weft::server
