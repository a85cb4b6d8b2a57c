#include "client/remote/run_call.h"

#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/remote/event_cursor.h"
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
    std::optional<Cursor> event = NextEvent(&events);
    if (!event) {
      return absl::DataLossError("the server sent a message that is no weft.v1.RunEvents");
    }
    absl::Status status;
    if (std::optional<Chunk> chunk = FindChunk(*event)) {
      began_ = true;
      status = assembler_.BeginChunk(chunk->tensor, chunk->offset, chunk->bytes.left());
      while (status.ok() && chunk->bytes.left() > 0) {
        status = assembler_.Append(chunk->bytes.Next());
      }
      if (status.ok()) status = Deliver();
    } else {
      std::string gathered;
      while (event->left() > 0) absl::StrAppend(&gathered, event->Next());
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
