#pragma once

#include "absl/status/statusor.h"
#include "engine/models/network.h"

namespace weft::models {

/// Encoders, by the class that config.json's `architectures` names (transformers): masked language
/// models (BertForMaskedLM, RobertaForMaskedLM), and those without a head (BertModel,
/// RobertaModel), as sentence embeddings use them. Every real token sees every other of its prompt;
/// token types are 0. They cannot generate.
absl::StatusOr<Network> MakeBert(const weights::ModelConfig& config, ParameterSource& source);
absl::StatusOr<Network> MakeRoberta(const weights::ModelConfig& config, ParameterSource& source);

/// How their checkpoints of all ages name their tensors.
weights::NameRules BertNameRules(const weights::ModelConfig& config);
weights::NameRules RobertaNameRules(const weights::ModelConfig& config);

}  // namespace weft::models
