// What a configuration of Llama's relatives is read as, and which values are refused.

#include "engine/models/llama_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/status_matchers.h"

namespace weft::models {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

/// Reads small sizes beside `fields`.
absl::StatusOr<LlamaConfig> Read(const std::string& fields) {
  const auto json = weights::ModelConfig::Parse("config.json", R"({
    "vocab_size": 10, "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, )" +
                                                                   fields + "}");
  if (!json.ok()) return json.status();
  return ReadLlamaConfig(*json);
}

absl::Status StatusOf(const std::string& fields) { return Read(fields).status(); }

auto Refuses(const std::string& field, const std::string& why) {
  return StatusIs(absl::StatusCode::kUnimplemented,
                  AllOf(HasSubstr("config.json"), HasSubstr(field), HasSubstr(why)));
}
auto FindsInvalid(const std::string& field, const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  AllOf(HasSubstr("config.json"), HasSubstr(field), HasSubstr(why)));
}

TEST(LlamaConfigTest, HeadsAndTheirSizeFollowFromOthersWhereTheyAreNotSaid) {
  const auto config = Read(R"("model_type": "llama", "num_key_value_heads": null)");
  ASSERT_THAT(config.status(), IsOk());
  EXPECT_EQ(config->kv_heads, 4);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_DOUBLE_EQ(config->scale, 1 / std::sqrt(8.0));
}

TEST(LlamaConfigTest, AWindowOfNoneIsNoneAndOneThatIsNotSaidIsTheFamilys) {
  EXPECT_THAT(Read(R"("model_type": "mistral", "sliding_window": null)")->windows,
              ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Read(R"("model_type": "mistral")")->windows, ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(Read(R"("model_type": "phi3")")->windows, ElementsAre(0, 0, 0, 0));
}

TEST(LlamaConfigTest, WindowsFollowThePatternOfTheFamilyOrTheTypesOfLayers) {
  EXPECT_THAT(Read(R"("model_type": "qwen2", "use_sliding_window": true, "sliding_window": 7,
                      "max_window_layers": 3)")
                  ->windows,
              ElementsAre(0, 0, 0, 7));
  EXPECT_THAT(
      Read(R"("model_type": "qwen2", "sliding_window": 7, "max_window_layers": 0)")->windows,
      ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Read(R"("model_type": "gemma2", "sliding_window": 7)")->windows,
              ElementsAre(7, 0, 7, 0));
  EXPECT_THAT(Read(R"("model_type": "gemma3_text", "sliding_window": 7,
                      "sliding_window_pattern": 3)")
                  ->windows,
              ElementsAre(7, 7, 0, 7));
  EXPECT_THAT(Read(R"("model_type": "gemma2", "sliding_window": 7, "layer_types":
                      ["full_attention", "full_attention", "sliding_attention", "full_attention"]
                   )")
                  ->windows,
              ElementsAre(0, 0, 7, 0));
}

TEST(LlamaConfigTest, LayersOfGemma3WithAWindowHaveFrequenciesOfTheirOwn) {
  // As its first configurations said it.
  const auto config = Read(R"("model_type": "gemma3_text", "sliding_window_pattern": 2,
    "head_dim": 4, "rope_theta": 100.0, "rope_local_base_freq": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0})");
  ASSERT_THAT(config.status(), IsOk());
  ExpectClose(config->rotary[0]->Frequencies(1), at::tensor({1.0, 0.01}, at::kFloat));
  ExpectClose(config->rotary[1]->Frequencies(1), at::tensor({0.125, 0.0125}, at::kFloat));
}

TEST(LlamaConfigTest, SoftCapsCanBeTurnedOff) {
  const auto config = Read(R"("model_type": "gemma2", "attn_logit_softcapping": null)");
  ASSERT_THAT(config.status(), IsOk());
  EXPECT_EQ(config->softcap, 0);
  EXPECT_EQ(config->logit_softcap, 30);
}

TEST(LlamaConfigTest, APromptThatIsLongerThanTheOriginalOneHasTheLongFactors) {
  const auto config = Read(R"("model_type": "phi3", "head_dim": 4,
    "original_max_position_embeddings": 16, "rope_theta": 100.0, "rope_scaling":
    {"type": "su", "short_factor": [1.0, 2.0], "long_factor": [4.0, 5.0]})");
  ASSERT_THAT(config.status(), IsOk());
  ExpectClose(config->rotary[0]->Frequencies(16), at::tensor({1.0, 0.05}, at::kFloat));
  ExpectClose(config->rotary[0]->Frequencies(17), at::tensor({0.25, 0.02}, at::kFloat));
  // sqrt(1 + ln(64 / 16) / ln(16))
  EXPECT_NEAR(config->rotary[0]->attention_factor(), std::sqrt(1.5), 1e-12);
}

TEST(LlamaConfigTest, DynamicFrequenciesGoBeyondThePositionsOfTraining) {
  const auto config = Read(R"("model_type": "llama",
    "rope_scaling": {"type": "dynamic", "factor": 4.0})");
  ASSERT_THAT(config.status(), IsOk());
  EXPECT_EQ(config->max_tokens, 256);
  EXPECT_TRUE(at::equal(config->rotary[0]->Frequencies(3), config->rotary[0]->Frequencies(64)));
  EXPECT_FALSE(at::equal(config->rotary[0]->Frequencies(64), config->rotary[0]->Frequencies(65)));
}

TEST(LlamaConfigTest, AFactorLengthensTheContext) {
  const auto most_with = [](const std::string& rope) {
    const auto config = Read(absl::StrCat(R"("model_type": "qwen2", "rope_scaling": )", rope));
    EXPECT_THAT(config.status(), IsOk());
    return config.ok() ? config->max_tokens : 0;
  };
  EXPECT_EQ(most_with(R"({"type": "linear", "factor": 3.0})"), 192);
  EXPECT_EQ(most_with(R"({"type": "linear", "factor": 0.5})"), 64);
  EXPECT_EQ(most_with(R"({"type": "linear", "factor": 1e300})"), 1000000000);
  // Qwen 2.5's positions are those without the factor, those of others with it.
  EXPECT_EQ(most_with(R"({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})"),
            256);
  EXPECT_EQ(most_with(R"({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})"),
            64);
  EXPECT_EQ(most_with(R"({"type": "yarn", "factor": null})"), 64);
}

TEST(LlamaConfigTest, FieldsOfRotationsThatTransformersDoesNotUseArePassedOver) {
  const auto rotary_with = [](const std::string& fields) {
    const auto config = Read(absl::StrCat(
        R"("model_type": "qwen3", "rope_scaling": {"rope_type": "yarn", "factor": 4.0)", fields,
        "}"));
    EXPECT_THAT(config.status(), IsOk());
    return config.ok() ? config->rotary[0] : nullptr;
  };
  const auto plain = rotary_with("");
  const auto more = rotary_with(R"(, "attn_factor": 0.5, "finetuned": true)");
  ASSERT_TRUE(plain && more);
  EXPECT_TRUE(at::equal(plain->Frequencies(1), more->Frequencies(1)));
  EXPECT_EQ(plain->attention_factor(), more->attention_factor());
}

TEST(LlamaConfigTest, NullIsWhatItIsInTransformers) {
  const auto frequencies_with = [](const std::string& fields) {
    const auto config = Read(fields);
    EXPECT_THAT(config.status(), IsOk());
    return config.ok() ? config->rotary[0]->Frequencies(1) : at::Tensor();
  };
  // All of a head of 8, not StableLM's quarter.
  EXPECT_EQ(frequencies_with(R"("model_type": "stablelm")").numel(), 1);
  EXPECT_EQ(frequencies_with(R"("model_type": "stablelm", "partial_rotary_factor": null)").numel(),
            4);
  const auto yarn_with = [&](const std::string& truncate) {
    return frequencies_with(absl::StrCat(
        R"("model_type": "llama", "head_dim": 32, "rope_scaling": {"rope_type": "yarn",
           "factor": 4.0, "original_max_position_embeddings": 64, "truncate": )",
        truncate, "}"));
  };
  EXPECT_TRUE(at::equal(yarn_with("null"), yarn_with("false")));
  EXPECT_FALSE(at::equal(yarn_with("null"), yarn_with("true")));
}

TEST(LlamaConfigTest, TheCommonNameOfExpertsGoesBeforeMixtrals) {
  EXPECT_EQ(Read(R"("model_type": "mixtral", "num_experts": 6, "num_local_experts": 4)")->experts,
            6);
  EXPECT_EQ(Read(R"("model_type": "mixtral", "num_local_experts": 4)")->experts, 4);
}

TEST(LlamaConfigTest, WhatIsNotServedIsNamed) {
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_scaling": {"type": "mrope"})"),
              Refuses("rope_scaling.rope_type", "\"mrope\" is not served"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_parameters": {"twist": 2})"),
              Refuses("rope_parameters.twist", "not served"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "partial_rotary_factor": 0.5)"),
              Refuses("partial_rotary_factor", "whole heads"));
  EXPECT_THAT(StatusOf(R"("model_type": "phi3", "rope_scaling": {"type": "linear", "factor": 2})"),
              Refuses("rope_scaling", "\"linear\" is not served in Phi-3"));
  EXPECT_THAT(StatusOf(R"("model_type": "gemma", "use_bidirectional_attention": true)"),
              Refuses("use_bidirectional_attention", "true is not served"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "is_causal": false)"),
              Refuses("is_causal", "false is not served"));
  EXPECT_THAT(StatusOf(R"("model_type": "gemma3_text",
                          "rope_scaling": {"type": "linear", "factor": 8.0})"),
              Refuses("rope_scaling.type", "write `rope_type`"));
  EXPECT_THAT(StatusOf(R"("model_type": "gemma3_text", "attn_logit_softcapping": 50.0)"),
              Refuses("attn_logit_softcapping", "does not apply"));
  EXPECT_THAT(StatusOf(R"("model_type": "qwen3", "layer_types": ["full_attention", "ring",
                          "full_attention", "full_attention"])"),
              Refuses("layer_types", "\"ring\" is not served"));
}

TEST(LlamaConfigTest, WhatMakesNoSenseIsNamed) {
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "num_key_value_heads": 3)"),
              FindsInvalid("num_key_value_heads", "does not divide"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "num_hidden_layers": 1000000000)"),
              FindsInvalid("num_hidden_layers", "more than"));
  EXPECT_THAT(StatusOf(R"("model_type": "mistral", "num_hidden_layers": -1)"),
              FindsInvalid("num_hidden_layers", "no size"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "head_dim": 7)"),
              FindsInvalid("rope_parameters", "even number"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_theta": "many")"),
              FindsInvalid("rope_theta", "a number"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_theta": 0)"),
              FindsInvalid("rope_theta", "out of range"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_scaling": {"rope_type": "linear"})"),
              FindsInvalid("rope_scaling.factor", "is missing"));
  EXPECT_THAT(StatusOf(R"("model_type": "llama", "rope_scaling": {"rope_type": "longrope",
                          "short_factor": [1], "long_factor": [1]})"),
              FindsInvalid("rope_parameters", "must have 4 numbers"));
  EXPECT_THAT(StatusOf(R"("model_type": "gemma2", "sliding_window": null)"),
              FindsInvalid("sliding_window", "is none, but layers have one"));
  EXPECT_THAT(StatusOf(R"("model_type": "gemma2", "layer_types": ["full_attention"])"),
              FindsInvalid("layer_types", "1 items for 4 layers"));
}

}  // namespace
}  // namespace weft::models
