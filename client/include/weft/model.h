#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "weft/attached_module.h"
#include "weft/backend.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/model_options.h"
#include "weft/module.h"
#include "weft/ops.h"
#include "weft/program.h"
#include "weft/run.h"
#include "weft/session.h"
#include "weft/source.h"
#include "weft/stored_edit.h"
#include "weft/tracer.h"
#include "weft/var.h"

namespace weft {
namespace internal {
struct ModelState;
}  // namespace internal

/// What a trace would bring back and take, without running it.
struct ScanResult {
  struct Save {
    std::string name;
    /// `float32[1, 9, 48]`; structures as `(float32[1, 9, 48], none)`, a size that depends on data
    /// as the most that it can be, `float32[at most 96]`.
    std::string type;
    /// Of a tensor; a structure or a size that is not known has none.
    std::optional<DType> dtype;
    Shape shape;
    uint64_t bytes = 0;
  };
  std::vector<Save> saves;
  std::vector<ErrorDetails> warnings;
  RunCost cost;  // tokens, result_bytes, peak_bytes

  /// A save by name; kNotFound.
  absl::StatusOr<Save> Get(const std::string& name) const;
};

/// How ids become text.
struct DecodeOptions {
  /// Leave out special tokens, such as those that end a turn of a chat.
  bool skip_special_tokens = false;
};

/// How an edit is stored.
struct EditOptions {
  /// What errors call it; its place among the handle's edits (`1`...) if empty.
  std::string name;
};

/// A hosted language model. Copies are one model, each with the edits, attached modules and
/// registered classes that it had when it was made. Thread-safe but for the members that are not
/// const; a trace is recorded by its thread.
class LanguageModel : public Module {
 public:
  const std::string& name() const;
  const ModelDescription& description() const;
  /// The width of the residual stream, and the heads of each attention, as config.json says; 0
  /// where it does not.
  int64_t hidden_size() const;
  int64_t heads() const;

  /// Record `body` as the statements of one invoke of `input`, run the program, and fill in the
  /// Saved handles.
  ///
  /// The first error of recording is returned and nothing is sent. Errors name the statement and
  /// the line it was written on (GetError). A run that fails leaves its error, or the value that
  /// came before it, in each handle; one that ends well may still lack single saves, see
  /// RunResult::missing. An exception of `body` passes through.
  absl::StatusOr<RunResult> Trace(const Input& input, absl::FunctionRef<void()> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;
  absl::StatusOr<RunResult> Trace(const Input& input, absl::FunctionRef<void(Tracer&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;
  /// The same with several invokes:
  ///
  ///   model.Trace([&](weft::Tracer& trace) {
  ///     trace.Invoke("one prompt", [&] { ... });
  ///     trace.Invoke({15496, 995}, [&] { ... });
  ///   });
  absl::StatusOr<RunResult> Trace(absl::FunctionRef<void(Tracer&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;

  /// Generate tokens, and record what happens meanwhile: see Tracer::steps. `result()` are then the
  /// ids, [batch, prompt and new tokens].
  absl::StatusOr<RunResult> Generate(const Input& input, const GenerateOptions& generate,
                                     absl::FunctionRef<void()> body,
                                     const TraceOptions& options = {},
                                     Location where = Location::current()) const;
  absl::StatusOr<RunResult> Generate(const Input& input, const GenerateOptions& generate,
                                     absl::FunctionRef<void(Tracer&)> body,
                                     const TraceOptions& options = {},
                                     Location where = Location::current()) const;
  /// The same with several invokes.
  absl::StatusOr<RunResult> Generate(const GenerateOptions& generate,
                                     absl::FunctionRef<void(Tracer&)> body,
                                     const TraceOptions& options = {},
                                     Location where = Location::current()) const;

  /// Several traces, in one job: see weft::Session.
  absl::StatusOr<RunResult> Session(absl::FunctionRef<void(weft::Session&)> body,
                                    const TraceOptions& options = {},
                                    Location where = Location::current()) const;

  /// Record as Trace does, and check and price the program without running it.
  absl::StatusOr<ValidationReport> Validate(const Input& input, absl::FunctionRef<void()> body,
                                            const TraceOptions& options = {},
                                            Location where = Location::current()) const;
  absl::StatusOr<ValidationReport> Validate(absl::FunctionRef<void(Tracer&)> body,
                                            const TraceOptions& options = {},
                                            Location where = Location::current()) const;
  /// Of any traces, generations too.
  absl::StatusOr<ValidationReport> Validate(absl::FunctionRef<void(weft::Session&)> body,
                                            const TraceOptions& options = {},
                                            Location where = Location::current()) const;

  /// Record only.
  absl::StatusOr<Program> Record(const Input& input, absl::FunctionRef<void()> body,
                                 Location where = Location::current()) const;
  absl::StatusOr<Program> Record(absl::FunctionRef<void(Tracer&)> body,
                                 Location where = Location::current()) const;
  absl::StatusOr<Program> Record(absl::FunctionRef<void(weft::Session&)> body,
                                 Location where = Location::current()) const;

  /// Record as Trace does, and say what it would bring back and what it would take.
  absl::StatusOr<ScanResult> Scan(const Input& input, absl::FunctionRef<void()> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;
  absl::StatusOr<ScanResult> Scan(absl::FunctionRef<void(Tracer&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;

  absl::StatusOr<ScanResult> Scan(absl::FunctionRef<void(weft::Session&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;

  /// Call the model without a trace: what it returns, the logits. Edits apply. (Inside a trace,
  /// `call` calls the model out of band.)
  absl::StatusOr<Tensor> operator()(const Input& input, const TraceOptions& options = {},
                                    Location where = Location::current()) const;

  /// This model with `body` stored as an edit: its statements act as if they were written first, in
  /// the order of the edits, in every invoke of each later trace of the new handle, in what Run,
  /// Validate and Scan are given as well. They see that invoke's rows, and in a generation act in
  /// step 0, or in the steps that they name.
  ///
  /// This handle stays as it is. What an edit saves is in RunResult::saves, under its name; only
  /// programs of one invoke can be run with such an edit.
  absl::StatusOr<LanguageModel> Edit(absl::FunctionRef<void()> body,
                                     const EditOptions& options = {},
                                     Location where = Location::current()) const;
  absl::StatusOr<LanguageModel> Edit(absl::FunctionRef<void(Tracer&)> body,
                                     const EditOptions& options = {},
                                     Location where = Location::current()) const;
  /// The same for this handle itself; copies made before and Modules taken from it stay as they
  /// are.
  absl::Status EditInPlace(absl::FunctionRef<void()> body, const EditOptions& options = {},
                           Location where = Location::current());
  absl::Status EditInPlace(absl::FunctionRef<void(Tracer&)> body, const EditOptions& options = {},
                           Location where = Location::current());
  /// Leave out all edits, those of WithEdits too.
  void ClearEdits();
  /// The names of the edits, in order.
  std::vector<std::string> edits() const;

  /// Record `body` as Edit does, and keep it on the server under a name: Client::StoreEdit. This
  /// handle's own edits are no part of it.
  absl::StatusOr<EditVersion> StoreEdit(const std::string& name, absl::FunctionRef<void()> body,
                                        const StoreEditOptions& options = {},
                                        Location where = Location::current()) const;
  absl::StatusOr<EditVersion> StoreEdit(const std::string& name,
                                        absl::FunctionRef<void(Tracer&)> body,
                                        const StoreEditOptions& options = {},
                                        Location where = Location::current()) const;
  /// This model with edits that the key has stored for it, behind those of earlier calls and before
  /// the edits of the handle itself: `steer` is the version that is the latest when a run is
  /// accepted, `steer@2` that one. Runs have kNotFound for what there is not; RunResult::edits says
  /// which they had.
  LanguageModel WithEdits(const std::vector<std::string>& names) const;

  /// This model with traces that pass through a LoRA adapter that is hosted beside it, one of
  /// description().summary.adapters; through none if `name` is empty. kNotFound.
  absl::StatusOr<LanguageModel> WithAdapter(const std::string& name) const;

  /// Write the edits to `directory/name/variant.weft`, in the text form. kFailedPrecondition if
  /// there are none.
  absl::Status ExportEdits(const std::string& name, const std::string& directory,
                           const std::string& variant = "__default__") const;
  /// Add the edits of such a file behind this handle's own.
  absl::Status ImportEdits(const std::string& name, const std::string& directory,
                           const std::string& variant = "__default__");

  /// Put a module of one's own into this handle's tree, `transformer.h.3.sae`: it and its parts are
  /// then Modules that can be called, read and replaced in traces. Its parent is one of the model's
  /// modules, not a list.
  absl::Status Attach(const std::string& path, const AttachedModule& module);

  /// Say which modules a class that derives from Module is for (weft::Is, weft::All): `keys` are
  /// types (`GPT2Attention`) or ends of paths (`attn`, `h.*.mlp`), other names included.
  template <typename T>
  void Register(const std::vector<std::string>& keys) {
    RegisterKeys(typeid(T), keys);
  }

  /// Run a program that was recorded or parsed.
  absl::StatusOr<RunResult> Run(const Program& program, const TraceOptions& options = {}) const;

  // Of the invoke that is being recorded.
  /// What the model returned: the logits, [batch, tokens, vocabulary]; of a generation the ids.
  Var result(Location where = Location::current()) const;
  /// [batch, tokens] int64.
  Var ids(Location where = Location::current()) const;
  /// [batch, tokens] int64, 1 at real tokens and 0 at pads.
  Var mask(Location where = Location::current()) const;
  /// [batch, tokens] int64.
  Var positions(Location where = Location::current()) const;
  /// [batch] int64: in InvokeAll, the invoke that each row comes from.
  Var rows(Location where = Location::current()) const;
  /// Of each row's next token the logits, [batch, vocabulary], before a generation processes them:
  /// can be written. In a plain trace of what comes after the prompt.
  Var logits(Location where = Location::current()) const;
  /// The tokens that are chosen from them, [batch] int64: can be written. In a plain trace the
  /// likeliest.
  Var samples(Location where = Location::current()) const;
  /// Of a beam search the score of each row of `result()`, [batch] float32.
  Var beam_scores(Location where = Location::current()) const;

  absl::StatusOr<std::vector<int64_t>> Encode(const std::string& text) const;
  /// The texts of a text's tokens, one each, for labels. A token that is a part of a character has
  /// a replacement character.
  absl::StatusOr<std::vector<std::string>> Tokens(const std::string& text) const;
  /// The text of the ids of a tensor of integers, in row-major order.
  absl::StatusOr<std::string> Decode(const Tensor& ids, const DecodeOptions& options = {}) const;
  absl::StatusOr<std::string> Decode(const std::vector<int64_t>& ids,
                                     const DecodeOptions& options = {}) const;
  /// One text for each row of a [rows, tokens] tensor, or each element of a [rows] one.
  absl::StatusOr<std::vector<std::string>> DecodeRows(const Tensor& ids,
                                                      const DecodeOptions& options = {}) const;

 private:
  friend class Client;
  void RegisterKeys(std::type_index wrapper, const std::vector<std::string>& keys);
  explicit LanguageModel(std::shared_ptr<const internal::ModelState> model);
  Var OfInvoke(uint8_t point, Location where) const;
};

}  // namespace weft
