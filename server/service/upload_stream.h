#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/limits/limiter.h"
#include "server/service/call.h"
#include "server/service/run_registry.h"
#include "server/service/worker_pool.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {

/// One call of Upload: a client's bytes on their way into the store.
///
/// One message at a time: the next is read when the pool has hashed and written the one before, so
/// an upload holds about a chunk. A client that brings less than a chunk in the time that a reader
/// has for one loses its upload; one that ends early leaves nothing. Once the store is known to
/// have the blob the call ends, whether the client has begun to send it or not.
///
/// It belongs to itself between Open and gRPC's OnDone. Thread-safe.
class UploadStream final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                           public ActiveRun,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  /// A stream in `registry` that reads, or why it takes no more. `response` is gRPC's, alive until
  /// OnDone; `gate`, which hears of the call's end, `store` and `pool` as well.
  static absl::StatusOr<std::shared_ptr<UploadStream>> Open(
      std::shared_ptr<RunRegistry> registry, Gate* gate, Call call, limits::UploadSlot slot,
      blobs::BlobStore* store, WorkerPool* pool, grpc::ByteBuffer* response);

  const std::string& key_id() const override { return key_.id; }
  bool is_run() const override { return false; }
  void End(const absl::Status& status) override;
  void Check(absl::Time now) override;
  void Flush() override {}

 private:
  UploadStream(std::shared_ptr<RunRegistry> registry, Gate* gate, Call call,
               limits::UploadSlot slot, blobs::BlobStore* store, WorkerPool* pool,
               grpc::ByteBuffer* response);

  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  /// On the pool: take what came at `came`, or end where nothing more does.
  void Work(absl::Time came, bool last);
  absl::Status TakeMessage();
  absl::Status TakeHeader(const v1::UploadRequest& message);
  void Answer(const blobs::Blob& blob, bool existed);
  /// Give gRPC the status, once, and with it what answers the call.
  void FinishOnce(const absl::Status& status, grpc::ByteBuffer* answer = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<RunRegistry> registry_;
  Gate* const gate_;
  const keys::Key key_;
  blobs::BlobStore* const store_;
  WorkerPool* const pool_;
  grpc::ByteBuffer* const response_;  // gone as soon as gRPC has the status

  // Of whoever has the stream to itself: gRPC while it reads, then the pool.
  grpc::ByteBuffer incoming_;
  std::unique_ptr<blobs::BlobStore::Upload> upload_;
  grpc::ByteBuffer answer_;  // once it is there nothing more is needed

  absl::Mutex mutex_;
  Call call_ ABSL_GUARDED_BY(mutex_);
  limits::UploadSlot slot_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;  // gRPC has the stream
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time chunk_began_ ABSL_GUARDED_BY(mutex_);
  uint64_t chunk_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // that came since
};

}  // namespace weft::server
