#include "bench/transformers_peer.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace weft::bench {

absl::StatusOr<std::unique_ptr<TransformersPeer>> TransformersPeer::Start(
    const std::string& python, const std::string& folder, const std::string& dtype,
    const std::string& device) {
  std::array<int, 2> requests{}, answers{};
  if (pipe2(requests.data(), O_CLOEXEC) != 0 || pipe2(answers.data(), O_CLOEXEC) != 0) {
    return absl::UnavailableError("no pipe to be had");
  }
  // A request to one that has ended is an error, not an end.
  std::signal(SIGPIPE, SIG_IGN);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, requests[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO);
  std::string program = python, script = "bench/transformers_beside.py", where = folder,
              type = dtype, on = device;
  const std::array<char*, 6> arguments = {program.data(), script.data(), where.data(),
                                          type.data(),    on.data(),     nullptr};
  pid_t pid = 0;
  const int failed =
      posix_spawnp(&pid, python.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(requests[0]);
  close(answers[1]);
  if (failed != 0) {
    close(requests[1]);
    close(answers[0]);
    return absl::UnavailableError(absl::StrCat("cannot run ", python));
  }
  auto peer = std::unique_ptr<TransformersPeer>(
      new TransformersPeer(pid, fdopen(requests[1], "w"), fdopen(answers[0], "r")));
  absl::StatusOr<std::string> ready = peer->ReadLine();
  if (!ready.ok()) return ready.status();
  return peer;
}

TransformersPeer::~TransformersPeer() {
  fclose(requests_);  // its input ends, and it with that
  fclose(answers_);
  waitpid(pid_, nullptr, 0);
}

absl::StatusOr<double> TransformersPeer::Forward(int64_t batch, int64_t tokens) {
  return Ask(absl::StrCat("forward ", batch, " ", tokens));
}

absl::StatusOr<double> TransformersPeer::Generate(int64_t batch, int64_t tokens,
                                                  int64_t new_tokens) {
  return Ask(absl::StrCat("generate ", batch, " ", tokens, " ", new_tokens));
}

absl::StatusOr<std::string> TransformersPeer::ReadLine() {
  std::array<char, 256> line{};
  if (fgets(line.data(), line.size(), answers_) == nullptr) {
    return absl::UnavailableError("bench/transformers_beside.py has ended");
  }
  return std::string(line.data());
}

absl::StatusOr<double> TransformersPeer::Ask(const std::string& request) {
  fprintf(requests_, "%s\n", request.c_str());
  fflush(requests_);
  absl::StatusOr<std::string> answer = ReadLine();
  if (!answer.ok()) return answer.status();
  double seconds = 0;
  if (!absl::SimpleAtod(*answer, &seconds)) {
    return absl::InternalError(absl::StrCat("bench/transformers_beside.py said ", *answer));
  }
  return seconds;
}

}  // namespace weft::bench
