#include "engine/models/lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/weights/model_config.h"
#include "engine/weights/weight_loader.h"

namespace weft::models {
namespace {

using nlohmann::json;

struct LoraConfig {
  int64_t rank = 0;
  double scale = 1;
  std::vector<std::string> targets;  // names of modules; empty where a pattern says them
};

/// Fields that say nothing about what an adapter computes once it is made, or that are read below.
const std::set<std::string>& KnownFields() {
  static const auto* const kFields = new std::set<std::string>{"alpha_pattern",
                                                               "auto_mapping",
                                                               "base_model_name_or_path",
                                                               "bias",
                                                               "corda_config",
                                                               "ensure_weight_tying",
                                                               "eva_config",
                                                               "exclude_modules",
                                                               "fan_in_fan_out",
                                                               "inference_mode",
                                                               "init_lora_weights",
                                                               "layers_pattern",
                                                               "layers_to_transform",
                                                               "loftq_config",
                                                               "lora_alpha",
                                                               "lora_dropout",
                                                               "lora_ga_config",
                                                               "megatron_core",
                                                               "peft_type",
                                                               "peft_version",
                                                               "qalora_group_size",
                                                               "r",
                                                               "rank_pattern",
                                                               "revision",
                                                               "target_modules",
                                                               "task_type",
                                                               "use_rslora"};
  return *kFields;
}

/// Nothing was asked for: null, false, an empty list or object.
bool IsUnset(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

absl::Status Unsupported(const weights::ModelConfig& config, const std::string& field,
                         const std::string& instead) {
  return absl::UnimplementedError(absl::StrCat(config.path(), ": `", field, "` is ",
                                               config.json()[field].dump(), ", which is not served",
                                               instead.empty() ? "" : "; ", instead));
}

absl::Status CheckFields(const weights::ModelConfig& config) {
  absl::StatusOr<std::string> type = config.Get<std::string>("peft_type");
  if (!type.ok()) return type.status();
  if (*type != "LORA") return Unsupported(config, "peft_type", "adapters are of the type LORA");
  absl::StatusOr<std::string> bias = config.GetOr<std::string>("bias", "none");
  if (!bias.ok()) return bias.status();
  if (*bias != "none") return Unsupported(config, "bias", "train with bias=\"none\"");
  for (const char* field : {"rank_pattern", "alpha_pattern"}) {
    if (config.json().contains(field) && !IsUnset(config.json()[field])) {
      return Unsupported(config, field, "give all modules one rank and one alpha");
    }
  }
  if (config.Has("init_lora_weights")) {
    // These change the weights of the model below the adapter.
    const json& init = config.json()["init_lora_weights"];
    for (const char* changes : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
      if (init.is_string() && absl::StartsWith(init.get<std::string>(), changes)) {
        return Unsupported(config, "init_lora_weights",
                           "convert it to a plain LoRA (save_pretrained with "
                           "path_initial_model_for_weight_conversion)");
      }
    }
  }
  for (const auto& [field, value] : config.json().items()) {
    if (!KnownFields().contains(field) && !IsUnset(value)) return Unsupported(config, field, "");
  }
  return absl::OkStatus();
}

absl::StatusOr<LoraConfig> ReadConfig(const weights::ModelConfig& config) {
  if (absl::Status status = CheckFields(config); !status.ok()) return status;
  LoraConfig lora;
  absl::StatusOr<int64_t> rank = config.Get<int64_t>("r");
  if (!rank.ok()) return rank.status();
  absl::StatusOr<double> alpha = config.Get<double>("lora_alpha");
  if (!alpha.ok()) return alpha.status();
  absl::StatusOr<bool> rslora = config.GetOr<bool>("use_rslora", false);
  if (!rslora.ok()) return rslora.status();
  if (*rank < 1) {
    return absl::InvalidArgumentError(absl::StrCat(config.path(), ": `r` is ", *rank));
  }
  lora.rank = *rank;
  lora.scale = *alpha / (*rslora ? std::sqrt(static_cast<double>(*rank)) : *rank);
  if (config.Has("target_modules") && config.json()["target_modules"].is_array()) {
    for (const json& target : config.json()["target_modules"]) {
      if (target.is_string()) lora.targets.push_back(target.get<std::string>());
    }
  }
  return lora;
}

/// `transformer.h.0.attn.c_attn` is one of `c_attn`, `attn.c_attn`.
bool IsTarget(const std::string& path, const std::string& target) {
  return path == target || absl::EndsWith(path, absl::StrCat(".", target));
}

/// Puts tensors where they belong, and remembers what does not.
class Builder {
 public:
  Builder(const LoraConfig& config, const plan::ModelSpec& spec, absl::Span<Module* const> modules)
      : config_(config), spec_(spec), modules_(modules) {
    adapter_.changes.resize(modules.size());
  }

  void Add(const std::string& name, const at::Tensor& tensor) {
    std::string path = name;
    for (const auto& [suffix, place] : {std::pair(".lora_A.weight", &run::LowRank::a),
                                        std::pair(".lora_B.weight", &run::LowRank::b)}) {
      if (!absl::EndsWith(path, suffix)) continue;
      path.resize(path.size() - std::string(suffix).size());
      return Place(name, std::string(absl::StripPrefix(path, "base_model.model.")), place, tensor);
    }
    Wrong(name, "is no low-rank change of a linear module");
  }

  absl::StatusOr<run::Adapter> Finish(const std::string& path) {
    std::set<std::string> unused(config_.targets.begin(), config_.targets.end());
    for (size_t i = 0; i < adapter_.changes.size(); ++i) {
      run::LowRank& change = adapter_.changes[i];
      const std::string& module = spec_.modules()[i].path;
      if (change.a.defined() != change.b.defined()) {
        Wrong(module, absl::StrCat("has no ", change.a.defined() ? "lora_B" : "lora_A"));
      }
      if (change.a.defined()) {
        std::erase_if(unused, [&](const std::string& t) { return IsTarget(module, t); });
      }
      change.scale = config_.scale;
    }
    if (!unused.empty()) {
      problems_.push_back(absl::StrCat("`target_modules` names ", absl::StrJoin(unused, ", "),
                                       ", for which there are no tensors"));
    }
    if (problems_.empty()) return std::move(adapter_);
    constexpr size_t kShown = 20;
    const size_t all = problems_.size();
    problems_.resize(std::min(all, kShown));
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not fit the model: ", absl::StrJoin(problems_, "; "),
                     all > kShown ? absl::StrCat("; and ", all - kShown, " more") : std::string()));
  }

 private:
  void Wrong(const std::string& name, const std::string& what) {
    problems_.push_back(absl::StrCat("`", absl::CHexEscape(name), "` ", what));
  }

  void Place(const std::string& name, const std::string& path, at::Tensor run::LowRank::*place,
             const at::Tensor& tensor) {
    const int module = spec_.FindModule(path);
    if (module < 0) return Wrong(name, "is of a module that the model does not have");
    const std::optional<LinearShape> linear = modules_[module]->linear_shape();
    if (!linear) {
      return Wrong(name, absl::StrCat("is of a ", modules_[module]->type(),
                                      "; only linear modules can be changed"));
    }
    const bool listed = config_.targets.empty() ||
                        std::any_of(config_.targets.begin(), config_.targets.end(),
                                    [&](const std::string& t) { return IsTarget(path, t); });
    if (!listed) return Wrong(name, "is of a module that `target_modules` does not name");
    const bool down = place == &run::LowRank::a;
    const std::vector<int64_t> shape = down ? std::vector<int64_t>{config_.rank, linear->in}
                                            : std::vector<int64_t>{linear->out, config_.rank};
    if (tensor.sizes() != shape || !tensor.is_floating_point()) {
      return Wrong(
          name, absl::StrCat("has the shape [", absl::StrJoin(tensor.sizes(), ", "),
                             "]; by `r` and the model it is [", absl::StrJoin(shape, ", "), "]"));
    }
    adapter_.changes[module].*place = tensor.to(at::kFloat);
  }

  const LoraConfig& config_;
  const plan::ModelSpec& spec_;
  const absl::Span<Module* const> modules_;
  run::Adapter adapter_;
  std::vector<std::string> problems_;
};

}  // namespace

absl::StatusOr<run::Adapter> LoadAdapter(const std::string& folder, const plan::ModelSpec& spec,
                                         absl::Span<Module* const> modules) {
  const std::string weights_path = absl::StrCat(folder, "/adapter_model.safetensors");
  const std::string pickle = absl::StrCat(folder, "/adapter_model.bin");
  absl::StatusOr<weights::ModelConfig> json =
      weights::ModelConfig::Read(absl::StrCat(folder, "/adapter_config.json"));
  if (!json.ok()) return json.status();
  absl::StatusOr<LoraConfig> config = ReadConfig(*json);
  if (!config.ok()) return config.status();
  std::error_code error;
  if (!std::filesystem::exists(weights_path, error) && std::filesystem::exists(pickle, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat(pickle,
                     " is a pickle, which is a program and is not run here; save the adapter with "
                     "peft's save_pretrained, which writes adapter_model.safetensors"));
  }
  absl::StatusOr<std::map<std::string, at::Tensor>> tensors = weights::LoadTensors(weights_path);
  if (!tensors.ok()) return tensors.status();
  Builder builder(*config, spec, modules);
  for (const auto& [name, tensor] : *tensors) builder.Add(name, tensor);
  return builder.Finish(weights_path);
}

}  // namespace weft::models
