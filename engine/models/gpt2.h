#pragma once

#include "absl/status/statusor.h"
#include "engine/models/network.h"

namespace weft::models {

/// GPT-2 with a language-modelling head (transformers: GPT2LMHeadModel), all fields of its
/// config.json that change what a forward computes.
absl::StatusOr<Network> MakeGPT2(const weights::ModelConfig& config, ParameterSource& source);

/// How GPT-2 checkpoints of all ages name their tensors.
weights::NameRules GPT2NameRules();

}  // namespace weft::models
