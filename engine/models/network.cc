#include "engine/models/network.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/config_reader.h"
#include "engine/models/gpt2.h"
#include "engine/models/llama.h"

namespace weft::models {
namespace {

using MakeFamily = absl::StatusOr<Network> (*)(const weights::ModelConfig& config,
                                               ParameterSource& source);

struct Family {
  const char* model_type;
  MakeFamily make;
  weights::NameRules (*names)();
};

/// All families. A new one is a line here.
// clang-format off
const Family kFamilies[] = {
    {"cohere", MakeLlama, LlamaNameRules},
    {"gemma", MakeLlama, LlamaNameRules},
    {"gemma2", MakeLlama, LlamaNameRules},
    {"gemma3_text", MakeLlama, LlamaNameRules},
    {"gpt2", MakeGPT2, GPT2NameRules},
    {"llama", MakeLlama, LlamaNameRules},
    {"mistral", MakeLlama, LlamaNameRules},
    {"olmo2", MakeLlama, LlamaNameRules},
    {"phi3", MakeLlama, LlamaNameRules},
    {"qwen2", MakeLlama, LlamaNameRules},
    {"qwen3", MakeLlama, LlamaNameRules},
    {"stablelm", MakeLlama, LlamaNameRules},
};
// clang-format on

}  // namespace

absl::StatusOr<at::Tensor> ParameterSource::Param(const std::string& name, at::IntArrayRef shape) {
  absl::StatusOr<at::Tensor> tensor = checkpoint_.Take(name, shape, at::kFloat);
  if (tensor.ok()) shown_[name] = *tensor;
  return tensor;
}

absl::StatusOr<at::Tensor> ParameterSource::TransposedParam(const std::string& name, int64_t in,
                                                            int64_t out) {
  absl::StatusOr<at::Tensor> tensor = checkpoint_.Take(name, {in, out}, at::kFloat);
  if (!tensor.ok()) return tensor;
  at::Tensor transposed = tensor->t().contiguous();
  shown_[name] = transposed.t();
  return transposed;
}

absl::StatusOr<Network> MakeNetwork(const weights::HubFolder& folder) {
  absl::StatusOr<std::string> type = folder.config().Get<std::string>("model_type");
  if (!type.ok()) return type.status();
  std::string known;
  for (const Family& family : kFamilies) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", family.model_type);
    if (*type != family.model_type) continue;
    absl::StatusOr<weights::Checkpoint> checkpoint =
        weights::Checkpoint::Open(folder, family.names());
    if (!checkpoint.ok()) return checkpoint.status();
    ParameterSource source(&*checkpoint);
    absl::StatusOr<Network> network = family.make(folder.config(), source);
    if (!network.ok()) return network.status();
    if (absl::Status status = checkpoint->CheckAllTaken(); !status.ok()) return status;
    network->parameters = source.TakeShown();
    network->family = *type;
    if (folder.generation_config()) {
      // It says when to stop, as in transformers; the model's own configuration where it does not.
      ConfigReader read(*folder.generation_config());
      network->eos_ids = read.Ids("eos_token_id", network->eos_ids);
      if (!read.status().ok()) return read.status();
    }
    return network;
  }
  return absl::UnimplementedError(absl::StrCat(folder.config().path(), ": model_type `", *type,
                                               "` is not served; the families are: ", known));
}

}  // namespace weft::models
