#pragma once

#include <array>

namespace weft::internal {

/// Where a family keeps what every decoder has; nullptr: it has none. A new layout is one line.
struct DecoderLayout {
  const char* layers;     // a list of blocks
  const char* attention;  // in a block
  const char* mlp;        // in a block
  const char* ln_final;
  const char* lm_head;
  const char* embed;
};

/// The first whose `layers` and `embed` a model has is the model's.
inline constexpr std::array<DecoderLayout, 11> kDecoderLayouts = {{
    // LLaMA, Mistral, Qwen, Gemma, Phi-3, OLMo, Granite and most others
    {"model.layers", "self_attn", "mlp", "model.norm", "lm_head", "model.embed_tokens"},
    // the same inside a model that also sees
    {"model.language_model.layers", "self_attn", "mlp", "model.language_model.norm", "lm_head",
     "model.language_model.embed_tokens"},
    // GPT-2, GPT-J, GPT-BigCode
    {"transformer.h", "attn", "mlp", "transformer.ln_f", "lm_head", "transformer.wte"},
    // Falcon, BLOOM
    {"transformer.h", "self_attention", "mlp", "transformer.ln_f", "lm_head",
     "transformer.word_embeddings"},
    // GPT-NeoX, Pythia
    {"gpt_neox.layers", "attention", "mlp", "gpt_neox.final_layer_norm", "embed_out",
     "gpt_neox.embed_in"},
    // OPT
    {"model.decoder.layers", "self_attn", nullptr, "model.decoder.final_layer_norm", "lm_head",
     "model.decoder.embed_tokens"},
    // MPT
    {"transformer.blocks", "attn", "ffn", "transformer.norm_f", "lm_head", "transformer.wte"},
    // Mamba
    {"backbone.layers", nullptr, nullptr, "backbone.norm_f", "lm_head", "backbone.embeddings"},
    // bare models without a head
    {"layers", "self_attn", "mlp", "norm", nullptr, "embed_tokens"},
    {"h", "attn", "mlp", "ln_f", nullptr, "wte"},
    {"h", "self_attention", "mlp", "ln_f", nullptr, "word_embeddings"},
}};

}  // namespace weft::internal
