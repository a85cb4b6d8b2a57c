#pragma once

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"

namespace weft::remote {

/// Reads a message as gRPC received it, in pieces, from front to back. Refers to `slices`.
class Cursor {
 public:
  explicit Cursor(const std::vector<grpc::Slice>& slices);

  uint64_t left() const { return left_; }

  /// A cursor over the next `bytes`, of which there are as many, and move behind them.
  Cursor Split(uint64_t bytes);

  /// The rest of the present piece; empty at the end.
  absl::string_view Next();

  /// Nothing where there is none.
  std::optional<uint64_t> Varint();

 private:
  /// While left_ > 0, there is a slice that has bytes.
  void SkipEmpty();
  void Advance(size_t bytes);

  const std::vector<grpc::Slice>* slices_;
  size_t slice_ = 0, at_ = 0;
  uint64_t left_ = 0;
};

/// The next event of a message, v1::RunEvents: a cursor over the bytes of a v1::RunEvent. Nothing
/// where the message is none.
std::optional<Cursor> NextEvent(Cursor* message);

/// v1::Chunk.
struct Chunk {
  uint32_t tensor = 0;
  uint64_t offset = 0;
  Cursor bytes;
};

/// The chunk that an event is, its bytes where they lie, if they were written last, as a server
/// does. Nothing otherwise: then protobuf reads it, which copies them.
std::optional<Chunk> FindChunk(Cursor event);

}  // namespace weft::remote
