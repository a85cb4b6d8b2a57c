// What is refused about the configurations of GPT's relatives and of encoders, and how checkpoints
// of all ages name their tensors. Numbers against transformers are in tests/parity.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/models/network.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/safetensors.h"
#include "engine/weights/weight_loader.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/families/";
constexpr char kPrompt[] = "[39, 72, 94, 86, 68, 69, 83, 11, 42, 7, 58, 23]";

/// A checkpoint of tests/parity with other fields in its configuration, which null takes out.
void Stage(const std::string& name, const nlohmann::json& fields, const TempFolder& folder) {
  auto config = nlohmann::json::parse(std::ifstream(absl::StrCat(kFolder, name, "/config.json")));
  config.merge_patch(fields);
  folder.Write("config.json", config.dump());
  for (const char* file : {"model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy(absl::StrCat(kFolder, name, "/", file), folder.File(file));
  }
}

struct Refusal {
  const char* test;
  const char* checkpoint;
  const char* fields;
  const char* named;
};

class ConfigurationTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(ConfigurationTest, IsRefusedNamingTheField) {
  const TempFolder folder;
  Stage(GetParam().checkpoint, nlohmann::json::parse(GetParam().fields), folder);
  const absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(folder.path());
  ASSERT_THAT(hub, IsOk());
  const absl::StatusOr<models::Network> network = models::MakeNetwork(*hub);
  ASSERT_FALSE(network.ok());
  EXPECT_THAT(std::string(network.status().message()), HasSubstr(GetParam().named));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigurationTest,
    ::testing::Values(
        Refusal{"Activation", "gpt_neox", R"({"hidden_act": "snake"})", "`hidden_act`"},
        Refusal{"RopeType", "gpt_neox", R"({"rope_parameters": {"rope_type": "spiral"}})",
                "rope_type"},
        Refusal{"HeadsThatDoNotDivide", "gpt_neox", R"({"num_attention_heads": 5})",
                "`hidden_size`"},
        Refusal{"NoHeads", "gpt_neox", R"({"num_attention_heads": 0})", "`num_attention_heads`"},
        Refusal{"ManyLayers", "gpt_neox", R"({"num_hidden_layers": 4000000})",
                "`num_hidden_layers`"},
        Refusal{"RotationBeyondTheHead", "gptj", R"({"rotary_dim": 64})", "`rotary_dim`"},
        Refusal{"OddRotation", "gptj", R"({"rotary_dim": 3})", "rotary"},
        Refusal{"NormsWithoutWeights", "opt", R"({"layer_norm_elementwise_affine": false})",
                "`layer_norm_elementwise_affine`"},
        Refusal{"NewFalconOneAfterTheOther", "falcon-new", R"({"parallel_attn": false})",
                "`parallel_attn`"},
        Refusal{"OldFalconWithTwoNorms", "falcon", R"({"num_ln_in_parallel_attn": 2})",
                "`num_ln_in_parallel_attn`"},
        Refusal{"OldFalconWithGroups", "falcon", R"({"multi_query": false, "num_kv_heads": 2})",
                "`num_kv_heads`"},
        Refusal{"KeyHeadsThatDoNotDivide", "phi", R"({"num_key_value_heads": 3})",
                "`num_key_value_heads`"},
        Refusal{"QuantisedWeights", "opt", R"({"quantization_config": {"bits": 4}})",
                "`quantization_config`"},
        Refusal{"NeoXLookingAhead", "gpt_neox", R"({"is_causal": false})", "`is_causal`"},
        Refusal{"GPTJLookingAhead", "gptj", R"({"is_causal": false})", "`is_causal`"},
        Refusal{"OPTLookingAhead", "opt", R"({"is_causal": false})", "`is_causal`"},
        Refusal{"FalconLookingAhead", "falcon-alibi", R"({"is_causal": false})", "`is_causal`"},
        Refusal{"PhiLookingAhead", "phi", R"({"is_causal": false})", "`is_causal`"},
        Refusal{"FalconTurningPartOfHeads", "falcon", R"({"partial_rotary_factor": 0.5})",
                "`partial_rotary_factor`"},
        Refusal{"BertAsADecoder", "bert", R"({"is_decoder": true})", "`is_decoder`"},
        Refusal{"CrossAttention", "bert", R"({"add_cross_attention": true})",
                "`add_cross_attention`"},
        Refusal{"RelativePositions", "bert", R"({"position_embedding_type": "relative_key"})",
                "`position_embedding_type`"},
        Refusal{"AnotherHead", "bert", R"({"architectures": ["BertForSequenceClassification"]})",
                "BertForSequenceClassification"},
        Refusal{"NoPositionsLeft", "roberta", R"({"pad_token_id": 63})", "`pad_token_id`"}),
    [](const auto& info) { return info.param.test; });

/// Write tensors as a checkpoint's.
void WriteTensors(const Tensors& tensors, const std::string& path) {
  std::vector<weights::TensorToWrite> entries;
  Tensors dense;
  for (const auto& [name, tensor] : tensors) dense[name] = tensor.contiguous();
  for (const auto& [name, tensor] : dense) {
    entries.push_back({name,
                       *weights::DtypeFromScalarType(tensor.scalar_type()),
                       tensor.sizes().vec(),
                       {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  ASSERT_THAT(weights::WriteSafetensors(path, entries), IsOk());
}

void ExpectGolden(const std::string& name, const TempFolder& folder) {
  LocalModel model(folder.path(), true, {.dtype = at::kFloat});
  const LocalResult result =
      model.Run(absl::StrCat("invoke ", kPrompt, " { save x = read result }"));
  const Tensors golden = testing::LoadGolden(absl::StrCat(kFolder, name, "/golden.safetensors"));
  testing::ExpectClose(result["x"], golden.at("single/"), 1e-5, name);
}

/// The checkpoint `name` gives with `fields` what it gives as it is.
void ExpectSameWith(const std::string& name, const nlohmann::json& fields) {
  const TempFolder folder;
  Stage(name, fields, folder);
  ExpectGolden(name, folder);
}

/// The checkpoint `name`, with its tensors as `change` leaves them, gives what it gives as it is.
void ExpectSame(const std::string& name, const std::function<void(Tensors&)>& change) {
  const TempFolder folder;
  Stage(name, nlohmann::json::object(), folder);
  absl::StatusOr<Tensors> tensors = weights::LoadTensors(folder.File("model.safetensors"));
  ASSERT_THAT(tensors, IsOk());
  change(*tensors);
  WriteTensors(*tensors, folder.File("model.safetensors"));
  ExpectGolden(name, folder);
}

void Rename(Tensors& tensors, const std::function<std::string(const std::string&)>& name) {
  Tensors renamed;
  for (auto& [old, tensor] : tensors) renamed[name(old)] = tensor;
  tensors = std::move(renamed);
}

std::string WithoutPrefix(const std::string& name, const std::string& prefix) {
  return std::string(absl::StripPrefix(name, prefix));
}

TEST(NamesOfFieldsTest, NeoXHasItsOwnForItsRotation) {
  ExpectSameWith("gpt_neox", {{"rope_parameters", nullptr},
                              {"rotary_emb_base", 5000},
                              {"rotary_pct", 0.25},
                              {"rope_theta", 300.0},
                              {"partial_rotary_factor", 0.5}});
}

TEST(NamesOfFieldsTest, TheCommonOnesGoBeforeGPTJs) {
  ExpectSameWith("gptj", {{"hidden_size", 32},
                          {"n_embd", 7},
                          {"num_hidden_layers", 2},
                          {"n_layer", 7},
                          {"num_attention_heads", 4},
                          {"n_head", 7},
                          {"max_position_embeddings", 64},
                          {"n_positions", 7}});
}

TEST(RotaryTest, AFactorLengthensTheContext) {
  const auto most_with = [](const nlohmann::json& rope) {
    const TempFolder folder;
    Stage("falcon", {{"rope_parameters", nullptr}, {"rope_scaling", rope}}, folder);
    const auto network = models::MakeNetwork(*weights::HubFolder::Open(folder.path()));
    EXPECT_THAT(network, IsOk());
    return network.ok() ? network->max_tokens : 0;
  };
  EXPECT_EQ(most_with({{"rope_type", "linear"}, {"factor", 4.0}}), 256);
  EXPECT_EQ(most_with({{"rope_type", "dynamic"}, {"factor", 2.0}}), 128);
  EXPECT_EQ(most_with({{"rope_type", "default"}, {"factor", 4.0}}), 64);
}

TEST(OldNamesTest, OfPythia) {
  ExpectSame("gpt_neox", [](Tensors& tensors) {
    Rename(tensors, [](const std::string& name) {
      return absl::StrReplaceAll(name, {{"lm_head.", "embed_out."}});
    });
    for (const std::string layer : {"0", "1"}) {
      const std::string path = absl::StrCat("gpt_neox.layers.", layer, ".attention.");
      tensors[path + "bias"] = at::ones({1, 1, 64, 64}, at::kBool).tril();
      tensors[path + "masked_bias"] = at::scalar_tensor(-1e9, at::kFloat);
      tensors[path + "rotary_emb.inv_freq"] = at::ones({1});
    }
  });
}

TEST(OldNamesTest, OfGPTJAloneAndItsMasks) {
  ExpectSame("gptj", [](Tensors& tensors) {
    Rename(tensors, [](const std::string& name) { return WithoutPrefix(name, "transformer."); });
    tensors["h.0.attn.bias"] = at::ones({1, 1, 64, 64}, at::kBool).tril();
    tensors["h.0.attn.masked_bias"] = at::scalar_tensor(-1e9, at::kFloat);
  });
}

TEST(OldNamesTest, OfOPTWithoutItsHead) {
  ExpectSame("opt", [](Tensors& tensors) {
    tensors.erase("lm_head.weight");
    Rename(tensors, [](const std::string& name) { return WithoutPrefix(name, "model."); });
  });
}

void UseFirstNamesOfNorms(Tensors& tensors) {
  Rename(tensors, [](const std::string& name) {
    return absl::StrReplaceAll(
        name, {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}});
  });
}

TEST(OldNamesTest, OfBertTrainedWithTwoHeads) {
  ExpectSame("bert", [](Tensors& tensors) {
    UseFirstNamesOfNorms(tensors);
    tensors["bert.embeddings.position_ids"] = at::arange(64).unsqueeze(0);
    tensors["bert.pooler.dense.weight"] = at::ones({32, 32});
    tensors["bert.pooler.dense.bias"] = at::ones({32});
    tensors["cls.seq_relationship.weight"] = at::ones({2, 32});
    tensors["cls.seq_relationship.bias"] = at::ones({2});
    tensors["cls.predictions.decoder.weight"] =
        tensors.at("bert.embeddings.word_embeddings.weight").clone();
  });
}

TEST(OldNamesTest, OfAnEncoderTakenFromAMaskedLanguageModel) {
  ExpectSame("bert-encoder", [](Tensors& tensors) {
    Rename(tensors, [](const std::string& name) { return absl::StrCat("bert.", name); });
    tensors["cls.predictions.bias"] = at::ones({97});
    tensors["cls.predictions.transform.dense.weight"] = at::ones({32, 32});
    tensors["cls.predictions.transform.dense.bias"] = at::ones({32});
    tensors["cls.predictions.transform.LayerNorm.gamma"] = at::ones({32});
    tensors["cls.predictions.transform.LayerNorm.beta"] = at::ones({32});
  });
}

TEST(OldNamesTest, OfRobertaWithTheBiasOfItsDecoderAlone) {
  ExpectSame("roberta", [](Tensors& tensors) {
    tensors["lm_head.decoder.bias"] = tensors.at("lm_head.bias").clone();
    tensors.erase("lm_head.bias");
  });
}

TEST(EncoderCheckpointTest, WithoutAPoolerHasNone) {
  const TempFolder folder;
  Stage("bert-encoder", nlohmann::json::object(), folder);
  absl::StatusOr<Tensors> tensors = weights::LoadTensors(folder.File("model.safetensors"));
  ASSERT_THAT(tensors, IsOk());
  std::erase_if(*tensors, [](const auto& e) { return absl::StartsWith(e.first, "pooler."); });
  WriteTensors(*tensors, folder.File("model.safetensors"));
  LocalModel model(folder.path(), true, {.dtype = at::kFloat});
  EXPECT_LT(model.spec().FindModule("pooler"), 0);
  EXPECT_THAT(model.Run(absl::StrCat("invoke ", kPrompt, " { save x = read .output }")).status,
              IsOk());
}

}  // namespace
}  // namespace weft
