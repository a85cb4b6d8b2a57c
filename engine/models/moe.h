#pragma once

#include <memory>
#include <string>

#include "engine/models/llama_maker.h"
#include "engine/models/module.h"

namespace weft::models {

/// An MLP of experts, of which a router chooses some for each token (transformers:
/// MixtralSparseMoeBlock, Qwen3MoeSparseMoeBlock).
///
/// Its `gate` returns `(router_logits, None, None)`: in transformers the others are what follows
/// from the logits, the chosen experts and their shares. Here they are computed behind it, so a
/// write to the logits changes who is chosen. Activations inside experts have no sites.
std::unique_ptr<Module> MakeSparseMoe(LlamaMaker& make, const std::string& name);

}  // namespace weft::models
