#include "engine/plan/model_spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::plan {
namespace {

std::string SiteKey(int module, graph::Point point, uint32_t visit) {
  return absl::StrCat(module, "/", static_cast<int>(point), "/", visit);
}

/// Levenshtein distance, given up beyond `limit`.
size_t Distance(const std::string& a, const std::string& b, size_t limit) {
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return limit + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t next =
          std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = std::exchange(row[j], next);
    }
  }
  return row[b.size()];
}

}  // namespace

ModelSpec::ModelSpec(std::vector<ModuleSpec> modules, std::vector<SiteSpec> sites,
                     absl::flat_hash_map<std::string, ParameterSpec> parameters)
    : modules_(std::move(modules)), sites_(std::move(sites)), parameters_(std::move(parameters)) {
  for (size_t i = 0; i < modules_.size(); ++i) {
    module_by_path_.emplace(modules_[i].path, static_cast<int>(i));
  }
  for (size_t i = 0; i < sites_.size(); ++i) {
    const SiteSpec& spec = sites_[i];
    site_by_text_.emplace(SiteKey(spec.module, spec.site.point, spec.site.visit),
                          static_cast<int>(i));
    if (spec.site.module.empty() && spec.site.point == graph::Point::kOutput) {
      result_site_ = static_cast<int>(i);
    }
  }
}

int ModelSpec::FindModule(const std::string& path) const {
  auto it = module_by_path_.find(path);
  return it == module_by_path_.end() ? -1 : it->second;
}

int ModelSpec::FindSite(int module, graph::Point point, uint32_t visit) const {
  auto it = site_by_text_.find(SiteKey(module, point, visit));
  return it == site_by_text_.end() ? -1 : it->second;
}

std::string ModelSpec::Suggest(const std::string& module) const {
  constexpr size_t kLimit = 4;
  if (module.size() > 256) return "";
  std::vector<std::pair<size_t, std::string>> close;
  for (const ModuleSpec& spec : modules_) {
    if (spec.path.empty()) continue;
    const size_t distance = Distance(module, spec.path, kLimit);
    if (distance <= kLimit) close.emplace_back(distance, spec.path);
  }
  // A path without its leading or trailing components is a common slip: `h.1` for
  // `transformer.h.1`.
  for (const ModuleSpec& spec : modules_) {
    if (spec.path.size() > module.size() &&
        spec.path.compare(spec.path.size() - module.size(), module.size(), module) == 0 &&
        spec.path[spec.path.size() - module.size() - 1] == '.') {
      close.emplace_back(0, spec.path);
    }
  }
  if (close.empty()) return "`weft tree` lists the modules";
  std::sort(close.begin(), close.end());
  close.resize(std::min<size_t>(close.size(), 3));
  return absl::StrCat("did you mean ",
                      absl::StrJoin(close, " or ",
                                    [](std::string* out, const auto& item) {
                                      absl::StrAppend(out, "`", item.second, "`");
                                    }),
                      "?");
}

}  // namespace weft::plan
