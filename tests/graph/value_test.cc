#include "engine/graph/value.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "engine/graph/syntax.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(DTypeTest, NamesAreReadBack) {
  for (int i = 1; i <= 12; ++i) {
    const auto dtype = static_cast<DType>(i);
    const absl::StatusOr<DType> parsed = ParseDType(ToString(dtype));
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(*parsed, dtype);
  }
  EXPECT_THAT(ParseDType("float"), StatusIs(kInvalid, HasSubstr("float32, float64")));
}

TEST(HostTensorTest, CopiesShareTheirBytes) {
  const HostTensor tensor = HostTensor::Make(DType::kI16, {2, 3}, std::string(12, 'x')).value();
  const HostTensor copy = tensor;
  EXPECT_EQ(copy.data, tensor.data);
  EXPECT_EQ(copy.numel(), 6);
  EXPECT_EQ(copy.bytes, 12u);
}

TEST(HostTensorTest, RefusesBytesThatDoNotFitTheShape) {
  EXPECT_THAT(HostTensor::Make(DType::kF32, {2}, std::string(7, '\0')),
              StatusIs(kInvalid, HasSubstr("takes 8 bytes, but 7 were given")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, {}, ""), StatusIs(kInvalid, HasSubstr("takes 4")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, {0, INT64_MAX, INT64_MAX}, ""), IsOk());
}

TEST(HostTensorTest, RefusesShapesThatOverflow) {
  EXPECT_THAT(HostTensor::Make(DType::kU8, {INT64_MAX, 3}, ""),
              StatusIs(kInvalid, HasSubstr("takes 9223372036854775807 bytes")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, {int64_t{1} << 62, 4}, ""),
              StatusIs(kInvalid, HasSubstr("too large to count")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, {int64_t{1} << 61, 2}, ""),
              StatusIs(kInvalid, HasSubstr("too large to count")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, {-1, 0}, ""),
              StatusIs(kInvalid, HasSubstr("negative")));
  EXPECT_THAT(HostTensor::Make(DType::kF32, std::vector<int64_t>(65, 1), "abcd"),
              StatusIs(kInvalid, HasSubstr("65 dimensions; at most 64")));
}

TEST(HostTensorTest, RefusesBoolsThatAreNeitherTrueNorFalse) {
  EXPECT_THAT(HostTensor::Make(DType::kBool, {2}, std::string("\1\2")),
              StatusIs(kInvalid, HasSubstr("element 1 of a bool tensor")));
}

TEST(PatternTest, ReadsAsDesigned) {
  Pattern hidden{Pattern::Tensor{DType::kF32, {{0, 1, 0}, {0, 0, 1}, {32, 0, 0}}}};
  EXPECT_EQ(ToString(hidden), "float32[B, T, 32]");
  Pattern odd{Pattern::Tensor{DType::kI64, {{1, 2, 3}, {}, {-1, 0, 1}}}};
  EXPECT_EQ(ToString(odd), "int64[2*B + 3*T + 1, 0, T + -1]");
  EXPECT_EQ(ToString(Pattern{Pattern::Tuple{{hidden, Pattern()}}}), "(float32[B, T, 32], none)");
  EXPECT_EQ(ToString(Pattern{Pattern::Tuple{{Pattern{std::string("int")}}}}), "(int,)");
  EXPECT_EQ(ToString(Pattern{Pattern::Dict{{{"logits", hidden}}}}), "{logits: float32[B, T, 32]}");
}

TEST(HalfTest, EveryHalfSurvivesAFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(FloatToHalf(value), half) << bits;
  }
  EXPECT_EQ(HalfToFloat(0x3C00), 1.0f);
  EXPECT_EQ(HalfToFloat(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(HalfToFloat(0xFBFF), -65504.0f);
}

TEST(HalfTest, RoundsToNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0f + std::ldexp(1.0f, -11)), 0x3C00);
  EXPECT_EQ(FloatToHalf(1.0f + 3 * std::ldexp(1.0f, -11)), 0x3C02);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToHalf(std::ldexp(1.0f, -25)), 0x0000);
  EXPECT_EQ(FloatToHalf(-1e30f), 0xFC00);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808000u)), 0x3F80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
}

}  // namespace
}  // namespace weft::graph
