#pragma once

#include "absl/status/statusor.h"
#include "engine/models/network.h"

namespace weft::models {

/// Decoders in the shape of Llama, with a language-modelling head (transformers: LlamaForCausalLM
/// and its relatives); llama_config.h lists the families and reads what they differ in.
absl::StatusOr<Network> MakeLlama(const weights::ModelConfig& config, ParameterSource& source);

/// How their checkpoints name tensors.
weights::NameRules LlamaNameRules();

}  // namespace weft::models
