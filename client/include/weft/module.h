#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "weft/backend.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/ops.h"
#include "weft/run.h"
#include "weft/source.h"
#include "weft/tracer.h"
#include "weft/var.h"

namespace weft {
namespace internal {
struct ModelState;
struct ModuleRef;
/// The modules that a class of a user is for: keys by class.
using WrapperKeys = std::map<std::type_index, std::vector<std::string>>;
}  // namespace internal

/// A module of a model, by its path in transformers' tree: `model["transformer.h"][1]["mlp"]`.
///
/// Every decoder also has the names `layers`, `layers[i]`'s `attention` (or `self_attn`, `attn`)
/// and `mlp`, `ln_final`, `lm_head` and `embed` (or `embed_tokens`), and ModelOptions::rename gives
/// more. Whether there is such a module is checked where it is used in a trace. Thread-safe; its
/// members that record are for the thread that records.
class Module {
 public:
  Module operator[](const std::string& name) const;
  Module operator[](const char* name) const;
  /// A child of a list of modules; negative indices count from the end.
  Module operator[](std::integral auto index) const { return Item(static_cast<int64_t>(index)); }
  /// The child that a sweep fills in: its parameter's whole numbers or names.
  Module operator[](const Param& parameter) const;
  /// Children of a list, as Python slices it: `model["layers"][Slice(2, -1)]`.
  std::vector<Module> operator[](const Slice& slice) const;
  /// The module in its `visit`th passage within a step, from 0, where a model passes it repeatedly.
  /// The modules inside it count their own: `model["transformer.h"][0]["mlp"].visit(1)`.
  Module visit(uint32_t visit) const;

  /// What the module returns. Assigning to it replaces that: `module.output() = x`.
  Var output(Location where = Location::current()) const;
  /// The module's first tensor argument.
  Var input(Location where = Location::current()) const;
  /// `((input,), {})`: all of its arguments, positional ones and named ones.
  Var inputs(Location where = Location::current()) const;
  // Inside a module that does attention, by head: [batch, heads, tokens, head_dim]; scores (scaled,
  // masked) and probs are [batch, heads, tokens, past + tokens]; z is what comes out of each head.
  Var q(Location where = Location::current()) const;
  Var k(Location where = Location::current()) const;
  Var v(Location where = Location::current()) const;
  Var scores(Location where = Location::current()) const;
  Var probs(Location where = Location::current()) const;
  Var z(Location where = Location::current()) const;
  /// The operations inside its forward, to print, read and replace.
  Source source() const;
  /// A value by its whole name, as seen from here: `model.site("layers.0.mlp.output")`. It can be
  /// assigned to, like output().
  Var site(const std::string& name, Location where = Location::current()) const;
  /// Do not run the module: its output is `value`.
  void skip(const Operand& value) const;
  /// Call the module out of band: nothing else of the run sees it.
  Var operator()(const Operand& argument) const;
  Var call(const std::vector<Arg>& arguments, const NamedArgs& named = {},
           Location where = Location::current()) const;
  /// The same, and what happens in it can be read and replaced: inputs and outputs of the module
  /// and of those inside it, as visits behind the model's own, in the order of an invoke's calls:
  /// `ln_f.watched(h)`, then `ln_f.visit(1).output()`.
  Var watched(const Operand& argument) const;
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
  /// The same with several invokes.
  absl::StatusOr<RunResult> Trace(absl::FunctionRef<void(Tracer&)> body,
                                  const TraceOptions& options = {},
                                  Location where = Location::current()) const;

  /// `transformer.h.1.mlp`, the model's own names; empty for the model itself.
  const std::string& path() const { return path_; }
  /// `mlp`: the last component of the path.
  std::string name() const;
  /// `GPT2Block`; empty if there is no such module.
  std::string type() const;
  /// What PyTorch prints between the brackets: `in_features=48, out_features=144`.
  std::string detail() const;

  /// Number of its child modules: `model["layers"].size()` is the number of layers.
  int64_t size() const;
  bool empty() const { return size() == 0; }
  /// Its child modules, in the model's order. `for (Module layer : model["layers"])` goes through
  /// them as well.
  std::vector<Module> children() const;
  /// The names of its child modules.
  std::vector<std::string> names() const;
  /// The module around it; none for the model itself.
  std::optional<Module> parent() const;
  /// The model itself, as a module.
  Module root() const;
  /// The module `path` as seen from here, or kNotFound with the closest names.
  absl::StatusOr<Module> get(const std::string& path) const;

  using Filter = std::function<bool(const Module&)>;
  /// All modules from here on, each after its children.
  std::vector<Module> modules(const Filter& filter = nullptr) const;
  /// The same with their paths.
  std::vector<std::pair<std::string, Module>> named_modules(const Filter& filter = nullptr) const;
  /// Parameters and buffers from here on, with their paths, dtypes and shapes.
  std::vector<ParameterDescription> parameters() const;

  /// Where the weights are: `cpu`, `cuda:0`.
  const std::string& device() const;
  /// Of the first parameter from here on; of the model's weights if there is none.
  DType dtype() const;
  /// The model's `config.json`.
  const std::string& config_json() const;

  /// The tree from here on as PyTorch prints modules, with names that were given (`ffn/mlp`) and
  /// modules that were attached.
  std::string tree() const;
  friend std::ostream& operator<<(std::ostream& out, const Module& module);

  /// For this library's own use.
  const std::shared_ptr<const internal::ModelState>& model() const { return model_; }
  internal::ModuleRef Ref() const;

  /// Goes through children.
  class Iterator {
   public:
    using value_type = Module;
    using difference_type = std::ptrdiff_t;

    Module operator*() const { return (*children_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++at_;
      return before;
    }
    bool operator==(std::default_sentinel_t) const { return at_ == children_->size(); }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    friend class Module;
    explicit Iterator(std::vector<Module> children)
        : children_(std::make_shared<const std::vector<Module>>(std::move(children))) {}
    std::shared_ptr<const std::vector<Module>> children_;
    size_t at_ = 0;
  };
  Iterator begin() const { return Iterator(children()); }
  std::default_sentinel_t end() const { return {}; }

 protected:
  Module(std::shared_ptr<const internal::ModelState> model, std::string path)
      : model_(std::move(model)), path_(std::move(path)) {}
  Module Child(const std::string& name) const;
  Module Item(int64_t index) const;
  Var Point(uint8_t point, Location where) const;

  std::shared_ptr<const internal::ModelState> model_;
  std::string path_;
  internal::Visit visit_;
  /// Components of the path that a sweep fills in; they are `$` in it.
  std::vector<std::pair<uint32_t, Param>> parameters_;

 private:
  template <typename T>
  friend bool Is(const Module& module);
  bool IsWrappedBy(std::type_index wrapper) const;
  void Collect(const Filter& filter, std::vector<Module>* found) const;
};

/// `module` as a class of one's own that derives from Module and adds members to it, such as views
/// of its values (weft/view.h). The class has a constructor from a Module.
///
///   struct Attention : weft::Module {
///     explicit Attention(const weft::Module& module) : Module(module) {}
///     weft::View heads() const { ... }
///   };
///   weft::As<Attention>(model["layers"][3]["attention"]).heads()[{Slice(), Slice(), 5}] = 0.0;
template <typename T>
T As(const Module& module) {
  return T(module);
}

/// True if LanguageModel::Register named T for this module.
template <typename T>
bool Is(const Module& module) {
  return module.IsWrappedBy(typeid(T));
}

/// Every module from `module` on that T was registered for.
template <typename T>
std::vector<T> All(const Module& module) {
  std::vector<T> found;
  for (const Module& each : module.modules([](const Module& m) { return Is<T>(m); })) {
    found.push_back(As<T>(each));
  }
  return found;
}

}  // namespace weft
