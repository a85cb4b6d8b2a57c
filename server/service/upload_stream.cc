#include "server/service/upload_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/content_hash.h"
#include "server/service/program_blobs.h"
#include "server/service/status.h"
#include "server/service/wire.h"
#include "server/steady_time.h"

namespace weft::server {
namespace {

constexpr char kMethod[] = "weft.v1.Weft/Upload";
// Of a message around a chunk.
constexpr uint64_t kFraming = 1024;

}  // namespace

absl::StatusOr<std::shared_ptr<UploadStream>> UploadStream::Open(
    std::shared_ptr<RunRegistry> registry, Gate* gate, Call call, limits::UploadSlot slot,
    blobs::BlobStore* store, WorkerPool* pool, grpc::ByteBuffer* response) {
  std::shared_ptr<UploadStream> stream(
      new UploadStream(registry, gate, std::move(call), std::move(slot), store, pool, response));
  if (absl::Status added = registry->Add(stream); !added.ok()) return added;
  stream->StartRead(&stream->incoming_);
  return stream;
}

UploadStream::UploadStream(std::shared_ptr<RunRegistry> registry, Gate* gate, Call call,
                           limits::UploadSlot slot, blobs::BlobStore* store, WorkerPool* pool,
                           grpc::ByteBuffer* response)
    : registry_(std::move(registry)),
      gate_(gate),
      key_(call.key),
      store_(store),
      pool_(pool),
      response_(response),
      call_(std::move(call)),
      slot_(std::move(slot)),
      chunk_began_(SteadyNow()) {}

void UploadStream::OnReadDone(bool ok) {
  const absl::Time came = SteadyNow();
  {
    absl::MutexLock lock(&mutex_);
    reading_ = false;
    if (finished_) return;
  }
  if (!pool_->Post([stream = shared_from_this(), came, last = !ok] { stream->Work(came, last); })) {
    FinishOnce(Busy());
  }
}

void UploadStream::Work(absl::Time came, bool last) {
  LogFields fields;
  {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    fields = call_.log_fields();
  }
  const LogScope scope(std::move(fields));
  const absl::Status taken = CatchAll(kMethod, [&]() -> absl::Status {
    if (!last) return TakeMessage();
    if (upload_ == nullptr) {
      return absl::InvalidArgumentError(
          "an upload begins with a message that has the hash and the number of bytes");
    }
    absl::StatusOr<blobs::Blob> blob = upload_->Finish();
    if (!blob.ok()) return blob.status();
    Answer(*blob, /*existed=*/false);
    return absl::OkStatus();
  });
  if (!taken.ok() || answer_.Valid()) {
    upload_ = nullptr;
    return FinishOnce(taken, taken.ok() ? &answer_ : nullptr);
  }
  absl::MutexLock lock(&mutex_);
  if (finished_) {
    upload_ = nullptr;
    return;
  }
  reading_ = true;
  chunk_began_ += SteadyNow() - came;  // the client had to wait
  if (chunk_bytes_ >= kChunkBytes) {
    chunk_began_ = SteadyNow();
    chunk_bytes_ = 0;
  }
  // With the lock: nobody may give gRPC the status before, after which it has no stream to read
  // from. It does not call back on this thread.
  StartRead(&incoming_);
}

absl::Status UploadStream::TakeMessage() {
  v1::UploadRequest message;
  absl::Status parsed = ParseRequest(incoming_, kChunkBytes + kFraming, &message);
  incoming_.Clear();
  if (!parsed.ok()) return parsed;
  if (upload_ == nullptr) return TakeHeader(message);
  if (!message.sha256().empty() || message.bytes() != 0) {
    return absl::InvalidArgumentError("after an upload's first message there is data alone");
  }
  if (message.data().empty() || message.data().size() > kChunkBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a message of an upload has 1 to ", kChunkBytes,
                                                   " bytes of data, not ", message.data().size()));
  }
  absl::Status added = upload_->Append(message.data().data(), message.data().size());
  if (registry_->metrics() != nullptr) {
    registry_->metrics()->blob_upload_bytes.Increment(static_cast<double>(message.data().size()));
  }
  absl::MutexLock lock(&mutex_);
  chunk_bytes_ += message.data().size();
  return added;
}

absl::Status UploadStream::TakeHeader(const v1::UploadRequest& message) {
  if (!message.data().empty()) {
    return absl::InvalidArgumentError(
        "an upload's first message has the hash and the number of bytes, and no data");
  }
  absl::StatusOr<blobs::Blob> blob = store_->Renew(key_, message.sha256());
  if (blob.ok() && blob->bytes == message.bytes()) {
    Answer(*blob, /*existed=*/true);
    return absl::OkStatus();
  }
  if (!blob.ok() && !absl::IsNotFound(blob.status())) return blob.status();
  absl::StatusOr<std::unique_ptr<blobs::BlobStore::Upload>> upload =
      store_->Begin(key_, message.sha256(), message.bytes());
  if (!upload.ok()) return upload.status();
  upload_ = *std::move(upload);
  absl::MutexLock lock(&mutex_);
  call_.subject = graph::ContentHash::ToText(message.sha256());
  return absl::OkStatus();
}

void UploadStream::Answer(const blobs::Blob& blob, bool existed) {
  v1::UploadResponse answer;
  answer.set_existed(existed);
  EncodeBlob(blob, answer.mutable_blob());
  answer_ = Serialize(answer);
  if (metrics::Metrics* metrics = registry_->metrics().get()) {
    (existed ? metrics->blobs_existed : metrics->blobs_uploaded).Increment();
  }
  absl::MutexLock lock(&mutex_);
  call_.subject = graph::ContentHash::ToText(blob.sha256);
}

void UploadStream::FinishOnce(const absl::Status& status, grpc::ByteBuffer* answer) {
  {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(finished_, true)) return;
    if (answer != nullptr) response_->Swap(answer);
    // Before the client can know, so that its next upload is taken.
    slot_.Release();
    gate_->End(call_, status);
  }
  Finish(ToGrpcStatus(status));
}

void UploadStream::End(const absl::Status& status) { FinishOnce(status); }

void UploadStream::OnCancel() { FinishOnce(absl::CancelledError("the client went away")); }

void UploadStream::Check(absl::Time now) {
  const absl::Duration timeout = registry_->options().slow_reader_timeout;
  {
    absl::MutexLock lock(&mutex_);
    if (finished_ || !reading_ || now - chunk_began_ < timeout) return;
  }
  FinishOnce(absl::DeadlineExceededError(
      absl::StrCat("less than ", kChunkBytes, " bytes of the upload came in ",
                   absl::FormatDuration(timeout), " (--slow-reader-timeout), so it was ended")));
}

void UploadStream::OnDone() {
  const std::shared_ptr<RunRegistry> registry = registry_;
  registry->Remove(this);  // may destroy this
}

}  // namespace weft::server
