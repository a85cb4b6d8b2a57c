#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
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
  /// It returns a tensor where older versions of transformers returned a tuple that began with it.
  bool former_tuple = false;
  /// Its tensors are packed rows.
  bool packs = true;
  /// Why it cannot be called by itself; empty where it can.
  std::string not_alone;
  /// Why its input or output is no site, though it is called; empty where it is.
  std::string no_input, no_output;
};

/// What a module's call takes, as far as a model's shapes tell. Lookups of rows cost nothing.
struct ModuleWork {
  double weights = 0;      // elements that each row is multiplied with
  double mixing = 0;       // elements of a row that meets the rows of its prompt, in all layers
  double activations = 0;  // bytes of a row at the widest site inside
};

/// A module's input or output, a point inside attention, the inputs or the output of an operation
/// inside a module, or the logits of the next token and what is chosen from them. An operation's
/// `input` is no site of its own: it is `first_input` of its inputs.
struct SiteSpec {
  graph::Site site;
  int module = 0;  // among ModelSpec::modules
  graph::Pattern pattern;
  bool writable = true;
  /// A generation computes it for the last token of each prompt alone, and so does a trace that
  /// looks at no other.
  bool last_token = false;
  /// Each prompt is one row there, without tokens.
  bool pooled = false;
  std::vector<int64_t> first_input;
  /// Its value cannot be cut by invokes: whoever looks at it has a pass of its own, of one invoke.
  bool whole = false;

  bool OfModule() const {
    return site.op.empty() && !graph::OfAttention(site.point) && !graph::OfNextToken(site.point);
  }
};

/// One operator call inside a module's own forward.
struct OperationSpec {
  /// Where a tensor lies among an operator's arguments or results.
  struct Leaf {
    int place = 0;
    int item = -1;  // of a list of tensors
    friend bool operator==(const Leaf&, const Leaf&) = default;
  };
  int module = 0;
  uint32_t visit = 0;
  std::string name;  // `linear_0`
  std::string op;    // `aten::linear`
  /// Its sites; -1 for what cannot be told apart by prompts, and so is not shown.
  int inputs = -1, output = -1;
  /// The tensors of the sites, in the order of their patterns.
  std::vector<Leaf> arguments, results;
  std::string source;  // the line of Python that it is, where that is known
};

struct SizeRange {
  int64_t least = 1;
  int64_t most = std::numeric_limits<int64_t>::max();
};

/// What the model's root is called with.
struct RootInput {
  bool ids = true;     // token ids; else activations
  bool tokens = true;  // prompts have tokens; else each is one row, `[B, ...]`
  /// Why a model of token ids cannot generate; empty where it can.
  std::string no_generation;
  bool one_invoke = false;         // a pass holds the rows of one invoke
  SizeRange batches, lengths;      // of what the root may be called with
  std::vector<std::string> names;  // of the tensors that it takes; empty where it takes token ids
};

struct ParameterSpec {
  graph::DType dtype = graph::DType::kF32;
  std::vector<int64_t> shape;
};

/// All that the planner knows about a model. Sites are in the order in which a pass visits them, so
/// the index of a site is its time. Const once made.
class ModelSpec {
 public:
  /// `cache_bytes`: what the KV cache holds for each token, in all layers. The sites of the next
  /// token are added to `sites` where the model returns logits.
  ModelSpec(std::vector<ModuleSpec> modules, std::vector<SiteSpec> sites,
            absl::flat_hash_map<std::string, ParameterSpec> parameters, uint64_t cache_bytes = 0,
            std::vector<OperationSpec> operations = {}, RootInput input = {});

  const std::vector<ModuleSpec>& modules() const { return modules_; }
  const std::vector<SiteSpec>& sites() const { return sites_; }
  const absl::flat_hash_map<std::string, ParameterSpec>& parameters() const { return parameters_; }
  /// In the order of execution.
  const std::vector<OperationSpec>& operations() const { return operations_; }

  uint64_t cache_bytes() const { return cache_bytes_; }
  const RootInput& input() const { return input_; }
  /// The times after which rows can leave a pass, or come into it, ascending.
  const std::vector<int>& leaves() const { return leaves_; }
  void set_leaves(std::vector<int> leaves) { leaves_ = std::move(leaves); }
  /// The dimensions in front of what a row holds: batch and tokens, or batch alone.
  int64_t leading() const { return input_.tokens ? 2 : 1; }
  int64_t LeadingOf(const SiteSpec& site) const { return site.pooled ? 1 : leading(); }

  /// What calling a module takes.
  const ModuleWork& WorkOf(int module) const { return work_[module]; }
  /// The index of a module, or -1.
  int FindModule(const std::string& path) const;
  /// The time of a site, or -1.
  int FindSite(int module, graph::Point point, uint32_t visit, const std::string& op = "") const;
  /// Why there is no such site of a module that exists, and what there is.
  absl::Status NoSuchSite(int module, const graph::Site& site) const;
  /// The site whose value is the trace's result: the root's output.
  int ResultSite() const { return result_site_; }
  /// The last two sites: each row's logits of the next token, and the token that is chosen. -1
  /// where the model returns no such logits.
  int LogitsSite() const { return logits_site_; }
  int SamplesSite() const { return logits_site_ < 0 ? -1 : logits_site_ + 1; }
  /// The names closest to one that does not exist, for errors: `did you mean ...?`, or empty.
  std::string Suggest(const std::string& module) const;

 private:
  void AddNextToken();
  void MeasureWork();

  std::vector<ModuleSpec> modules_;
  std::vector<SiteSpec> sites_;
  std::vector<ModuleWork> work_;  // by module
  absl::flat_hash_map<std::string, ParameterSpec> parameters_;
  std::vector<OperationSpec> operations_;
  absl::flat_hash_map<std::string, int> module_by_path_;
  absl::flat_hash_map<std::string, int> site_by_text_;
  int result_site_ = -1;
  int logits_site_ = -1;
  uint64_t cache_bytes_ = 0;
  RootInput input_;
  std::vector<int> leaves_;
};

}  // namespace weft::plan
