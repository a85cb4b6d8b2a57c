#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/tracer.h"

namespace weft {

class Module;

/// Records several traces as one program: they run one after the other in one job, and a value of
/// an earlier one can be used in a later one as it is. Not thread-safe: for the thread that
/// records.
///
///   model.Session([&](weft::Session& session) {
///     weft::Var clean;
///     session.Trace("one", [&] { clean = model["transformer.h.1"].output(); });
///     session.Generate("two", {.max_new_tokens = 8}, [&] {
///       model["transformer.h.1"].output() = clean;
///     });
///   });
class Session {
 public:
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// What the next trace is called in errors.
  Session& Label(const std::string& label);

  void Trace(const Input& input, absl::FunctionRef<void()> body,
             Location where = Location::current());
  void Trace(const Input& input, absl::FunctionRef<void(Tracer&)> body,
             Location where = Location::current());
  void Trace(absl::FunctionRef<void(Tracer&)> body, Location where = Location::current());
  /// Of `root` alone: see Module::Trace.
  void Trace(const Module& root, const Input& input, absl::FunctionRef<void()> body,
             Location where = Location::current());

  void Generate(const Input& input, const GenerateOptions& options, absl::FunctionRef<void()> body,
                Location where = Location::current());
  void Generate(const Input& input, const GenerateOptions& options,
                absl::FunctionRef<void(Tracer&)> body, Location where = Location::current());
  void Generate(const GenerateOptions& options, absl::FunctionRef<void(Tracer&)> body,
                Location where = Location::current());

 private:
  friend class TraceRecorder;
  explicit Session(internal::Recording* recording) : recording_(recording) {}

  internal::Recording* recording_;
  std::string label_;
};

}  // namespace weft
