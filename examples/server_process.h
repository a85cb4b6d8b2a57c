#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::examples {

/// A child process whose standard output is read. Ends with this object, or with this process.
/// Not thread-safe.
class Process {
 public:
  /// Start `command`; its standard error goes to the file `log`, or to ours if that is empty.
  static absl::StatusOr<Process> Start(const std::vector<std::string>& command,
                                       const std::string& log = "");
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  /// SIGTERM, and SIGKILL if that does not help in ten seconds.
  ~Process();

  pid_t pid() const { return pid_; }
  /// The next line of its output; kUnavailable with how it ended, if it ends first.
  absl::StatusOr<std::string> ReadLine();
  /// Wait for its end. kInternal unless it exited with 0.
  absl::Status Wait();

 private:
  Process(pid_t pid, int output) : pid_(pid), output_(output) {}
  pid_t pid_;   // -1 once it has ended
  int output_;  // the reading end of a pipe; -1 if moved from
};

/// The path of one of Weft's programs: beside the running one (installed), or where it is built,
/// in `folder` beside the running one's.
std::string FindProgram(const std::string& folder, const std::string& name);

/// A folder under the system's temporary one, removed with all that is in it.
class TemporaryFolder {
 public:
  static absl::StatusOr<TemporaryFolder> Make();
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace weft::examples
