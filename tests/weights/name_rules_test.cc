#include "engine/weights/name_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::weights {
namespace {

using ::testing::ElementsAre;

TEST(FindPatternTest, FindsTextAnywhereOrAtAnEnd) {
  EXPECT_EQ(FindPattern(".attn.", "h.0.attn.bias")->begin, 3u);
  EXPECT_EQ(FindPattern(".attn.", "h.0.attn.bias")->end, 9u);
  EXPECT_FALSE(FindPattern("^attn.", "h.0.attn.bias").has_value());
  EXPECT_TRUE(FindPattern("^h.0", "h.0.attn.bias").has_value());
  EXPECT_FALSE(FindPattern("attn$", "h.0.attn.bias").has_value());
  EXPECT_TRUE(FindPattern("bias$", "h.0.bias.attn.bias").has_value());
  EXPECT_FALSE(FindPattern("a.c", "abc").has_value()) << "a dot is a dot";
}

TEST(FindPatternTest, AStarIsAWholeComponent) {
  const auto match = FindPattern(".experts.*.w1.weight$", "layers.3.experts.12.w1.weight");
  ASSERT_TRUE(match.has_value());
  EXPECT_THAT(match->stars, ElementsAre("12"));
  EXPECT_FALSE(FindPattern(".experts.*.w1", "layers.3.experts..w1").has_value());
  EXPECT_FALSE(FindPattern(".experts.*.w1", "layers.3.experts.1.2.w1").has_value());
  EXPECT_THAT(FindPattern("^*.h.*$", "model.h.weight")->stars, ElementsAre("model", "weight"));
}

TEST(RenamedTest, AppliesEachRenameInTurnOnce) {
  const std::vector<NameChange> renames = {{".block_sparse_moe.", ".mlp."},
                                           {"^embed_out.", "lm_head."},
                                           {".experts.*.w1", ".experts.gate.*"}};
  EXPECT_EQ(Renamed("layers.0.block_sparse_moe.gate.weight", renames), "layers.0.mlp.gate.weight");
  EXPECT_EQ(Renamed("layers.0.block_sparse_moe.experts.7.w1.weight", renames),
            "layers.0.mlp.experts.gate.7.weight");
  EXPECT_EQ(Renamed("embed_out.weight", renames), "lm_head.weight");
  EXPECT_EQ(Renamed("h.embed_out.weight", renames), "h.embed_out.weight");
}

TEST(RenamedTest, NormsOfTheFirstBertsAreRenamedForEveryFamily) {
  EXPECT_EQ(Renamed("bert.embeddings.LayerNorm.gamma", {}), "bert.embeddings.LayerNorm.weight");
  EXPECT_EQ(Renamed("bert.embeddings.LayerNorm.beta", {}), "bert.embeddings.LayerNorm.bias");
}

TEST(IsIgnoredTest, BuffersThatModulesComputeAreForEveryFamily) {
  EXPECT_TRUE(IsIgnored("model.layers.0.self_attn.rotary_emb.inv_freq", {}));
  EXPECT_TRUE(IsIgnored("embeddings.position_ids", {}));
  EXPECT_TRUE(IsIgnored("position_ids", {}));
  EXPECT_FALSE(IsIgnored("my_position_ids", {}));
  EXPECT_FALSE(IsIgnored("h.0.attn.bias", {}));
  EXPECT_TRUE(IsIgnored("h.0.attn.bias", {.ignored_suffixes = {".attn.bias"}}));
}

}  // namespace
}  // namespace weft::weights
