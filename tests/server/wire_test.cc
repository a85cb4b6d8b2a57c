#include "server/service/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "server/service/messages.h"
#include "server/service/status.h"
#include "tests/support/status_matchers.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

graph::HostTensor Tensor(size_t bytes) {
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(i * 31 >> 3);
  return *graph::HostTensor::Make(graph::DType::kU8, {static_cast<int64_t>(bytes)},
                                  std::move(data));
}

TEST(WireTest, ChunkParsesAsTheMessageThatItStandsFor) {
  const graph::HostTensor tensor = Tensor(3'000'000);
  for (const uint64_t size : {uint64_t{1}, uint64_t{127}, uint64_t{4096}, uint64_t{4097},
                              uint64_t{200'000}, kChunkBytes}) {
    for (const auto& [sequence, id, offset] : std::vector<std::tuple<uint64_t, uint32_t, uint64_t>>{
             {1, 0, 0}, {300, 1, 1}, {uint64_t{1} << 40, 70000, 1'048'576}}) {
      std::vector<grpc::Slice> message;
      v1::RunEvent running;
      running.mutable_running();
      message.push_back(SerializeEvent(running));
      AppendChunk(sequence, tensor, id, offset, size, &message);
      v1::RunEvents events;
      ASSERT_TRUE(events.ParseFromString(Bytes(grpc::ByteBuffer(message.data(), message.size()))));
      ASSERT_EQ(events.events_size(), 2);
      EXPECT_TRUE(events.events(0).has_running());
      const v1::RunEvent& event = events.events(1);
      EXPECT_EQ(event.sequence(), sequence);
      EXPECT_EQ(event.chunk().tensor(), id);
      EXPECT_EQ(event.chunk().offset(), offset);
      EXPECT_TRUE(event.chunk().data() == std::string(tensor.data + offset, size));
    }
  }
}

TEST(WireTest, ChunkRefersToTheTensorsBytesAndKeepsThemAlive) {
  std::weak_ptr<const void> owner;
  {
    std::vector<grpc::Slice> chunk;
    const char* data;
    {
      const graph::HostTensor tensor = Tensor(2 * kChunkBytes);
      owner = tensor.owner;
      data = tensor.data;
      AppendChunk(7, tensor, 3, kChunkBytes, kChunkBytes, &chunk);
    }
    EXPECT_FALSE(owner.expired());
    ASSERT_EQ(chunk.size(), 2u);
    EXPECT_EQ(reinterpret_cast<const char*>(chunk[1].begin()), data + kChunkBytes);
    EXPECT_EQ(chunk[1].size(), kChunkBytes);
  }
  EXPECT_TRUE(owner.expired());
}

TEST(WireTest, TensorsOfAStructureAreNumberedInOrder) {
  graph::HostValue::Dict dict;
  dict.entries.push_back({"a", {Tensor(2)}});
  dict.entries.push_back({"b", {graph::HostValue::Tuple{{{Tensor(3)}, {int64_t{5}}, {}}}}});
  dict.entries.push_back({"c", {graph::HostValue::List{{{std::string("x")}, {Tensor(0)}}}}});
  v1::Value message;
  std::vector<graph::HostTensor> tensors;
  ASSERT_THAT(EncodeValue({dict}, 10, &message, &tensors), IsOk());
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(message.dict().entries(0).key(), "a");
  EXPECT_EQ(message.dict().entries(0).value().tensor().tensor(), 10u);
  const v1::ValueList& tuple = message.dict().entries(1).value().tuple();
  EXPECT_EQ(tuple.items(0).tensor().tensor(), 11u);
  EXPECT_EQ(tuple.items(0).tensor().bytes(), 3u);
  EXPECT_EQ(tuple.items(1).integer(), 5);
  EXPECT_TRUE(tuple.items(2).has_none());
  EXPECT_EQ(message.dict().entries(2).value().list().items(1).tensor().tensor(), 12u);
  EXPECT_EQ(message.dict().entries(2).value().list().items(1).tensor().bytes(), 0u);
}

TEST(WireTest, DeepestValueParsesAndADeeperOneIsRefused) {
  graph::HostValue value{int64_t{1}};
  for (int i = 0; i < kMaxValueDepth; ++i) {
    graph::HostValue::Dict dict;
    dict.entries.push_back({"k", std::move(value)});
    value = {std::move(dict)};
  }
  v1::RunEvent event;
  std::vector<graph::HostTensor> tensors;
  ASSERT_THAT(EncodeValue(value, 0, event.mutable_result()->mutable_value(), &tensors), IsOk());
  v1::RunEvent parsed;
  EXPECT_TRUE(parsed.ParseFromString(event.SerializeAsString()));

  graph::HostValue deeper{graph::HostValue::List{{std::move(value)}}};
  event.Clear();
  EXPECT_THAT(EncodeValue(deeper, 0, event.mutable_result()->mutable_value(), &tensors),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("24 deep")));
}

TEST(WireTest, RequestOverTheBoundIsRefusedBeforeItIsParsed) {
  const grpc::Slice garbage(std::string(100, '\xff'));
  const grpc::ByteBuffer buffer(&garbage, 1);
  v1::RunRequest request;
  EXPECT_THAT(ParseRequest(buffer, 99, &request),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("100 bytes")));
  EXPECT_THAT(ParseRequest(buffer, 100, &request),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::_));
}

TEST(WireTest, RequestInSeveralSlicesParses) {
  v1::RunRequest request;
  request.set_model("atlas");
  request.mutable_options()->set_seed(77);
  const std::string bytes = request.SerializeAsString();
  const std::vector<grpc::Slice> slices = {grpc::Slice(bytes.substr(0, 3)),
                                           grpc::Slice(bytes.substr(3))};
  v1::RunRequest parsed;
  ASSERT_THAT(ParseRequest(grpc::ByteBuffer(slices.data(), 2), 1000, &parsed), IsOk());
  EXPECT_EQ(parsed.model(), "atlas");
  EXPECT_EQ(parsed.options().seed(), 77u);
}

TEST(StatusTest, CutsTextAtCharactersAndMendsBytes) {
  EXPECT_EQ(CutText("short", 10), "short");
  EXPECT_EQ(CutText("exactly 10", 10), "exactly 10");
  EXPECT_EQ(CutText("more than 10", 10), "more th...");
  EXPECT_EQ(CutText("ab\u20ac\u20ac\u20ac", 9), "ab\u20ac...");
  EXPECT_EQ(CutText("a\xff\xc3", 10), "a??");
  EXPECT_EQ(CutText("\xed\xa0\x80", 10), "???");  // a surrogate
}

TEST(StatusTest, GrpcStatusHasCodeMessageAndDetails) {
  graph::Error error;
  error.code = absl::StatusCode::kInvalidArgument;
  error.message = "no such module";
  error.node = 3;
  error.statement = "%h = read h.9.output";
  error.hint = "h.0 to h.1 exist";
  const grpc::Status status = ToGrpcStatus(graph::ToStatus(error));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("no such module"));
  v1::Error details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(details.message(), "no such module");
  EXPECT_EQ(details.node(), 3u);
  EXPECT_EQ(details.statement(), "%h = read h.9.output");
  EXPECT_EQ(details.hint(), "h.0 to h.1 exist");
}

TEST(StatusTest, CatchesWhatIsThrown) {
  EXPECT_THAT(CatchAll("here", []() -> absl::Status { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("here")));
  EXPECT_THAT(CatchAll("here", []() -> absl::Status { throw std::runtime_error("a secret path"); }),
              StatusIs(absl::StatusCode::kInternal, ::testing::Not(HasSubstr("secret"))));
  EXPECT_THAT(CatchAll("here", []() -> absl::Status { throw 5; }),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("here")));
}

}  // namespace
}  // namespace weft::server
