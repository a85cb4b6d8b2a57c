#include "client/src/module_tree.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace weft::internal {
namespace {

class Printer {
 public:
  Printer(const ModuleTree& tree, const TreeStyle& style) : tree_(tree), style_(style) {}

  /// `Block(...)`, over several lines where it has children, without an end of the last one.
  std::string Print(const ModuleTree::Node& node) const {
    std::string text = absl::StrCat(node.type, "(", node.detail);
    const std::string note = style_.note ? style_.note(node.path) : "";
    const std::vector<std::string> lines =
        style_.lines ? style_.lines(node.path) : std::vector<std::string>();
    const std::vector<std::string> comments =
        style_.comments ? style_.comments(node.path) : std::vector<std::string>();
    if (node.children.empty() && lines.empty()) {
      absl::StrAppend(&text, ")", note);
      for (const std::string& comment : comments) absl::StrAppend(&text, "\n# ", comment);
      return text;
    }
    absl::StrAppend(&text, note, "\n");
    for (const std::string& comment : comments) absl::StrAppend(&text, "  # ", comment, "\n");
    for (const std::string& line : lines) absl::StrAppend(&text, "  ", line, "\n");

    const bool compress = style_.compress_lists && node.type == "ModuleList";
    std::vector<std::string> labels, bodies;
    for (const std::string& path : node.children) {
      labels.push_back(Label(path));
      bodies.push_back(Print(*tree_.Find(path)));
    }
    for (size_t i = 0; i < bodies.size();) {
      size_t end = i + 1;
      while (compress && end < bodies.size() && bodies[end] == bodies[i] && IsPlain(node, end) &&
             IsPlain(node, i)) {
        ++end;
      }
      absl::StrAppend(&text, "  (", labels[i],
                      end - i > 1 ? absl::StrCat("-", labels[end - 1]) : "",
                      "): ", end - i > 1 ? absl::StrCat(end - i, " x ") : "",
                      absl::StrReplaceAll(bodies[i], {{"\n", "\n  "}}), "\n");
      i = end;
    }
    return text + ")";
  }

 private:
  std::string Label(const std::string& path) const {
    return style_.label ? style_.label(path) : LastComponent(path);
  }
  /// True for a child that is shown under its own name alone.
  bool IsPlain(const ModuleTree::Node& node, size_t child) const {
    return Label(node.children[child]) == LastComponent(node.children[child]);
  }

  const ModuleTree& tree_;
  const TreeStyle& style_;
};

}  // namespace

std::string JoinPath(const std::string& parent, const std::string& rest) {
  if (parent.empty()) return rest;
  return rest.empty() ? parent : absl::StrCat(parent, ".", rest);
}

std::string ParentPath(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string LastComponent(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? path : path.substr(dot + 1);
}

ModuleTree::ModuleTree(const std::vector<ModuleDescription>& modules) {
  nodes_.reserve(modules.size());
  for (const ModuleDescription& module : modules) Add(module);
}

const ModuleTree::Node* ModuleTree::Find(const std::string& path) const {
  const auto found = places_.find(path);
  return found == places_.end() ? nullptr : &nodes_[found->second];
}

void ModuleTree::Add(const ModuleDescription& module) {
  if (!places_.emplace(module.path, nodes_.size()).second) return;
  nodes_.push_back({module.path, module.type, module.detail, {}});
  if (module.path.empty()) return;
  // What comes without its parent is found by its path and stands nowhere in the tree.
  const auto parent = places_.find(ParentPath(module.path));
  if (parent != places_.end()) nodes_[parent->second].children.push_back(module.path);
}

std::string PrintModules(const ModuleTree& tree, const std::string& path, const TreeStyle& style) {
  const ModuleTree::Node* node = tree.Find(path);
  return node == nullptr ? "" : Printer(tree, style).Print(*node) + "\n";
}

}  // namespace weft::internal
