// Folders that are no adapter of a model, or ask for what is not served.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/weights/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::StatusIs;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
constexpr char kPlain[] = WEFT_SOURCE_DIR "/tests/parity/lora/gpt2/plain/";
constexpr char kFirst[] = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight";

class LoraRefusalsTest : public ::testing::Test {
 protected:
  LoraRefusalsTest() {
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
      std::filesystem::copy(std::string(kPlain) + name, folder_.File(name));
    }
  }

  /// What comes of loading the folder for gpt2-tiny.
  absl::Status Load() { return Host().AddAdapter("x", folder_.path()); }

  absl::Status LoadWithConfig(const std::function<void(json&)>& change) {
    json config = json::parse(std::ifstream(std::string(kPlain) + "adapter_config.json"));
    change(config);
    folder_.Write("adapter_config.json", config.dump());
    return Load();
  }

  absl::Status LoadWithTensors(const std::function<void(Tensors&)>& change) {
    Tensors tensors = testing::LoadGolden(std::string(kPlain) + "adapter_model.safetensors");
    change(tensors);
    std::vector<weights::TensorToWrite> to_write;
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.contiguous();
      to_write.push_back({name,
                          tensor.scalar_type() == at::kLong ? "I64" : "F32",
                          tensor.sizes().vec(),
                          {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    EXPECT_THAT(weights::WriteSafetensors(folder_.File("adapter_model.safetensors"), to_write),
                IsOk());
    return Load();
  }

  models::HostedModel& Host() {
    model_ = std::make_unique<LocalModel>(kTiny);
    return model_->hosted();
  }

  TempFolder folder_;
  std::unique_ptr<LocalModel> model_;
};

TEST_F(LoraRefusalsTest, WhatIsNotServedIsRefusedByItsField) {
  EXPECT_THAT(Load(), IsOk());
  const std::map<std::string, json> fields = {
      {"peft_type", "IA3"},
      {"bias", "all"},
      {"use_dora", true},
      {"lora_bias", true},
      {"rank_pattern", {{"c_attn", 2}}},
      {"alpha_pattern", {{"c_attn", 2}}},
      {"modules_to_save", {"lm_head"}},
      {"layer_replication", {{0, 1}}},
      {"init_lora_weights", "pissa_niter_4"},
      {"target_parameters", {"x"}},
      {"trainable_token_indices", {1}},
      {"something_new", 1},
  };
  for (const auto& [field, value] : fields) {
    EXPECT_THAT(LoadWithConfig([&](json& config) { config[field] = value; }),
                StatusIs(absl::StatusCode::kUnimplemented,
                         AllOf(HasSubstr("adapter_config.json"), HasSubstr("`" + field + "`"))));
  }
  const absl::Status many =
      LoadWithConfig([](json& config) { config["modules_to_save"] = std::vector<int>(100000, 7); });
  EXPECT_LT(many.message().size(), 1000u);
}

TEST_F(LoraRefusalsTest, FieldsOfAnotherTypeAreNamed) {
  const auto wrong = [](const char* field) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field));
  };
  EXPECT_THAT(LoadWithConfig([](json& config) { config.erase("r"); }), wrong("\"r\""));
  EXPECT_THAT(LoadWithConfig([](json& config) { config["r"] = 0; }), wrong("`r` is 0"));
  EXPECT_THAT(LoadWithConfig([](json& config) { config["lora_alpha"] = "8"; }),
              wrong("\"lora_alpha\""));
  EXPECT_THAT(LoadWithConfig([](json& config) { config["use_rslora"] = "no"; }),
              wrong("\"use_rslora\""));
  EXPECT_THAT(LoadWithConfig([](json& config) { config["target_modules"] = {1}; }),
              wrong("`target_modules`"));
  folder_.Write("adapter_config.json", "{\"r\": ");
  EXPECT_THAT(Load(), wrong("not valid JSON"));
}

TEST_F(LoraRefusalsTest, TensorsThatDoNotFitAreAllNamed) {
  const absl::Status status = LoadWithTensors([&](Tensors& tensors) {
    tensors[kFirst] = tensors.at(kFirst).slice(0, 1);
    tensors["base_model.model.transformer.wte.lora_A.weight"] = at::zeros({4, 32});
    tensors["base_model.model.transformer.h.9.attn.c_attn.lora_A.weight"] = at::zeros({4, 32});
    tensors["base_model.model.transformer.h.0.attn.c_proj.lora_A.weight"] = at::zeros({4, 32});
    tensors["base_model.model.transformer.wte.lora_embedding_A"] = at::zeros({4, 97});
    tensors["base_model.model.transformer.h.2.attn.c_attn.lora_A.weight"] =
        at::zeros({4, 32}, at::kLong);
    tensors.erase("base_model.model.transformer.h.1.attn.c_attn.lora_B.weight");
  });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("[3, 32]"), HasSubstr("of the type Embedding"),
                                     HasSubstr("h.9"), HasSubstr("lora_embedding_A"),
                                     HasSubstr("c_proj.lora_A.weight` is of a module that "
                                               "`target_modules` does not name"),
                                     HasSubstr("h.2.attn.c_attn.lora_A.weight` is of integers"),
                                     HasSubstr("`transformer.h.1.attn.c_attn` has no lora_B"))));
  EXPECT_THAT(LoadWithTensors([](Tensors& tensors) { tensors.clear(); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("changes no module")));
  EXPECT_THAT(LoadWithTensors([](Tensors& tensors) {
                std::erase_if(tensors, [](const auto& entry) {
                  return entry.first.find("c_fc") != std::string::npos;
                });
              }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`mlp.c_fc` stands in")));
}

TEST_F(LoraRefusalsTest, AnAdapterOfTheModelWithoutItsHeadLacksThePrefix) {
  const auto strip = [](const std::string& name) {
    return absl::StrReplaceAll(name, {{"model.transformer.", "model."}});
  };
  const std::string body = " { save l = read lm_head.output }";
  EXPECT_THAT(LoadWithTensors([&](Tensors& tensors) {
                Tensors stripped;
                for (const auto& [name, tensor] : tensors) stripped[strip(name)] = tensor;
                tensors = stripped;
              }),
              IsOk());
  ASSERT_THAT(model_->hosted().AddAdapter("plain", kPlain), IsOk());
  const auto logits = [&](const std::string& adapter) {
    return model_->Run(absl::StrCat("trace adapter=\"", adapter, "\"\ninvoke [1, 2]", body))["l"];
  };
  EXPECT_TRUE(at::equal(logits("x"), logits("plain")));
  EXPECT_THAT(LoadWithTensors([&](Tensors& tensors) { tensors[strip(kFirst)] = tensors[kFirst]; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another such tensor")));
}

TEST_F(LoraRefusalsTest, FilesThatAreMissingOrBrokenAreNamed) {
  const std::string weights = folder_.File("adapter_model.safetensors");
  std::filesystem::resize_file(weights, 100);
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(weights)));
  folder_.Write("adapter_model.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  EXPECT_FALSE(Load().ok());
  const std::string header =
      R"({"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight":{"dtype":"F32",)"
      R"("shape":[4611686018427387904,4],"data_offsets":[0,64]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  folder_.Write("adapter_model.safetensors", file + header + std::string(64, '\0'));
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(weights)));
  std::filesystem::remove(weights);
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kNotFound, HasSubstr(weights)));
  folder_.Write("adapter_model.bin", "");
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("pickle")));
  std::filesystem::remove(folder_.File("adapter_config.json"));
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("adapter_config.json")));
  EXPECT_THAT(Host().AddAdapter("x", "/no/such/folder"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/folder")));
}

TEST_F(LoraRefusalsTest, AnAdapterOfAnotherModelDoesNotFit) {
  EXPECT_THAT(Host().AddAdapter("x", WEFT_SOURCE_DIR "/tests/parity/lora/llama/attention"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("is of a module that the model does not have")));
}

}  // namespace
}  // namespace weft
