#include "client/src/aliases.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/src/standard_names.h"

namespace weft::internal {
namespace {

/// What a module is asked for by these names.
constexpr const char* kReserved[] = {"output", "input", "inputs", "op",        "q",
                                     "k",      "v",     "scores", "probs",     "z",
                                     "result", "ids",   "mask",   "positions", "rows"};

bool IsReserved(const std::string& name) {
  return std::any_of(std::begin(kReserved), std::end(kReserved),
                     [&](const char* reserved) { return name == reserved; });
}

bool IsComponent(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string WithoutLeadingDot(const std::string& text) {
  return absl::StartsWith(text, ".") ? text.substr(1) : text;
}

std::string Shown(const std::string& path) {
  return path.empty() ? "the model" : absl::StrCat("`", path, "`");
}

std::vector<std::string> Components(const std::string& path) {
  if (path.empty()) return {};
  return absl::StrSplit(path, '.');
}

/// The child `name` of `parent`; of `$`, which a sweep fills in, the first child.
std::string ExampleChild(const ModuleTree& tree, const std::string& parent,
                         const std::string& name) {
  const ModuleTree::Node* node = tree.Find(parent);
  if (name != "$" || node == nullptr || node->children.empty()) return JoinPath(parent, name);
  return node->children[0];
}

bool MatchesPattern(const std::vector<std::string>& pattern, const std::string& path) {
  const std::vector<std::string> components = absl::StrSplit(path, '.');
  return std::equal(
      pattern.begin(), pattern.end(), components.begin(), components.end(),
      [](const std::string& part, const std::string& name) { return part == "*" || part == name; });
}

}  // namespace

/// Fills in the tables. The first error is kept.
class Aliases::Maker {
 public:
  Maker(const ModuleTree& tree, const absl::flat_hash_set<std::string>& parameters,
        Aliases* aliases)
      : tree_(tree), parameters_(parameters), aliases_(aliases) {}

  void AddStandard();
  absl::Status AddGiven(const std::string& key, const std::string& alias);

 private:
  absl::Status Bind(const std::string& key, const std::string& parent, const std::string& alias,
                    const std::string& target);
  absl::Status BindName(const std::string& key, const std::string& alias);
  absl::Status BindType(const std::string& key, const std::string& alias);
  absl::Status BindPattern(const std::string& key, const std::string& alias);
  absl::Status BindDotted(const std::string& key, const std::string& alias);
  void BindStandard(const std::string& parent, const std::string& alias, const char* path);

  const ModuleTree& tree_;
  const absl::flat_hash_set<std::string>& parameters_;
  Aliases* const aliases_;
};

absl::Status Aliases::Maker::Bind(const std::string& key, const std::string& parent,
                                  const std::string& alias, const std::string& target) {
  const std::string path = JoinPath(parent, alias);
  if (path == target) return absl::OkStatus();
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat("`rename`: the name `", alias, "` for `", key, "` ", why));
  };
  if (!IsComponent(alias)) return refuse("is not made of letters, digits, `_` and `-`");
  if (IsReserved(alias)) {
    return refuse("is that of a value of every module, so it would shadow it");
  }
  if (tree_.Find(path) != nullptr) {
    return refuse(absl::StrCat("would shadow a child module of that name of ", Shown(parent)));
  }
  if (parameters_.contains(path)) {
    return refuse(absl::StrCat("would shadow a parameter of that name of ", Shown(parent)));
  }
  const auto [bound, added] = aliases_->given_.emplace(std::pair(parent, alias), target);
  if (added) {
    aliases_->order_.emplace_back(parent, alias);
  } else if (bound->second != target) {
    return refuse(absl::StrCat("on ", Shown(parent), " is already bound to `", bound->second, "`"));
  }
  return absl::OkStatus();
}

absl::Status Aliases::Maker::BindName(const std::string& key, const std::string& alias) {
  for (const ModuleTree::Node& node : tree_.nodes()) {
    if (node.path.empty() || LastComponent(node.path) != key) continue;
    if (absl::Status status = Bind(key, ParentPath(node.path), alias, node.path); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Aliases::Maker::BindType(const std::string& key, const std::string& alias) {
  for (const ModuleTree::Node& parent : tree_.nodes()) {
    std::vector<std::string> matches;
    for (const std::string& child : parent.children) {
      if (tree_.Find(child)->type == key) matches.push_back(child);
    }
    if (matches.empty()) continue;
    if (matches.size() > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("`rename`: the key `", key, "` matches ", matches.size(), " modules under ",
                       Shown(parent.path), " (", absl::StrJoin(matches, ", "), "), so `", alias,
                       "` would not name one of them"));
    }
    if (absl::Status status = Bind(key, parent.path, alias, matches[0]); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Aliases::Maker::BindPattern(const std::string& key, const std::string& alias) {
  const std::vector<std::string> pattern = absl::StrSplit(key, '.');
  std::vector<std::string> matches;
  for (const ModuleTree::Node& node : tree_.nodes()) {
    if (!node.path.empty() && MatchesPattern(pattern, node.path)) matches.push_back(node.path);
  }
  if (matches.empty()) return absl::OkStatus();
  if (matches.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`rename`: the key `", key, "` matches ", matches.size(), " modules under the model (",
        absl::StrJoin(matches, ", "), "), so `", alias, "` would not name one of them"));
  }
  return Bind(key, "", alias, matches[0]);
}

absl::Status Aliases::Maker::BindDotted(const std::string& key, const std::string& alias) {
  const std::string prefix = ParentPath(alias);
  if (key.find('*') != std::string::npos || !absl::StartsWith(key, prefix + ".")) {
    return absl::InvalidArgumentError(
        absl::StrCat("`rename`: the name `", alias, "` for `", key, "` stands on `", prefix,
                     "`, which names no ancestor of it: a dotted name begins as its key does, "
                     "without `*`"));
  }
  for (const ModuleTree::Node& node : tree_.nodes()) {
    if (node.path != key && !absl::EndsWith(node.path, "." + key)) continue;
    const std::string base = node.path.substr(0, node.path.size() - key.size());
    if (absl::Status status = Bind(key, base + prefix, LastComponent(alias), node.path);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Aliases::Maker::AddGiven(const std::string& key, const std::string& alias) {
  if (key.empty()) return absl::InvalidArgumentError("`rename`: a key is empty");
  if (alias.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("`rename`: the name for `", key, "` is empty"));
  }
  if (alias.find('.') != std::string::npos) return BindDotted(key, alias);
  if (key.find('*') != std::string::npos) return BindPattern(key, alias);
  if (key.find('.') != std::string::npos) {
    // A path, by the model's own names or by standard ones.
    const std::string target = aliases_->Resolve(tree_, "", key);
    return tree_.Find(target) == nullptr ? absl::OkStatus() : Bind(key, "", alias, target);
  }
  const bool is_name =
      std::any_of(tree_.nodes().begin(), tree_.nodes().end(), [&](const ModuleTree::Node& node) {
        return !node.path.empty() && LastComponent(node.path) == key;
      });
  return is_name ? BindName(key, alias) : BindType(key, alias);
}

void Aliases::Maker::BindStandard(const std::string& parent, const std::string& alias,
                                  const char* path) {
  if (path == nullptr) return;
  const std::string target = JoinPath(parent, path);
  const std::string name = JoinPath(parent, alias);
  if (tree_.Find(target) == nullptr || tree_.Find(name) != nullptr || parameters_.contains(name)) {
    return;
  }
  aliases_->standard_.emplace(std::pair(parent, alias), target);
}

void Aliases::Maker::AddStandard() {
  const auto layout = std::find_if(
      kDecoderLayouts.begin(), kDecoderLayouts.end(), [&](const DecoderLayout& candidate) {
        return tree_.Find(candidate.layers) != nullptr && tree_.Find(candidate.embed) != nullptr;
      });
  if (layout == kDecoderLayouts.end()) return;
  BindStandard("", "layers", layout->layers);
  BindStandard("", "ln_final", layout->ln_final);
  BindStandard("", "lm_head", layout->lm_head);
  for (const char* alias : {"embed", "embed_tokens"}) BindStandard("", alias, layout->embed);
  for (const std::string& layer : tree_.Find(layout->layers)->children) {
    for (const char* alias : {"attention", "self_attn", "attn"}) {
      BindStandard(layer, alias, layout->attention);
    }
    BindStandard(layer, "mlp", layout->mlp);
  }
}

absl::StatusOr<Aliases> Aliases::Make(const ModuleTree& tree,
                                      const absl::flat_hash_set<std::string>& parameters,
                                      const Rename& rename) {
  Aliases aliases;
  Maker maker(tree, parameters, &aliases);
  maker.AddStandard();
  for (const auto& [key, names] : rename) {
    for (const std::string& name : names.values()) {
      absl::Status status = maker.AddGiven(WithoutLeadingDot(key), WithoutLeadingDot(name));
      if (!status.ok()) return status;
    }
  }
  return aliases;
}

const std::string* Aliases::Find(const std::string& parent, const std::string& name) const {
  const std::pair<std::string, std::string> key(parent, name);
  if (const auto found = given_.find(key); found != given_.end()) return &found->second;
  if (const auto found = standard_.find(key); found != standard_.end()) return &found->second;
  return nullptr;
}

std::string Aliases::Resolve(const ModuleTree& tree, const std::string& base,
                             const std::string& path) const {
  // Where a sweep fills in a component, names are those of the first module that it may be.
  std::string resolved = base;
  std::string example;
  for (const std::string& component : Components(base)) {
    example = ExampleChild(tree, example, component);
  }
  size_t at = 0;
  while (at < path.size()) {
    const size_t dot = std::min(path.find('.', at), path.size());
    const std::string component = path.substr(at, dot - at);
    const std::string child = ExampleChild(tree, example, component);
    const std::string* target = tree.Find(child) == nullptr ? Find(example, component) : nullptr;
    if (tree.Find(child) != nullptr) {
      resolved = JoinPath(resolved, component);
      example = child;
    } else if (target != nullptr && resolved == example) {
      resolved = example = *target;
    } else if (target != nullptr && absl::StartsWith(*target, example + ".")) {
      resolved += target->substr(example.size());
      example = *target;
    } else {
      return JoinPath(resolved, path.substr(at));
    }
    at = dot + 1;
  }
  return resolved;
}

std::vector<std::string> Aliases::NamesOf(const std::string& path) const {
  std::vector<std::string> names;
  for (const auto& [parent, name] : order_) {
    if (parent == ParentPath(path) && given_.at({parent, name}) == path) names.push_back(name);
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> Aliases::MountsOn(
    const std::string& parent) const {
  std::vector<std::pair<std::string, std::string>> mounts;
  for (const auto& [on, name] : order_) {
    if (on != parent) continue;
    const std::string& target = given_.at({on, name});
    if (ParentPath(target) != parent) mounts.emplace_back(name, target);
  }
  return mounts;
}

std::vector<std::string> Aliases::Paths() const {
  std::vector<std::string> paths;
  for (const auto& [parent, name] : order_) paths.push_back(JoinPath(parent, name));
  return paths;
}

}  // namespace weft::internal
