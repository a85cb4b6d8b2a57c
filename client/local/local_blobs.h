#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "weft/blob.h"

namespace weft {

/// The blobs of a process, in memory until they are deleted. Thread-safe.
class LocalBlobs {
 public:
  /// Keep the tensor's bytes, which are not copied.
  absl::StatusOr<Blob> Keep(const graph::HostTensor& tensor);
  /// Give each blob constant of `program` its bytes. kNotFound, naming the statement.
  absl::Status Find(graph::Program* program) const;
  BlobList List() const;
  absl::Status Delete(const std::string& hash);

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, graph::HostTensor> blobs_ ABSL_GUARDED_BY(mutex_);  // by hash, as text
};

}  // namespace weft
