#include "client/src/model_state.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/src/attached_part.h"
#include "engine/graph/edits.h"
#include "engine/graph/syntax.h"

namespace weft::internal {
namespace {

constexpr size_t kNamesInMessage = 12;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string Quoted(const std::string& text) { return absl::StrCat("\"", text, "\""); }

std::string ListOf(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesInMessage);
  std::string list = absl::StrJoin(names.begin(), names.begin() + shown, ", ");
  if (shown < names.size()) absl::StrAppend(&list, ", ... (", names.size(), " in all)");
  return list;
}

/// What exists near `path`: names with a typo's distance, or else the children of the longest part
/// of it that exists.
std::string WhatExists(const std::string& path, const std::vector<std::string>& names) {
  constexpr size_t kLongestPath = 256;
  if (path.size() <= kLongestPath) {
    std::vector<std::pair<size_t, std::string>> close;
    for (const std::string& name : names) {
      const size_t distance = EditDistance(path, name);
      // Another index is not a typo.
      const bool digit = !path.empty() && path.back() >= '0' && path.back() <= '9';
      if (distance <= std::max<size_t>(2, path.size() / 5) && !digit) {
        close.emplace_back(distance, name);
      }
    }
    std::sort(close.begin(), close.end());
    if (!close.empty()) {
      std::vector<std::string> closest;
      for (size_t i = 0; i < close.size() && i < 3; ++i) closest.push_back(close[i].second);
      return absl::StrCat("; the closest are ", absl::StrJoin(closest, ", "));
    }
  }
  std::string parent = path;
  do {
    parent = ParentPath(parent);
    const std::string prefix = parent.empty() ? std::string() : parent + ".";
    std::vector<std::string> children;
    for (const std::string& name : names) {
      if (name.size() <= prefix.size() || !absl::StartsWith(name, prefix)) continue;
      std::string child = name.substr(prefix.size());
      if (child.find('.') == std::string::npos) children.push_back(std::move(child));
    }
    if (!children.empty()) {
      return absl::StrCat("; under ", parent.empty() ? "its root" : parent, " there are ",
                          ListOf(children));
    }
  } while (!parent.empty());
  return "";
}

/// The names of what there is: the model's own and those that were given.
std::vector<std::string> ModulePaths(const ModelDescription& model, const Aliases& aliases) {
  std::vector<std::string> paths;
  for (const ModuleDescription& module : model.modules) paths.push_back(module.path);
  for (std::string& path : aliases.Paths()) paths.push_back(std::move(path));
  return paths;
}

std::vector<ModuleDescription> WithParts(const std::string& path, const AttachedPart& part) {
  std::vector<ModuleDescription> modules = {{path, part.type, part.detail}};
  for (const auto& [name, child] : part.parts) {
    for (ModuleDescription& each : WithParts(JoinPath(path, name), *child)) {
      modules.push_back(std::move(each));
    }
  }
  return modules;
}

void AddParts(const std::string& path, const std::shared_ptr<const AttachedPart>& part,
              std::map<std::string, std::shared_ptr<const AttachedPart>>* attached) {
  (*attached)[path] = part;
  for (const auto& [name, child] : part->parts) AddParts(JoinPath(path, name), child, attached);
}

}  // namespace

struct ModelState::Index {
  explicit Index(ModelDescription described) : description(std::move(described)) {
    for (const ModuleDescription& module : description.modules) modules.insert(module.path);
    for (const SiteDescription& site : description.sites) points[site.module].insert(site.point);
    for (const ParameterDescription& parameter : description.parameters) {
      parameters.insert(parameter.path);
    }
  }

  const ModelDescription description;
  absl::flat_hash_set<std::string> modules, parameters;
  absl::flat_hash_map<std::string, absl::flat_hash_set<std::string>> points;
};

ModelState::ModelState(std::shared_ptr<Backend> backend, ModelDescription described)
    : backend(std::move(backend)),
      index_(std::make_shared<const Index>(std::move(described))),
      description(index_->description),
      tree_(std::make_shared<const ModuleTree>(description.modules)),
      // Without a rename there is nothing to refuse.
      aliases_(
          std::make_shared<const Aliases>(*Aliases::Make(*tree_, index_->parameters, Rename()))) {}

absl::StatusOr<std::shared_ptr<const ModelState>> ModelState::Make(std::shared_ptr<Backend> backend,
                                                                   ModelDescription description,
                                                                   const ModelOptions& options) {
  auto state = std::make_shared<ModelState>(std::move(backend), std::move(description));
  absl::StatusOr<Aliases> aliases =
      Aliases::Make(*state->tree_, state->index_->parameters, options.rename);
  if (!aliases.ok()) return aliases.status();
  state->aliases_ = std::make_shared<const Aliases>(*std::move(aliases));
  state->tuple_outputs = options.tuple_outputs;
  if (absl::Status status = state->UseAdapter(options.adapter); !status.ok()) return status;
  return state;
}

absl::Status ModelState::UseAdapter(const std::string& name) {
  const std::vector<std::string>& there = description.summary.adapters;
  if (!name.empty() && std::find(there.begin(), there.end(), name) == there.end()) {
    return absl::NotFoundError(
        absl::StrCat("the model `", description.summary.name, "` has no adapter `", name, "`; ",
                     there.empty() ? "it is hosted without any"
                                   : absl::StrCat("there is ", absl::StrJoin(there, ", "))));
  }
  adapter = name;
  return absl::OkStatus();
}

bool ModelState::takes_ids() const {
  if (description.summary.vocabulary > 0) return true;
  for (const SiteDescription& site : description.sites) {
    if (site.module.empty() && site.point == "input") return !absl::StartsWith(site.type, "float");
  }
  return true;
}

absl::Status ModelState::CheckModule(const std::string& path) const {
  if (index_->modules.contains(path)) return absl::OkStatus();
  if (FindAttached(path) != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("module ", Quoted(path),
                     " was attached here: it can be called, and its input "
                     "and output read and replaced, but the model does not have it"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("model ", Quoted(description.summary.name), " has no module ", Quoted(path),
                   WhatExists(path, ModulePaths(description, *aliases_))));
}

absl::Status ModelState::CheckSite(const std::string& path, const std::string& point) const {
  absl::Status status = CheckModule(path);
  if (!status.ok()) return status;
  const auto points = index_->points.find(path);
  if (points == index_->points.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("module ", Quoted(path), " is never called by the model, so it has no ", point,
                     WhatExists(path + ".", ModulePaths(description, *aliases_))));
  }
  if (points->second.contains(point)) return absl::OkStatus();
  std::vector<std::string> names(points->second.begin(), points->second.end());
  std::sort(names.begin(), names.end());
  return absl::InvalidArgumentError(absl::StrCat("module ", Quoted(path), " has no ", point,
                                                 "; it has ", absl::StrJoin(names, ", ")));
}

absl::Status ModelState::CheckOperation(const std::string& path, const std::string& op) const {
  if (absl::Status status = CheckModule(path); !status.ok()) return status;
  std::vector<std::string> names;
  for (const SiteDescription& site : description.operations) {
    if (site.module != path) continue;
    if (site.op == op) return absl::OkStatus();
    if (names.empty() || names.back() != site.op) names.push_back(site.op);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("module ", Quoted(path), " has no operation ", Quoted(op),
                   names.empty() ? "; it has none of its own" : "; it has ", ListOf(names)));
}

absl::Status ModelState::CheckParameter(const std::string& path) const {
  if (index_->parameters.contains(path)) return absl::OkStatus();
  std::vector<std::string> names;
  for (const ParameterDescription& parameter : description.parameters) {
    names.push_back(parameter.path);
  }
  return absl::InvalidArgumentError(absl::StrCat("model ", Quoted(description.summary.name),
                                                 " has no parameter ", Quoted(path),
                                                 WhatExists(path, names)));
}

std::string ModelState::Resolve(const std::string& base, const std::string& path) const {
  return aliases_->Resolve(*tree_, base, path);
}

const AttachedPart* ModelState::FindAttached(const std::string& path) const {
  if (attached_.empty()) return nullptr;
  const auto found = attached_.find(path);
  return found == attached_.end() ? nullptr : found->second.get();
}

absl::Status ModelState::Attach(const std::string& path, const AttachedModule& module) {
  if (module.part() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("what is attached as ", Quoted(path), " is a part that is not there"));
  }
  const std::string parent = Resolve("", ParentPath(path));
  const std::string name = LastComponent(path);
  const ModuleTree::Node* node = tree_->Find(parent);
  if (node == nullptr) return CheckModule(parent);
  if (!graph::IsName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a module is attached under a name of letters, digits and _, which ",
                     Quoted(name), " is not"));
  }
  if (node->type == "ModuleList") {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(parent), " is a list of modules: attach to one of them, or beside it"));
  }
  const std::string target = JoinPath(parent, name);
  if (Resolve(parent, name) != target || tree_->Find(target) != nullptr ||
      index_->parameters.contains(target)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name ", Quoted(target), " is taken: attach under another one"));
  }
  const std::shared_ptr<const AttachedPart> part = AttachedPart::Copy(*module.part());
  auto tree = std::make_shared<ModuleTree>(*tree_);
  for (const ModuleDescription& each : WithParts(target, *part)) tree->Add(each);
  AddParts(target, part, &attached_);
  tree_ = std::move(tree);
  return absl::OkStatus();
}

absl::StatusOr<Program> ModelState::WithEdits(const Program& program) const {
  if (edits.empty()) return program;
  std::vector<graph::Edit> stored;
  for (const HandleEdit& edit : edits) stored.push_back({edit.name, &edit.program.graph()});
  absl::StatusOr<graph::Program> edited =
      graph::ApplyEdits(program.graph(), stored, UnlimitedProgram());
  if (!edited.ok()) return edited.status();
  return Program(*std::move(edited));
}

RunSettings ModelState::SettingsOf(const TraceOptions& options) const {
  RunSettings settings = options.settings();
  settings.edits.insert(settings.edits.begin(), stored_edits.begin(), stored_edits.end());
  return settings;
}

graph::ProgramLimits UnlimitedProgram() {
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  return {.nodes = kMost,
          .constant_bytes = std::numeric_limits<uint64_t>::max(),
          .arguments = kMost,
          .list_items = kMost};
}

namespace {

/// `((a, none), {})`, what an operation takes, as `(a, none)`.
std::string Positional(const std::string& inputs) {
  std::string text = inputs;
  if (absl::StartsWith(text, "((") && absl::EndsWith(text, ", {})")) {
    text = text.substr(1, text.size() - 6);
    if (absl::EndsWith(text, ",)")) text.erase(text.size() - 2, 1);
  }
  return text;
}

}  // namespace

std::string PrintOperations(const ModelDescription& model, const std::string& path) {
  struct Line {
    std::string name, inputs, output, source;
  };
  std::vector<Line> lines;
  size_t widest = 0;
  for (const SiteDescription& site : model.operations) {
    if (site.module != path) continue;
    const std::string name =
        site.visit == 0 ? site.op : absl::StrCat("@", site.visit, " ", site.op);
    if (lines.empty() || lines.back().name != name) lines.push_back({name, "", "", site.source});
    (site.point == "output" ? lines.back().output : lines.back().inputs) =
        site.point == "output" ? site.type : Positional(site.type);
    widest = std::max(widest, name.size());
  }
  std::string text;
  for (const Line& line : lines) {
    absl::StrAppend(&text, line.name, std::string(widest - line.name.size() + 2, ' '));
    if (line.inputs.empty() && line.output.empty()) {
      absl::StrAppend(&text, "not readable");
    } else {
      absl::StrAppend(&text, line.inputs.empty() ? "(not readable)" : line.inputs, " -> ",
                      line.output.empty() ? "not readable" : line.output);
    }
    absl::StrAppend(&text, line.source.empty() ? "" : "  # ", line.source, "\n");
  }
  return text;
}

std::string PrintTree(const ModelDescription& model, const std::string& path, bool sites,
                      bool operations) {
  TreeStyle style;
  absl::flat_hash_map<std::string, std::string> notes;
  for (const SiteDescription& site : model.sites) {
    std::string& note = notes[site.module];
    absl::StrAppend(&note, note.empty() ? "  # " : "  ",
                    site.visit == 0 ? "" : absl::StrCat("@", site.visit), ".", site.point, " ",
                    site.type, site.writable ? "" : " (read only)");
  }
  if (sites) style.note = [&notes](const std::string& module) { return notes[module]; };
  if (operations) {
    style.comments = [&model](const std::string& module) {
      const std::string text = PrintOperations(model, module);
      return std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()));
    };
  }
  style.compress_lists = !sites && !operations;
  return PrintModules(ModuleTree(model.modules), path, style);
}

std::string ModelState::PrintTree(const std::string& path) const {
  TreeStyle style;
  style.label = [this](const std::string& module) {
    std::vector<std::string> names = aliases_->NamesOf(module);
    names.push_back(LastComponent(module));
    return absl::StrJoin(names, "/");
  };
  style.lines = [this](const std::string& module) {
    std::vector<std::string> lines;
    for (const auto& [name, target] : aliases_->MountsOn(module)) {
      lines.push_back(absl::StrCat("(", name, "/", target, "): ", tree_->Find(target)->type));
    }
    return lines;
  };
  return PrintModules(*tree_, path, style);
}

}  // namespace weft::internal
