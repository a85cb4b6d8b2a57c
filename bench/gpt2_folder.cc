#include "bench/gpt2_folder.h"

#include <ATen/ATen.h>
#include <unistd.h>

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

constexpr int64_t kLayers = 12, kWidth = 768, kVocabulary = 50257, kPositions = 1024;

constexpr char kConfig[] = R"({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
  "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "n_ctx": 1024,
  "vocab_size": 50257, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05,
  "bos_token_id": 50256, "eos_token_id": 50256})";

// Nobody asks it: prompts are token ids.
constexpr char kTokenizer[] =
    R"({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}})";

std::map<std::string, at::Tensor> MakeWeights() {
  at::manual_seed(0);
  std::map<std::string, at::Tensor> weights;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    weights[name + ".weight"] = at::randn({in, out}).mul_(1 / std::sqrt(double(in)));
    weights[name + ".bias"] = at::randn({out}).mul_(0.02);
  };
  const auto norm = [&](const std::string& name) {
    weights[name + ".weight"] = at::ones({kWidth});
    weights[name + ".bias"] = at::zeros({kWidth});
  };
  weights["transformer.wte.weight"] = at::randn({kVocabulary, kWidth}).mul_(0.1);
  weights["transformer.wpe.weight"] = at::randn({kPositions, kWidth}).mul_(0.1);
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string block = absl::StrCat("transformer.h.", layer);
    norm(block + ".ln_1");
    norm(block + ".ln_2");
    linear(block + ".attn.c_attn", kWidth, 3 * kWidth);
    linear(block + ".attn.c_proj", kWidth, kWidth);
    linear(block + ".mlp.c_fc", kWidth, 4 * kWidth);
    linear(block + ".mlp.c_proj", 4 * kWidth, kWidth);
  }
  norm("transformer.ln_f");
  return weights;
}

absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::map<std::string, at::Tensor>& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", "F32"},
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

absl::StatusOr<Gpt2Folder> Gpt2Folder::Make() {
  std::error_code error;
  const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
  if (error) return absl::UnavailableError(error.message());
  Gpt2Folder folder(temporary / absl::StrCat("weft-bench-gpt2-", getpid()));
  std::filesystem::create_directories(folder.path(), error);
  if (error) return absl::UnavailableError(error.message());
  std::ofstream(folder.path() / "config.json") << kConfig;
  std::ofstream(folder.path() / "tokenizer.json") << kTokenizer;
  absl::Status status = plan::CatchTorch(
      [&] { return WriteSafetensors(folder.path() / "model.safetensors", MakeWeights()); });
  if (!status.ok()) return status;
  return folder;
}

Gpt2Folder::~Gpt2Folder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace weft::bench
