#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "weft/backend.h"

namespace weft::internal {

/// `a.b` and `c`: `a.b.c`; the empty path is the root's.
std::string JoinPath(const std::string& parent, const std::string& rest);
/// `a.b` of `a.b.c`; empty for a child of the root.
std::string ParentPath(const std::string& path);
/// `c` of `a.b.c`.
std::string LastComponent(const std::string& path);

/// The modules of a description as a tree, by path. Const once made.
class ModuleTree {
 public:
  struct Node {
    std::string path, type, detail;
    std::vector<std::string> children;  // paths, in the model's order
  };

  ModuleTree() = default;
  explicit ModuleTree(const std::vector<ModuleDescription>& modules);

  /// nullptr if there is no module `path`.
  const Node* Find(const std::string& path) const;
  const std::vector<Node>& nodes() const { return nodes_; }

  /// Add a module that the model does not have. Its parent must be there, and it must not.
  void Add(const ModuleDescription& module);

 private:
  std::vector<Node> nodes_;
  absl::flat_hash_map<std::string, size_t> places_;
};

/// How PrintModules shows what is in the tree.
struct TreeStyle {
  /// What stands in front of a child: `mlp`, or with another name `ffn/mlp`. Its name if not set.
  std::function<std::string(const std::string& path)> label;
  /// What stands behind a module's first line, such as its sites.
  std::function<std::string(const std::string& path)> note;
  /// Remarks, a line each.
  std::function<std::vector<std::string>(const std::string& path)> comments;
  /// Lines between a module's first line and its children: names that it has for modules below.
  std::function<std::vector<std::string>(const std::string& path)> lines;
  /// Equal neighbours in a list are one line, `(0-3): 4 x GPT2Block`.
  bool compress_lists = true;
};

/// The tree from `path` on as PyTorch prints modules.
std::string PrintModules(const ModuleTree& tree, const std::string& path, const TreeStyle& style);

}  // namespace weft::internal
