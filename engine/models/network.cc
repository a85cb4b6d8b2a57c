#include "engine/models/network.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/models/config_reader.h"
#include "engine/models/encoder.h"
#include "engine/models/gpt2.h"
#include "engine/models/gpt_families.h"
#include "engine/models/llama.h"
#include "engine/plan/operators.h"
#include "engine/weights/copy_tensor.h"
#include "engine/weights/hosting_dtype.h"

namespace weft::models {
namespace {

using MakeFamily = absl::StatusOr<Network> (*)(const weights::ModelConfig& config,
                                               ParameterSource& source);

struct Family {
  const char* model_type;
  MakeFamily make;
  weights::NameRules (*names)();
  /// Instead, where they depend on the configuration.
  weights::NameRules (*names_by)(const weights::ModelConfig& config) = nullptr;
};

/// All families. A new one is a line here.
// clang-format off
const Family kFamilies[] = {
    {"bert", MakeBert, nullptr, BertNameRules},
    {"cohere", MakeLlama, LlamaNameRules},
    {"falcon", MakeFalcon, FalconNameRules},
    {"gemma", MakeLlama, LlamaNameRules},
    {"gemma2", MakeLlama, LlamaNameRules},
    {"gemma3_text", MakeLlama, LlamaNameRules},
    {"gpt2", MakeGPT2, GPT2NameRules},
    {"gpt_neox", MakeGPTNeoX, GPTNeoXNameRules},
    {"gptj", MakeGPTJ, GPTJNameRules},
    {"llama", MakeLlama, LlamaNameRules},
    {"mistral", MakeLlama, LlamaNameRules},
    {"mixtral", MakeLlama, LlamaNameRules},
    {"olmo2", MakeLlama, LlamaNameRules},
    {"opt", MakeOPT, OPTNameRules},
    {"phi", MakePhi, PhiNameRules},
    {"phi3", MakeLlama, LlamaNameRules},
    {"qwen2", MakeLlama, LlamaNameRules},
    {"qwen3", MakeLlama, LlamaNameRules},
    {"qwen3_moe", MakeLlama, LlamaNameRules},
    {"roberta", MakeRoberta, nullptr, RobertaNameRules},
    {"stablelm", MakeLlama, LlamaNameRules},
};
// clang-format on

/// A tensor of any shape on the memory of a few random numbers: each row is the one before, shifted
/// by one (kernels::Linear does not multiply with all of them).
at::Tensor MakeUp(at::IntArrayRef shape, at::ScalarType dtype) {
  const c10::InferenceMode not_inference(false);
  int64_t count = 1;
  for (const int64_t size : shape) count += std::max<int64_t>(size - 1, 0);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>();
  return at::randn({count}, generator, at::kFloat)
      .mul_(0.1)
      .to(dtype)
      .as_strided(shape, std::vector<int64_t>(shape.size(), 1));
}

/// Refuses what no family serves.
absl::Status CheckServed(const weights::ModelConfig& config) {
  ConfigReader read(config);
  for (const auto& [field, why] :
       {std::pair("quantization_config", "quantised checkpoints are not served"),
        std::pair("transformers_weights",
                  "another file of weights is not served; call it model.safetensors, and leave "
                  "this field out"),
        std::pair("per_layer_config", "layers of different configurations are not served")}) {
    if (read.Has(field)) read.Refuse(field, why);
  }
  return read.status();
}

/// The tokens that end a text: as in transformers those that the folder's files name, none of a
/// family's own. Where generation_config.json does not say, config.json does; there nothing would.
absl::StatusOr<std::vector<int64_t>> EosIds(const weights::HubFolder& folder) {
  ConfigReader config(folder.config());
  std::vector<int64_t> ids = config.Ids("eos_token_id", {});
  if (!config.status().ok()) return config.status();
  if (!folder.generation_config()) return ids;
  ConfigReader generation(*folder.generation_config());
  ids = generation.Ids("eos_token_id", std::move(ids));
  if (!generation.status().ok()) return generation.status();
  return ids;
}

}  // namespace

void ParameterSource::Tie(const std::string& name, const std::string& other) {
  tied_[name] = other;
  tied_[other] = name;
}

absl::StatusOr<at::Tensor> ParameterSource::Take(const std::string& name, at::IntArrayRef shape,
                                                 at::ScalarType dtype) {
  if (checkpoint_ == nullptr) return MakeUp(shape, dtype);
  absl::StatusOr<at::Tensor> tensor = checkpoint_->Take(name, shape, dtype, devices_.Of(name));
  if (tensor.ok()) return tensor;
  if (absl::IsNotFound(tensor.status())) {
    missing_.push_back(name);
  } else if (absl::IsInvalidArgument(tensor.status())) {
    misshapen_.emplace_back(tensor.status().message());
  } else {
    return tensor;
  }
  return at::empty(shape, at::TensorOptions(at::kMeta).dtype(dtype));
}

absl::StatusOr<at::Tensor> ParameterSource::TakeTied(const std::string& name,
                                                     const std::string& other,
                                                     at::IntArrayRef shape, at::ScalarType dtype) {
  const bool own = checkpoint_ == nullptr ? loaded_.empty() || !loaded_.contains(other)
                                          : Has(name) || !Has(other);
  const std::string& stored = own ? name : other;
  const auto loaded = loaded_.find(stored);
  // Two modules on two devices each have their own.
  if (loaded != loaded_.end() && loaded->second.sizes() == shape) {
    return loaded->second.is_meta() ? loaded->second : loaded->second.to(devices_.Of(name));
  }
  absl::StatusOr<at::Tensor> tensor = Take(stored, shape, dtype);
  if (!tensor.ok()) return tensor;
  // Some files hold one weight twice.
  const auto twin = loaded_.find(stored == name ? other : name);
  if (twin != loaded_.end() && twin->second.sizes() == shape && !tensor->is_meta() &&
      !twin->second.is_meta() && twin->second.device() == tensor->device() &&
      at::equal(*tensor, twin->second)) {
    tensor = twin->second;
  }
  loaded_[stored] = *tensor;
  return tensor;
}

absl::StatusOr<at::Tensor> ParameterSource::Param(const std::string& name, at::IntArrayRef shape) {
  return Param(name, shape, dtype_);
}

absl::StatusOr<at::Tensor> ParameterSource::Param(const std::string& name, at::IntArrayRef shape,
                                                  at::ScalarType dtype) {
  const auto tied = tied_.find(name);
  absl::StatusOr<at::Tensor> tensor =
      tied == tied_.end() ? Take(name, shape, dtype) : TakeTied(name, tied->second, shape, dtype);
  if (tensor.ok()) shown_[name] = *tensor;
  return tensor;
}

absl::StatusOr<at::Tensor> ParameterSource::TransposedParam(const std::string& name, int64_t in,
                                                            int64_t out) {
  if (checkpoint_ == nullptr) {
    const at::Tensor made = MakeUp({out, in}, dtype_);
    shown_[name] = made.t();
    return made;
  }
  absl::StatusOr<at::Tensor> tensor = Take(name, {in, out}, dtype_);
  if (!tensor.ok()) return tensor;
  absl::StatusOr<at::Tensor> transposed =
      weights::MakeEmpty({out, in}, tensor->scalar_type(), tensor->device());
  if (!transposed.ok()) return transposed;
  transposed->copy_(tensor->t());
  shown_[name] = transposed->t();
  return transposed;
}

absl::Status ParameterSource::CheckComplete() const {
  if (checkpoint_ == nullptr) return absl::OkStatus();
  constexpr size_t kShown = 100;
  std::vector<std::string> problems;
  auto list = [&](const std::string& what, std::vector<std::string> names, const char* separator) {
    if (names.empty()) return;
    const size_t all = names.size();
    names.resize(std::min(all, kShown));
    problems.push_back(
        absl::StrCat(what, absl::StrJoin(names, separator),
                     all > kShown ? absl::StrCat(" and ", all - kShown, " more") : std::string()));
  };
  std::vector<std::string> unused = checkpoint_->Untaken();
  for (std::string& name : unused) name = absl::CHexEscape(name);
  list("has no tensors for: ", missing_, ", ");
  list("has tensors of other shapes: ", misshapen_, "; ");
  list("has tensors that a model of its config.json does not use: ", std::move(unused), ", ");
  if (problems.empty()) return absl::OkStatus();
  const bool missing_alone = problems.size() == 1 && !missing_.empty();
  return absl::Status(
      missing_alone ? absl::StatusCode::kNotFound : absl::StatusCode::kInvalidArgument,
      absl::StrCat("the checkpoint in ", checkpoint_->path(), " ",
                   absl::StrJoin(problems, "; and it ")));
}

absl::StatusOr<Network> MakeNetwork(const weights::HubFolder& folder,
                                    const NetworkOptions& options) {
  absl::StatusOr<std::string> type = folder.config().Get<std::string>("model_type");
  if (!type.ok()) return type.status();
  std::string known;
  for (const Family& family : kFamilies) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", family.model_type);
    if (*type != family.model_type) continue;
    if (absl::Status served = CheckServed(folder.config()); !served.ok()) return served;
    absl::StatusOr<std::vector<int64_t>> eos_ids = EosIds(folder);
    if (!eos_ids.ok()) return eos_ids.status();
    const weights::NameRules names =
        family.names_by != nullptr ? family.names_by(folder.config()) : family.names();
    std::optional<weights::Checkpoint> checkpoint;
    if (options.dispatch) {
      absl::StatusOr<weights::Checkpoint> opened = weights::Checkpoint::Open(folder, names);
      if (!opened.ok()) return opened.status();
      checkpoint = *std::move(opened);
      checkpoint->set_progress(options.progress);
    }
    weights::Checkpoint* const weights = checkpoint ? &*checkpoint : nullptr;
    absl::StatusOr<at::ScalarType> dtype = at::kFloat;
    if (options.dtype) {
      dtype = *options.dtype;
    } else {
      dtype = weights::DtypeOfCheckpoint(folder.config(), weights);
    }
    if (!dtype.ok()) return dtype.status();
    std::vector<devices::ParameterSize> sizes;
    absl::StatusOr<devices::DeviceMap> devices = devices::DeviceMap();
    if (checkpoint) {
      for (const auto& [name, elements] : checkpoint->Elements()) {
        sizes.push_back({name, elements * c10::elementSize(*dtype)});
      }
      devices = devices::MakeDeviceMap(options.device, options.device_map, sizes);
    }
    if (!devices.ok()) return devices.status();
    ParameterSource source(weights, *dtype, *devices);
    absl::StatusOr<Network> network = absl::InternalError("not made");
    // What is missing has no data, so that a family that computes with its weights may fail: then
    // what is missing is the reason.
    absl::Status made = plan::CatchTorch([&] {
      network = family.make(folder.config(), source);
      return network.status();
    });
    const absl::Status complete = source.CheckComplete();
    if (!made.ok()) return source.AllGiven() ? made : complete;
    if (!complete.ok()) return complete;
    network->parameters = source.TakeShown();
    network->family = *type;
    network->names = names;
    network->devices = *std::move(devices);
    network->dispatched = options.dispatch;
    network->dtype = *dtype;
    network->eos_ids = *std::move(eos_ids);
    return network;
  }
  return absl::UnimplementedError(absl::StrCat(folder.config().path(), ": model_type `", *type,
                                               "` is not served; the families are: ", known));
}

}  // namespace weft::models
