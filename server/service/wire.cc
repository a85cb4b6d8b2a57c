#include "server/service/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {
namespace {

using google::protobuf::io::CodedOutputStream;

// Below this, copying is cheaper than a slice of its own.
constexpr uint64_t kInlineBytes = 4096;

constexpr uint32_t Tag(int field, int wire_type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(wire_type);
}
constexpr uint32_t kSequenceTag = Tag(v1::RunEvent::kSequenceFieldNumber, 0);
constexpr uint32_t kChunkTag = Tag(v1::RunEvent::kChunkFieldNumber, 2);
constexpr uint32_t kTensorTag = Tag(v1::Chunk::kTensorFieldNumber, 0);
constexpr uint32_t kOffsetTag = Tag(v1::Chunk::kOffsetFieldNumber, 0);
constexpr uint32_t kDataTag = Tag(v1::Chunk::kDataFieldNumber, 2);

// Six tags of one byte each, five varints.
constexpr size_t kMaxHeaderBytes = 6 + 5 * 10;

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

grpc::ByteBuffer MakeChunk(uint64_t sequence, const graph::HostTensor& tensor, uint32_t id,
                           uint64_t offset, uint64_t size) {
  // The fields of Chunk that stand before its data, so that their length is known.
  std::array<uint8_t, kMaxHeaderBytes> fields;
  size_t field_bytes = 0;
  if (id != 0) field_bytes += WriteVarint(kTensorTag, id, fields.data() + field_bytes);
  if (offset != 0) field_bytes += WriteVarint(kOffsetTag, offset, fields.data() + field_bytes);
  field_bytes += WriteVarint(kDataTag, size, fields.data() + field_bytes);

  std::array<uint8_t, 2 * kMaxHeaderBytes> header;
  size_t header_bytes = WriteVarint(kSequenceTag, sequence, header.data());
  header_bytes += WriteVarint(kChunkTag, field_bytes + size, header.data() + header_bytes);
  std::memcpy(header.data() + header_bytes, fields.data(), field_bytes);
  header_bytes += field_bytes;

  const char* data = tensor.data + offset;
  if (size <= kInlineBytes) {
    grpc::Slice slice(header_bytes + size);
    auto* to = const_cast<uint8_t*>(slice.begin());
    std::memcpy(to, header.data(), header_bytes);
    std::memcpy(to + header_bytes, data, size);
    return grpc::ByteBuffer(&slice, 1);
  }
  auto owner = std::make_unique<std::shared_ptr<const void>>(tensor.owner);
  const std::array<grpc::Slice, 2> slices = {
      grpc::Slice(header.data(), header_bytes),
      grpc::Slice(const_cast<char*>(data), size, ReleaseOwner, owner.release())};
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace weft::server
