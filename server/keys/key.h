#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace weft::keys {

/// What a key may do. `trace`: run programs, tokenise. `weights`: read parameters (`param`).
/// `admin`: manage the server.
inline constexpr char kTraceScope[] = "trace";
inline constexpr char kWeightsScope[] = "weights";
inline constexpr char kAdminScope[] = "admin";

/// An API key without its secret.
struct Key {
  std::string id;
  std::string label;
  std::vector<std::string> scopes;
  std::vector<std::string> models;  // globs: `*` any run of characters, `?` any one
  absl::Time created = absl::InfinitePast();
  absl::Time expires = absl::InfiniteFuture();
  absl::Time revoked = absl::InfiniteFuture();  // InfiniteFuture: not revoked
};

/// True if `name` matches `glob` as a whole. Time is at most the product of the two lengths.
bool MatchesGlob(const std::string& glob, const std::string& name);

bool HasScope(const Key& key, const std::string& scope);
bool HasModel(const Key& key, const std::string& model);

/// kPermissionDenied naming the key and the scope that it lacks.
absl::Status RequireScope(const Key& key, const std::string& scope);
/// kPermissionDenied naming the key and the model; says nothing about whether the model exists.
absl::Status RequireModel(const Key& key, const std::string& model);

}  // namespace weft::keys
