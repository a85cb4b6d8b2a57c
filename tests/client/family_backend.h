#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/client/fake_backend.h"

namespace weft::client_test {

/// A FakeBackend that hosts trees of families, by name: `gpt2` with four blocks, `llama` with two.
class FamilyBackend : public FakeBackend {
 public:
  absl::StatusOr<ModelDescription> GetModel(const std::string& name) override {
    if (name == "gpt2") return Gpt2();
    if (name == "llama") return Llama();
    return FakeBackend::GetModel(name);
  }

  static ModelDescription Gpt2() {
    ModelDescription model;
    model.summary = {.name = "gpt2", .family = "gpt2", .dtype = "bfloat16", .device = "cpu"};
    model.summary.vocabulary = 100;
    model.config_json = R"({"model_type": "gpt2", "n_embd": 8, "n_head": 2})";
    model.modules = {{"", "GPT2LMHeadModel", ""},
                     {"transformer", "GPT2Model", ""},
                     {"transformer.wte", "Embedding", "9, 4"},
                     {"transformer.h", "ModuleList", ""}};
    for (int i = 0; i < 4; ++i) {
      const std::string block = absl::StrCat("transformer.h.", i);
      model.modules.push_back({block, "GPT2Block", ""});
      model.modules.push_back({block + ".attn", "GPT2Attention", ""});
      model.modules.push_back({block + ".attn.c_proj", "Conv1D", "nf=4, nx=4"});
      model.modules.push_back({block + ".mlp", "GPT2MLP", ""});
    }
    model.modules.push_back({"transformer.ln_f", "LayerNorm", "(4,), eps=1e-05"});
    model.modules.push_back({"lm_head", "Linear", "in_features=4, out_features=9"});
    AddSites(&model);
    model.parameters = {{"transformer.wte.weight", kBFloat16, {9, 4}},
                        {"transformer.h.0.attn.c_proj.weight", kFloat32, {4, 4}},
                        {"transformer.h.0.attn.c_proj.bias", kFloat32, {4}},
                        {"lm_head.weight", kBFloat16, {9, 4}}};
    return model;
  }

  static ModelDescription Llama() {
    ModelDescription model;
    model.summary.name = "llama";
    model.summary.vocabulary = 100;
    model.modules = {{"", "LlamaForCausalLM", ""},
                     {"model", "LlamaModel", ""},
                     {"model.embed_tokens", "Embedding", "9, 4"},
                     {"model.layers", "ModuleList", ""}};
    for (int i = 0; i < 2; ++i) {
      const std::string block = absl::StrCat("model.layers.", i);
      model.modules.push_back({block, "LlamaDecoderLayer", ""});
      model.modules.push_back({block + ".self_attn", "LlamaAttention", ""});
      model.modules.push_back({block + ".mlp", "LlamaMLP", ""});
    }
    model.modules.push_back({"model.norm", "LlamaRMSNorm", "(4,), eps=1e-06"});
    model.modules.push_back({"lm_head", "Linear", "in_features=4, out_features=9, bias=False"});
    AddSites(&model);
    return model;
  }

 private:
  static void AddSites(ModelDescription* model) {
    for (const ModuleDescription& module : model->modules) {
      if (module.type == "ModuleList") continue;
      model->sites.push_back({module.path, "input", 0, "float32[B, T, 4]", true});
      model->sites.push_back({module.path, "output", 0, "float32[B, T, 4]", true});
    }
  }
};

}  // namespace weft::client_test
