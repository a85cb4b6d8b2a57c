#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/error.h"
#include "engine/plan/model_spec.h"

namespace weft::plan {
namespace {

using graph::Point;

constexpr size_t kNamesShown = 24;

absl::Status NotFound(const std::string& message, const std::string& hint) {
  graph::Error error;
  error.code = absl::StatusCode::kNotFound;
  error.message = message;
  error.hint = hint;
  return graph::ToStatus(error);
}

std::string ListOf(std::vector<std::string> names) {
  const size_t all = names.size();
  names.resize(std::min(all, kNamesShown));
  std::string list = absl::StrJoin(names, ", ");
  if (all > kNamesShown) absl::StrAppend(&list, ", ... (", all, " in all)");
  return list;
}

/// `linear_0` without its number.
std::string WithoutNumber(const std::string& name) { return name.substr(0, name.rfind('_')); }

}  // namespace

absl::Status ModelSpec::NoSuchSite(int module, const graph::Site& site) const {
  const std::string shown = absl::StrCat("`", graph::ToString(site), "`");
  const std::string path =
      site.module.empty() ? "the root" : absl::StrCat("`", modules_[module].path, "`");
  const ModuleSpec& about = modules_[module];
  if (site.op.empty() && site.visit == 0) {
    const bool input = site.point == Point::kInput || site.point == Point::kInputs;
    const std::string& why = input ? about.no_input : about.no_output;
    if ((input || site.point == Point::kOutput) && !why.empty()) {
      return NotFound(
          absl::StrCat(shown, " is no site: ", why),
          "read its parent, its children or its operations; `weft tree --ops` lists them");
    }
  }
  const bool visited = FindSite(module, Point::kOutput, site.visit) >= 0 || !about.no_input.empty();
  if (FindSite(module, Point::kInput, 0) < 0 && !visited) {
    return NotFound(absl::StrCat(shown, ": the model never calls this module"),
                    "read its parent or its children; `weft tree` lists the sites");
  }
  if (FindSite(module, Point::kInput, site.visit) < 0 && !visited) {
    return NotFound(absl::StrCat(shown, ": the model calls this module fewer times"),
                    "visits are counted from 0 within a step");
  }
  if (!site.op.empty()) {
    std::vector<std::string> names, alike;
    const OperationSpec* found = nullptr;
    for (const OperationSpec& operation : operations_) {
      if (operation.module != module || operation.visit != site.visit) continue;
      if (operation.name == site.op) found = &operation;
      names.push_back(operation.name);
      if (WithoutNumber(operation.name) == WithoutNumber(site.op)) alike.push_back(names.back());
    }
    if (found == nullptr) {
      if (names.empty()) {
        return NotFound(absl::StrCat(path, " has no operation `", site.op, "`; it has none"),
                        "operations of a module's children are the children's own");
      }
      return NotFound(
          absl::StrCat(path, " has no operation `", site.op, "`; it has ",
                       ListOf(std::move(alike.empty() ? names : alike))),
          "`weft tree --ops` lists the operations; those of a module's children are the "
          "children's own");
    }
    if (site.point != Point::kOutput && site.point != Point::kInput &&
        site.point != Point::kInputs) {
      return NotFound(absl::StrCat(shown, ": an operation has `output`, `input` and `inputs`"), "");
    }
    return NotFound(
        absl::StrCat(shown, " cannot be read: it holds nothing that belongs to one prompt alone"),
        found->inputs >= 0 || found->output >= 0
            ? absl::StrCat("its ", found->output >= 0 ? "`output`" : "`inputs`",
                           " can be; parameters are read with `param`")
            : "read an operation before or after it; parameters are read with `param`");
  }
  // Attention: the modules that have the point, those close to this one first.
  std::vector<std::string> near, others;
  for (const SiteSpec& other : sites_) {
    if (other.site.point != site.point || !other.site.op.empty() || other.site.visit != 0) continue;
    const std::string& name = modules_[other.module].path;
    const bool inside = site.module.empty() || absl::StartsWith(name, site.module + ".") ||
                        absl::StartsWith(site.module, name + ".");
    (inside ? near : others).push_back(absl::StrCat("`", name, "`"));
  }
  if (near.empty()) near = std::move(others);
  near.resize(std::min<size_t>(near.size(), 3));
  return NotFound(absl::StrCat(shown, ": ", path, " does no attention itself"),
                  near.empty() ? "no module of this model has such a point"
                               : absl::StrCat("there is one in ", absl::StrJoin(near, ", "),
                                              near.size() == 3 ? " and others" : ""));
}

}  // namespace weft::plan
