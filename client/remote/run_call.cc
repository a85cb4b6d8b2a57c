#include "client/remote/run_call.h"

#include <algorithm>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

/// What of a result must be outstanding for a second thread to pay.
constexpr uint64_t kWorthAThread = uint64_t{4} << 20;

// Tags of the wire format: field << 3 | type.
constexpr uint64_t kEvent = v1::RunEvents::kEventsFieldNumber << 3 | 2;
constexpr uint64_t kSequence = v1::RunEvent::kSequenceFieldNumber << 3 | 0;
constexpr uint64_t kChunk = v1::RunEvent::kChunkFieldNumber << 3 | 2;
constexpr uint64_t kChunkTensor = v1::Chunk::kTensorFieldNumber << 3 | 0;
constexpr uint64_t kChunkOffset = v1::Chunk::kOffsetFieldNumber << 3 | 0;
constexpr uint64_t kChunkData = v1::Chunk::kDataFieldNumber << 3 | 2;

/// Reads a message in pieces from front to back.
class Cursor {
 public:
  explicit Cursor(const std::vector<grpc::Slice>& slices) : slices_(&slices) {
    for (const grpc::Slice& slice : slices) left_ += slice.size();
  }

  uint64_t left() const { return left_; }

  /// A cursor over the next `bytes`, of which there are as many, and move behind them.
  Cursor Split(uint64_t bytes) {
    Cursor part = *this;
    part.left_ = bytes;
    for (Cursor skip = part; skip.left_ > 0;) {
      skip.Next();
      slice_ = skip.slice_;
      at_ = skip.at_;
    }
    left_ -= bytes;
    return part;
  }

  /// The rest of the present piece; empty at the end.
  absl::string_view Next() {
    if (left_ == 0) return {};
    SkipEmpty();
    const grpc::Slice& slice = (*slices_)[slice_];
    const absl::string_view piece(reinterpret_cast<const char*>(slice.begin()) + at_,
                                  std::min<uint64_t>(slice.size() - at_, left_));
    Advance(piece.size());
    return piece;
  }

  std::optional<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && left_ > 0; shift += 7) {
      SkipEmpty();
      const uint8_t byte = (*slices_)[slice_].begin()[at_];
      Advance(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

 private:
  /// While left_ > 0, there is a slice that has bytes.
  void SkipEmpty() {
    while (at_ == (*slices_)[slice_].size()) {
      ++slice_;
      at_ = 0;
    }
  }
  void Advance(size_t bytes) {
    at_ += bytes;
    left_ -= bytes;
  }

  const std::vector<grpc::Slice>* slices_;
  size_t slice_ = 0, at_ = 0;
  uint64_t left_ = 0;
};

struct Chunk {
  uint32_t tensor = 0;
  uint64_t offset = 0;
  Cursor bytes;
};

/// The chunk that the event is, if it was written with its bytes last. Nothing otherwise: then
/// protobuf reads it.
std::optional<Chunk> FindChunk(Cursor event) {
  std::optional<uint64_t> tag = event.Varint();
  if (tag == kSequence) {
    if (!event.Varint()) return std::nullopt;
    tag = event.Varint();
  }
  if (tag != kChunk) return std::nullopt;
  const std::optional<uint64_t> bytes = event.Varint();
  if (bytes != event.left()) return std::nullopt;
  uint32_t tensor = 0;
  uint64_t offset = 0;
  while ((tag = event.Varint())) {
    const std::optional<uint64_t> value = event.Varint();
    if (!value) return std::nullopt;
    if (*tag == kChunkTensor) {
      tensor = static_cast<uint32_t>(*value);
    } else if (*tag == kChunkOffset) {
      offset = *value;
    } else if (*tag == kChunkData && *value == event.left()) {
      return Chunk{tensor, offset, event};
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
  ahead_ = nullptr;
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
    if (got == Tag(kWriteTag)) unsent_ = !ok;
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
  grpc::ByteBuffer message;
  while (ahead_ == nullptr ? Read(&message) : ahead_->Next(&message)) {
    broken = Handle(&message);
    if (!broken.ok()) {
      context_->TryCancel();
      break;
    }
    if (ahead_ == nullptr && assembler_.outstanding() >= kWorthAThread) StartReadingAhead();
  }
  ahead_ = nullptr;
  stream_->Finish(&end.transport, Tag(kFinishTag));
  finished_ = WaitFor(Tag(kFinishTag));
  const bool refused = ended_ ? !end_.ok() : !end.transport.error_details().empty();
  end.not_begun = broken.ok() && !began_ && (refused || (unsent_ && !ended_));
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

bool RunCall::Read(grpc::ByteBuffer* message) {
  if (!WaitFor(Tag(kReadTag))) return false;
  message->Clear();
  message->Swap(&incoming_);
  // Before the message is looked at: the server goes on sending only to one who reads.
  stream_->Read(&incoming_, Tag(kReadTag));
  return true;
}

void RunCall::StartReadingAhead() {
  try {
    ahead_ =
        std::make_unique<ReadAhead>([this](grpc::ByteBuffer* message) { return Read(message); });
  } catch (const std::system_error&) {
    // No thread to be had: it goes slower.
  }
}

absl::Status RunCall::Handle(grpc::ByteBuffer* message) {
  // A message without events has no slices, and gRPC calls that an error.
  if (message->Length() == 0) return absl::OkStatus();
  std::vector<grpc::Slice> slices;
  if (!message->Dump(&slices).ok()) return absl::DataLossError("a message that cannot be read");
  Cursor events(slices);
  while (events.left() > 0) {
    const std::optional<uint64_t> tag = events.Varint();
    const std::optional<uint64_t> bytes = events.Varint();
    if (tag != kEvent || !bytes || *bytes > events.left()) {
      return absl::DataLossError("the server sent a message that is no weft.v1.RunEvents");
    }
    Cursor event = events.Split(*bytes);
    absl::Status status;
    if (std::optional<Chunk> chunk = FindChunk(event)) {
      began_ = true;
      status = assembler_.BeginChunk(chunk->tensor, chunk->offset, chunk->bytes.left());
      while (status.ok() && chunk->bytes.left() > 0) {
        status = assembler_.Append(chunk->bytes.Next());
      }
      if (status.ok()) status = Deliver();
    } else {
      std::string gathered;
      while (event.left() > 0) absl::StrAppend(&gathered, event.Next());
      v1::RunEvent parsed;
      if (!parsed.ParseFromString(gathered)) {
        return absl::DataLossError("the server sent an event that is no weft.v1.RunEvent");
      }
      status = HandleEvent(parsed);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunCall::Deliver() {
  if (!assembler_.ready()) {
    if (assembler_.received() > 0) {
      on_event_(event::Receiving{assembler_.name(), assembler_.received(), assembler_.bytes()});
    }
    return absl::OkStatus();
  }
  absl::StatusOr<event::Result> result = assembler_.Take();
  if (!result.ok()) return result.status();
  on_event_(*std::move(result));
  return absl::OkStatus();
}

absl::Status RunCall::HandleEvent(const v1::RunEvent& event) {
  began_ = began_ || !event.has_failed();
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
    case v1::RunEvent::kNewTokens:
      on_event_(FromMessage(event.new_tokens()));
      break;
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
