// LoRA adapters that the peft library made, against peft, and beside neighbours without them.

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
#include "engine/weights/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using ::testing::AllOf;
using testing::AtRealTokens;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
constexpr char kLora[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-lora";

constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";
constexpr char kSites[] = R"( {
  save c_attn = read transformer.h.0.attn.c_attn.output
  save c_proj = read transformer.h.1.mlp.c_proj.output
  save h2 = read transformer.h.2.output
  save logits = read result
})";

const Tensors& Golden() {
  static const auto* const kGolden =
      new Tensors(testing::LoadGolden(absl::StrCat(kLora, "/golden.safetensors")));
  return *kGolden;
}

/// gpt2-tiny with both adapters.
LocalModel& Model() {
  static LocalModel* const kModel = [] {
    auto* model = new LocalModel(kTiny);
    for (const char* name : {"plain", "rslora"}) {
      EXPECT_THAT(model->hosted().AddAdapter(name, absl::StrCat(kLora, "/", name)), IsOk());
    }
    return model;
  }();
  return *kModel;
}

/// gpt2-tiny with the adapter `plain` merged into its weights.
LocalModel& Merged() {
  static LocalModel* const kModel = [] {
    Tensors tensors = testing::LoadGolden(absl::StrCat(kTiny, "/model.safetensors"));
    const Tensors adapter =
        testing::LoadGolden(absl::StrCat(kLora, "/plain/adapter_model.safetensors"));
    for (auto& [name, tensor] : tensors) {
      const std::string module =
          absl::StrCat("base_model.model.", name.substr(0, name.rfind(".weight")));
      const auto a = adapter.find(module + ".lora_A.weight");
      if (a == adapter.end()) continue;
      const at::Tensor change = at::matmul(adapter.at(module + ".lora_B.weight"), a->second);
      tensor = tensor + 2.0 * change.t();  // lora_alpha / r
    }
    const TempFolder folder;
    std::vector<weights::TensorToWrite> to_write;
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.contiguous();
      to_write.push_back({name,
                          "F32",
                          tensor.sizes().vec(),
                          {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    EXPECT_THAT(weights::WriteSafetensors(folder.File("model.safetensors"), to_write), IsOk());
    for (const char* name : {"config.json", "tokenizer.json"}) {
      std::filesystem::copy(std::string(kTiny) + "/" + name, folder.File(name));
    }
    return new LocalModel(folder.path());
  }();
  return *kModel;
}

TEST(LoraTest, ChangesOutputsAsPeftDoes) {
  for (const std::string adapter : {"plain", "rslora"}) {
    const std::string header = absl::StrCat("trace adapter=\"", adapter, "\"\ninvoke ");
    const LocalResult single = Model().Run(absl::StrCat(header, kSingle, kSites));
    ASSERT_THAT(single.status, IsOk());
    EXPECT_EQ(single.saved.size(), 4u);
    for (const auto& [name, value] : single.saved) {
      const std::string golden = absl::StrCat(adapter, ".single.", name.substr(0, name.find('/')));
      ExpectClose(value, Golden().at(golden), 1e-5, golden);
    }
    at::Tensor mask = at::zeros({3, 8}, at::kLong);
    const int64_t lengths[] = {8, 3, 5};
    for (int64_t i = 0; i < 3; ++i) mask[i].slice(0, 8 - lengths[i]).fill_(1);
    const LocalResult batch = Model().Run(absl::StrCat(header, kBatch, kSites));
    ASSERT_THAT(batch.status, IsOk());
    for (const auto& [name, value] : batch.saved) {
      const std::string golden = absl::StrCat(adapter, ".batch.", name.substr(0, name.find('/')));
      ExpectClose(AtRealTokens(value, mask), AtRealTokens(Golden().at(golden), mask), 1e-5, golden);
    }
  }
}

TEST(LoraTest, NeighboursInAPassHaveTheirOwnAdapterOrNone) {
  const std::vector<std::string> programs = {
      absl::StrCat("invoke ", kSingle, kSites),
      absl::StrCat("trace adapter=\"plain\"\ninvoke ", kBatch, kSites),
      absl::StrCat("trace adapter=\"rslora\"\ninvoke ", kSingle, kSites),
      absl::StrCat("trace adapter=\"plain\"\ninvoke [64, 65, 66]", kSites),
  };
  const std::vector<LocalResult> together = Model().RunTogether(programs);
  for (size_t i = 0; i < programs.size(); ++i) {
    const LocalResult solo = Model().Run(programs[i]);
    ASSERT_THAT(solo.status, IsOk());
    ASSERT_THAT(together[i].status, IsOk());
    for (const auto& [name, value] : solo.saved) {
      ExpectClose(together[i][name], value, 1e-5, absl::StrCat(i, " ", name));
    }
  }
}

TEST(LoraTest, WhoHasNoneIsLeftAsHeIsToTheBit) {
  const std::string plain = absl::StrCat("invoke ", kSingle, kSites);
  const std::string other = absl::StrCat("invoke ", kBatch, kSites);
  const LocalResult without = Model().RunTogether({plain, other})[0];
  const LocalResult beside =
      Model().RunTogether({plain, absl::StrCat("trace adapter=\"plain\"\n", other)})[0];
  ASSERT_THAT(without.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  for (const auto& [name, value] : without.saved) {
    EXPECT_TRUE(at::equal(beside[name], value)) << name;
  }
}

TEST(LoraTest, TracesOfAProgramChooseByThemselves) {
  const LocalResult result = Model().Run(absl::StrCat(
      "trace adapter=\"plain\"\ninvoke ", kSingle, " { %with = read result  save with = %with }\n",
      "trace\ninvoke ", kSingle, " { save without = read result }\n",
      "trace adapter=\"rslora\"\ninvoke ", kSingle, " { save other = read result }"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["with"], Golden().at("plain.single.logits"));
  ExpectClose(result["other"], Golden().at("rslora.single.logits"));
  ExpectClose(result["without"], LocalModel::Tiny().Run(absl::StrCat(
                                     "invoke ", kSingle, " { save l = read result }"))["l"]);
}

TEST(LoraTest, GenerationsGradientsCallsAndSweepsAreThoseOfMergedWeights) {
  const std::string programs[] = {
      absl::StrCat("generate max_new_tokens=5HEADER\ninvoke ", kSingle,
                   " { save ids = read result  steps [:] { save l = read lm_head.output } }"),
      absl::StrCat("traceHEADER\ninvoke ", kSingle, R"( {
  %h = read transformer.h.0.output
  %l = read lm_head.output
  backward aten::sum(%l[:, -1, 5]) { save g = grad %h }
})"),
      absl::StrCat("traceHEADER\ninvoke ", kSingle, R"( {
  %n = read transformer.h.1.ln_1.output
  save c = call transformer.h.1.attn.c_attn(%n)
  save m = call transformer.h.1.mlp(%n)
})"),
      absl::StrCat("traceHEADER\nsweep %l in [0:3] { invoke ", kSingle, R"( {
  write transformer.h.$l.output[:, 0] = 0.0
  save l = read lm_head.output
} })"),
  };
  for (const std::string& program : programs) {
    const size_t at = program.find("HEADER");
    std::string with = program, without = program;
    with.replace(at, 6, " adapter=\"plain\"");
    without.replace(at, 6, "");
    const LocalResult adapted = Model().Run(with), merged = Merged().Run(without);
    ASSERT_THAT(adapted.status, IsOk()) << with;
    ASSERT_THAT(merged.status, IsOk()) << without;
    EXPECT_EQ(adapted.saved.size(), merged.saved.size());
    for (const auto& [name, value] : merged.saved) {
      ExpectClose(adapted[name], value, 1e-5, absl::StrCat(name, " of ", with));
    }
  }
}

TEST(LoraTest, OperationsInsideAreThoseOfTheModule) {
  const LocalResult result =
      Model().Run(absl::StrCat("trace adapter=\"plain\"\ninvoke ", kSingle, R"( {
  save inside = read transformer.h.0.attn.c_attn.op(linear_0).output
  save outside = read transformer.h.0.attn.c_attn.output
})"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["outside"], Golden().at("plain.single.c_attn"));
  EXPECT_FALSE(at::equal(result["inside"], result["outside"]));
}

TEST(LoraTest, AHalfPrecisionModelAddsInFloat32AsPeftDoes) {
  LocalModel half(kTiny, true, {.dtype = at::kBFloat16});
  ASSERT_THAT(half.hosted().AddAdapter("plain", absl::StrCat(kLora, "/plain")), IsOk());
  const LocalResult result =
      half.Run(absl::StrCat("trace adapter=\"plain\"\ninvoke ", kSingle, kSites));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["c_attn"].scalar_type(), at::kBFloat16);
  ExpectClose(result["c_attn"].to(at::kFloat), Golden().at("plain.single.c_attn"), 2e-2);
}

TEST(LoraTest, AnUnknownAdapterEndsTheRun) {
  EXPECT_THAT(Model().Run("trace adapter=\"none\"\ninvoke [1] { save l = read result }").status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`none`")));
}

/// What comes of loading `plain` when its configuration or its tensors are changed.
absl::Status LoadWith(
    const std::function<void(nlohmann::json&)>& change,
    const std::function<void(Tensors&)>& change_tensors = [](Tensors&) {}) {
  const std::string plain = absl::StrCat(kLora, "/plain/");
  const TempFolder folder;
  auto config = nlohmann::json::parse(std::ifstream(plain + "adapter_config.json"));
  change(config);
  folder.Write("adapter_config.json", config.dump());
  Tensors tensors = testing::LoadGolden(plain + "adapter_model.safetensors");
  change_tensors(tensors);
  std::vector<weights::TensorToWrite> to_write;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.contiguous();
    to_write.push_back({name,
                        "F32",
                        tensor.sizes().vec(),
                        {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  EXPECT_THAT(weights::WriteSafetensors(folder.File("adapter_model.safetensors"), to_write),
              IsOk());
  LocalModel model(kTiny);
  return model.hosted().AddAdapter("x", folder.path());
}

TEST(LoraTest, WhatIsNotServedIsRefusedByItsField) {
  const std::map<std::string, nlohmann::json> fields = {
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
      {"something_new", 1},
  };
  for (const auto& [field, value] : fields) {
    EXPECT_THAT(LoadWith([&](auto& config) { config[field] = value; }),
                StatusIs(absl::StatusCode::kUnimplemented,
                         AllOf(HasSubstr("adapter_config.json"), HasSubstr("`" + field + "`"))));
  }
  EXPECT_THAT(LoadWith([](auto&) {}), IsOk());
  EXPECT_THAT(LoadWith([](auto& config) { config.erase("r"); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"r\"")));
}

TEST(LoraTest, TensorsThatDoNotFitAreAllNamed) {
  const std::string first = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight";
  const absl::Status status = LoadWith(
      [](auto&) {},
      [&](Tensors& tensors) {
        tensors[first] = tensors.at(first).slice(0, 1);
        tensors["base_model.model.transformer.wte.lora_A.weight"] = at::zeros({4, 32});
        tensors["base_model.model.transformer.h.9.attn.c_attn.lora_A.weight"] = at::zeros({4, 32});
        tensors["base_model.model.transformer.wte.lora_embedding_A"] = at::zeros({4, 97});
        tensors.erase("base_model.model.transformer.h.1.attn.c_attn.lora_B.weight");
      });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("[3, 32]"), HasSubstr("of a Embedding"),
                                     HasSubstr("h.9"), HasSubstr("lora_embedding_A"),
                                     HasSubstr("`transformer.h.1.attn.c_attn` has no lora_B"))));
}

}  // namespace
}  // namespace weft
