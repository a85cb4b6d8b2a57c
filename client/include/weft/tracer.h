#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "weft/cache.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/param.h"
#include "weft/steps.h"
#include "weft/sweep.h"

namespace weft {

class Module;

/// When a beam search ends for a prompt: transformers' `early_stopping` False, True and "never".
enum class EarlyStopping : uint8_t {
  kNoneBetter =
      0,        // once no text that goes on would be better than those found, were it to end now
  kAtOnce = 1,  // once num_beams texts have ended
  kNever = 2,   // once no text that goes on can become better
};

/// How a generation chooses and ends: as transformers' `generate` does, in its order. What is 0 is
/// not given.
///
/// It takes the likeliest token, unless do_sample is set or one of the four below it is given: then
/// it draws, by TraceOptions::seed.
struct GenerateOptions {
  uint32_t max_new_tokens = 0;  // at least 1
  uint32_t min_new_tokens = 0;  // before which no token can be chosen that ends a row
  bool do_sample = false;
  double temperature = 0;  // 0 beside do_sample is 1
  uint32_t top_k = 0;      // the likeliest so many
  double top_p = 0;        // the likeliest that come to this probability
  double min_p = 0;        // those at least so likely, relative to the likeliest
  /// More than 1: tokens that the row has, prompt included, are less likely.
  double repetition_penalty = 0;
  /// Tokens that end a row; empty: the model's own.
  std::vector<int64_t> eos_token_ids = {};
  /// Texts that end a row once a new token completes one of them: it may begin in the prompt.
  std::vector<std::string> stop_strings = {};
  /// -2 to 2, more than 0: new tokens that were chosen before are less likely; the second by each
  /// time that they were.
  double presence_penalty = 0;
  double frequency_penalty = 0;
  /// Rows for each prompt, one behind the other; more than 1 where it draws. Of a beam search how
  /// many of the texts found are returned, the best first.
  uint32_t num_return_sequences = 0;
  /// More than 1: a beam search that keeps so many texts of each prompt. It visits no sites: a
  /// trace reads `result()` and `beam_scores()`.
  uint32_t num_beams = 0;
  /// A text's score is the sum of its log probabilities over its length to this power; none: 1.
  std::optional<double> length_penalty = std::nullopt;
  EarlyStopping early_stopping = EarlyStopping::kNoneBetter;
  /// No so many tokens in a row come twice, prompt included.
  uint32_t no_repeat_ngram_size = 0;
};

/// A module, or its path.
class ModuleName {
 public:
  ModuleName(const Module& module);                         // NOLINT: names are written
  ModuleName(std::string path) : path_(std::move(path)) {}  // NOLINT: as they are
  ModuleName(const char* path) : path_(path) {}             // NOLINT
  const std::string& path() const { return path_; }

  /// For this library's own use: null where a path was given.
  const Module* module() const { return module_.get(); }

 private:
  std::string path_;
  std::shared_ptr<const Module> module_;
};

/// What the lambda of a trace is given. What is recorded with it stands in one invoke; in a trace
/// of several, each has a lambda of its own. Not thread-safe: for the thread that records.
class Tracer {
 public:
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Of a trace that was given no input: its invokes.

  /// Statements recorded by `body` see the rows of `input`. A value of an earlier invoke may be
  /// used in a later one.
  void Invoke(const Input& input, absl::FunctionRef<void()> body,
              Location where = Location::current());
  /// Statements that see all rows of the trace's other invokes, padded to the longest.
  void InvokeAll(absl::FunctionRef<void()> body, Location where = Location::current());
  void Invoke(absl::FunctionRef<void()> body, Location where = Location::current()) {
    InvokeAll(body, where);
  }

  /// Record invokes that run once for each point: `columns` holds what each parameter is there, the
  /// same number of values each, and `body` takes a Param for each of them. Points do not see each
  /// other's writes; values from before the sweep can be used inside. Saves give lists, in the
  /// order of the points.
  ///
  ///   trace.sweep(Range(12), [&](Param layer) { trace.Invoke("...", [&] { ... }); });
  ///   trace.sweep(Range(3), Values({0.5, 1.0, 2.0}), [&](Param layer, Param factor) { ... });
  ///   trace.sweep(Grid(Range(12), Range(5)), [&](Param layer, Param token) { ... });
  template <typename Body>
  requires std::is_invocable_v<const Body&, Param>
  void sweep(const Values& values, const Body& body) { Sweep<1>({values}, body); }
  template <size_t kColumns, typename Body>
  void sweep(const std::array<Values, kColumns>& columns, const Body& body) {
    Sweep<kColumns>(columns, body);
  }
  template <typename Body>
  void sweep(const Values& a, const Values& b, const Body& body) {
    Sweep<2>({a, b}, body);
  }
  template <typename Body>
  void sweep(const Values& a, const Values& b, const Values& c, const Body& body) {
    Sweep<3>({a, b, c}, body);
  }

  // Of an invoke.

  /// Record statements that run in each of these steps of a generation. Step 0 is the pass over the
  /// prompt; statements outside of `steps` belong to it. What is saved inside comes back as a list
  /// with an item for each step, and as event::Result as soon as its step is done.
  void steps(const StepSelection& selection, absl::FunctionRef<void()> body,
             Location where = Location::current());
  void steps(const StepSelection& selection, absl::FunctionRef<void(Step&)> body,
             Location where = Location::current());
  /// All steps.
  void all(absl::FunctionRef<void()> body, Location where = Location::current()) {
    steps(Slice(), body, where);
  }
  void all(absl::FunctionRef<void(Step&)> body, Location where = Location::current()) {
    steps(Slice(), body, where);
  }
  /// Record a block for each step, with its number in hand: statements may differ from step to
  /// step. A save in it is a value of its own.
  void each_step(absl::FunctionRef<void(int64_t)> body, Location where = Location::current()) {
    each_step(Slice(), body, where);
  }
  void each_step(const StepSelection& selection, absl::FunctionRef<void(int64_t)> body,
                 Location where = Location::current());

  /// Bring back what these modules return (all of them if there are none) after all writes: at each
  /// visit of every step, or inside `steps` of those.
  SavedCache cache(const std::vector<ModuleName>& modules = {}, const CacheOptions& options = {},
                   Location where = Location::current());

  /// End the run when all that is written before is done. Nothing may be written after it, but
  /// after one inside an If, which then may not run.
  void stop(Location where = Location::current());

  /// Values of one invoke are there in another without waiting for them: there is nothing to do.
  struct Barrier {
    void operator()() const {}
  };
  Barrier barrier(int /*invokes*/) const { return {}; }

 private:
  friend class TraceRecorder;
  explicit Tracer(internal::Recording* recording) : recording_(recording) {}

  template <size_t kColumns, typename Body>
  void Sweep(const std::array<Values, kColumns>& columns, const Body& body) {
    RecordSweep(columns, [&body](absl::Span<const Param> params) {
      [&]<size_t... kIndex>(std::index_sequence<kIndex...>) { body(params[kIndex]...); }
      (std::make_index_sequence<kColumns>());
    });
  }
  void RecordSweep(absl::Span<const Values> columns,
                   absl::FunctionRef<void(absl::Span<const Param>)> body);

  internal::Recording* recording_;
};

}  // namespace weft
