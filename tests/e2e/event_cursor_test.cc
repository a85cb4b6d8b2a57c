#include "client/remote/event_cursor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/graph/value.h"
#include "server/service/wire.h"
#include "weft/v1/weft.pb.h"

namespace weft::remote {
namespace {

constexpr uint64_t kTensorBytes = 3'000'000;

graph::HostTensor MakeTensor() {
  std::string data(kTensorBytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 3);
  return *graph::HostTensor::Make(graph::DType::kU8, {static_cast<int64_t>(kTensorBytes)},
                                  std::move(data));
}

std::string TextOf(Cursor bytes) {
  std::string text;
  while (bytes.left() > 0) text += std::string(bytes.Next());
  return text;
}

/// The same bytes in pieces of `size`, an empty one after each.
std::vector<grpc::Slice> Cut(const std::vector<grpc::Slice>& slices, size_t size) {
  std::vector<grpc::Slice> cut;
  for (const grpc::Slice& slice : slices) {
    for (size_t at = 0; at < slice.size(); at += size) {
      cut.emplace_back(slice.begin() + at, std::min(size, slice.size() - at));
      cut.emplace_back("");
    }
  }
  return cut;
}

// Otherwise every byte of a result would be copied three times, and nothing would be wrong.
TEST(EventCursorTest, ChunksOfAServerAreFoundInPlace) {
  const graph::HostTensor tensor = MakeTensor();
  v1::RunEvent running;
  running.mutable_running();
  for (const uint64_t size :
       {uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{200'000}, server::kChunkBytes}) {
    for (const auto& [sequence, id, offset] : std::vector<std::tuple<uint64_t, uint32_t, uint64_t>>{
             {1, 0, 0}, {300, 1, 1}, {uint64_t{1} << 40, 70000, 1'048'576}}) {
      std::vector<grpc::Slice> message = {server::SerializeEvent(running)};
      server::AppendChunk(sequence, tensor, id, offset, size, &message);
      const absl::string_view expected(tensor.data + offset, size);

      Cursor whole(message);
      std::optional<Cursor> event = NextEvent(&whole);
      ASSERT_TRUE(event.has_value());
      EXPECT_FALSE(FindChunk(*event).has_value());
      event = NextEvent(&whole);
      ASSERT_TRUE(event.has_value());
      EXPECT_EQ(whole.left(), 0u);
      std::optional<Chunk> chunk = FindChunk(*event);
      ASSERT_TRUE(chunk.has_value()) << size << " bytes of tensor " << id << " at " << offset;
      EXPECT_EQ(chunk->tensor, id);
      EXPECT_EQ(chunk->offset, offset);
      EXPECT_EQ(chunk->bytes.left(), size);
      EXPECT_TRUE(TextOf(chunk->bytes) == expected);
      if (size > 4096) {  // of what is shorter gRPC keeps a copy
        EXPECT_EQ(chunk->bytes.Next().data(), expected.data());
      }

      const std::vector<grpc::Slice> pieces = Cut(message, size < 1000 ? 1 : 4099);
      Cursor cut(pieces);
      ASSERT_TRUE(NextEvent(&cut).has_value());
      event = NextEvent(&cut);
      ASSERT_TRUE(event.has_value());
      chunk = FindChunk(*event);
      ASSERT_TRUE(chunk.has_value());
      EXPECT_TRUE(TextOf(chunk->bytes) == expected);
    }
  }
}

TEST(EventCursorTest, WhatIsNoChunkIsLeftToProtobuf) {
  const auto find = [](const std::string& bytes) {
    const std::vector<grpc::Slice> slices = {grpc::Slice(bytes)};
    return FindChunk(Cursor(slices)).has_value();
  };
  v1::RunEvent event;
  event.set_sequence(5);
  event.mutable_chunk()->set_tensor(1);
  event.mutable_chunk()->set_data("abc");
  const std::string bytes = event.SerializeAsString();
  EXPECT_TRUE(find(bytes));
  EXPECT_FALSE(find("")) << "nothing";
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_FALSE(find(bytes.substr(0, i))) << i;
  EXPECT_FALSE(find(bytes + "x")) << "more than its length";
  EXPECT_FALSE(find(bytes + event.SerializeAsString())) << "two chunks of one event";
}

TEST(EventCursorTest, MessagesThatAreNoEventsAreRefused) {
  for (const std::string& bytes : {std::string("\x08\x01", 2), std::string("\x0a\x05xyz", 5),
                                   std::string("\x0a", 1), std::string(12, '\xff')}) {
    const std::vector<grpc::Slice> slices = {grpc::Slice(bytes)};
    Cursor message(slices);
    EXPECT_FALSE(NextEvent(&message).has_value());
  }
}

}  // namespace
}  // namespace weft::remote
