#pragma once

#include <google/protobuf/arena.h>

#include <cstddef>

namespace weft::graph {

/// Where a request lies while it is decoded: on the stack if it is small, which most are, so that
/// parsing it and letting go of it take few allocations. Not thread-safe.
class MessageArena {
 public:
  MessageArena() : arena_(block_, sizeof(block_)) {}
  MessageArena(const MessageArena&) = delete;
  MessageArena& operator=(const MessageArena&) = delete;

  /// An empty message, good until Clear.
  template <class Message>
  Message* Make() {
    return google::protobuf::Arena::CreateMessage<Message>(&arena_);
  }
  void Clear() { arena_.Reset(); }

 private:
  alignas(std::max_align_t) char block_[8192];
  google::protobuf::Arena arena_;
};

}  // namespace weft::graph
