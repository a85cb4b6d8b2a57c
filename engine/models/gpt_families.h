#pragma once

#include "absl/status/statusor.h"
#include "engine/models/network.h"

namespace weft::models {

/// Decoders of GPT's kind with a language-modelling head (transformers: GPTNeoXForCausalLM, that is
/// Pythia; GPTJForCausalLM; OPTForCausalLM; FalconForCausalLM; PhiForCausalLM). kUnimplemented,
/// naming the field, for a configuration that would compute something else than is served.
absl::StatusOr<Network> MakeGPTNeoX(const weights::ModelConfig& config, ParameterSource& source);
absl::StatusOr<Network> MakeGPTJ(const weights::ModelConfig& config, ParameterSource& source);
absl::StatusOr<Network> MakeOPT(const weights::ModelConfig& config, ParameterSource& source);
absl::StatusOr<Network> MakeFalcon(const weights::ModelConfig& config, ParameterSource& source);
absl::StatusOr<Network> MakePhi(const weights::ModelConfig& config, ParameterSource& source);

/// How their checkpoints of all ages name their tensors.
weights::NameRules GPTNeoXNameRules();
weights::NameRules GPTJNameRules();
weights::NameRules OPTNameRules();
weights::NameRules FalconNameRules();
weights::NameRules PhiNameRules();

}  // namespace weft::models
