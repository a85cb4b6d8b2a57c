#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "weft/backend.h"

namespace weft::internal {

/// An opened model: its description, indexed for the checks of recording. Const once made.
struct ModelState {
  ModelState(std::shared_ptr<Backend> backend, ModelDescription description);

  /// kInvalidArgument with the closest names if there is no module `path`.
  absl::Status CheckModule(const std::string& path) const;
  /// The same for a site; a module that the model never calls has none.
  absl::Status CheckSite(const std::string& path, const std::string& point) const;
  /// The same for an operation inside a module.
  absl::Status CheckOperation(const std::string& path, const std::string& op) const;
  absl::Status CheckParameter(const std::string& path) const;

  const std::shared_ptr<Backend> backend;
  const ModelDescription description;

 private:
  absl::flat_hash_set<std::string> modules_, parameters_;
  absl::flat_hash_map<std::string, absl::flat_hash_set<std::string>> points_;
};

/// The tree below `path`, indented as PyTorch prints modules; with sites and their shapes if
/// `sites`. Used by the CLI as well.
std::string PrintTree(const ModelDescription& model, const std::string& path, bool sites,
                      bool operations = false);
/// The operations of one module, a line each: `linear_0  (float32[B, T, 48]) -> float32[B, T,
/// 144]`.
std::string PrintOperations(const ModelDescription& model, const std::string& path);

}  // namespace weft::internal
