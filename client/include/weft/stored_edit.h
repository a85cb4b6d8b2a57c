#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "weft/program.h"

namespace weft {

/// One version of an edit that a key keeps on the server, for one model.
struct EditVersion {
  std::string model;
  std::string name;
  uint64_t version = 0;
  uint64_t bytes = 0;
  absl::Time created;

  /// What names it in runs: `steer@2`.
  std::string ToString() const;
};

/// The edits of a key.
struct EditList {
  std::vector<EditVersion> edits;  // by model and name, then version
  uint64_t quota_bytes = 0;        // of all of them; 0: no bound
  uint64_t quota_edits = 0;        // their number; 0: no bound
};

struct StoredEdit {
  EditVersion version;
  Program program;
};

/// How an edit is checked when it is stored.
struct StoreEditOptions {
  /// On an input of so many tokens, for an edit that fits no other; 0: on some of several lengths.
  uint32_t tokens = 0;
};

}  // namespace weft
