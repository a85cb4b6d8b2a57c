#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/src/recording.h"
#include "weft/run.h"
#include "weft/session.h"
#include "weft/tracer.h"

namespace weft {

/// Records whole programs: what LanguageModel, Module and Session have in common. Not thread-safe.
class TraceRecorder {
 public:
  /// What a trace is, beside its input.
  struct Header {
    const Module* root = nullptr;  // called alone; null for the model
    std::string label;
    std::optional<GenerateOptions> generate;
  };

  /// A trace of one invoke, or without an input of those that `body` makes.
  static absl::StatusOr<internal::Recorded> Record(
      const std::shared_ptr<const internal::ModelState>& model, const Header& header,
      const Input* input, absl::FunctionRef<void(Tracer&)> body, Location where);
  static absl::StatusOr<internal::Recorded> Record(
      const std::shared_ptr<const internal::ModelState>& model,
      absl::FunctionRef<void(Session&)> body, Location where);

  /// Add such a trace to a recording.
  static void AddTrace(internal::Recording* recording, const Header& header, const Input* input,
                       absl::FunctionRef<void(Tracer&)> body, Location where);
};

namespace internal {

/// Run a program and fill in the handles of its saves.
absl::StatusOr<RunResult> RunProgram(const ModelState& model, const Program& program,
                                     const std::vector<std::shared_ptr<SaveState>>& saves,
                                     const TraceOptions& options);
absl::StatusOr<RunResult> RunRecorded(const ModelState& model,
                                      const absl::StatusOr<Recorded>& recorded,
                                      const TraceOptions& options);

}  // namespace internal
}  // namespace weft
