#include "client/remote/run_call.h"

#include <optional>
#include <utility>
#include <vector>

#include "client/remote/messages.h"
#include "engine/graph/codec.h"
#include "engine/graph/error.h"
#include "weft/v1/weft.grpc.pb.h"  // brings messages into byte buffers

namespace weft::remote {
namespace {

constexpr char kMethod[] = "/weft.v1.Weft/Run";

// Only the addresses matter: they tell operations apart.
constexpr char kWriteTag = 0, kReadTag = 0, kFinishTag = 0;
void* Tag(const char& tag) { return const_cast<char*>(&tag); }

// Tags of the wire format: field << 3 | type.
constexpr uint64_t kSequence = v1::RunEvent::kSequenceFieldNumber << 3 | 0;
constexpr uint64_t kChunk = v1::RunEvent::kChunkFieldNumber << 3 | 2;
constexpr uint64_t kChunkTensor = v1::Chunk::kTensorFieldNumber << 3 | 0;
constexpr uint64_t kChunkOffset = v1::Chunk::kOffsetFieldNumber << 3 | 0;
constexpr uint64_t kChunkData = v1::Chunk::kDataFieldNumber << 3 | 2;

/// Reads a message in pieces from front to back.
class Cursor {
 public:
  explicit Cursor(const std::vector<grpc::Slice>& slices) : slices_(slices) {
    for (const grpc::Slice& slice : slices) left_ += slice.size();
  }

  uint64_t left() const { return left_; }

  /// The rest of the present piece; empty at the end.
  absl::string_view Next() {
    while (slice_ < slices_.size() && at_ == slices_[slice_].size()) {
      ++slice_;
      at_ = 0;
    }
    if (slice_ == slices_.size()) return {};
    const grpc::Slice& slice = slices_[slice_];
    const absl::string_view piece(reinterpret_cast<const char*>(slice.begin()) + at_,
                                  slice.size() - at_);
    Advance(piece.size());
    return piece;
  }

  std::optional<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      while (slice_ < slices_.size() && at_ == slices_[slice_].size()) {
        ++slice_;
        at_ = 0;
      }
      if (slice_ == slices_.size()) return std::nullopt;
      const uint8_t byte = slices_[slice_].begin()[at_];
      Advance(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

 private:
  void Advance(size_t bytes) {
    at_ += bytes;
    left_ -= bytes;
  }

  const std::vector<grpc::Slice>& slices_;
  size_t slice_ = 0, at_ = 0;
  uint64_t left_ = 0;
};

struct ChunkHeader {
  uint32_t tensor = 0;
  uint64_t offset = 0;
};

/// If the message is a chunk written with its bytes last, move to those bytes. Nothing otherwise:
/// then protobuf reads it.
std::optional<ChunkHeader> FindChunk(Cursor* cursor) {
  std::optional<uint64_t> tag = cursor->Varint();
  if (tag == kSequence) {
    if (!cursor->Varint()) return std::nullopt;
    tag = cursor->Varint();
  }
  if (tag != kChunk || cursor->Varint() != cursor->left()) return std::nullopt;
  ChunkHeader header;
  while ((tag = cursor->Varint())) {
    const std::optional<uint64_t> value = cursor->Varint();
    if (!value) return std::nullopt;
    if (*tag == kChunkTensor) {
      header.tensor = static_cast<uint32_t>(*value);
    } else if (*tag == kChunkOffset) {
      header.offset = *value;
    } else if (*tag == kChunkData && *value == cursor->left()) {
      return header;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

RunCall::RunCall(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context,
                 uint64_t max_result_bytes, absl::FunctionRef<void(RunEvent)> on_event)
    : context_(context), on_event_(on_event), assembler_(max_result_bytes) {
  // Headers, request and end of stream leave in one go.
  context_->set_initial_metadata_corked(true);
  grpc::GenericStub stub(channel);
  stream_ = stub.PrepareCall(context_, kMethod, &queue_);
  stream_->StartCall(nullptr);
}

RunCall::~RunCall() {
  if (!finished_) context_->TryCancel();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

bool RunCall::WaitFor(const void* tag) {
  void* got = nullptr;
  bool ok = false;
  while (queue_.Next(&got, &ok)) {
    if (got == tag) return ok;
  }
  return false;
}

RunCall::End RunCall::Run(const v1::RunRequest& request) {
  grpc::ByteBuffer bytes;
  bool own = false;
  End end;
  end.transport = grpc::SerializationTraits<v1::RunRequest>::Serialize(request, &bytes, &own);
  if (!end.transport.ok()) return end;
  stream_->WriteLast(bytes, grpc::WriteOptions(), Tag(kWriteTag));

  absl::Status broken;
  stream_->Read(&incoming_, Tag(kReadTag));
  while (WaitFor(Tag(kReadTag))) {
    grpc::ByteBuffer message;
    message.Swap(&incoming_);
    // Before the message is looked at: the server goes on sending only to one who reads.
    stream_->Read(&incoming_, Tag(kReadTag));
    broken = Handle(&message);
    if (!broken.ok()) {
      context_->TryCancel();
      break;
    }
  }
  stream_->Finish(&end.transport, Tag(kFinishTag));
  finished_ = WaitFor(Tag(kFinishTag));
  if (!broken.ok()) {
    end.transport = grpc::Status::OK;
    end.status = broken;
  } else if (ended_) {
    // The run's own end says more than how the stream was closed.
    end.transport = grpc::Status::OK;
    end.status = end_;
  } else if (end.transport.ok()) {
    end.status = absl::DataLossError("the server ended the stream before the run had ended");
  }
  return end;
}

absl::Status RunCall::Handle(grpc::ByteBuffer* message) {
  std::vector<grpc::Slice> slices;
  if (!message->Dump(&slices).ok()) return absl::DataLossError("a message without bytes");
  Cursor cursor(slices);
  if (const std::optional<ChunkHeader> chunk = FindChunk(&cursor)) {
    absl::Status status = assembler_.BeginChunk(chunk->tensor, chunk->offset, cursor.left());
    while (status.ok() && cursor.left() > 0) status = assembler_.Append(cursor.Next());
    return status.ok() ? Deliver() : status;
  }
  v1::RunEvent event;
  if (!grpc::SerializationTraits<v1::RunEvent>::Deserialize(message, &event).ok()) {
    return absl::DataLossError("the server sent an event that is no weft.v1.RunEvent");
  }
  return HandleEvent(event);
}

absl::Status RunCall::Deliver() {
  if (!assembler_.ready()) return absl::OkStatus();
  std::string name = assembler_.name();
  absl::StatusOr<Value> value = assembler_.Take();
  if (!value.ok()) return value.status();
  on_event_(event::Result{std::move(name), *std::move(value)});
  return absl::OkStatus();
}

absl::Status RunCall::HandleEvent(const v1::RunEvent& event) {
  switch (event.event_case()) {
    case v1::RunEvent::kAccepted:
      on_event_(FromMessage(event.accepted()));
      break;
    case v1::RunEvent::kQueued:
      on_event_(event::Queued{event.queued().position()});
      break;
    case v1::RunEvent::kRunning:
      on_event_(event::Running{});
      break;
    case v1::RunEvent::kLog:
      on_event_(event::Log{event.log().label(), event.log().text()});
      break;
    case v1::RunEvent::kResult: {
      absl::Status status = assembler_.Begin(event.result());
      return status.ok() ? Deliver() : status;
    }
    case v1::RunEvent::kChunk: {
      const v1::Chunk& chunk = event.chunk();
      absl::Status status =
          assembler_.BeginChunk(chunk.tensor(), chunk.offset(), chunk.data().size());
      if (status.ok()) status = assembler_.Append(chunk.data());
      return status.ok() ? Deliver() : status;
    }
    case v1::RunEvent::kMissing:
      on_event_(event::Missing{event.missing().name(),
                               graph::ToStatus(graph::DecodeError(event.missing().reason()))});
      break;
    case v1::RunEvent::kCompleted:
      if (!assembler_.done()) return absl::DataLossError("the run ended amid a result");
      ended_ = true;
      on_event_(FromMessage(event.completed()));
      break;
    case v1::RunEvent::kFailed:
      ended_ = true;
      end_ = graph::ToStatus(graph::DecodeError(event.failed()));
      if (end_.ok()) end_ = absl::UnknownError("the run failed without a reason");
      break;
    case v1::RunEvent::EVENT_NOT_SET:
      break;  // of a newer server, and nothing that this client asked for
  }
  return absl::OkStatus();
}

}  // namespace weft::remote
