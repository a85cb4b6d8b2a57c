#include "tests/support/golden.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>

namespace weft::testing {
namespace {

constexpr char kSolo[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/solo_1.safetensors";

TEST(GoldenTest, LoadsTensorsByName) {
  auto golden = LoadGolden(kSolo);
  EXPECT_EQ(golden.at("/output/logits").sizes(), (at::IntArrayRef{1, 3, 97}));
  EXPECT_EQ(golden.at("input_ids").scalar_type(), at::kLong);
}

TEST(GoldenTest, AMissingFileFailsTheTest) {
  EXPECT_NONFATAL_FAILURE(LoadGolden("no/such.safetensors"), "no/such.safetensors");
}

TEST(GoldenTest, MeasuresAgainstTheLargestValue) {
  at::Tensor expected = at::tensor({100.0f, 0.0f});
  EXPECT_TRUE(CloseOfScale(at::tensor({100.0f, 0.0009f}), expected));
  EXPECT_FALSE(CloseOfScale(at::tensor({100.0f, 0.0011f}), expected));
  EXPECT_TRUE(CloseOfScale(at::tensor({100.0f, 1.5f}), expected, 2e-2));
  EXPECT_NONFATAL_FAILURE(ExpectClose(at::tensor({100.0f, 1.0f}), expected, 1e-5, "the probe"),
                          "the probe");
}

TEST(GoldenTest, RefusesOtherShapesAndDtypes) {
  at::Tensor expected = at::ones({2, 3});
  EXPECT_FALSE(CloseOfScale(at::ones({3, 2}), expected));
  EXPECT_FALSE(CloseOfScale(at::ones({1, 3}), expected));
  EXPECT_FALSE(CloseOfScale(at::ones({2, 3}, at::kDouble), expected));
  EXPECT_FALSE(CloseOfScale(at::Tensor(), expected));
}

TEST(GoldenTest, NanIsNeverCloseAndInfinityOnlyToItself) {
  at::Tensor infinite = at::tensor({INFINITY, 1.0f});
  EXPECT_TRUE(CloseOfScale(infinite, infinite));
  EXPECT_FALSE(CloseOfScale(at::tensor({-INFINITY, 1.0f}), infinite));
  EXPECT_FALSE(CloseOfScale(at::tensor({5.0f, 1.0f}), infinite));
  EXPECT_FALSE(CloseOfScale(at::tensor({INFINITY, 1.5f}), infinite));
  EXPECT_FALSE(CloseOfScale(at::tensor({NAN, 1.0f}), at::tensor({1.0f, 1.0f})));
  EXPECT_FALSE(CloseOfScale(at::tensor({1.0f, 1.0f}), at::tensor({NAN, 1.0f})));
}

TEST(GoldenTest, IntegersMustBeEqual) {
  EXPECT_TRUE(CloseOfScale(at::arange(5), at::arange(5), 1.0));
  EXPECT_FALSE(CloseOfScale(at::arange(5) + 1, at::arange(5), 1.0));
}

TEST(GoldenTest, SelectsTheRowsOfRealTokens) {
  at::Tensor tensor = at::arange(8).reshape({2, 2, 2});
  at::Tensor mask = at::tensor({0, 1, 1, 1}, at::kLong).reshape({2, 2});
  EXPECT_TRUE(at::equal(AtRealTokens(tensor, mask), at::arange(2, 8).reshape({3, 2})));
}

}  // namespace
}  // namespace weft::testing
