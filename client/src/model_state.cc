#include "client/src/model_state.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

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

std::string ParentOf(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
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
    parent = ParentOf(parent);
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

std::vector<std::string> Paths(const ModelDescription& model) {
  std::vector<std::string> paths;
  for (const ModuleDescription& module : model.modules) paths.push_back(module.path);
  return paths;
}

}  // namespace

ModelState::ModelState(std::shared_ptr<Backend> backend, ModelDescription description)
    : backend(std::move(backend)), description(std::move(description)) {
  for (const ModuleDescription& module : this->description.modules) modules_.insert(module.path);
  for (const SiteDescription& site : this->description.sites) {
    points_[site.module].insert(site.point);
  }
  for (const ParameterDescription& parameter : this->description.parameters) {
    parameters_.insert(parameter.path);
  }
}

absl::Status ModelState::CheckModule(const std::string& path) const {
  if (modules_.contains(path)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model ", Quoted(description.summary.name),
                                                 " has no module ", Quoted(path),
                                                 WhatExists(path, Paths(description))));
}

absl::Status ModelState::CheckSite(const std::string& path, const std::string& point) const {
  absl::Status status = CheckModule(path);
  if (!status.ok()) return status;
  const auto points = points_.find(path);
  if (points == points_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("module ", Quoted(path), " is never called by the model, so it has no ", point,
                     WhatExists(path + ".", Paths(description))));
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
  if (parameters_.contains(path)) return absl::OkStatus();
  std::vector<std::string> names;
  for (const ParameterDescription& parameter : description.parameters) {
    names.push_back(parameter.path);
  }
  return absl::InvalidArgumentError(absl::StrCat("model ", Quoted(description.summary.name),
                                                 " has no parameter ", Quoted(path),
                                                 WhatExists(path, names)));
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
    std::string name, inputs, output, note;
  };
  std::vector<Line> lines;
  size_t widest = 0;
  for (const SiteDescription& site : model.operations) {
    if (site.module != path) continue;
    const std::string name =
        site.visit == 0 ? site.op : absl::StrCat("@", site.visit, " ", site.op);
    if (lines.empty() || lines.back().name != name) lines.push_back({name, "", "", ""});
    (site.point == "output" ? lines.back().output : lines.back().inputs) =
        site.point == "output" ? site.type : Positional(site.type);
    widest = std::max(widest, name.size());
  }
  std::string text;
  for (const Line& line : lines) {
    absl::StrAppend(&text, line.name, std::string(widest - line.name.size() + 2, ' '));
    if (line.inputs.empty() && line.output.empty()) {
      absl::StrAppend(&text, "not readable\n");
      continue;
    }
    absl::StrAppend(&text, line.inputs.empty() ? "(not readable)" : line.inputs, " -> ",
                    line.output.empty() ? "not readable" : line.output, "\n");
  }
  return text;
}

std::string PrintTree(const ModelDescription& model, const std::string& path, bool sites,
                      bool operations) {
  absl::flat_hash_map<std::string, std::vector<const SiteDescription*>> sites_of;
  if (sites) {
    for (const SiteDescription& site : model.sites) sites_of[site.module].push_back(&site);
  }
  const auto depth_of = [&path](const std::string& module) {
    const absl::string_view rest = absl::string_view(module).substr(path.size());
    if (rest.empty()) return 0;
    const int dots = static_cast<int>(std::count(rest.begin(), rest.end(), '.'));
    return path.empty() ? dots + 1 : dots;
  };
  std::string text;
  int open = 0;  // parentheses that wait to be closed
  const auto close_to = [&](int depth) {
    while (open > depth) absl::StrAppend(&text, std::string(2 * --open, ' '), ")\n");
  };
  for (size_t i = 0; i < model.modules.size(); ++i) {
    const ModuleDescription& module = model.modules[i];
    if (module.path != path && !path.empty() && !absl::StartsWith(module.path, path + ".")) {
      continue;
    }
    const int depth = depth_of(module.path);
    close_to(depth);
    const bool parent =
        i + 1 < model.modules.size() &&
        (module.path.empty() || absl::StartsWith(model.modules[i + 1].path, module.path + "."));
    const std::string indent(2 * depth, ' ');
    absl::StrAppend(&text, indent);
    if (depth > 0) {
      const size_t dot = module.path.rfind('.');
      const std::string name = dot == std::string::npos ? module.path : module.path.substr(dot + 1);
      absl::StrAppend(&text, "(", name, "): ");
    }
    absl::StrAppend(&text, module.type, "(", module.detail);
    std::string shapes;
    for (const SiteDescription* site : sites_of[module.path]) {
      absl::StrAppend(&shapes, shapes.empty() ? "" : "  ",
                      site->visit == 0 ? "" : absl::StrCat("@", site->visit), ".", site->point, " ",
                      site->type, site->writable ? "" : " (read only)");
    }
    if (!parent) text += ")";
    if (!shapes.empty()) absl::StrAppend(&text, "  # ", shapes);
    text += "\n";
    if (operations) {
      for (absl::string_view line :
           absl::StrSplit(PrintOperations(model, module.path), '\n', absl::SkipEmpty())) {
        absl::StrAppend(&text, indent, parent ? "  " : "", "# ", line, "\n");
      }
    }
    if (parent) open = depth + 1;
  }
  close_to(0);
  return text;
}

}  // namespace weft::internal
