#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/graph/edited_program.h"
#include "engine/graph/lint.h"
#include "weft/program.h"
#include "weft/stored_edit.h"

namespace weft {

/// The stored edits of a process, in memory until they are deleted. Versions are as a server's: one
/// that is gone is never given again. Thread-safe.
class LocalEdits {
 public:
  /// Keep what was checked.
  EditVersion Store(const std::string& model, const std::string& name, const Program& edit);
  EditList List(const std::string& model) const;
  /// `version` 0 is the latest. kNotFound, naming what there is.
  absl::StatusOr<StoredEdit> Get(const std::string& model, const std::string& name,
                                 uint64_t version) const;
  /// `version` 0 is all of them.
  absl::StatusOr<uint64_t> Delete(const std::string& model, const std::string& name,
                                  uint64_t version);

  /// `program` with the edits of these names applied.
  absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> Apply(
      const std::string& model, const std::vector<std::string>& names,
      const graph::Program& program, const graph::ProgramLimits& limits) const;

 private:
  using Versions = std::map<uint64_t, StoredEdit>;
  absl::Status NotThere(const std::string& model, const std::string& name, uint64_t version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::pair<std::string, std::string>, Versions> edits_
      ABSL_GUARDED_BY(mutex_);                  // by model and name; none is empty
  uint64_t floor_ ABSL_GUARDED_BY(mutex_) = 0;  // the highest version that was deleted
};

}  // namespace weft
