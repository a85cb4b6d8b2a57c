#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/src/aliases.h"
#include "client/src/module_tree.h"
#include "engine/graph/lint.h"
#include "weft/attached_module.h"
#include "weft/backend.h"
#include "weft/model_options.h"
#include "weft/module.h"
#include "weft/run.h"

namespace weft::internal {

/// An edit of a model handle.
struct HandleEdit {
  std::string name;
  Program program;
};

/// An opened model: its description, indexed for the checks of recording, and what its user added
/// to it. Const once made: a handle that gets an edit or a module gets another state, which shares
/// the description.
struct ModelState {
  ModelState(std::shared_ptr<Backend> backend, ModelDescription description);

  static absl::StatusOr<std::shared_ptr<const ModelState>> Make(std::shared_ptr<Backend> backend,
                                                                ModelDescription description,
                                                                const ModelOptions& options);

  /// It is called with token ids, not with activations.
  bool takes_ids() const;
  /// kInvalidArgument with the closest names if there is no module `path`.
  absl::Status CheckModule(const std::string& path) const;
  /// The same for a site; a module that the model never calls has none.
  absl::Status CheckSite(const std::string& path, const std::string& point) const;
  /// The same for an operation inside a module.
  absl::Status CheckOperation(const std::string& path, const std::string& op) const;
  absl::Status CheckParameter(const std::string& path) const;

  /// The model's own path of `path` as written from the module `base`, other names resolved. What
  /// does not resolve stays as it is, for the checks to refuse.
  std::string Resolve(const std::string& base, const std::string& path) const;
  /// The tree below `path` as PyTorch prints modules, with the names and modules that its user gave
  /// the handle.
  std::string PrintTree(const std::string& path) const;
  /// The tree with attached modules in it.
  const ModuleTree& tree() const { return *tree_; }
  /// The module or part of one that was attached at `path`; nullptr if that is none.
  const AttachedPart* FindAttached(const std::string& path) const;

  /// Add `module` under `path`, whose parent is a module of the model.
  absl::Status Attach(const std::string& path, const AttachedModule& module);
  /// `program` as it is sent: with the handle's own edits.
  absl::StatusOr<Program> WithEdits(const Program& program) const;
  /// How it is run: with those that the key has stored.
  RunSettings SettingsOf(const TraceOptions& options) const;

  const std::shared_ptr<Backend> backend;

 private:
  struct Index;
  std::shared_ptr<const Index> index_;

 public:
  const ModelDescription& description;
  std::vector<std::string> stored_edits;  // of the key, by name
  std::vector<HandleEdit> edits;
  bool tuple_outputs = false;
  std::string adapter;
  /// Choose an adapter; kNotFound.
  absl::Status UseAdapter(const std::string& name);
  WrapperKeys wrappers;

 private:
  std::shared_ptr<const ModuleTree> tree_;
  std::shared_ptr<const Aliases> aliases_;
  std::map<std::string, std::shared_ptr<const AttachedPart>> attached_;  // by path
};

/// The tree below `path`, indented as PyTorch prints modules; with sites and their shapes if
/// `sites`. Used by the CLI as well.
std::string PrintTree(const ModelDescription& model, const std::string& path, bool sites,
                      bool operations = false);
/// The operations of one module, a line each: `linear_0  (float32[B, T, 48]) -> float32[B, T,
/// 144]`.
std::string PrintOperations(const ModelDescription& model, const std::string& path);
/// For checks of what is still here: how large a program may be is the server's to say.
graph::ProgramLimits UnlimitedProgram();

}  // namespace weft::internal
