#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "weft/backend.h"
#include "weft/value.h"

namespace weft {

/// How to run a trace: RunSettings, and whom to tell.
struct TraceOptions {
  /// The run ends with kDeadlineExceeded after this time.
  absl::Duration deadline = absl::InfiniteDuration();
  /// A pass of its own, without other users' rows.
  bool exclusive = false;
  /// The same bits each time, whoever else is there.
  bool exact = false;
  /// Of the program's random operators, and of generations that sample.
  uint64_t seed = 0;
  /// Lets another thread, or on_event, end the run.
  Cancellation cancellation;
  /// Called on the tracing thread as events come: queue position, log lines, results.
  std::function<void(const RunEvent&)> on_event;
  /// RunSettings::edits, behind those of the handle (LanguageModel::WithEdits).
  std::vector<std::string> edits = {};
  /// Give on_event the tokens of generations as they are chosen: event::NewTokens.
  bool stream_tokens = false;

  RunSettings settings() const {
    return {deadline, exclusive, exact, seed, cancellation, edits, stream_tokens};
  }
};

/// How a run went. Saves are in the Saved<T> handles too. A plain value, as all structs here are:
/// read it from any thread, change it from one.
struct RunResult {
  struct LogEntry {
    std::string label, text;
  };

  /// Of saves inside `steps` and sweeps lists, of caches dicts whose keys are `h.0.output`.
  std::map<std::string, Value> saves;
  /// Saves without a value, or lists without some of their items, and why.
  std::map<std::string, absl::Status> missing;
  std::vector<LogEntry> log;
  std::vector<ErrorDetails> warnings;
  RunCost cost;
  std::string job_id;
  /// Of the model that ran.
  std::string fingerprint;
  /// Stored edits that were applied, in order, each with its version: `steer@2`.
  std::vector<std::string> edits;

  /// A save by name: kNotFound, or why it has no value.
  absl::StatusOr<Value> Get(const std::string& name) const;
};

}  // namespace weft
