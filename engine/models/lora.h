#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/models/module.h"
#include "engine/plan/model_spec.h"
#include "engine/run/adapter.h"
#include "engine/weights/name_rules.h"

namespace weft::models {

/// Load a LoRA adapter as the peft library saves it (`adapter_config.json` and
/// `adapter_model.safetensors`) for the model with these modules. It is given as a folder or as an
/// id in the Hub's cache; `names` say what modules are called in files.
///
/// Weights are float32, as peft has them. kUnimplemented, naming the field, for a configuration
/// that asks for more than low-rank changes of linear modules; kInvalidArgument naming all tensors
/// that do not fit the model.
absl::StatusOr<run::Adapter> LoadAdapter(const std::string& folder_or_id,
                                         const weights::NameRules& names,
                                         const plan::ModelSpec& spec,
                                         absl::Span<Module* const> modules);

}  // namespace weft::models
