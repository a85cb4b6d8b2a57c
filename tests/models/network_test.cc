#include "engine/models/network.h"

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

#include "absl/strings/str_cat.h"
#include "engine/models/hosted_model.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::models {
namespace {

using ::testing::AllOf;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::StatusIs;
using testing::TempFolder;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";

/// What comes of gpt2-tiny when its configuration is changed.
absl::Status MakeWith(const std::function<void(nlohmann::json&)>& change) {
  TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy(std::string(kTiny) + "/" + name, folder.File(name));
  }
  nlohmann::json config = nlohmann::json::parse(std::ifstream(folder.File("config.json")));
  change(config);
  std::ofstream(folder.File("config.json")) << config;
  absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(folder.path());
  if (!hub.ok()) return hub.status();
  return MakeNetwork(*hub).status();
}

TEST(NetworkTest, TheFolderAsItIsMakesANetwork) {
  EXPECT_THAT(MakeWith([](auto&) {}), IsOk());
}

TEST(NetworkTest, TheGenerationConfigurationSaysWhenToStop) {
  TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy(std::string(kTiny) + "/" + name, folder.File(name));
  }
  const auto eos_with = [&](const std::string& json) {
    folder.Write("generation_config.json", json);
    const auto network = MakeNetwork(*weights::HubFolder::Open(folder.path()));
    EXPECT_THAT(network.status(), IsOk());
    return network.ok() ? network->eos_ids : std::vector<int64_t>();
  };
  EXPECT_THAT(eos_with(R"({"eos_token_id": [5, 7]})"), ::testing::ElementsAre(5, 7));
  EXPECT_THAT(eos_with(R"({"eos_token_id": null})"), ::testing::IsEmpty());
  // Unlike transformers, which would go on for ever.
  EXPECT_THAT(eos_with(R"({"temperature": 1})"), ::testing::ElementsAre(96));
  nlohmann::json config = nlohmann::json::parse(std::ifstream(folder.File("config.json")));
  config.erase("eos_token_id");
  std::ofstream(folder.File("config.json")) << config;
  EXPECT_THAT(eos_with(R"({"temperature": 1})"), ::testing::IsEmpty());
  std::filesystem::remove(folder.File("generation_config.json"));
  EXPECT_THAT(MakeNetwork(*weights::HubFolder::Open(folder.path()))->eos_ids, ::testing::IsEmpty());
}

TEST(NetworkTest, AFamilyThatIsNotServedIsNamedWithThoseThatAre) {
  EXPECT_THAT(MakeWith([](auto& config) { config["model_type"] = "mamba"; }),
              StatusIs(absl::StatusCode::kUnimplemented,
                       AllOf(HasSubstr("`mamba` is not served"), HasSubstr("gpt2"))));
}

TEST(NetworkTest, AnActivationThatIsNotServedIsNamed) {
  EXPECT_THAT(MakeWith([](auto& config) { config["activation_function"] = "swiglu"; }),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("activation `swiglu`")));
}

TEST(NetworkTest, FieldsThatNoFamilyServesAreRefused) {
  const auto refused_with = [](const char* field, const nlohmann::json& value) {
    EXPECT_THAT(MakeWith([&](auto& config) { config[field] = value; }),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr(field)));
  };
  refused_with("quantization_config", {{"bits", 4}});
  refused_with("transformers_weights", "other.safetensors");
  refused_with("per_layer_config", {{"0", {{"n_head", 2}}}});
  refused_with("is_causal", false);
}

TEST(NetworkTest, TheCommonNameOfASizeGoesBeforeGPT2s) {
  EXPECT_THAT(MakeWith([](auto& config) {
                for (const auto& [common, own] :
                     {std::pair("hidden_size", "n_embd"), std::pair("num_hidden_layers", "n_layer"),
                      std::pair("num_attention_heads", "n_head"),
                      std::pair("max_position_embeddings", "n_positions")}) {
                  config[common] = config[own];
                  config[own] = 7;
                }
              }),
              IsOk());
  EXPECT_THAT(MakeWith([](auto& config) { config["num_attention_heads"] = 5; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`num_attention_heads` 5")));
}

TEST(NetworkTest, CrossAttentionIsRefused) {
  EXPECT_THAT(MakeWith([](auto& config) { config["add_cross_attention"] = true; }),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("add_cross_attention")));
}

TEST(NetworkTest, AWeightOfAnotherShapeIsRefusedWithBothShapes) {
  EXPECT_THAT(
      MakeWith([](auto& config) { config["n_positions"] = 32; }),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("transformer.wpe.weight"), HasSubstr("64"), HasSubstr("32"))));
}

TEST(NetworkTest, AWeightThatIsMissingIsNamed) {
  EXPECT_THAT(MakeWith([](auto& config) { config["n_layer"] = 4; }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("transformer.h.3.")));
}

TEST(NetworkTest, WeightsThatNoModuleTakesAreNamed) {
  EXPECT_THAT(MakeWith([](auto& config) { config["n_layer"] = 2; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("transformer.h.2.")));
}

TEST(NetworkTest, EverythingThatIsMissingOrUnexpectedIsToldAtOnce) {
  const absl::Status status = MakeWith([](auto& config) {
    config["n_layer"] = 4;
    config["n_positions"] = 32;
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* name : {"ln_1.weight", "attn.c_attn.weight", "attn.c_proj.bias", "ln_2.bias",
                           "mlp.c_fc.weight", "mlp.c_proj.bias"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("transformer.h.3.", name)));
  }
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("has no tensors for: "),
                                                   HasSubstr("[64, 32]"), HasSubstr("[32, 32]")));
}

TEST(NetworkTest, SizesThatAreNoneAreRefused) {
  for (const char* field : {"n_embd", "n_head", "n_layer", "n_positions", "vocab_size"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
      EXPECT_THAT(MakeWith([&](auto& config) { config[field] = value; }),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
    }
  }
  EXPECT_THAT(MakeWith([](auto& config) { config["n_head"] = 5; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("does not divide")));
}

TEST(HostedModelTest, ParametersAreAsInTheCheckpoint) {
  absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(kTiny);
  ASSERT_THAT(hub, IsOk());
  const auto checkpoint = testing::LoadGolden(hub->weight_paths().front());
  HostedModel& hosted = LocalModel::Tiny().hosted();
  for (const auto& [name, tensor] : checkpoint) {
    absl::StatusOr<at::Tensor> parameter = hosted.Parameter(name);
    ASSERT_THAT(parameter, IsOk());
    EXPECT_TRUE(at::equal(*parameter, tensor)) << name;
    EXPECT_FALSE(parameter->is_inference()) << name;
  }
  // Tied, so it is there under its own name too.
  EXPECT_EQ(hosted.Parameter("lm_head.weight")->data_ptr(),
            hosted.Parameter("transformer.wte.weight")->data_ptr());
  EXPECT_THAT(hosted.Parameter("lm_head.bias"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("lm_head.bias")));
}

/// A checkpoint, the head of which is tied to `embedding`.
struct TiedCheckpoint {
  const char* folder;
  const char* embedding;
};

class TiedWeightsTest : public ::testing::TestWithParam<TiedCheckpoint> {
 protected:
  static constexpr char kHead[] = "lm_head.weight";
  using Change = std::function<void(std::map<std::string, at::Tensor>&)>;

  static LocalModel ModelOf(const std::string& folder) {
    return LocalModel(folder, true, {.dtype = at::kFloat});
  }
  /// The checkpoint with other tensors.
  static LocalModel ModelWith(const TempFolder& folder, const Change& change) {
    for (const char* name : {"config.json", "tokenizer.json"}) {
      std::filesystem::copy(absl::StrCat(GetParam().folder, "/", name), folder.File(name));
    }
    auto tensors = testing::LoadGolden(absl::StrCat(GetParam().folder, "/model.safetensors"));
    change(tensors);
    std::vector<weights::TensorToWrite> to_write;
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.to(at::kFloat);
      to_write.push_back({name,
                          "F32",
                          tensor.sizes().vec(),
                          {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    EXPECT_THAT(weights::WriteSafetensors(folder.File("model.safetensors"), to_write), IsOk());
    return ModelOf(folder.path());
  }
  static at::Tensor Logits(LocalModel& model) {
    return model.Run("invoke [64, 65, 66] { save l = read result }")["l"];
  }
  static at::Tensor Expected() {
    LocalModel model = ModelOf(GetParam().folder);
    return Logits(model);
  }
};

TEST_P(TiedWeightsTest, AreOneWhereTheCheckpointHoldsEitherOrBoth) {
  const std::string embedding = GetParam().embedding;
  const Change head_alone = [&](auto& tensors) {
    tensors[kHead] = tensors.at(embedding);
    tensors.erase(embedding);
  };
  const Change both = [&](auto& tensors) { tensors[kHead] = tensors.at(embedding).clone(); };
  for (const Change& change : {head_alone, both}) {
    const TempFolder folder;
    LocalModel model = ModelWith(folder, change);
    EXPECT_TRUE(at::equal(Logits(model), Expected()));
    EXPECT_EQ(model.hosted().Parameter(kHead)->data_ptr(),
              model.hosted().Parameter(embedding)->data_ptr());
  }
}

TEST_P(TiedWeightsTest, AreTwoWhereTheCheckpointHoldsTwo) {
  const TempFolder folder;
  LocalModel model = ModelWith(
      folder, [](auto& tensors) { tensors[kHead] = 2 * tensors.at(GetParam().embedding); });
  ExpectClose(Logits(model), 2 * Expected());
}

INSTANTIATE_TEST_SUITE_P(All, TiedWeightsTest,
                         ::testing::Values(TiedCheckpoint{kTiny, "transformer.wte.weight"},
                                           TiedCheckpoint{WEFT_SOURCE_DIR
                                                          "/tests/parity/families/gemma",
                                                          "model.embed_tokens.weight"}),
                         [](const auto& info) { return info.index == 0 ? "GPT2" : "Llama"; });

TEST(HostedModelTest, SitesHaveShapesInBatchAndTokens) {
  const plan::ModelSpec& spec = LocalModel::Tiny().spec();
  auto pattern = [&](const char* module, graph::Point point) {
    const int time = spec.FindSite(spec.FindModule(module), point, 0);
    return time < 0 ? "" : graph::ToString(spec.sites()[time].pattern);
  };
  EXPECT_EQ(pattern("", graph::Point::kInput), "int64[B, T]");
  EXPECT_EQ(pattern("", graph::Point::kOutput), "{logits: float32[B, T, 97]}");
  EXPECT_EQ(pattern("transformer.h.1", graph::Point::kOutput), "float32[B, T, 32]");
  EXPECT_EQ(pattern("transformer.h.1.mlp.act", graph::Point::kInput), "float32[B, T, 128]");
  EXPECT_EQ(pattern("transformer.h.1.attn", graph::Point::kOutput), "(float32[B, T, 32], none)");
}

TEST(HostedModelTest, AModelOfFewPositionsIsHosted) {
  std::map<std::string, at::Tensor> tensors =
      testing::LoadGolden(std::string(kTiny) + "/model.safetensors");
  nlohmann::json config = nlohmann::json::parse(std::ifstream(std::string(kTiny) + "/config.json"));
  for (const int64_t positions : {1, 2, 3, 4, 6}) {
    at::Tensor& wpe = tensors.at("transformer.wpe.weight");
    const at::Tensor whole = wpe;
    wpe = wpe.narrow(0, 0, positions);
    std::vector<weights::TensorToWrite> to_write;
    for (const auto& [name, tensor] : tensors) {
      to_write.push_back({name,
                          "F32",
                          tensor.sizes().vec(),
                          {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    TempFolder folder;
    ASSERT_THAT(weights::WriteSafetensors(folder.File("model.safetensors"), to_write), IsOk());
    wpe = whole;
    std::filesystem::copy(std::string(kTiny) + "/tokenizer.json", folder.File("tokenizer.json"));
    config["n_positions"] = positions;
    folder.Write("config.json", config.dump());

    LocalModel few(folder.path());
    const int time =
        few.spec().FindSite(few.spec().FindModule("transformer.h.1"), graph::Point::kOutput, 0);
    EXPECT_EQ(graph::ToString(few.spec().sites()[time].pattern),
              positions == 1 ? "float32[B, 1, 32]" : "float32[B, T, 32]");
    const std::string program =
        absl::StrCat("invoke ", positions == 1 ? "[[64], [65]]" : "[[64, 65], [66, 67]]",
                     " { save h = read transformer.h.1.output  save p = read result }");
    const testing::LocalResult result = few.Run(program);
    ASSERT_THAT(result.status, IsOk());
    ExpectClose(result["p"], LocalModel::Tiny().Run(program)["p"]);
  }
}

TEST(HostedModelTest, IntegerSitesKnowTheirRange) {
  const plan::ModelSpec& spec = LocalModel::Tiny().spec();
  auto range = [&](const char* module) {
    const int time = spec.FindSite(spec.FindModule(module), graph::Point::kInput, 0);
    return std::get<graph::Pattern::Tensor>(spec.sites()[time].pattern.value).range;
  };
  EXPECT_EQ(range(""), 97);
  EXPECT_EQ(range("transformer"), 97);
  EXPECT_EQ(range("transformer.wte"), 97);
  EXPECT_EQ(range("transformer.wpe"), 64);
  EXPECT_EQ(range("transformer.h.0"), 0);
}

TEST(HostedModelTest, ModulesAreDescribedAsInTorch) {
  HostedModel& hosted = LocalModel::Tiny().hosted();
  auto module = [&](const char* path) -> const Module& {
    return *hosted.modules()[hosted.spec().FindModule(path)];
  };
  EXPECT_EQ(module("").type(), "GPT2LMHeadModel");
  EXPECT_EQ(module("transformer.h").type(), "ModuleList");
  EXPECT_EQ(module("transformer.h.0").type(), "GPT2Block");
  EXPECT_EQ(module("transformer.h.0.mlp.act").type(), "NewGELUActivation");
  EXPECT_EQ(module("transformer.h.0.attn.c_attn").type(), "Conv1D");
  EXPECT_EQ(module("transformer.h.0.attn.c_attn").detail(), "nf=96, nx=32");
  EXPECT_EQ(module("lm_head").detail(), "in_features=32, out_features=97, bias=False");
  EXPECT_EQ(module("transformer.wte").detail(), "97, 32");
  EXPECT_EQ(module("transformer.ln_f").detail(), "(32,), eps=1e-05, elementwise_affine=True");
}

TEST(HostedModelTest, AForwardWithoutAProgramCountsNothing) {
  HostedModel& hosted = LocalModel::Tiny().hosted();
  const uint64_t passes = hosted.passes();
  const run::InvokeInput input = run::InvokeInput::Make({{64, 65, 66}}, 0, true);
  const at::Tensor logits = hosted.Forward(input);
  EXPECT_EQ(hosted.passes(), passes);
  ExpectClose(logits,
              testing::LoadGolden(std::string(kTiny) + "/solo_1.safetensors").at("/output/logits"));
}

}  // namespace
}  // namespace weft::models
