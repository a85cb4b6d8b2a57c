#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/metrics/metrics.h"

namespace weft::server {

/// The canary's program for a model: one token through all of it, and whether what comes out is a
/// number. kFailedPrecondition if the model has no site for that.
absl::StatusOr<graph::Program> MakeCanaryProgram(const ModelInfo& model);

/// Finds out again and again whether each model still runs programs.
///
/// A tiny program of one token goes through every model each `period`, in a pass of its own so that
/// nobody's numbers depend on it, and ahead of the queue, so that a long queue does not look like
/// illness: it waits for at most the pass that is running. `timeout` is meant to be longer than the
/// longest of those. A model is ill when its canary fails, comes back with a NaN, or is not back in
/// time, and well again when one comes back as it should; until a late one has come back, no other
/// is sent after it.
///
/// Step and Run are called by one thread; the rest is thread-safe.
class Canary {
 public:
  struct Options {
    /// Zero: none are sent, and every model counts as well.
    absl::Duration period = absl::ZeroDuration();
    absl::Duration timeout = absl::Seconds(120);
  };
  /// A model's state has changed: whether it is well, and whether all are. A model that is no
  /// longer hosted counts as ill itself and is left out of `all_well`.
  using Listener = std::function<void(const std::string& model, bool well, bool all_well)>;

  /// `engine` must outlive the canary. Models are well until it is known otherwise, which
  /// `listener` is told when they are first seen. `metrics` may be null.
  Canary(Engine* engine, Options options, Listener listener,
         std::shared_ptr<metrics::Metrics> metrics);
  /// Cancels what is on its way.
  ~Canary();

  /// Send what is due and look at what came back. Returns when to come again, if nothing comes back
  /// before.
  absl::Time Step(absl::Time now);

  /// Step whenever it is time to, until Stop.
  void Run();
  void Stop();

 private:
  // What the engine tells of one canary, on its threads; it may outlive us.
  struct Flight;
  struct Model {
    std::shared_ptr<Flight> flight;  // null: none is on its way
    std::shared_ptr<Job> job;
    absl::Time sent = absl::InfinitePast();
    absl::Time next = absl::InfinitePast();
    bool late = false;  // the one on its way, and it was said
    bool well = true;
  };
  struct Wake {
    absl::Mutex mutex;
    bool wanted ABSL_GUARDED_BY(mutex) = false;
    bool stopping ABSL_GUARDED_BY(mutex) = false;
  };

  void Send(const std::string& name, Model* model, absl::Time now);
  void Look(const std::string& name, Model* model, absl::Time now);
  void Judge(const std::string& name, Model* model, const absl::Status& outcome);
  void Tell(const std::string& name, bool well);

  Engine* const engine_;
  const Options options_;
  const Listener listener_;
  const std::shared_ptr<metrics::Metrics> metrics_;
  const std::shared_ptr<Wake> wake_;
  std::map<std::string, Model> models_;
};

}  // namespace weft::server
