#include "server/keys/key.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::keys {

std::string Describe(const Key& key) {
  return key.label.empty() ? absl::StrCat("key ", key.id)
                           : absl::StrCat("key ", key.id, " (", key.label, ")");
}

std::string OwnerOf(const Key& key) { return key.id.empty() ? "_" : key.id; }

bool MatchesGlob(const std::string& glob, const std::string& name) {
  // Only the last `*` ever has to be tried again, so there is no exponential case.
  size_t g = 0;
  size_t n = 0;
  size_t star = std::string::npos;
  size_t resume = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = n;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == name[n])) {
      ++g;
      ++n;
    } else if (star != std::string::npos) {
      g = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

bool HasScope(const Key& key, const std::string& scope) {
  return std::find(key.scopes.begin(), key.scopes.end(), scope) != key.scopes.end();
}

bool HasModel(const Key& key, const std::string& model) {
  return std::any_of(key.models.begin(), key.models.end(),
                     [&](const std::string& glob) { return MatchesGlob(glob, model); });
}

absl::Status RequireScope(const Key& key, const std::string& scope) {
  if (HasScope(key, scope)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      Describe(key), " lacks the scope '", scope, "'; it has: ", absl::StrJoin(key.scopes, ", "),
      ". Ask the server's operator for a key with it."));
}

absl::Status RequireModel(const Key& key, const std::string& model) {
  if (HasModel(key, model)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      Describe(key), " may not use the model '", model, "'; its models are: ",
      absl::StrJoin(key.models, ", "), ". Ask the server's operator for a key with it."));
}

}  // namespace weft::keys
