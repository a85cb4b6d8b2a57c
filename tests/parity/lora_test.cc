// LoRA adapters that the peft library made (make_lora.py), against peft, and beside neighbours
// without them.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
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

using testing::AtRealTokens;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kParity[] = WEFT_SOURCE_DIR "/tests/parity/";
constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";
constexpr int64_t kLengths[] = {8, 3, 5};

/// A checkpoint with the adapters that were made for it, as make_lora.py has it.
struct Base {
  std::string name;
  std::string folder;
  std::map<std::string, std::string> sites;  // by the name in the goldens
  std::string result;
  std::vector<std::string> adapters;
  std::string gradient = {};  // of a model that generates

  bool pad_left() const { return !gradient.empty(); }
  std::string Body() const {
    std::string body = absl::StrCat(" {\n  save result = read ", result, "\n");
    for (const auto& [name, site] : sites) {
      absl::StrAppend(&body, "  save ", name, " = read ", site, ".output\n");
    }
    return body + "}\n";
  }
};

const std::vector<Base>& Bases() {
  static const auto* const kBases = new std::vector<Base>{
      {"gpt2",
       "gpt2-tiny",
       {{"c_attn", "transformer.h.0.attn.c_attn"},
        {"c_proj", "transformer.h.1.mlp.c_proj"},
        {"last", "transformer.h.2"}},
       "lm_head.output",
       {"plain", "rslora"},
       "transformer.h.0"},
      {"llama",
       "families/llama",
       {{"q_proj", "model.layers.0.self_attn.q_proj"},
        {"down_proj", "model.layers.2.mlp.down_proj"},
        {"last", "model.layers.2"}},
       "lm_head.output",
       {"attention", "mlp"},
       "model.layers.0"},
      {"phi3",
       "families/phi3",
       {{"qkv_proj", "model.layers.0.self_attn.qkv_proj"},
        {"gate_up_proj", "model.layers.1.mlp.gate_up_proj"},
        {"last", "model.layers.2"}},
       "lm_head.output",
       {"fused"},
       "model.layers.0"},
      {"bert-encoder",
       "families/bert-encoder",
       {{"query", "encoder.layer.0.attention.self.query"},
        {"last", "encoder.layer.1"},
        {"pooled", "pooler.dense"}},
       "encoder.layer.1.output",
       {"pooler"}},
  };
  return *kBases;
}

std::string FolderOf(const std::string& base, const std::string& adapter) {
  return absl::StrCat(kParity, "lora/", base, "/", adapter);
}

Tensors GoldenOf(const std::string& base) {
  return LoadGolden(absl::StrCat(kParity, "lora/", base, "/golden.safetensors"));
}

std::unique_ptr<LocalModel> WithAdapters(const Base& base, at::ScalarType dtype = at::kFloat) {
  auto model = std::make_unique<LocalModel>(kParity + base.folder, base.pad_left(),
                                            models::NetworkOptions{.dtype = dtype});
  for (const std::string& name : base.adapters) {
    EXPECT_THAT(model->hosted().AddAdapter(name, FolderOf(base.name, name)), IsOk());
  }
  return model;
}

/// gpt2-tiny with both adapters.
LocalModel& Model() {
  static LocalModel* const kModel = WithAdapters(Bases()[0]).release();
  return *kModel;
}

std::string Traced(const std::string& adapter, const std::string& input, const std::string& body) {
  const std::string header =
      adapter.empty() ? "trace" : absl::StrCat("trace adapter=\"", adapter, "\"");
  return absl::StrCat(header, "\ninvoke ", input, body);
}

/// gpt2-tiny with the adapter `plain` merged into its weights.
LocalModel& Merged() {
  static LocalModel* const kModel = [] {
    const std::string tiny = absl::StrCat(kParity, "gpt2-tiny");
    Tensors tensors = LoadGolden(absl::StrCat(tiny, "/model.safetensors"));
    const Tensors adapter =
        LoadGolden(absl::StrCat(FolderOf("gpt2", "plain"), "/adapter_model.safetensors"));
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
      std::filesystem::copy(absl::StrCat(tiny, "/", name), folder.File(name));
    }
    return new LocalModel(folder.path());
  }();
  return *kModel;
}

class LoraParityTest : public ::testing::TestWithParam<Base> {};

TEST_P(LoraParityTest, ChangesOutputsAsPeftDoes) {
  const Base& base = GetParam();
  const Tensors golden = GoldenOf(base.name);
  const auto model = WithAdapters(base);
  at::Tensor mask = at::zeros({3, 8}, at::kLong);
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t start = base.pad_left() ? 8 - kLengths[i] : 0;
    mask[i].slice(0, start, start + kLengths[i]).fill_(1);
  }
  for (const std::string& adapter : base.adapters) {
    const LocalResult single = model->Run(Traced(adapter, kSingle, base.Body()));
    const LocalResult batch = model->Run(Traced(adapter, kBatch, base.Body()));
    ASSERT_THAT(single.status, IsOk());
    ASSERT_THAT(batch.status, IsOk());
    EXPECT_EQ(single.saved.size(), base.sites.size() + 1);
    for (const auto& [name, value] : single.saved) {
      const std::string of = absl::StrCat(adapter, "/single/", name);
      ExpectClose(value, golden.at(of), 1e-5, of);
    }
    for (const auto& [name, value] : batch.saved) {
      const std::string of = absl::StrCat(adapter, "/batch/", name);
      // What is pooled has no tokens.
      const at::Tensor& expected = golden.at(of);
      if (expected.dim() < 3) {
        ExpectClose(value, expected, 1e-5, of);
      } else {
        ExpectClose(AtRealTokens(value, mask), AtRealTokens(expected, mask), 1e-5, of);
      }
    }
  }
}

class LoraGenerationTest : public ::testing::TestWithParam<Base> {};

TEST_P(LoraGenerationTest, GeneratesAndGoesBackAsPeftDoes) {
  const Base& base = GetParam();
  const Tensors golden = GoldenOf(base.name);
  const auto model = WithAdapters(base);
  for (const std::string& adapter : base.adapters) {
    const LocalResult ids =
        model->Run(absl::StrCat("generate adapter=\"", adapter, "\" max_new_tokens=8\ninvoke ",
                                kSingle, " { save ids = read result }"));
    ASSERT_THAT(ids.status, IsOk());
    EXPECT_TRUE(at::equal(ids["ids"], golden.at(absl::StrCat(adapter, "/generate")))) << adapter;
    const LocalResult back = model->Run(
        Traced(adapter, kSingle,
               absl::StrCat(" {\n  %h = read ", base.gradient, ".output\n  %l = read ", base.result,
                            "\n  backward aten::sum(%l[:, -1, 5]) { save g = grad %h }\n}")));
    ASSERT_THAT(back.status, IsOk());
    ExpectClose(back["g"], golden.at(absl::StrCat(adapter, "/gradient")), 1e-5, adapter);
  }
}

TEST_P(LoraParityTest, NeighboursInAPassHaveTheirOwnAdapterOrNone) {
  const Base& base = GetParam();
  const auto model = WithAdapters(base);
  std::vector<std::string> programs = {Traced("", kSingle, base.Body())};
  for (const std::string& adapter : base.adapters) {
    programs.push_back(Traced(adapter, kBatch, base.Body()));
    programs.push_back(Traced("", kBatch, base.Body()));
    programs.push_back(Traced(adapter, kSingle, base.Body()));
  }
  const uint64_t before = model->hosted().passes();
  const std::vector<LocalResult> together = model->RunTogether(programs);
  EXPECT_EQ(model->hosted().passes(), before + 1);
  for (size_t i = 0; i < programs.size(); ++i) {
    const LocalResult solo = model->Run(programs[i]);
    ASSERT_THAT(solo.status, IsOk());
    ASSERT_THAT(together[i].status, IsOk());
    for (const auto& [name, value] : solo.saved) {
      ExpectClose(together[i][name], value, 1e-5, absl::StrCat(i, " ", name));
    }
  }
}

std::vector<Base> Decoders() {
  std::vector<Base> decoders = Bases();
  std::erase_if(decoders, [](const Base& base) { return base.gradient.empty(); });
  return decoders;
}

std::string NameOf(const ::testing::TestParamInfo<Base>& info) {
  return info.param.name == "bert-encoder" ? "bert" : info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Bases, LoraParityTest, ::testing::ValuesIn(Bases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Bases, LoraGenerationTest, ::testing::ValuesIn(Decoders()), NameOf);

TEST(LoraTest, WhoHasNoneIsLeftAsHeIsToTheBit) {
  const std::string body = Bases()[0].Body();
  const std::string plain = Traced("", kSingle, body);
  const LocalResult without = Model().RunTogether({plain, Traced("", kBatch, body)})[0];
  const LocalResult beside = Model().RunTogether({plain, Traced("plain", kBatch, body)})[0];
  ASSERT_THAT(without.status, IsOk());
  ASSERT_THAT(beside.status, IsOk());
  for (const auto& [name, value] : without.saved) {
    EXPECT_TRUE(at::equal(beside[name], value)) << name;
  }
}

TEST(LoraTest, TracesOfAProgramChooseByThemselves) {
  const LocalResult result =
      Model().Run(absl::StrCat(Traced("plain", kSingle, " { save with = read lm_head.output }\n"),
                               Traced("", kSingle, " { save without = read lm_head.output }\n"),
                               Traced("rslora", kSingle, " { save other = read lm_head.output }")));
  ASSERT_THAT(result.status, IsOk());
  const Tensors golden = GoldenOf("gpt2");
  ExpectClose(result["with"], golden.at("plain/single/result"));
  ExpectClose(result["other"], golden.at("rslora/single/result"));
  ExpectClose(result["without"],
              LocalModel::Tiny().Run(
                  absl::StrCat("invoke ", kSingle, " { save l = read lm_head.output }"))["l"]);
}

TEST(LoraTest, StepsCallsSkipsAndSweepsAreThoseOfMergedWeights) {
  const std::string programs[] = {
      absl::StrCat("generate max_new_tokens=5HEADER\ninvoke ", kBatch,
                   " { save ids = read result  steps [:] { save l = read lm_head.output } }"),
      absl::StrCat("traceHEADER\ninvoke ", kSingle, R"( {
  %n = read transformer.h.1.ln_1.output
  save c = call transformer.h.1.attn.c_attn(%n)
  save m = call transformer.h.1.mlp(%n)
  save b = call transformer.h.1(%n)
  save w = call watched transformer.h.1(%n)
})"),
      absl::StrCat("traceHEADER\ninvoke ", kSingle, R"( {
  %x = read transformer.h.1.input
  skip transformer.h.1 = %x
  save l = read lm_head.output
}
invoke )",
                   kBatch, " { save m = read lm_head.output }"),
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

TEST(LoraTest, OutputsAreTheAdaptedOnesAndOperationsInsideTheModules) {
  const LocalResult result = Model().Run(Traced("plain", kSingle, R"( {
  save inside = read transformer.h.0.attn.c_attn.op(linear_0).output
  save outside = read transformer.h.0.attn.c_attn.output
  save weight = param transformer.h.0.attn.c_attn.weight
})"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["outside"], GoldenOf("gpt2").at("plain/single/c_attn"));
  const std::string without = absl::StrCat("invoke ", kSingle, R"( {
  save inside = read transformer.h.0.attn.c_attn.output
  save weight = param transformer.h.0.attn.c_attn.weight
})");
  const LocalResult tiny = LocalModel::Tiny().Run(without);
  ExpectClose(result["inside"], tiny["inside"]);
  EXPECT_TRUE(at::equal(result["weight"], tiny["weight"]));
}

TEST(LoraTest, AHalfPrecisionModelAddsInFloat32AsPeftDoes) {
  const Base& base = Bases()[0];
  const auto half = WithAdapters(base, at::kBFloat16);
  const LocalResult result = half->Run(Traced("plain", kSingle, base.Body()));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["c_attn"].scalar_type(), at::kBFloat16);
  ExpectClose(result["c_attn"].to(at::kFloat), GoldenOf("gpt2").at("plain/single/c_attn"), 2e-2);
}

TEST(LoraTest, AnUnknownAdapterEndsTheRun) {
  EXPECT_THAT(Model().Run(Traced("none", "[1]", " { save l = read result }")).status,
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("`none`")));
}

}  // namespace
}  // namespace weft
