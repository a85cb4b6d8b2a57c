#include "server/service/wire.h"

#include <google/protobuf/io/coded_stream.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"

namespace weft::server {
namespace {

using google::protobuf::io::CodedOutputStream;

// Below this, copying is cheaper than a slice of its own.
constexpr uint64_t kInlineBytes = 4096;

constexpr uint32_t Tag(int field, int wire_type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(wire_type);
}
constexpr uint32_t kEventTag = Tag(v1::RunEvents::kEventsFieldNumber, 2);
constexpr uint32_t kSequenceTag = Tag(v1::RunEvent::kSequenceFieldNumber, 0);
constexpr uint32_t kChunkTag = Tag(v1::RunEvent::kChunkFieldNumber, 2);
constexpr uint32_t kTensorTag = Tag(v1::Chunk::kTensorFieldNumber, 0);
constexpr uint32_t kOffsetTag = Tag(v1::Chunk::kOffsetFieldNumber, 0);
constexpr uint32_t kDataTag = Tag(v1::Chunk::kDataFieldNumber, 2);

constexpr size_t kMaxVarintBytes = 10;
constexpr size_t kMaxHeaderBytes = 6 * (1 + kMaxVarintBytes);  // tags are of one byte

size_t WriteVarint(uint32_t tag, uint64_t value, uint8_t* to) {
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, to);
  end = CodedOutputStream::WriteVarint64ToArray(value, end);
  return static_cast<size_t>(end - to);
}

void ReleaseOwner(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, uint64_t max_bytes,
                          google::protobuf::Message* message) {
  const size_t size = bytes.Length();
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the request has ", size, " bytes, more than the ", max_bytes,
                     " that this server takes: send fewer or smaller constants"));
  }
  grpc::Slice slice;
  if (!bytes.TrySingleSlice(&slice).ok() && !bytes.DumpToSingleSlice(&slice).ok()) {
    return absl::InvalidArgumentError("the request has no readable message");
  }
  graph::WireBudget budget;
  budget.bytes = max_bytes;
  return graph::ParseChecked(reinterpret_cast<const char*>(slice.begin()), slice.size(), message,
                             budget);
}

grpc::ByteBuffer Serialize(const google::protobuf::Message& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

grpc::Slice SerializeEvent(const v1::RunEvent& event) {
  const size_t size = event.ByteSizeLong();
  std::array<uint8_t, kMaxVarintBytes + 1> header;
  const size_t header_bytes = WriteVarint(kEventTag, size, header.data());
  grpc::Slice slice(header_bytes + size);
  auto* to = const_cast<uint8_t*>(slice.begin());
  std::memcpy(to, header.data(), header_bytes);
  event.SerializeWithCachedSizesToArray(to + header_bytes);
  return slice;
}

void AppendChunk(uint64_t sequence, const graph::HostTensor& tensor, uint32_t id, uint64_t offset,
                 uint64_t size, std::vector<grpc::Slice>* message) {
  // From the inside out, because each length stands before what it measures.
  std::array<uint8_t, kMaxHeaderBytes> header;
  uint8_t* begin = header.data() + header.size();
  const auto prepend = [&begin](uint32_t tag, uint64_t value) {
    std::array<uint8_t, kMaxVarintBytes + 1> field;
    const size_t bytes = WriteVarint(tag, value, field.data());
    begin -= bytes;
    std::memcpy(begin, field.data(), bytes);
  };
  const uint8_t* const end = begin;
  const auto inside = [&] { return static_cast<uint64_t>(end - begin) + size; };
  prepend(kDataTag, size);
  if (offset != 0) prepend(kOffsetTag, offset);
  if (id != 0) prepend(kTensorTag, id);
  prepend(kChunkTag, inside());
  prepend(kSequenceTag, sequence);
  prepend(kEventTag, inside());
  const auto header_bytes = static_cast<size_t>(end - begin);

  const char* data = tensor.data + offset;
  if (size <= kInlineBytes) {
    grpc::Slice slice(header_bytes + size);
    auto* to = const_cast<uint8_t*>(slice.begin());
    std::memcpy(to, begin, header_bytes);
    std::memcpy(to + header_bytes, data, size);
    message->push_back(std::move(slice));
    return;
  }
  auto owner = std::make_unique<std::shared_ptr<const void>>(tensor.owner);
  message->emplace_back(begin, header_bytes);
  message->emplace_back(const_cast<char*>(data), size, ReleaseOwner, owner.release());
}

}  // namespace weft::server
