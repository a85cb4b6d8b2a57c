#include "bench/random_folder.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"

namespace weft::bench {
namespace {

// Nobody asks it: prompts are token ids.
constexpr char kTokenizer[] =
    R"({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}})";

using Weights = std::map<std::string, at::Tensor>;

/// Whose products have about the size of what goes in. Torch's linear is `[out, in]`, GPT-2's
/// `[in, out]`.
at::Tensor Product(at::IntArrayRef shape, int64_t in) {
  return at::randn(shape).mul_(1 / std::sqrt(static_cast<double>(in)));
}

struct Gpt2Sizes {
  int64_t layers, width, heads, vocabulary, positions;
};

nlohmann::json ConfigOf(const Gpt2Sizes& sizes) {
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"n_layer", sizes.layers},
          {"n_head", sizes.heads},
          {"n_embd", sizes.width},
          {"n_positions", sizes.positions},
          {"n_ctx", sizes.positions},
          {"vocab_size", sizes.vocabulary},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", 1e-05},
          {"bos_token_id", sizes.vocabulary - 1},
          {"eos_token_id", sizes.vocabulary - 1}};
}

Weights WeightsOf(const Gpt2Sizes& sizes) {
  Weights weights;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    weights[name + ".weight"] = Product({in, out}, in);
    weights[name + ".bias"] = at::randn({out}).mul_(0.02);
  };
  const auto norm = [&](const std::string& name) {
    weights[name + ".weight"] = at::ones({sizes.width});
    weights[name + ".bias"] = at::zeros({sizes.width});
  };
  weights["transformer.wte.weight"] = at::randn({sizes.vocabulary, sizes.width}).mul_(0.1);
  weights["transformer.wpe.weight"] = at::randn({sizes.positions, sizes.width}).mul_(0.1);
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    const std::string block = absl::StrCat("transformer.h.", layer);
    norm(block + ".ln_1");
    norm(block + ".ln_2");
    linear(block + ".attn.c_attn", sizes.width, 3 * sizes.width);
    linear(block + ".attn.c_proj", sizes.width, sizes.width);
    linear(block + ".mlp.c_fc", sizes.width, 4 * sizes.width);
    linear(block + ".mlp.c_proj", 4 * sizes.width, sizes.width);
  }
  norm("transformer.ln_f");
  return weights;
}

struct LlamaSizes {
  int64_t layers, width, inner, heads, kv_heads, vocabulary;
};

nlohmann::json ConfigOf(const LlamaSizes& sizes) {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"num_hidden_layers", sizes.layers},
          {"hidden_size", sizes.width},
          {"intermediate_size", sizes.inner},
          {"num_attention_heads", sizes.heads},
          {"num_key_value_heads", sizes.kv_heads},
          {"vocab_size", sizes.vocabulary},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-06},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

Weights WeightsOf(const LlamaSizes& sizes, at::ScalarType type) {
  Weights weights;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    weights[name + ".weight"] = Product({out, in}, in).to(type);
  };
  const int64_t keys = sizes.width / sizes.heads * sizes.kv_heads;
  weights["model.embed_tokens.weight"] =
      at::randn({sizes.vocabulary, sizes.width}).mul_(0.1).to(type);
  weights["model.norm.weight"] = at::ones({sizes.width}, type);
  linear("lm_head", sizes.width, sizes.vocabulary);
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    const std::string block = absl::StrCat("model.layers.", layer);
    weights[block + ".input_layernorm.weight"] = at::ones({sizes.width}, type);
    weights[block + ".post_attention_layernorm.weight"] = at::ones({sizes.width}, type);
    linear(block + ".self_attn.q_proj", sizes.width, sizes.width);
    linear(block + ".self_attn.k_proj", sizes.width, keys);
    linear(block + ".self_attn.v_proj", sizes.width, keys);
    linear(block + ".self_attn.o_proj", sizes.width, sizes.width);
    linear(block + ".mlp.gate_proj", sizes.width, sizes.inner);
    linear(block + ".mlp.up_proj", sizes.width, sizes.inner);
    linear(block + ".mlp.down_proj", sizes.inner, sizes.width);
  }
  return weights;
}

absl::Status WriteSafetensors(const std::filesystem::path& path, const Weights& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.scalar_type() == at::kFloat ? "F32" : "BF16"},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  const std::string text = header.dump();
  const uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << text;
  for (const auto& [name, tensor] : tensors) {
    file.write(static_cast<const char*>(tensor.const_data_ptr()),
               static_cast<std::streamsize>(tensor.nbytes()));
  }
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path.string()));
}

}  // namespace

absl::StatusOr<RandomFolder> RandomFolder::Make(Shape shape) {
  static std::atomic<int> made = 0;
  std::error_code error;
  const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
  if (error) return absl::UnavailableError(error.message());
  RandomFolder folder(temporary / absl::StrCat("weft-bench-", getpid(), "-", made++));
  std::filesystem::create_directories(folder.path(), error);
  if (error) return absl::UnavailableError(error.message());
  std::ofstream(folder.path() / "tokenizer.json") << kTokenizer;
  absl::Status status = plan::CatchTorch([&] {
    at::manual_seed(0);
    const auto write = [&](const nlohmann::json& config, const Weights& weights) {
      std::ofstream(folder.path() / "config.json") << config;
      return WriteSafetensors(folder.path() / "model.safetensors", weights);
    };
    const auto gpt2 = [&](const Gpt2Sizes& sizes) {
      return write(ConfigOf(sizes), WeightsOf(sizes));
    };
    const auto llama = [&](const LlamaSizes& sizes, at::ScalarType type) {
      return write(ConfigOf(sizes), WeightsOf(sizes, type));
    };
    switch (shape) {
      case Shape::kGpt2:
        return gpt2({12, 768, 12, 50257, 1024});
      case Shape::kTiny:
        return gpt2({2, 64, 4, 512, 256});
      case Shape::kLlama:
        return llama({12, 768, 3072, 12, 12, 32000}, at::kFloat);
      case Shape::kLlama1B:
        return llama({16, 2048, 8192, 32, 8, 128256}, at::kBFloat16);
    }
    return absl::InternalError("no shape");
  });
  if (!status.ok()) return status;
  return folder;
}

RandomFolder::~RandomFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace weft::bench
