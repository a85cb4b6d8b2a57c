#include "engine/models/lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
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
#include "engine/weights/hub_cache.h"
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
constexpr const char* kKnownFields[] = {
    "alpha_pattern",
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
    "loftq_config",
    "lora_alpha",
    "layers_to_transform",
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
    "use_rslora",
};

/// Ways to begin the training that leave the weights of the model below as they are.
constexpr const char* kPlainInits[] = {"gaussian", "eva", "orthogonal"};

template <size_t N>
bool IsOneOf(const std::string& name, const char* const (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

/// Nothing was asked for: null, false, an empty list or object.
bool IsUnset(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

absl::Status Unsupported(const weights::ModelConfig& config, const std::string& field,
                         const std::string& instead) {
  constexpr size_t kShown = 200;
  std::string value = config.json()[field].dump(-1, ' ', /*ensure_ascii=*/true);
  if (value.size() > kShown) value = absl::StrCat(value.substr(0, kShown), "...");
  return absl::UnimplementedError(absl::StrCat(config.path(), ": `", absl::CHexEscape(field),
                                               "` is ", value, ", which is not served",
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
    const json& init = config.json()["init_lora_weights"];
    if (!init.is_boolean() &&
        !(init.is_string() && IsOneOf(init.get<std::string>(), kPlainInits))) {
      return Unsupported(config, "init_lora_weights",
                         "it may change the weights of the model below; convert it to a plain LoRA "
                         "(save_pretrained with path_initial_model_for_weight_conversion)");
    }
  }
  for (const auto& [field, value] : config.json().items()) {
    if (!IsOneOf(field, kKnownFields) && !IsUnset(value)) return Unsupported(config, field, "");
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
  if (config.Has("target_modules") && !config.json()["target_modules"].is_string()) {
    const json& targets = config.json()["target_modules"];
    const bool names =
        targets.is_array() && std::all_of(targets.begin(), targets.end(),
                                          [](const json& target) { return target.is_string(); });
    if (!names) {
      return absl::InvalidArgumentError(absl::StrCat(
          config.path(), ": `target_modules` is neither a list of names nor a pattern"));
    }
    lora.targets = targets.get<std::vector<std::string>>();
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
  Builder(const LoraConfig& config, const weights::NameRules& names, const plan::ModelSpec& spec,
          absl::Span<Module* const> modules)
      : config_(config),
        names_(names),
        spec_(spec),
        modules_(modules),
        unused_(config.targets.begin(), config.targets.end()) {
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
    for (size_t i = 0; i < adapter_.changes.size(); ++i) {
      run::LowRank& change = adapter_.changes[i];
      const std::string& module = spec_.modules()[i].path;
      if (change.a.defined() != change.b.defined()) {
        Wrong(module, absl::StrCat("has no ", change.a.defined() ? "lora_B" : "lora_A"));
      }
      change.scale = config_.scale;
    }
    for (const std::string& target : unused_) {
      Wrong(target, "stands in `target_modules`, and there are no tensors for it");
    }
    if (std::none_of(adapter_.changes.begin(), adapter_.changes.end(),
                     [](const run::LowRank& change) { return change.a.defined(); })) {
      Problem("it changes no module");
    }
    if (problems_.empty()) return std::move(adapter_);
    const size_t more = all_problems_ - problems_.size();
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not fit the model: ", absl::StrJoin(problems_, "; "),
                     more > 0 ? absl::StrCat("; and ", more, " more") : std::string()));
  }

 private:
  void Problem(const std::string& what) {
    constexpr size_t kShown = 20;
    if (++all_problems_ <= kShown) problems_.push_back(what);
  }
  void Wrong(const std::string& name, const std::string& what) {
    constexpr size_t kShown = 200;
    Problem(absl::StrCat("`", absl::CHexEscape(name.substr(0, kShown)), "` ", what));
  }

  /// The module that peft calls `path`, or -1. As for a checkpoint, it may have a former name, and
  /// lack the prefix where the adapter was trained on the model without its head.
  int FindModule(const std::string& path) const {
    const std::string weight = weights::Renamed(absl::StrCat(path, ".weight"), names_.renames);
    const std::string name(absl::StripSuffix(weight, ".weight"));
    const int module = spec_.FindModule(name);
    return module >= 0 ? module : spec_.FindModule(absl::StrCat(names_.base_prefix, name));
  }

  void Place(const std::string& name, const std::string& path, at::Tensor run::LowRank::*place,
             const at::Tensor& tensor) {
    const int module = FindModule(path);
    if (module < 0) return Wrong(name, "is of a module that the model does not have");
    const std::optional<LinearShape> linear = modules_[module]->linear_shape();
    if (!linear) {
      return Wrong(name, absl::StrCat("is of a module of the type ", modules_[module]->type(),
                                      "; only linear modules can be changed"));
    }
    const bool listed = config_.targets.empty() ||
                        std::any_of(config_.targets.begin(), config_.targets.end(),
                                    [&](const std::string& t) { return IsTarget(path, t); });
    if (!listed) return Wrong(name, "is of a module that `target_modules` does not name");
    std::erase_if(unused_, [&](const std::string& target) { return IsTarget(path, target); });
    if ((adapter_.changes[module].*place).defined()) {
      return Wrong(name, "is of a module that has another such tensor");
    }
    adapter_.changes[module].*place = tensor.to(at::kFloat);
    const bool down = place == &run::LowRank::a;
    const std::vector<int64_t> shape = down ? std::vector<int64_t>{config_.rank, linear->in}
                                            : std::vector<int64_t>{linear->out, config_.rank};
    if (!tensor.is_floating_point()) return Wrong(name, "is of integers");
    if (tensor.sizes() != shape) {
      return Wrong(
          name, absl::StrCat("has the shape [", absl::StrJoin(tensor.sizes(), ", "),
                             "]; by `r` and the model it is [", absl::StrJoin(shape, ", "), "]"));
    }
  }

  const LoraConfig& config_;
  const weights::NameRules& names_;
  const plan::ModelSpec& spec_;
  const absl::Span<Module* const> modules_;
  run::Adapter adapter_;
  std::set<std::string> unused_;       // of the targets
  std::vector<std::string> problems_;  // the first ones
  size_t all_problems_ = 0;
};

}  // namespace

absl::StatusOr<run::Adapter> LoadAdapter(const std::string& folder_or_id,
                                         const weights::NameRules& names,
                                         const plan::ModelSpec& spec,
                                         absl::Span<Module* const> modules) {
  absl::StatusOr<std::string> folder = weights::FindModelFolder(folder_or_id);
  if (!folder.ok()) return folder.status();
  const std::string weights_path = absl::StrCat(*folder, "/adapter_model.safetensors");
  const std::string pickle = absl::StrCat(*folder, "/adapter_model.bin");
  absl::StatusOr<weights::ModelConfig> json =
      weights::ModelConfig::Read(absl::StrCat(*folder, "/adapter_config.json"));
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
  Builder builder(*config, names, spec, modules);
  for (const auto& [name, tensor] : *tensors) builder.Add(name, tensor);
  return builder.Finish(weights_path);
}

}  // namespace weft::models
