#include "client/remote/result_assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weft::remote {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::TensorRef Ref(uint32_t number, std::vector<int64_t> shape, uint64_t bytes) {
  v1::TensorRef ref;
  ref.set_dtype(v1::DTYPE_F32);
  ref.mutable_shape()->Add(shape.begin(), shape.end());
  ref.set_tensor(number);
  ref.set_bytes(bytes);
  return ref;
}

v1::Result Lone(const v1::TensorRef& ref) {
  v1::Result result;
  result.set_name("x");
  *result.mutable_value()->mutable_tensor() = ref;
  return result;
}

std::string Bytes(std::vector<float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size());
}

TEST(ResultAssemblerTest, PutsChunksAndPiecesTogether) {
  ResultAssembler assembler(100);
  v1::Result result;
  result.set_name("pair");
  v1::ValueList* tuple = result.mutable_value()->mutable_tuple();
  *tuple->add_items()->mutable_tensor() = Ref(4, {3}, 12);
  tuple->add_items()->mutable_none();
  *tuple->add_items()->mutable_tensor() = Ref(5, {0}, 0);
  *tuple->add_items()->mutable_tensor() = Ref(6, {}, 4);
  ASSERT_TRUE(assembler.Begin(result).ok());
  const std::string bytes = Bytes({1, 2, 3});
  ASSERT_TRUE(assembler.BeginChunk(4, 0, 8).ok());
  ASSERT_TRUE(assembler.Append(bytes.substr(0, 3)).ok());
  ASSERT_TRUE(assembler.Append(bytes.substr(3, 5)).ok());
  ASSERT_TRUE(assembler.BeginChunk(4, 8, 4).ok());
  ASSERT_TRUE(assembler.Append(bytes.substr(8)).ok());
  EXPECT_FALSE(assembler.ready());
  ASSERT_TRUE(assembler.BeginChunk(6, 0, 4).ok());
  ASSERT_TRUE(assembler.Append(Bytes({7})).ok());
  ASSERT_TRUE(assembler.ready());
  absl::StatusOr<event::Result> taken = assembler.Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->name, "pair");
  EXPECT_FALSE(taken->step || taken->point || taken->entry);
  const Value* value = &taken->value;
  EXPECT_THAT((*value)[0].tensor().span<float>(), ElementsAre(1, 2, 3));
  EXPECT_TRUE((*value)[1].is_none());
  EXPECT_EQ((*value)[2].tensor().numel(), 0);
  EXPECT_EQ((*value)[3].tensor().item(), 7);
  EXPECT_TRUE(assembler.done());
}

TEST(ResultAssemblerTest, KeepsThePlaceOfAResult) {
  ResultAssembler assembler(100);
  v1::Result result;
  result.set_name("acts");
  result.mutable_value()->mutable_none();
  result.set_step(0);
  result.set_point(3);
  result.mutable_entry()->set_module("h.0");
  result.mutable_entry()->set_point(v1::Site::POINT_OUTPUT);
  result.mutable_entry()->set_visit(2);
  ASSERT_TRUE(assembler.Begin(result).ok());
  absl::StatusOr<event::Result> taken = assembler.Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->step, 0u);
  EXPECT_EQ(taken->point, 3u);
  EXPECT_EQ(taken->entry->ToString(), "h.0@2.output");
}

TEST(ResultAssemblerTest, RefusesSizesThatDoNotAgree) {
  EXPECT_EQ(ResultAssembler(100).Begin(Lone(Ref(0, {3}, 16))).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ResultAssembler(100).Begin(Lone(Ref(0, {-3, -1}, 12))).code(),
            absl::StatusCode::kDataLoss);
  v1::TensorRef unknown = Ref(0, {3}, 12);
  unknown.set_dtype(static_cast<v1::DType>(99));
  EXPECT_EQ(ResultAssembler(100).Begin(Lone(unknown)).code(), absl::StatusCode::kDataLoss);
}

TEST(ResultAssemblerTest, RefusesMoreThanTheLimitBeforeAllocating) {
  const uint64_t huge = uint64_t{1} << 60;
  EXPECT_EQ(ResultAssembler(100).Begin(Lone(Ref(0, {int64_t{1} << 58}, huge))).code(),
            absl::StatusCode::kResourceExhausted);
  // Over all results of a run, not each.
  ResultAssembler assembler(20);
  ASSERT_TRUE(assembler.Begin(Lone(Ref(0, {3}, 12))).ok());
  ASSERT_TRUE(assembler.BeginChunk(0, 0, 12).ok());
  ASSERT_TRUE(assembler.Append(Bytes({1, 2, 3})).ok());
  ASSERT_TRUE(assembler.Take().ok());
  EXPECT_THAT(std::string(assembler.Begin(Lone(Ref(1, {3}, 12))).message()),
              HasSubstr("more than 20 bytes"));
}

TEST(ResultAssemblerTest, RefusesChunksOutOfOrder) {
  ResultAssembler assembler(100);
  EXPECT_FALSE(assembler.BeginChunk(0, 0, 4).ok());
  ASSERT_TRUE(assembler.Begin(Lone(Ref(2, {3}, 12))).ok());
  EXPECT_FALSE(assembler.BeginChunk(1, 0, 4).ok());
  EXPECT_FALSE(assembler.BeginChunk(2, 4, 4).ok());
  EXPECT_FALSE(assembler.BeginChunk(2, 0, 16).ok());
  ASSERT_TRUE(assembler.BeginChunk(2, 0, 4).ok());
  EXPECT_FALSE(assembler.Append("12345").ok());
  EXPECT_FALSE(assembler.Begin(Lone(Ref(3, {1}, 4))).ok());
}

}  // namespace
}  // namespace weft::remote
