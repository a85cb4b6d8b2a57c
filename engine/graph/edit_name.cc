#include "engine/graph/edit_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace weft::graph {
namespace {

constexpr size_t kMaxNameBytes = 128;
// What is shown of one that is none.
constexpr size_t kShownBytes = 64;

std::string Shown(const std::string& text) {
  return text.size() <= kShownBytes ? text : absl::StrCat(text.substr(0, kShownBytes), "...");
}

}  // namespace

std::string EditName::ToString() const {
  return version == 0 ? name : absl::StrCat(name, "@", version);
}

absl::Status CheckEditName(const std::string& name) {
  const auto good = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= kMaxNameBytes &&
      std::all_of(name.begin(), name.end(), good)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("an edit's name has 1 to ", kMaxNameBytes,
                                                 " letters, digits and ._-, which `", Shown(name),
                                                 "` has not"));
}

absl::StatusOr<EditName> ParseEditName(const std::string& text) {
  EditName parsed;
  const size_t at = text.find('@');
  parsed.name = text.substr(0, at);
  if (absl::Status checked = CheckEditName(parsed.name); !checked.ok()) return checked;
  if (at == std::string::npos) return parsed;
  const std::string version = text.substr(at + 1);
  const bool digits = std::all_of(version.begin(), version.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!digits || !absl::SimpleAtoi(version, &parsed.version) || parsed.version == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", Shown(text), "` names no version of an edit: write `", parsed.name,
                     "` for the latest, `", parsed.name, "@2` for the second"));
  }
  return parsed;
}

}  // namespace weft::graph
