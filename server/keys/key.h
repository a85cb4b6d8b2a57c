#pragma once

#include <cstdint>
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

/// What a key may take. 0: no bound beyond the server's.
struct KeyLimits {
  uint32_t requests_per_minute = 0;
  uint64_t tokens_per_minute = 0;  // rows of passes, pads included
  uint32_t concurrent_runs = 0;    // waiting ones included
  uint64_t result_bytes = 0;       // of one run
  double run_seconds = 0;          // of one run, from its start
  uint32_t generated_tokens = 0;   // new tokens of one generation
  uint64_t blob_bytes = 0;         // of all blobs

  bool operator==(const KeyLimits&) const = default;
};

/// An API key without its secret.
struct Key {
  std::string id;
  std::string label;
  std::vector<std::string> scopes;
  std::vector<std::string> models;  // globs: `*` any run of characters, `?` any one
  absl::Time created = absl::InfinitePast();
  absl::Time expires = absl::InfiniteFuture();
  absl::Time revoked = absl::InfiniteFuture();  // InfiniteFuture: not revoked
  KeyLimits limits;
};

/// `key <id>`, with its label where it has one.
std::string Describe(const Key& key);

/// Under whose name is kept what the key keeps on the server: its id, which a rotation leaves as it
/// is; `_` on a server without keys, where all is everybody's.
std::string OwnerOf(const Key& key);

/// True if `name` matches `glob` as a whole. Time is at most the product of the two lengths.
bool MatchesGlob(const std::string& glob, const std::string& name);

bool HasScope(const Key& key, const std::string& scope);
bool HasModel(const Key& key, const std::string& model);

/// kPermissionDenied naming the key and the scope that it lacks.
absl::Status RequireScope(const Key& key, const std::string& scope);
/// kPermissionDenied naming the key and the model; says nothing about whether the model exists.
absl::Status RequireModel(const Key& key, const std::string& model);

}  // namespace weft::keys
