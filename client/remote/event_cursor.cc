#include "client/remote/event_cursor.h"

#include <algorithm>

#include "weft/v1/weft.pb.h"

namespace weft::remote {
namespace {

// Tags of the wire format: field << 3 | type.
constexpr uint64_t kEvent = v1::RunEvents::kEventsFieldNumber << 3 | 2;
constexpr uint64_t kSequence = v1::RunEvent::kSequenceFieldNumber << 3 | 0;
constexpr uint64_t kChunk = v1::RunEvent::kChunkFieldNumber << 3 | 2;
constexpr uint64_t kChunkTensor = v1::Chunk::kTensorFieldNumber << 3 | 0;
constexpr uint64_t kChunkOffset = v1::Chunk::kOffsetFieldNumber << 3 | 0;
constexpr uint64_t kChunkData = v1::Chunk::kDataFieldNumber << 3 | 2;

}  // namespace

Cursor::Cursor(const std::vector<grpc::Slice>& slices) : slices_(&slices) {
  for (const grpc::Slice& slice : slices) left_ += slice.size();
}

Cursor Cursor::Split(uint64_t bytes) {
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

absl::string_view Cursor::Next() {
  if (left_ == 0) return {};
  SkipEmpty();
  const grpc::Slice& slice = (*slices_)[slice_];
  const absl::string_view piece(reinterpret_cast<const char*>(slice.begin()) + at_,
                                std::min<uint64_t>(slice.size() - at_, left_));
  Advance(piece.size());
  return piece;
}

std::optional<uint64_t> Cursor::Varint() {
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

void Cursor::SkipEmpty() {
  while (at_ == (*slices_)[slice_].size()) {
    ++slice_;
    at_ = 0;
  }
}

void Cursor::Advance(size_t bytes) {
  at_ += bytes;
  left_ -= bytes;
}

std::optional<Cursor> NextEvent(Cursor* message) {
  // One after the other: operands of one expression are read in any order.
  const std::optional<uint64_t> tag = message->Varint();
  const std::optional<uint64_t> bytes = message->Varint();
  if (tag != kEvent || !bytes || *bytes > message->left()) return std::nullopt;
  return message->Split(*bytes);
}

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

}  // namespace weft::remote
