#include "engine/devices/device_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace weft::devices {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

const c10::Device kCpu(c10::kCPU), kFirst(c10::kCUDA, 0), kSecond(c10::kCUDA, 1);
constexpr uint64_t kGiB = uint64_t{1} << 30;

/// Ten blocks of 1 GiB, an embedding and a head of half that.
std::vector<ParameterSize> TenBlocks() {
  std::vector<ParameterSize> parameters = {{"model.embed_tokens.weight", kGiB / 2},
                                           {"lm_head.weight", kGiB / 2}};
  for (int i = 0; i < 10; ++i) {
    parameters.push_back({absl::StrCat("model.layers.", i, ".mlp.weight"), kGiB / 2});
    parameters.push_back({absl::StrCat("model.layers.", i, ".attn.weight"), kGiB / 2});
  }
  return parameters;
}

TEST(DeviceMapTest, AModuleAndAllBelowItLieWhereItsLongestNameSays) {
  const DeviceMap map(kFirst, {{"model.layers.1", kSecond}, {"model.layers.1.mlp", kCpu}});
  EXPECT_EQ(map.Of("model.layers.1"), kSecond);
  EXPECT_EQ(map.Of("model.layers.1.attn.q.weight"), kSecond);
  EXPECT_EQ(map.Of("model.layers.1.mlp.up.weight"), kCpu);
  EXPECT_EQ(map.Of("model.layers.11.mlp.up.weight"), kFirst);
  EXPECT_EQ(map.Of("model.layers"), kFirst);
  EXPECT_EQ(map.Of(""), kFirst);
  EXPECT_EQ(map.Shown(), "cpu, cuda:0, cuda:1");
  EXPECT_FALSE(map.OnlyCpu());
  EXPECT_TRUE(DeviceMap().OnlyCpu());
}

TEST(SpreadTest, TakesTheGpuWithTheMostRoomWhereOneIsEnough) {
  const auto map = Spread(TenBlocks(), {{kFirst, 10 * kGiB}, {kSecond, 20 * kGiB}});
  ASSERT_THAT(map.status(), IsOk());
  EXPECT_EQ(map->root(), kSecond);
  EXPECT_TRUE(map->modules().empty());
}

TEST(SpreadTest, FillsGpusInTheOrderOfBlocks) {
  const auto map = Spread(TenBlocks(), {{kFirst, 8 * kGiB}, {kSecond, 8 * kGiB}});
  ASSERT_THAT(map.status(), IsOk());
  EXPECT_EQ(map->root(), kFirst);
  // 85 % of 8 GiB, less what is outside of blocks.
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(map->Of(absl::StrCat("model.layers.", i)), i < 5 ? kFirst : kSecond) << i;
  }
  EXPECT_EQ(map->Of("lm_head"), kFirst);
}

TEST(SpreadTest, SaysWhatIsMissingWhereAllGpusAreTooSmall) {
  EXPECT_THAT(Spread(TenBlocks(), {{kFirst, 4 * kGiB}, {kSecond, 4 * kGiB}}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("11.0 GiB"), HasSubstr("6.8 GiB"), HasSubstr("bfloat16"))));
}

TEST(SpreadTest, IsTheCpuWithoutGpusAndTheFirstWhereNobodyKnowsItsMemory) {
  EXPECT_TRUE(Spread(TenBlocks(), {})->OnlyCpu());
  EXPECT_EQ(Spread(TenBlocks(), {{kFirst, 0}, {kSecond, 0}})->root(), kFirst);
}

TEST(SpreadTest, IsOfWhatNobodyHasPlaced) {
  const std::map<std::string, c10::Device> placed = {
      {"lm_head", kSecond}, {"model.layers.0", kSecond}, {"model.layers.1.mlp", kCpu}};
  // One GPU has room for the rest.
  const auto one = Spread(TenBlocks(), {{kFirst, 11 * kGiB}, {kSecond, 2 * kGiB}}, placed);
  ASSERT_THAT(one.status(), IsOk());
  EXPECT_EQ(one->root(), kFirst);
  EXPECT_EQ(one->modules(), placed);
  // 6.8 GiB each, of which 1.5 of the second are taken, and 0.5 of the first by the embedding.
  const auto both = Spread(TenBlocks(), {{kFirst, 8 * kGiB}, {kSecond, 8 * kGiB}}, placed);
  ASSERT_THAT(both.status(), IsOk());
  EXPECT_EQ(both->Of("model.embed_tokens.weight"), kFirst);
  EXPECT_EQ(both->Of("lm_head.weight"), kSecond);
  EXPECT_EQ(both->Of("model.layers.0.mlp"), kSecond);
  EXPECT_EQ(both->Of("model.layers.1.mlp"), kCpu);
  EXPECT_EQ(both->Of("model.layers.1.attn"), kFirst);
  for (int i = 2; i < 10; ++i) {
    EXPECT_EQ(both->Of(absl::StrCat("model.layers.", i)), i < 7 ? kFirst : kSecond) << i;
  }
  EXPECT_THAT(Spread(TenBlocks(), {{kFirst, 8 * kGiB}, {kSecond, 4 * kGiB}}, placed).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("9.0 GiB")));
  EXPECT_EQ(Spread(TenBlocks(), {}, placed)->modules(), placed);
}

TEST(BlockTest, IsThePathUpToTheFirstNumber) {
  EXPECT_EQ(BlockOf("model.layers.3"), "model.layers.3");
  EXPECT_EQ(BlockOf("model.layers.3.mlp.experts.7.up.weight"), "model.layers.3");
  EXPECT_EQ(BlockOf("12"), "12");
  EXPECT_EQ(BlockOf("model.layers3.x"), "");
  EXPECT_EQ(BlockOf(""), "");
}

TEST(MakeDeviceMapTest, RefusesWhatIsNoDeviceOrNotThere) {
  const auto made = [](const std::string& device,
                       const std::map<std::string, std::string>& modules = {}) {
    return MakeDeviceMap(device, modules, TenBlocks()).status();
  };
  EXPECT_THAT(made("cpu"), IsOk());
  EXPECT_THAT(made("abacus"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'abacus' is no device")));
  EXPECT_THAT(made("cuda:x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cuda:x")));
  EXPECT_THAT(made("cuda:99"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no device cuda:99")));
  EXPECT_THAT(made("cpu", {{"model.layers.3", "cpu"}}), IsOk());
  EXPECT_THAT(made("cpu", {{"model.layers.13", "cpu"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("below `model.layers.13`")));
  EXPECT_THAT(made("cpu", {{"lm_head", "cuda:99"}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("`lm_head`: ")));
}

}  // namespace
}  // namespace weft::devices
