#pragma once

#include <grpcpp/grpcpp.h>

#include <array>
#include <cstddef>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace weft::remote {

/// Reads messages on a thread of its own, a few ahead of whoever takes them, so that a large result
/// is received and copied at once. gRPC receives only while somebody waits for it.
class ReadAhead {
 public:
  /// `read` waits for the next message; false at the end. It is called by the thread alone, until
  /// it was false once, and must not throw. Throws std::system_error where there can be no thread.
  explicit ReadAhead(std::function<bool(grpc::ByteBuffer*)> read);
  /// Waits for a `read` that is under way: cancel the call before, if it may not have ended.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  /// The next message; false at the end.
  bool Next(grpc::ByteBuffer* message);

 private:
  static constexpr size_t kMessages = 4;  // of 1 MiB, as a server sends them

  void ReadAll();

  const std::function<bool(grpc::ByteBuffer*)> read_;
  absl::Mutex mutex_;
  std::array<grpc::ByteBuffer, kMessages> messages_;
  // Counted from the first one; a message's place is its number modulo kMessages, and belongs to
  // the thread from when it is free until it is counted here.
  size_t read_count_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t taken_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace weft::remote
