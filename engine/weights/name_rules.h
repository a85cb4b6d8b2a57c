#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace weft::weights {

/// Where a pattern was found in a name: the bytes `[begin, end)`, and what each `*` stood for.
struct PatternMatch {
  size_t begin = 0, end = 0;
  std::vector<std::string> stars;
};

/// Find `pattern` in `name`, or nothing. A pattern is literal text, found anywhere; `^` in front
/// binds it to the name's beginning, `$` behind to its end; `*` is a whole run of characters other
/// than dots, at least one.
std::optional<PatternMatch> FindPattern(absl::string_view pattern, absl::string_view name);

/// What stands at `pattern` becomes `replacement`, in which each `*` is what that of the pattern
/// stood for, in order. transformers: WeightRenaming.
struct NameChange {
  std::string pattern;      // ".block_sparse_moe."
  std::string replacement;  // ".mlp."
};

/// Several tensors of a checkpoint that are one tensor of the family. transformers: WeightConverter
/// with MergeModulelist and Concatenate.
struct FusedTensor {
  /// Patterns, each found at the end of a name. What a `*` stands for are numbers from 0: those
  /// tensors are stacked along a new first dimension.
  std::vector<std::string>
      sources;  // "mlp.experts.*.gate_proj.weight", "mlp.experts.*.up_proj.weight"
  /// Takes the place of what a source matched.
  std::string target;  // "mlp.experts.gate_up_proj"
  /// The sources are joined along this dimension of the result, in their order.
  int64_t dim = 0;
};

/// One tensor of a checkpoint that is several of the family, of equal sizes. transformers:
/// WeightConverter with Chunk.
struct SplitTensor {
  std::string source;                // ".gate_up_proj.weight", found at the end of a name
  std::vector<std::string> targets;  // ".gate_proj.weight", ".up_proj.weight"
  int64_t dim = 0;
};

/// How the names and tensors in a checkpoint become those of a family's modules.
///
/// In this order: `renames`, each on every name; then the prefix; then what is ignored is left out;
/// then at most one of `fused` and `split`, which say the final name. The renames and ignored names
/// that transformers has for all families are there without being given.
struct NameRules {
  /// Put before the names of a checkpoint in which no name starts with it, as with files saved
  /// from a base model: "transformer.".
  std::string base_prefix = {};
  /// Names that start with one of these lie outside the base model and never get the prefix:
  /// "lm_head.".
  std::vector<std::string> outside_base = {};
  /// Tensors whose names end with one of these are no weights, and are passed over:
  /// ".attn.masked_bias".
  std::vector<std::string> ignored_suffixes = {};
  std::vector<NameChange> renames = {};
  std::vector<FusedTensor> fused = {};
  std::vector<SplitTensor> split = {};
};

/// Return `name` after all of `renames` in turn, before them those for all families.
std::string Renamed(std::string name, absl::Span<const NameChange> renames);

/// Return whether `rules`, or what holds for all families, passes a tensor over.
bool IsIgnored(absl::string_view name, const NameRules& rules);

}  // namespace weft::weights
