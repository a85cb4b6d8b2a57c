#pragma once

#include <signal.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "weft/backend.h"
#include "weft/client.h"

// What the commands share that run something: where it runs, what is said meanwhile, how it is
// interrupted.

namespace weft::cli {

void PrintJson(const nlohmann::json& object);
void PrintWarnings(const std::vector<ErrorDetails>& warnings);
void SayWaiting(const event::Waiting& waiting);

/// The server, or the model loaded from --local, as `model` or by its folder's name.
absl::StatusOr<std::shared_ptr<Backend>> OpenBackend(const GlobalOptions& global,
                                                     const std::string& model);

/// Progress goes to standard error: at once on a terminal, otherwise only when it takes long.
class Progress {
 public:
  void Say(const std::string& text) const;
  /// Now and then, of what takes long.
  void Say(const event::Receiving& receiving);

 private:
  const absl::Time start_ = absl::Now();
  absl::Time said_ = start_;
};

/// While it lives, the first SIGINT or SIGTERM cancels the run and the next one ends the process.
/// Made before any other thread starts, so that all of them leave signals to it, and after what is
/// read from standard input, which nothing cancels.
///
/// With `survives_closed_pipes` a SIGPIPE ends the process only when the scope ends: whoever reads
/// what is printed may leave before the file of --out is written.
class InterruptScope {
 public:
  explicit InterruptScope(Cancellation cancellation, bool survives_closed_pipes = false);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  sigset_t signals_, before_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

/// Write what a run gave to the file of --out, and say so; where that fails, why. Whether it is
/// there.
bool WriteOut(const std::string& path, const std::string& model, const RunResult& result,
              const Progress& progress);

/// `3 tokens`, `1 pass`.
std::string Plural(uint64_t count, const std::string& one);
/// What a run took: `12 tokens, 5 passes, 3.10 ms in the model`.
std::string Taken(const RunCost& cost);

}  // namespace weft::cli
