#pragma once

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "weft/backend.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/ops.h"
#include "weft/program.h"
#include "weft/run.h"
#include "weft/session.h"
#include "weft/source.h"
#include "weft/tracer.h"
#include "weft/var.h"

namespace weft {
namespace internal {
struct ModelState;
struct ModuleRef;
}  // namespace internal

/// A module of a model, by its path in transformers' tree: `model["transformer.h"][1]["mlp"]`.
///
/// Whether there is such a module is checked where it is used in a trace. Thread-safe; its members
/// that record are for the thread that records.
class Module {
 public:
  Module operator[](const std::string& name) const;
  Module operator[](const char* name) const;
  /// A child of a list of modules; negative indices count from the end.
  Module operator[](std::integral auto index) const { return Item(static_cast<int64_t>(index)); }
  /// The child that a sweep fills in: its parameter's whole numbers or names.
  Module operator[](const Param& parameter) const;
  /// The module in its `visit`th passage within a step, from 0, where a model passes it repeatedly.
  Module visit(uint32_t visit) const;

  /// What the module returns. Assigning to it replaces that: `module.output() = x`.
  Var output(Location where = Location::current()) const;
  /// The module's first tensor argument.
  Var input(Location where = Location::current()) const;
  /// `((input,), {})`: all of its arguments, positional ones and named ones.
  Var inputs(Location where = Location::current()) const;
  // Inside a module that does attention, by head: [batch, heads, tokens, head_dim]; scores (scaled,
  // masked) and probs are [batch, heads, tokens, tokens]; z is what comes out of each head.
  Var q(Location where = Location::current()) const;
  Var k(Location where = Location::current()) const;
  Var v(Location where = Location::current()) const;
  Var scores(Location where = Location::current()) const;
  Var probs(Location where = Location::current()) const;
  Var z(Location where = Location::current()) const;
  /// The operations inside its forward, to print, read and replace.
  Source source() const;
  /// Do not run the module: its output is `value`.
  void skip(const Operand& value) const;
  /// Call the module out of band: nothing else of the run sees it.
  Var operator()(const Operand& argument) const;
  Var call(const std::vector<Arg>& arguments, const NamedArgs& named = {},
           Location where = Location::current()) const;
  /// A parameter or buffer as in the checkpoint: `model["lm_head"].param("weight")`. Needs the
  /// scope `weights`.
  Var param(const std::string& name, Location where = Location::current()) const;

  /// Call this module alone with `input`, tensors, and record what happens in it; see
  /// LanguageModel::Trace.
  absl::StatusOr<RunResult> Trace(const Input& input, absl::FunctionRef<void()> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;
  absl::StatusOr<RunResult> Trace(const Input& input, absl::FunctionRef<void(Tracer&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;

  /// Number of its child modules: `model["transformer.h"].size()` is the number of layers.
  int64_t size() const;
  /// `transformer.h.1.mlp`; empty for the model itself.
  const std::string& path() const { return path_; }
  /// The tree from here on, indented as PyTorch prints modules.
  std::string tree() const;
  friend std::ostream& operator<<(std::ostream& out, const Module& module);

  /// For this library's own use.
  const std::shared_ptr<const internal::ModelState>& model() const { return model_; }

 protected:
  Module(std::shared_ptr<const internal::ModelState> model, std::string path)
      : model_(std::move(model)), path_(std::move(path)) {}
  Module Child(const std::string& name) const;
  Module Item(int64_t index) const;
  internal::ModuleRef Ref() const;
  Var Point(uint8_t point, Location where) const;

  std::shared_ptr<const internal::ModelState> model_;
  std::string path_;
  uint32_t visit_ = 0;
  /// Components of the path that a sweep fills in; they are `$` in it.
  std::vector<std::pair<uint32_t, Param>> parameters_;
};

/// A hosted language model. Copies are one model. Thread-safe; a trace is recorded by its thread.
class LanguageModel : public Module {
 public:
  const std::string& name() const;
  const ModelDescription& description() const;

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

  absl::StatusOr<std::vector<int64_t>> Encode(const std::string& text) const;
  /// The text of the ids of a tensor of integers, in row-major order.
  absl::StatusOr<std::string> Decode(const Tensor& ids) const;
  absl::StatusOr<std::string> Decode(const std::vector<int64_t>& ids) const;
  /// One text for each row of a [rows, tokens] tensor, or each element of a [rows] one.
  absl::StatusOr<std::vector<std::string>> DecodeRows(const Tensor& ids) const;

 private:
  friend class Client;
  explicit LanguageModel(std::shared_ptr<const internal::ModelState> model);
  Var OfInvoke(uint8_t point, Location where) const;
};

}  // namespace weft
