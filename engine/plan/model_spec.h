#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"

namespace weft::plan {

/// Before the first site: constants, parameters, the invokes' ids.
inline constexpr int kStart = -1;

struct ModuleSpec {
  std::string path;  // empty for the root
  /// Every row is computed by itself (a linear layer, a norm): the module can be called out of band
  /// on any leading dimensions.
  bool rowwise = false;
};

/// What a module's call takes, as far as a model's shapes tell. Lookups of rows cost nothing.
struct ModuleWork {
  double weights = 0;      // elements that each row is multiplied with
  double mixing = 0;       // elements of a row that meets the rows of its prompt, in all layers
  double activations = 0;  // bytes of a row at the widest site inside
};

struct SiteSpec {
  graph::Site site;
  int module = 0;  // among ModelSpec::modules
  graph::Pattern pattern;
  bool writable = true;
  /// A generation computes it for the last token of each prompt alone.
  bool last_token = false;
};

struct ParameterSpec {
  graph::DType dtype = graph::DType::kF32;
  std::vector<int64_t> shape;
};

/// All that the planner knows about a model. Sites are in the order in which a pass visits them, so
/// the index of a site is its time. Const once made.
class ModelSpec {
 public:
  /// `cache_bytes`: what the KV cache holds for each token, in all layers.
  ModelSpec(std::vector<ModuleSpec> modules, std::vector<SiteSpec> sites,
            absl::flat_hash_map<std::string, ParameterSpec> parameters, uint64_t cache_bytes = 0);

  const std::vector<ModuleSpec>& modules() const { return modules_; }
  const std::vector<SiteSpec>& sites() const { return sites_; }
  const absl::flat_hash_map<std::string, ParameterSpec>& parameters() const { return parameters_; }

  uint64_t cache_bytes() const { return cache_bytes_; }

  /// What calling a module takes.
  const ModuleWork& WorkOf(int module) const { return work_[module]; }
  /// The index of a module, or -1.
  int FindModule(const std::string& path) const;
  /// The time of a site, or -1.
  int FindSite(int module, graph::Point point, uint32_t visit) const;
  /// The site whose value is the trace's result: the root's output.
  int ResultSite() const { return result_site_; }
  /// The names closest to one that does not exist, for errors: `did you mean ...?`, or empty.
  std::string Suggest(const std::string& module) const;

 private:
  void MeasureWork();

  std::vector<ModuleSpec> modules_;
  std::vector<SiteSpec> sites_;
  std::vector<ModuleWork> work_;  // by module
  absl::flat_hash_map<std::string, ParameterSpec> parameters_;
  absl::flat_hash_map<std::string, int> module_by_path_;
  absl::flat_hash_map<std::string, int> site_by_text_;
  int result_site_ = -1;
  uint64_t cache_bytes_ = 0;
};

}  // namespace weft::plan
