#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/graph/value.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {

/// The most bytes of a tensor that travel in one event.
inline constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

/// Parse a request as graph::ParseChecked does. kResourceExhausted over `max_bytes`.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, uint64_t max_bytes,
                          google::protobuf::Message* message);

grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

/// An event as an element of RunEvents. Elements behind each other are a RunEvents.
grpc::Slice SerializeEvent(const v1::RunEvent& event);

/// Append an element of RunEvents with a Chunk: bytes [offset, offset + size) of `tensor`, which
/// travels as number `id`. The bytes are not copied (but where they are fewer than a slice is
/// worth): the message refers to them and keeps the tensor's owner alive.
void AppendChunk(uint64_t sequence, const graph::HostTensor& tensor, uint32_t id, uint64_t offset,
                 uint64_t size, std::vector<grpc::Slice>* message);

}  // namespace weft::server
