#include "engine/plan/model_spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::plan {
namespace {

std::string SiteKey(int module, graph::Point point, uint32_t visit, const std::string& op) {
  return absl::StrCat(module, "/", static_cast<int>(point), "/", visit, "/", op);
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

/// Whether `path` is `module` or inside it.
bool IsInside(const std::string& path, const std::string& module) {
  return module.empty() || path == module ||
         (absl::StartsWith(path, module) && path[module.size()] == '.');
}

/// The first tensor of a site's value, or nullptr.
const graph::Pattern::Tensor* LeafOf(const graph::Pattern& pattern) {
  if (const auto* tensor = std::get_if<graph::Pattern::Tensor>(&pattern.value)) return tensor;
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) {
    return tuple->items.empty() ? nullptr : LeafOf(tuple->items[0]);
  }
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    return dict->entries.empty() ? nullptr : LeafOf(dict->entries[0].value);
  }
  return nullptr;
}

/// Elements of one row (`[B, T, ...]` at one token) of a site's value.
double RowElements(const SiteSpec& site) {
  const graph::Pattern::Tensor* leaf = LeafOf(site.pattern);
  if (leaf == nullptr) return 0;
  double elements = 1;
  for (const graph::Dimension& size : leaf->shape) {
    elements *= static_cast<double>(size.At(1, 1));
  }
  return elements;
}

}  // namespace

ModelSpec::ModelSpec(std::vector<ModuleSpec> modules, std::vector<SiteSpec> sites,
                     absl::flat_hash_map<std::string, ParameterSpec> parameters,
                     uint64_t cache_bytes, std::vector<OperationSpec> operations, RootInput input)
    : modules_(std::move(modules)),
      sites_(std::move(sites)),
      parameters_(std::move(parameters)),
      operations_(std::move(operations)),
      cache_bytes_(cache_bytes),
      input_(input) {
  for (size_t i = 0; i < modules_.size(); ++i) {
    module_by_path_.emplace(modules_[i].path, static_cast<int>(i));
  }
  for (size_t i = 0; i < sites_.size(); ++i) {
    const SiteSpec& spec = sites_[i];
    site_by_text_.emplace(SiteKey(spec.module, spec.site.point, spec.site.visit, spec.site.op),
                          static_cast<int>(i));
    if (spec.OfModule() && spec.site.module.empty() && spec.site.point == graph::Point::kOutput) {
      result_site_ = static_cast<int>(i);
    }
  }
  AddNextToken();
  MeasureWork();
}

void ModelSpec::AddNextToken() {
  if (!input_.ids || result_site_ < 0) return;
  const int root = sites_[result_site_].module;
  const int input = FindSite(root, graph::Point::kInput, 0);
  const graph::Pattern::Tensor* ids = input < 0 ? nullptr : LeafOf(sites_[input].pattern);
  const graph::Pattern::Tensor* logits = LeafOf(sites_[result_site_].pattern);
  // `[B, T, V]`.
  const bool has_logits = logits != nullptr && logits->dtype >= graph::DType::kF16 &&
                          logits->dtype <= graph::DType::kF64 && logits->shape.size() == 3 &&
                          logits->shape[0].batch == 1 && logits->shape[1].tokens == 1 &&
                          logits->shape[2] == graph::Dimension{logits->shape[2].constant};
  if (!has_logits || logits->shape[2].constant < 1) return;
  graph::Pattern::Tensor next{logits->dtype, {logits->shape[0], logits->shape[2]}};
  graph::Pattern::Tensor chosen{graph::DType::kI64, {logits->shape[0]}};
  // Of these the next step can look up.
  chosen.range = logits->shape[2].constant;
  if (ids != nullptr && ids->range > 0) chosen.range = std::min(chosen.range, ids->range);
  logits_site_ = static_cast<int>(sites_.size());
  for (const auto& [point, pattern] :
       {std::pair(graph::Point::kLogits, &next), std::pair(graph::Point::kSamples, &chosen)}) {
    SiteSpec& site = sites_.emplace_back();
    site.site.point = point;
    site.module = root;
    site.pattern.value = std::move(*pattern);
    site_by_text_.emplace(SiteKey(root, point, 0, ""), static_cast<int>(sites_.size()) - 1);
  }
}

void ModelSpec::MeasureWork() {
  // Each module by itself, without those inside it.
  std::vector<ModuleWork> own(modules_.size());
  std::vector<bool> parent(modules_.size(), false), mixes_inside(modules_.size(), false);
  for (size_t i = 0; i < modules_.size(); ++i) {
    for (size_t j = 0; j < modules_.size(); ++j) {
      if (i == j || !IsInside(modules_[j].path, modules_[i].path)) continue;
      parent[i] = true;
      if (!modules_[j].rowwise) mixes_inside[i] = true;
    }
  }
  for (const SiteSpec& site : sites_) {
    if (!site.OfModule()) continue;
    ModuleWork& work = own[site.module];
    const double elements = RowElements(site);
    const graph::Pattern::Tensor* leaf = LeafOf(site.pattern);
    const double bytes =
        leaf == nullptr ? 0 : elements * static_cast<double>(graph::SizeOf(leaf->dtype));
    work.activations = std::max(work.activations, bytes);
    // Rows meet in the innermost modules that look at more than one.
    if (!modules_[site.module].rowwise && !mixes_inside[site.module]) {
      work.mixing = std::max(work.mixing, elements);
    }
  }
  for (const auto& [path, parameter] : parameters_) {
    const int module = FindModule(path.substr(0, path.rfind('.')));
    if (module < 0) continue;
    const int input = FindSite(module, graph::Point::kInput, 0);
    const graph::Pattern::Tensor* leaf = input < 0 ? nullptr : LeafOf(sites_[input].pattern);
    if (!parent[module] && leaf != nullptr && leaf->range > 0) continue;
    double elements = 1;
    for (const int64_t size : parameter.shape) elements *= static_cast<double>(size);
    own[module].weights += elements;
  }
  work_.assign(modules_.size(), {});
  for (size_t i = 0; i < modules_.size(); ++i) {
    for (size_t j = 0; j < modules_.size(); ++j) {
      if (!IsInside(modules_[j].path, modules_[i].path)) continue;
      work_[i].weights += own[j].weights;
      work_[i].mixing += own[j].mixing;
      work_[i].activations = std::max(work_[i].activations, own[j].activations);
    }
  }
}

int ModelSpec::FindModule(const std::string& path) const {
  auto it = module_by_path_.find(path);
  return it == module_by_path_.end() ? -1 : it->second;
}

int ModelSpec::FindSite(int module, graph::Point point, uint32_t visit,
                        const std::string& op) const {
  auto it = site_by_text_.find(SiteKey(module, point, visit, op));
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
