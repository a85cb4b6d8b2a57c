#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/local_run.h"

namespace weft::run {
namespace {

using testing::LocalModel;
using testing::LocalResult;

constexpr char kNoise[] = R"(invoke [5, 6, 7] {
  %h = read transformer.h.0.output
  %n = aten::randn_like(%h)
  %r = aten::rand([4, 5])
  %p = aten::randperm(50)
  save n = %n
  save r = %r
  save p = %p
})";

LocalResult WithSeed(const std::string& text, uint64_t seed) {
  return LocalModel::Tiny().Run(text, {.seed = seed});
}

TEST(RandomTest, TheSameSeedGivesTheSameNumbersAndAnotherOthers) {
  const LocalResult first = WithSeed(kNoise, 11), again = WithSeed(kNoise, 11);
  const LocalResult other = WithSeed(kNoise, 12);
  for (const char* name : {"n", "r", "p"}) {
    EXPECT_TRUE(first[name].equal(again[name])) << name;
    EXPECT_FALSE(first[name].equal(other[name])) << name;
  }
  EXPECT_TRUE(std::get<0>(first["p"].sort()).equal(at::arange(50)));
}

TEST(RandomTest, WhoeverElseIsInThePassChangesNothing) {
  const LocalResult alone = WithSeed(kNoise, 11);
  const std::string other = R"(invoke [[1, 2, 3, 4], [5, 6, 7, 8]] {
    %h = read transformer.h.0.output
    %x = aten::normal_(%h)
    save x = %x
  })";
  const std::vector<LocalResult> together =
      LocalModel::Tiny().RunTogether({other, kNoise, kNoise}, {.seed = 11});
  for (const char* name : {"n", "r", "p"}) {
    EXPECT_TRUE(alone[name].equal(together[1][name])) << name;
    EXPECT_TRUE(alone[name].equal(together[2][name])) << name;
  }
}

TEST(RandomTest, StatementsDrawDifferentNumbers) {
  const LocalResult result = WithSeed(R"(invoke [5] {
    %a = aten::rand([1000])
    %b = aten::rand([1000])
    save a = %a
    save b = %b
  })",
                                      3);
  const double correlation =
      at::corrcoef(at::stack({result["a"], result["b"]}))[0][1].item<double>();
  EXPECT_LT(std::abs(correlation), 0.15);
}

TEST(RandomTest, HowArgumentsLieInMemoryDoesNotMatter) {
  const LocalResult result = WithSeed(R"(invoke [5] {
    %w = aten::full([3, 40], 0.5)
    %s = aten::full([40, 3], 0.5)
    %t = aten::transpose(%s, 0, 1)
    %a = aten::bernoulli(%w)
    save a = %a
  })",
                                      3);
  const LocalResult transposed = WithSeed(R"(invoke [5] {
    %w = aten::full([3, 40], 0.5)
    %s = aten::full([40, 3], 0.5)
    %t = aten::transpose(%s, 0, 1)
    %a = aten::bernoulli(%t)
    save a = %a
  })",
                                          3);
  EXPECT_TRUE(result["a"].equal(transposed["a"]));
}

TEST(RandomTest, InPlaceIsAWriteWhereTheValueWasRead) {
  const LocalResult result = WithSeed(R"(invoke [5, 6] {
    %h = read transformer.h.0.output
    %n = aten::uniform_(%h, 2.0, 3.0)
    %after = read transformer.h.0.output
    save after = %after
    save n = %n
  })",
                                      3);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result["after"].equal(result["n"]));
  EXPECT_TRUE(result["n"].ge(2).all().item<bool>() && result["n"].lt(3).all().item<bool>());
}

TEST(RandomTest, ChancesThatAreNoneAreRefusedByName) {
  const LocalResult result = WithSeed(R"(invoke [5] {
    %w = aten::zeros([4])
    %a = aten::multinomial(%w, 2)
    save a = %a
  })",
                                      3);
  EXPECT_EQ(result.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status.message()), ::testing::HasSubstr("not all zero"));
}

}  // namespace
}  // namespace weft::run
