#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "weft/blob.h"
#include "weft/error.h"
#include "weft/program.h"
#include "weft/stored_edit.h"
#include "weft/tensor.h"
#include "weft/value.h"

namespace weft {

/// A model that a server hosts.
struct HostedModel {
  std::string name, family, dtype, device;
  /// Changes with the weights and the code that runs them.
  std::string fingerprint;
  uint64_t parameters = 0;
  bool has_tokenizer = false;
  uint64_t max_tokens = 0;
  uint64_t vocabulary = 0;
  /// LoRA adapters that traces can choose: ModelOptions::adapter.
  std::vector<std::string> adapters = {};
};

/// A module of a model's tree.
struct ModuleDescription {
  std::string path;    // empty for the root
  std::string type;    // `GPT2Block`
  std::string detail;  // `in_features=48, out_features=144`
};

/// A place where a value can be read or replaced.
struct SiteDescription {
  std::string module;
  std::string point;  // `output`, `input`
  uint32_t visit = 0;
  std::string type;  // `float32[B, T, 48]`, with B prompts of T tokens; empty: cannot be read
  bool writable = true;
  std::string op;      // `linear_0`: of an operation inside the module
  std::string source;  // `net.py:8: x = self.fc(x)`: its line of Python, where that is known
};

struct ParameterDescription {
  std::string path;
  DType dtype = DType::kFloat32;
  Shape shape;
};

/// All that can be known about a model without running it.
struct ModelDescription {
  HostedModel summary;
  std::vector<ModuleDescription> modules;  // in tree order; the first is the root
  std::vector<SiteDescription> sites;      // in the order in which a pass visits them
  /// Of each operation inside a module its inputs and its output, in the order of execution.
  std::vector<SiteDescription> operations;
  std::vector<ParameterDescription> parameters;
  uint64_t passes = 0;  // that the model has run since it was loaded
  std::string config_json;
};

/// An operator of the server's table.
struct OperatorDescription {
  struct Overload {
    std::string schema;  // `aten::mul.Tensor(Tensor self, Tensor other) -> Tensor`
    std::string makes;   // fresh | view | overlapping_view | maybe_view
    bool in_place = false;
    bool random = false;
  };
  std::string name;  // `aten::mul`
  std::vector<Overload> overloads;
};

/// What a key may take. 0: no bound beyond the server's.
struct KeyLimits {
  uint32_t requests_per_minute = 0;
  uint64_t tokens_per_minute = 0;  // rows of passes, pads included
  uint32_t concurrent_runs = 0;    // waiting ones included
  uint64_t result_bytes = 0;       // of one run
  double run_seconds = 0;          // of one run, from its start
  uint32_t generated_tokens = 0;   // new tokens of one generation
  uint64_t blob_bytes = 0;         // of all blobs
};

/// Who a key belongs to and what it may do.
struct Identity {
  std::string key_id;  // empty where the server runs without keys
  std::string label;
  std::vector<std::string> scopes;
  std::vector<std::string> models;
  absl::Time expires = absl::InfiniteFuture();
  KeyLimits limits;
};

/// What a run took; in a validation, what it would take.
struct RunCost {
  double queue_seconds = 0;
  double run_seconds = 0;       // in passes
  double operator_seconds = 0;  // of the program's own operators
  uint64_t tokens = 0;
  uint64_t passes = 0;
  uint64_t result_bytes = 0;
  uint64_t peak_bytes = 0;  // estimated
};

/// What checking a program against a model finds out without running it.
struct ValidationReport {
  struct SavedType {
    std::string name;
    std::string type;  // `float32[1, 9, 48]`
  };
  std::vector<SavedType> saves;
  std::vector<ErrorDetails> warnings;
  RunCost estimate;  // tokens, result_bytes, peak_bytes
  std::string fingerprint;
  std::vector<std::string> edits;  // stored ones that would be applied: `steer@2`
};

/// What happens to a run, in order.
namespace event {
struct Accepted {
  std::string job_id, fingerprint;
  std::vector<ErrorDetails> warnings;
  std::vector<std::string> edits = {};  // stored ones that are applied: `steer@2`
};
/// Waiting; at 0 it is next.
struct Queued {
  uint32_t position = 0;
};
struct Running {};
/// A line of a `log` statement.
struct Log {
  std::string label, text;
};
/// A result that takes more than one piece: `bytes` of its `of` bytes have come.
struct Receiving {
  std::string name;
  uint64_t bytes = 0;
  uint64_t of = 0;
};
/// One visit of one module in a cache.
struct CacheEntry {
  std::string module;
  std::string point;   // `output`, `input`
  uint32_t visit = 0;  // over all steps
  /// `h.0.output`, and of later visits `h.0@1.output`.
  std::string ToString() const;
};
/// A saved value. A save inside `steps` or a sweep gives one for each step and point, each as soon
/// as it is there, and a cache one for each visit of a module.
struct Result {
  std::string name;
  Value value;
  std::optional<uint32_t> step = std::nullopt;
  std::optional<uint32_t> point = std::nullopt;
  std::optional<CacheEntry> entry = std::nullopt;
};
/// What a step of a generation chose for the rows of one invoke: RunSettings::stream_tokens.
struct NewTokens {
  uint32_t invoke = 0;  // its place among the program's invokes
  std::optional<uint32_t> point = std::nullopt;
  uint32_t step = 0;
  std::vector<int64_t> ids;  // by row; -1 where it had ended before
  /// What each row's text has grown by: whole characters, and nothing of a stop string. Put one
  /// behind the other they are the row's new text. Empty of a model without a tokenizer.
  std::vector<std::string> texts;
};
/// A save without a value, or without some items of its list, and why.
struct Missing {
  std::string name;
  absl::Status reason;
};
struct Completed {
  std::string fingerprint;
  RunCost cost;
};
/// Refused with `reason` before it began; it is tried again after `delay` (RetryPolicy).
struct Waiting {
  absl::Status reason;
  absl::Duration delay;
};
}  // namespace event
using RunEvent =
    std::variant<event::Accepted, event::Queued, event::Running, event::Log, event::Receiving,
                 event::Result, event::NewTokens, event::Missing, event::Completed, event::Waiting>;

/// Ends the runs that it was given to, from any thread. Copies are one switch. Thread-safe.
class Cancellation {
 public:
  Cancellation();
  /// End them within a layer with kCancelled; runs started later end at once.
  void Cancel() const;
  bool cancelled() const;

  /// For backends: call `on_cancel` when Cancel is called, or now if it was. It is not called any
  /// more once the returned handle is gone.
  std::shared_ptr<void> OnCancel(std::function<void()> on_cancel) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// How to run a program.
struct RunSettings {
  /// The run ends with kDeadlineExceeded after this time, waits before further attempts included.
  absl::Duration deadline = absl::InfiniteDuration();
  /// A pass of its own, without other users' rows.
  bool exclusive = false;
  /// The same bits each time, whoever else is there.
  bool exact = false;
  /// Of the program's random operators, and of generations that sample: the same program with the
  /// same seed draws the same numbers and tokens.
  uint64_t seed = 0;
  Cancellation cancellation;
  /// Edits that the key has stored for the model, which come before the program's statements, in
  /// order: `steer` is the latest version, `steer@2` that one.
  std::vector<std::string> edits = {};
  /// Tell the tokens of generations as they are chosen: event::NewTokens.
  bool stream_tokens = false;
};

/// Where programs run: behind a connection (weft/client.h) or in this process (weft/local.h).
/// Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual absl::StatusOr<Identity> WhoAmI() = 0;
  virtual absl::StatusOr<std::vector<HostedModel>> ListModels() = 0;
  /// kNotFound, naming the models that exist.
  virtual absl::StatusOr<ModelDescription> GetModel(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<OperatorDescription>> ListOperators() = 0;

  virtual absl::StatusOr<std::vector<std::vector<int64_t>>> Tokenize(
      const std::string& model, const std::vector<std::string>& texts) = 0;
  virtual absl::StatusOr<std::vector<std::string>> Detokenize(
      const std::string& model, const std::vector<std::vector<int64_t>>& rows,
      bool skip_special_tokens) = 0;

  virtual absl::StatusOr<ValidationReport> Validate(const std::string& model,
                                                    const Program& program,
                                                    const RunSettings& settings) = 0;
  /// Run a program and wait for its end. `on_event` is called on this thread, in order; the last
  /// event of a run that returns OK is Completed. Any other end is the returned status.
  virtual absl::Status Run(const std::string& model, const Program& program,
                           const RunSettings& settings,
                           absl::FunctionRef<void(RunEvent)> on_event) = 0;

  // Blobs. Backends that keep none leave these as they are: kUnimplemented.
  /// Have a tensor's bytes kept, if they are not yet. kResourceExhausted where there is no room.
  virtual absl::StatusOr<Blob> UploadBlob(const Tensor& tensor);
  virtual absl::StatusOr<BlobList> ListBlobs();
  /// kNotFound; kFailedPrecondition while a run uses it.
  virtual absl::Status DeleteBlob(const std::string& hash);

  // Edits. Backends that keep none leave these as they are: kUnimplemented. Errors of kNotFound
  // name what there is.
  /// Keep an edit under a name for a model: as its next version, or, where its latest version is
  /// the same, as that. kResourceExhausted where there is no room; otherwise errors name the
  /// statement for which it cannot be an edit of that model.
  virtual absl::StatusOr<EditVersion> StoreEdit(const std::string& model, const std::string& name,
                                                const Program& edit,
                                                const StoreEditOptions& options);
  /// Of all models if `model` is empty.
  virtual absl::StatusOr<EditList> ListEdits(const std::string& model);
  /// `version` 0 is the latest.
  virtual absl::StatusOr<StoredEdit> GetEdit(const std::string& model, const std::string& name,
                                             uint64_t version);
  /// `version` 0 is all of them. How many there were.
  virtual absl::StatusOr<uint64_t> DeleteEdit(const std::string& model, const std::string& name,
                                              uint64_t version);
};

/// When a call that came to nothing is made again.
///
/// Calls that only read are, where nobody answered. A run is only where it certainly had not begun:
/// its request did not leave, or the server refused it as unavailable. A run whose connection broke
/// later is not: it may have been charged for.
struct RetryPolicy {
  /// In all; 1: never try again.
  int attempts = 4;
  /// Before the second attempt, doubled before each one after it, and shortened by up to a half at
  /// random.
  absl::Duration initial_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(5);
  /// Also wait as long as a limit's refusal says (ErrorDetails::retry_after_seconds).
  bool wait_for_limits = false;
  /// Told of each wait, on the thread that waits; of a run's there is event::Waiting instead.
  std::function<void(const event::Waiting&)> on_wait;
};

/// How to reach a server.
struct RemoteOptions {
  /// `weft_<id>_<secret>`; empty for a server without keys.
  std::string api_key;
  /// Encrypt, and check that the server's certificate is for the host of the target. So does naming
  /// any of the files.
  bool tls = false;
  /// Roots to trust instead of the system's, PEM.
  std::string ca_file;
  /// The client's own certificate and its key, PEM, for a server that asks for one. The API key is
  /// needed all the same.
  std::string cert_file;
  std::string key_file;
  /// Of every call but runs (which have RunSettings::deadline) and uploads (which the server ends
  /// where they stop), in all its attempts.
  absl::Duration timeout = absl::Seconds(20);
  /// Of one attempt to connect. A server that vanishes later is noticed within two minutes.
  absl::Duration connect_timeout = absl::Seconds(20);
  RetryPolicy retry;
  /// Results that announce more bytes than this are refused.
  uint64_t max_result_bytes = uint64_t{16} << 30;
};

/// A backend that speaks gRPC to the server at `target` (`host:port`, `unix:PATH`). Does not
/// connect yet. Its first call gives kInvalidArgument for a file of `options` that is no PEM file.
std::shared_ptr<Backend> MakeRemoteBackend(const std::string& target,
                                           const RemoteOptions& options = {});

/// Whether the server at `target` serves, or `model` in particular, by grpc.health.v1: needs no API
/// key. kUnavailable if it does not or nobody answers, kNotFound if it has no such model.
absl::Status CheckHealth(const std::string& target, const RemoteOptions& options = {},
                         const std::string& model = "");

}  // namespace weft
