#include "client/cli/running.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/results.h"

namespace weft::cli {
namespace {

using nlohmann::json;

constexpr absl::Duration kQuietFor = absl::Seconds(1);
constexpr absl::Duration kEvery = absl::Seconds(1);

}  // namespace

void PrintJson(const json& object) {
  // Text of a model need not be UTF-8.
  std::cout << object.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

void PrintWarnings(const std::vector<ErrorDetails>& warnings) {
  for (const ErrorDetails& warning : warnings) {
    std::cerr << "weft: warning: ";
    if (warning.line != 0) std::cerr << warning.file << ":" << warning.line << ": ";
    std::cerr << warning.message << (warning.statement.empty() ? "" : ": ") << warning.statement
              << "\n";
  }
}

void SayWaiting(const event::Waiting& waiting) {
  std::cerr << "weft: " << std::string(waiting.reason.message()) << "; trying again in "
            << absl::FormatDuration(absl::Trunc(waiting.delay, absl::Milliseconds(1))) << "\n";
}

absl::StatusOr<std::shared_ptr<Backend>> OpenBackend(const GlobalOptions& global,
                                                     const std::string& model) {
  if (global.local_folder.empty()) {
    return MakeRemoteBackend(global.target, ToRemoteOptions(global));
  }
  LocalModel local{.name = model,
                   .folder = global.local_folder,
                   .device = global.local_device,
                   .dispatch = !global.local_without_weights};
  if (local.name.empty()) {
    local.name = std::filesystem::absolute(local.folder).lexically_normal().filename().string();
    if (local.name.empty()) local.name = "model";
  }
  for (const std::string& given : global.local_adapters) {
    const std::pair<std::string, std::string> adapter =
        absl::StrSplit(given, absl::MaxSplits('=', 1));
    if (adapter.first.empty() || adapter.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--local-adapter '", given, "' is not NAME=FOLDER"));
    }
    local.adapters.insert(adapter);
  }
  Progress().Say(absl::StrCat("loading ", global.local_folder));
  return global.make_local(local);
}

void Progress::Say(const std::string& text) const {
  if (isatty(STDERR_FILENO) == 0 && absl::Now() - start_ < kQuietFor) return;
  std::cerr << "weft: " << text << "\n";
}

void Progress::Say(const event::Receiving& receiving) {
  if (absl::Now() - said_ < kEvery) return;
  said_ = absl::Now();
  Say(absl::StrCat("receiving ", receiving.name, ": ", receiving.bytes >> 20, " of ",
                   receiving.of >> 20, " MiB"));
}

InterruptScope::InterruptScope(Cancellation cancellation, bool survives_closed_pipes) {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  sigset_t blocked = signals_;
  if (survives_closed_pipes) sigaddset(&blocked, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  thread_ = std::thread([this, cancellation = std::move(cancellation)] {
    for (bool again = false;; again = true) {
      int signal = 0;
      sigwait(&signals_, &signal);
      if (ended_) return;
      if (again) _exit(128 + signal);
      std::cerr << "weft: cancelling; once more to leave at once\n";
      cancellation.Cancel();
    }
  });
}

InterruptScope::~InterruptScope() {
  ended_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool WriteOut(const std::string& path, const std::string& model, const RunResult& result,
              const Progress& progress) {
  if (absl::Status written = WriteResults(path, model, result); !written.ok()) {
    Report(written);
    return false;
  }
  progress.Say(absl::StrCat("wrote ", path));
  return true;
}

std::string Plural(uint64_t count, const std::string& one) {
  return absl::StrCat(count, " ", one, count == 1 ? "" : (absl::EndsWith(one, "s") ? "es" : "s"));
}

std::string Taken(const RunCost& cost) {
  char milliseconds[32];
  std::snprintf(milliseconds, sizeof(milliseconds), "%.2f ms", cost.run_seconds * 1e3);
  return absl::StrCat(Plural(cost.tokens, "token"), ", ", Plural(cost.passes, "pass"), ", ",
                      milliseconds, " in the model");
}

}  // namespace weft::cli
