#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "engine/graph/version.h"

namespace weft::models {
struct Network;
}

namespace weft {

/// Bounds on what one program may take. Fields of 0 mean no bound, but of `pass_tokens`.
struct Limits {
  uint32_t nodes = 16384;
  uint64_t constant_bytes = uint64_t{4} << 20;
  uint64_t value_elements = uint64_t{1} << 30;  // of any one value
  uint64_t result_bytes = uint64_t{8} << 30;
  // Of the program's own values and operators: estimated, then counted; and estimated of all
  // programs of a model that have begun and not ended.
  uint64_t peak_bytes = uint64_t{16} << 30;
  double shared_operator_seconds = 0.05;  // of a program's own operators while others wait in the
                                          // same pass; beyond it the run goes on alone
  double operator_seconds = 60;           // alone
  uint64_t pass_tokens = 16384;           // rows of one pass, pads included
};

struct ModelSummary {
  std::string name, family, dtype, device, fingerprint;
  uint64_t parameters = 0;
  uint64_t parameter_bytes = 0;
  bool has_tokenizer = false;
  uint64_t max_tokens = 0;
  uint64_t vocabulary = 0;
  std::vector<std::string> adapters = {};  // that traces can choose, sorted
};

struct ModuleInfo {
  std::string path;    // empty for the root
  std::string type;    // `GPT2Block`
  std::string detail;  // `in_features=32, out_features=96`
};

struct SiteInfo {
  graph::Site site;
  graph::Pattern value;
  bool writable = true;
  std::string source = {};  // of an operation its line of Python, where that is known
};

struct ParameterInfo {
  std::string path;
  graph::DType dtype;
  std::vector<int64_t> shape;
};

struct ModelInfo {
  ModelSummary summary;
  std::vector<ModuleInfo> modules;  // in tree order; the first is the root
  std::vector<SiteInfo> sites;      // in the order in which a pass visits them
  /// Of each operation inside a module its inputs and its output, in the order of execution; one
  /// whose value is none cannot be read.
  std::vector<SiteInfo> operations;
  std::vector<ParameterInfo> parameters;
  std::string config_json;
};

struct OverloadInfo {
  std::string schema;
  std::string makes;  // fresh | view | overlapping_view | maybe_view
  bool in_place = false;
  bool random = false;
};
struct OperatorInfo {
  std::string name;
  std::vector<OverloadInfo> overloads;
};

struct Cost {
  double queue_seconds = 0;
  double run_seconds = 0;
  double operator_seconds = 0;
  uint64_t tokens = 0;
  uint64_t passes = 0;
  uint64_t result_bytes = 0;
  uint64_t peak_bytes = 0;
};

/// What Validate finds out.
struct Validation {
  struct SavedShape {
    std::string name;
    graph::Pattern value;  // dimensions are constants
  };
  std::vector<SavedShape> saves;
  std::vector<graph::Error> warnings;
  Cost estimate;  // tokens, result_bytes, peak_bytes
  std::string fingerprint;
};

// What happens to a run, in order. Every run ends with exactly one Completed or Failed.
struct Accepted {
  std::string job_id;
  std::string fingerprint;
  std::vector<graph::Error> warnings;
};
struct Queued {
  uint32_t position = 0;
};
struct Running {};
struct LogLine {
  graph::NodeId node = graph::kNoNode;
  std::string label, text;
};
/// One visit of one module in a cache.
struct CacheEntry {
  std::string module;
  graph::Point point = graph::Point::kOutput;
  uint32_t visit = 0;  // over all steps
};
/// A saved value, or one item of a list of them.
struct Result {
  std::string name;
  graph::HostValue value;
  /// Another event follows, as a rule at once: a sink that writes may wait a moment for it and
  /// write both.
  bool more_follows = false;
  /// Its tensors stay with whoever runs the program, as blobs, and only their hashes are told.
  bool keep = false;
  /// Of a save inside `steps`: which step gave it.
  std::optional<uint32_t> step = std::nullopt;
  /// Of a save inside a sweep: which point gave it.
  std::optional<uint32_t> point = std::nullopt;
  /// Of a cache: whose value it is.
  std::optional<CacheEntry> entry = std::nullopt;
};
/// What a step of a generation chose for the rows of one invoke: RunOptions::stream_tokens.
struct NewTokens {
  uint32_t invoke = 0;  // its place among the program's invokes
  std::optional<uint32_t> point = std::nullopt;
  uint32_t step = 0;
  std::vector<int64_t> ids;  // by row; -1 where it had ended before
  /// What each row's text has grown by: whole characters that are part of no stop string.
  std::vector<std::string> texts;
};
/// A name without a value, or a list without some of its items, and why.
struct Missing {
  std::string name;
  graph::Error reason;
};
struct Completed {
  std::string fingerprint;
  Cost cost;
};
struct Failed {
  graph::Error error;
};
using Event =
    std::variant<Accepted, Queued, Running, LogLine, Result, NewTokens, Missing, Completed, Failed>;

/// Receives a run's events, one at a time, from the engine's threads. Must not block for long and
/// must not call back into the engine's Submit. Held until it has got Completed or Failed.
using EventSink = std::function<void(Event)>;

/// What the caller is allowed to do, decided by whoever knows keys.
struct Access {
  bool weights = false;  // `param` reads the model's parameters
};

struct RunOptions {
  absl::Time deadline = absl::InfiniteFuture();
  int priority = 0;        // higher ones are in an earlier pass; equal ones in order of arrival
  bool exclusive = false;  // a pass of its own
  /// Equal to the bit, whoever else is there: a pass of its own as well, so that kernels see the
  /// same rows each time.
  bool exact = false;
  /// Of the program's random operators and of the tokens that are drawn: equal ones give equal
  /// ones.
  uint64_t seed = 0;
  bool stream_tokens = false;  // tell NewTokens
  Access access;
  /// Whose program it is, a key's id; empty: nobody's in particular. What is remembered of its
  /// texts is remembered for programs of the same owner.
  std::string owner = {};
  /// Called by Submit with the plan's estimate (tokens, result_bytes, peak_bytes) before anything
  /// is queued: an error refuses the run. Empty: every run is taken.
  std::function<absl::Status(const Cost& estimate)> admit;
};

/// A submitted run. Dropping it does not cancel the run. Thread-safe.
class Job {
 public:
  virtual ~Job() = default;
  virtual const std::string& id() const = 0;
  /// Stop within a layer; the run ends with Failed (kCancelled). No effect on an ended run.
  virtual void Cancel() = 0;
};

struct TokenPieces {
  std::vector<int64_t> ids;
  std::vector<std::string> pieces;
};

/// What one pass was, for whoever counts.
struct PassReport {
  const std::string& model;
  uint32_t runs = 0;
  uint32_t segments = 0;  // invokes of those runs
  uint64_t rows = 0;      // pads included
  double seconds = 0;
  bool ok = true;  // false: it broke, and each of its runs has a pass of its own next
};

/// What a model has to do and has done since it was loaded.
struct ModelStats {
  uint64_t queued = 0;  // runs that wait for a pass
  uint64_t plan_hits = 0;
  uint64_t plan_misses = 0;
};

struct EngineOptions {
  int threads = 0;  // of one pass's kernels; 0: as many as there are cores
  Limits limits;
  /// For tests: called on the model's thread when a pass has been formed, with the ids of its jobs,
  /// before it runs. May block; an error or exception fails the pass as a kernel's would.
  std::function<absl::Status(const std::vector<std::string>& job_ids)> before_pass;
  /// Called on the model's thread after each pass, before its runs are told of their ends: a
  /// microsecond spent here is one in which the model stands still. What it throws is ignored.
  std::function<void(const PassReport& report)> after_pass;
};

/// How a model is hosted.
struct LoadOptions {
  /// What its weights and activations are: `float32`, `bfloat16`, `float16`, or `auto`: what the
  /// checkpoint says, as in transformers 5.x: `dtype` (before: `torch_dtype`) of config.json, else
  /// the dtype of the first floating-point tensor.
  std::string dtype = "auto";
  /// Where they lie: `cpu`, `cuda` (the first GPU), `cuda:1`, or `auto`: one GPU, or all of them a
  /// block after the other, as the weights fit into their free memory; the CPU where there are
  /// none.
  std::string device = "auto";
  /// Modules that lie elsewhere, with all below them: `model.layers.20` on `cuda:1`. For folders.
  std::map<std::string, std::string> device_map = {};
  /// Load the weights. Without them a folder needs none: the model can be looked at, and programs
  /// be validated, on any machine; runs are refused. Its `device` is `meta`. For folders.
  bool dispatch = true;
  /// LoRA adapters, folders as the peft library saves them, by the names that traces choose them
  /// by (graph::Trace::adapter).
  std::map<std::string, std::string> adapters = {};
  /// Called on the loading thread for every few megabytes of weights that were read, and for the
  /// last. Whoever shows it shows as much of it as is wanted. An error ends the loading with it.
  std::function<absl::Status(uint64_t bytes, uint64_t total_bytes)> progress = {};
};

/// Hosts models and runs programs in them. All that server and client/local see of the engine;
/// includes no LibTorch, gRPC or SQLite. Thread-safe.
class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Create(EngineOptions options = {});
  virtual ~Engine() = default;

  /// Load a Hub folder (config.json, *.safetensors, tokenizer.json) and host it as `name`. The
  /// folder may be given by the model's id in the Hub's cache on this machine, `org/name` or
  /// `org/name@revision`; nothing is downloaded.
  virtual absl::Status LoadModel(const std::string& name, const std::string& folder,
                                 const LoadOptions& options = {}) = 0;
  /// Host a network that was made in this process (engine/models/network.h).
  virtual absl::Status HostNetwork(const std::string& name, models::Network&& network) = 0;
  /// Load the model in `folder` and host it in place of the one called `name`, which stays where
  /// that fails. Runs that the old one has accepted finish there. kNotFound if there is none.
  virtual absl::Status ReplaceModel(const std::string& name, const std::string& folder,
                                    const LoadOptions& options = {}) = 0;
  /// Host `name` no more: new runs are refused, those that were accepted finish, then its memory is
  /// free. Does not wait for that. kNotFound.
  virtual absl::Status UnloadModel(const std::string& name) = 0;
  virtual std::vector<ModelSummary> ListModels() const = 0;
  /// kNotFound, naming the models that exist.
  virtual absl::StatusOr<std::shared_ptr<const ModelInfo>> GetModel(
      const std::string& name) const = 0;
  /// Passes that this model has run for programs since it was loaded.
  virtual absl::StatusOr<uint64_t> CountPasses(const std::string& name) const = 0;
  /// Module calls that its passes made: what an early end saves.
  virtual absl::StatusOr<uint64_t> CountModuleCalls(const std::string& name) const = 0;
  virtual absl::StatusOr<ModelStats> GetStats(const std::string& name) const = 0;

  virtual absl::StatusOr<std::vector<TokenPieces>> Tokenize(const std::string& model,
                                                            const std::vector<std::string>& texts,
                                                            bool special_tokens) const = 0;
  virtual absl::StatusOr<std::vector<std::string>> Detokenize(
      const std::string& model, const std::vector<std::vector<int64_t>>& rows,
      bool skip_special_tokens) const = 0;

  /// Plan without running.
  virtual absl::StatusOr<Validation> Validate(const std::string& model,
                                              const graph::Program& program,
                                              const RunOptions& options) = 0;
  /// Plan and queue. An error means that nothing was queued and `sink` is never called; otherwise
  /// Accepted is the first event, possibly before Submit returns.
  virtual absl::StatusOr<std::shared_ptr<Job>> Submit(const std::string& model,
                                                      graph::Program program,
                                                      const RunOptions& options,
                                                      EventSink sink) = 0;
  virtual std::vector<OperatorInfo> ListOperators() const = 0;

  virtual Limits limits() const = 0;
  /// Bounds of programs that are submitted from now on.
  virtual void SetLimits(const Limits& limits) = 0;
  /// Where models can be hosted: `cpu`, or its GPUs: `cuda:0, cuda:1`.
  virtual std::string device() const = 0;
  /// Refuse new runs, finish those that were accepted until `deadline`, then cancel the rest.
  virtual void Drain(absl::Time deadline) = 0;
};

}  // namespace weft
