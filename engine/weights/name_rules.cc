#include "engine/weights/name_rules.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace weft::weights {
namespace {

/// transformers: the mapping `legacy`. Norms of the first BERT checkpoints.
const NameChange kRenames[] = {
    {"LayerNorm.gamma", "LayerNorm.weight"},
    {"LayerNorm.beta", "LayerNorm.bias"},
};

/// Buffers that old checkpoints hold and modules compute. transformers passes them over as well.
constexpr const char* kIgnored[] = {"rotary_emb.inv_freq", ".position_ids", "^position_ids"};

/// Match `pattern`, without anchors, at `at`.
std::optional<PatternMatch> MatchAt(absl::string_view pattern, absl::string_view name, size_t at) {
  PatternMatch match{at, at, {}};
  for (const char c : pattern) {
    size_t& end = match.end;
    if (c != '*') {
      if (end == name.size() || name[end] != c) return std::nullopt;
      ++end;
      continue;
    }
    const size_t stop = std::min(name.find('.', end), name.size());
    if (stop == end) return std::nullopt;
    match.stars.emplace_back(name.substr(end, stop - end));
    end = stop;
  }
  return match;
}

void Apply(const NameChange& change, std::string& name) {
  const std::optional<PatternMatch> match = FindPattern(change.pattern, name);
  if (!match) return;
  std::string replacement;
  size_t star = 0;
  for (const char c : change.replacement) {
    if (c == '*' && star < match->stars.size()) {
      replacement += match->stars[star++];
    } else {
      replacement += c;
    }
  }
  name.replace(match->begin, match->end - match->begin, replacement);
}

}  // namespace

std::optional<PatternMatch> FindPattern(absl::string_view pattern, absl::string_view name) {
  const bool from_begin = absl::ConsumePrefix(&pattern, "^");
  const bool to_end = absl::ConsumeSuffix(&pattern, "$");
  for (size_t at = 0; at <= name.size(); ++at) {
    std::optional<PatternMatch> match = MatchAt(pattern, name, at);
    if (match && (!to_end || match->end == name.size())) return match;
    if (from_begin) break;
  }
  return std::nullopt;
}

std::string Renamed(std::string name, absl::Span<const NameChange> renames) {
  for (const NameChange& change : kRenames) Apply(change, name);
  for (const NameChange& change : renames) Apply(change, name);
  return name;
}

bool IsIgnored(absl::string_view name, const NameRules& rules) {
  return std::any_of(std::begin(kIgnored), std::end(kIgnored),
                     [&](const char* suffix) {
                       return FindPattern(absl::StrCat(suffix, "$"), name).has_value();
                     }) ||
         std::any_of(rules.ignored_suffixes.begin(), rules.ignored_suffixes.end(),
                     [&](const std::string& suffix) { return absl::EndsWith(name, suffix); });
}

}  // namespace weft::weights
