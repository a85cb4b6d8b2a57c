#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/graph/program.h"
#include "weft/v1/weft.pb.h"

namespace weft::remote {

/// Constants of at least so many bytes are uploaded instead of sent with the program.
inline constexpr uint64_t kUploadedBytes = uint64_t{256} << 10;
/// The smaller ones too, the largest first, until so many bytes are left: a request has at most
/// 4 MiB unless the server was told otherwise.
inline constexpr uint64_t kInlineBytes = uint64_t{3} << 20;

/// Makes programs' messages, with large constants as blobs that were uploaded before: each content
/// once, for as long as the server keeps it. Thread-safe.
class Constants {
 public:
  /// Bring the bytes, whose SHA-256 is `hash`; when the server will remove them.
  using Upload = absl::FunctionRef<absl::StatusOr<absl::Time>(const graph::HostTensor& tensor,
                                                              const std::string& hash)>;

  /// Which constants are uploaded: all large ones, or as many of them as must be for the rest to
  /// fit into a request.
  enum Which { kLarge, kOnlyWhatMust };

  /// Put `program` into `request`. `uploaded` is the hashes of constants that are blobs there.
  /// Where the server takes no more of them, what is left is sent inline if it fits.
  absl::Status Encode(const graph::Program& program, Upload upload, v1::RunRequest* request,
                      std::vector<std::string>* uploaded, Which which = kLarge)
      ABSL_LOCKS_EXCLUDED(mutex_);
  /// They are there no more.
  void Forget(const std::vector<std::string>& hashes) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<std::string> HashOf(const graph::HostTensor& tensor) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Ensure(const graph::HostTensor& tensor, const std::string& hash, Upload upload)
      ABSL_LOCKS_EXCLUDED(mutex_);

  /// Bytes in memory whose hash is known. They do not change while their owner lives.
  struct Hashed {
    std::weak_ptr<const void> owner;
    size_t bytes = 0;
    std::string hash;
  };
  absl::Mutex mutex_;
  absl::flat_hash_map<const char*, Hashed> hashed_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, absl::Time> expires_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::remote
