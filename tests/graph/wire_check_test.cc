#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "google/protobuf/arena.h"
#include "gtest/gtest.h"
#include "tests/support/random_program.h"
#include "tests/support/status_matchers.h"
#include "weft/v1/program.pb.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string Tag(uint32_t number, uint32_t wire_type) { return Varint(number << 3 | wire_type); }
/// A length-delimited field.
std::string Field(uint32_t number, const std::string& payload) {
  return absl::StrCat(Tag(number, 2), Varint(payload.size()), payload);
}
std::string Number(uint32_t number, uint64_t value) {
  return absl::StrCat(Tag(number, 0), Varint(value));
}

template <typename Message = v1::RunRequest>
absl::Status CheckBytes(const std::string& bytes, const WireBudget& budget = {}) {
  return CheckWire(bytes.data(), bytes.size(), *Message::descriptor(), budget);
}

/// A request whose program's node 3 is an operator with one argument; `inside` stands in it.
std::string InArgument(const std::string& inside) {
  const std::string node = Field(22, Field(1, "aten::f") + Field(2, inside));
  const std::string empty = Field(1, Number(1, 1));
  return Field(1, "atlas") + Field(2, empty + empty + empty + Field(1, node));
}

TEST(WireCheckTest, AcceptsWhatProtobufWrites) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    v1::RunRequest request;
    request.set_model("atlas");
    request.mutable_options()->set_priority(-3);
    request.mutable_options()->set_deadline_seconds(1.5);
    request.mutable_options()->add_edits("steer");
    EncodeProgram(RandomProgram(seed), request.mutable_program());
    ASSERT_THAT(CheckBytes(request.SerializeAsString()), IsOk()) << "seed " << seed;
  }
  EXPECT_THAT(CheckBytes(""), IsOk());
}

TEST(WireCheckTest, AcceptsOrRefusesEveryPrefixWithoutReadingBeyond) {
  v1::RunRequest request;
  EncodeProgram(RandomProgram(7), request.mutable_program());
  const std::string bytes = request.SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // Its own allocation, so that AddressSanitizer sees a read beyond it.
    const std::string prefix = bytes.substr(0, size);
    v1::RunRequest parsed;
    EXPECT_EQ(CheckBytes(prefix).ok(), parsed.ParseFromString(prefix)) << size;
  }
}

TEST(WireCheckTest, RefusesUnknownFieldsAtAnyDepthByPath) {
  EXPECT_THAT(CheckBytes(Number(99, 1)),
              StatusIs(kInvalid, StartsWith("field 99 is unknown to this version")));
  EXPECT_THAT(
      CheckBytes(InArgument(Number(3, 1) + Number(99, 1))),
      StatusIs(kInvalid, StartsWith("program.nodes[3].op.arguments[0].field 99 is unknown")));
  EXPECT_THAT(
      CheckBytes(InArgument(Field(9, Field(1, Number(4, 1)) + Field(1, Field(12, ""))))),
      StatusIs(kInvalid, StartsWith("program.nodes[3].op.arguments[0].list.items[1].field 12")));
}

TEST(WireCheckTest, RefusesUnknownEnumValuesByPath) {
  EXPECT_THAT(CheckBytes(InArgument(Number(7, 12))), IsOk());
  EXPECT_THAT(
      CheckBytes(InArgument(Number(7, 13))),
      StatusIs(kInvalid, StartsWith("program.nodes[3].op.arguments[0].dtype has the unknown "
                                    "enum value 13")));
  // protobuf would cut these to 32 bits, and see a known value.
  EXPECT_THAT(CheckBytes(InArgument(Number(7, (uint64_t{1} << 32) + 1))),
              StatusIs(kInvalid, HasSubstr("unknown enum value 4294967297")));
}

TEST(WireCheckTest, RefusesNumbersThatProtobufWouldCutShort) {
  EXPECT_THAT(CheckBytes(InArgument(Number(2, uint64_t{0xFFFFFFFF}))), IsOk());
  EXPECT_THAT(CheckBytes(InArgument(Number(2, uint64_t{1} << 32))),
              StatusIs(kInvalid, HasSubstr("arguments[0].node does not fit 32 bits")));
}

TEST(WireCheckTest, RefusesWrongWireTypes) {
  EXPECT_THAT(CheckBytes(InArgument(Field(2, "x"))),
              StatusIs(kInvalid, HasSubstr("arguments[0].node has wire type 2, not 0")));
  EXPECT_THAT(CheckBytes(InArgument(Number(5, 1))),
              StatusIs(kInvalid, HasSubstr("arguments[0].floating has wire type 0, not 1")));
  for (uint32_t wire_type : {3u, 4u, 6u, 7u}) {
    EXPECT_THAT(CheckBytes(InArgument(Tag(2, wire_type))),
                StatusIs(kInvalid, HasSubstr("wire type")))
        << wire_type;
  }
}

TEST(WireCheckTest, RefusesInvalidUtf8ByPath) {
  EXPECT_THAT(CheckBytes(InArgument(Field(6, "caf\xc3\xa9"))), IsOk());
  for (const char* text : {"\xff", "caf\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_THAT(CheckBytes(InArgument(Field(6, text))),
                StatusIs(kInvalid, HasSubstr("arguments[0].string is not valid UTF-8")));
  }
}

TEST(WireCheckTest, BytesNeedNotBeUtf8) {
  EXPECT_THAT(CheckBytes<v1::Tensor>(Field(15, "\xff\xfe")), IsOk());
}

TEST(WireCheckTest, RefusesBytesThatAreCutShort) {
  EXPECT_THAT(CheckBytes("\x80"), StatusIs(kInvalid, HasSubstr("inside a field's tag")));
  EXPECT_THAT(CheckBytes(InArgument(Tag(2, 0))),
              StatusIs(kInvalid, HasSubstr("node is cut short")));
  EXPECT_THAT(CheckBytes(Tag(1, 2) + Varint(5) + "abc"),
              StatusIs(kInvalid, HasSubstr("model is cut short")));
  EXPECT_THAT(CheckBytes(Tag(1, 2) + Varint(~uint64_t{0})),
              StatusIs(kInvalid, HasSubstr("model is cut short")));
  EXPECT_THAT(CheckBytes(InArgument(Tag(5, 1) + "abc")),
              StatusIs(kInvalid, HasSubstr("floating is cut short")));
  EXPECT_THAT(CheckBytes(InArgument(Tag(4, 0) + std::string(10, '\xff') + '\1')),
              StatusIs(kInvalid, HasSubstr("longer than 64 bits")));
}

TEST(WireCheckTest, RefusesFieldNumberZero) {
  EXPECT_THAT(CheckBytes(Number(0, 1)), StatusIs(kInvalid, HasSubstr("field of number 0")));
}

TEST(WireCheckTest, TakesListsPackedAndUnpacked) {
  EXPECT_THAT(CheckBytes<v1::TokenRow>(Field(1, Varint(1) + Varint(300))), IsOk());
  EXPECT_THAT(CheckBytes<v1::TokenRow>(Number(1, 1) + Number(1, 300)), IsOk());
  EXPECT_THAT(CheckBytes<v1::TokenRow>(Field(1, Varint(1) + "\x80")),
              StatusIs(kInvalid, HasSubstr("ids[0] is cut short")));
}

TEST(WireCheckTest, RefusesAThousandNestedLists) {
  std::string list = Number(4, 1);
  for (int i = 0; i < 1000; ++i) list = Field(9, Field(1, list));
  EXPECT_THAT(
      CheckBytes(InArgument(list)),
      StatusIs(kExhausted, AllOf(StartsWith("program.nodes[3].op.arguments[0].list.items[0]"),
                                 HasSubstr("is nested deeper than 24"))));
}

TEST(WireCheckTest, RefusesAMillionNodesBeforeTheyTakeMemory) {
  std::string nodes;
  for (int i = 0; i < 1000000; ++i) nodes += Field(1, "");
  const std::string bytes = Field(2, nodes);
  ASSERT_LT(bytes.size(), size_t{4} << 20);
  google::protobuf::Arena arena;
  auto* request = google::protobuf::Arena::CreateMessage<v1::RunRequest>(&arena);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(ParseChecked(bytes.data(), bytes.size(), request),
              StatusIs(kExhausted, HasSubstr("program.nodes[399999] is one too many")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_LT(arena.SpaceAllocated(), 4096u);
}

TEST(WireCheckTest, WhatIsAcceptedTakesBoundedMemory) {
  // The costliest for their bytes: nodes of one field, and unpacked and packed numbers.
  std::string nodes;
  for (int i = 0; i < 399998; ++i) nodes += Field(1, Number(1, 1));
  const std::string rows[] = {
      Field(2, nodes),
      Field(2, Field(1, Field(12, Field(2, Field(1, Field(1, std::string(4000000, '\1'))))))),
  };
  for (const std::string& bytes : rows) {
    google::protobuf::Arena arena;
    auto* request = google::protobuf::Arena::CreateMessage<v1::RunRequest>(&arena);
    ASSERT_THAT(ParseChecked(bytes.data(), bytes.size(), request), IsOk());
    EXPECT_LT(arena.SpaceAllocated(), uint64_t{100} << 20);
  }
}

TEST(WireCheckTest, RefusesTooManyUnpackedNumbers) {
  std::string row;
  for (int i = 0; i < 400001; ++i) row += Number(1, 1);
  EXPECT_THAT(CheckBytes<v1::TokenRow>(row), StatusIs(kExhausted, HasSubstr("one too many")));
}

TEST(WireCheckTest, RefusesTooManyBytes) {
  EXPECT_THAT(CheckBytes(Field(1, std::string(100, 'x')), {.bytes = 50}),
              StatusIs(kExhausted, HasSubstr("the message has 102 bytes; at most 50")));
}

TEST(WireCheckTest, NothingIsParsedOfWhatIsRefused) {
  v1::RunRequest request;
  const std::string bytes = Field(1, "atlas") + Number(99, 1);
  EXPECT_THAT(ParseChecked(bytes.data(), bytes.size(), &request), StatusIs(kInvalid));
  EXPECT_EQ(request.model(), "");
}

}  // namespace
}  // namespace weft::graph
