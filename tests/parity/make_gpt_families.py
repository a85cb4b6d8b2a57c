#!/usr/bin/env python3
"""Make GPT's relatives and the encoders in families/, as make_families.py makes Llama's.

make_gpt_families.py [NAME...]: with names, only make these.

Three things are told otherwise than transformers gives them, as Weft shows them: an OPT block's
rows keep their prompts (it flattens them), Phi's normed queries and keys have their tokens before
their heads, and no rotary embedding is called. Encoders generate nothing.
"""

import json
import shutil
import sys

import torch
from make_families import (
    BATCH,
    FAMILIES,
    PROMPT,
    TOKENIZER,
    VOCABULARY,
    first_tensor,
    generate,
    padded,
    set_up,
)
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

LAYERS = 2
TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
WIDE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
NEOX = WIDE | TOKENS | {"intermediate_size": 48}
FALCON = WIDE | TOKENS | {"ffn_hidden_size": 48}
OPT = WIDE | TOKENS | {"ffn_dim": 48, "word_embed_proj_dim": 32}
PHI = WIDE | TOKENS | {"intermediate_size": 48}
GPTJ = TOKENS | {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": 64,
    "n_inner": 48,
}
BERT = WIDE | {"intermediate_size": 48, "pad_token_id": 0}
ROBERTA = WIDE | {"intermediate_size": 48, "pad_token_id": 1}
ROPE = {"rope_type": "default", "rope_theta": 5000.0}

# `sharp` is what queries and keys are multiplied with, so that attention is sharp.
CHECKPOINTS = {
    "gpt_neox": NEOX | {"rope_parameters": ROPE | {"partial_rotary_factor": 0.25}, "sharp": 2.5},
    "gpt_neox-sequential": NEOX
    | {
        "use_parallel_residual": False,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "hidden_act": "gelu_new",
        "rope_parameters": {
            "rope_type": "linear",
            "factor": 2.0,
            "rope_theta": 5000.0,
            "partial_rotary_factor": 1.0,
        },
        "sharp": 2.5,
    },
    "gptj": GPTJ | {"rotary_dim": 4, "sharp": 2.5},
    "gptj-whole": GPTJ | {"rotary_dim": 8, "tie_word_embeddings": True, "sharp": 2.5},
    "opt": OPT | {"sharp": 2.5},
    "opt-after": OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 20, "sharp": 3.5},
    "opt-bare": OPT
    | {
        "enable_bias": False,
        "_remove_final_layer_norm": True,
        "tie_word_embeddings": False,
        "activation_function": "gelu",
        "sharp": 2.5,
    },
    "falcon": FALCON | {"rope_parameters": ROPE, "sharp": 2.5},
    "falcon-new": FALCON
    | {
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
        "bias": True,
        "tie_word_embeddings": False,
        "sharp": 2.5,
    },
    "falcon-new-one-norm": FALCON
    | {
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
        "num_ln_in_parallel_attn": 1,
        "sharp": 2.5,
    },
    "falcon-rw": FALCON
    | {
        "alibi": True,
        "multi_query": False,
        "parallel_attn": False,
        "bias": True,
        "num_attention_heads": 4,
        "sharp": 3.0,
    },
    "falcon-alibi": FALCON
    | {"alibi": True, "hidden_size": 36, "num_attention_heads": 6, "sharp": 3.0},
    "phi": PHI | {"sharp": 2.5},
    "phi-norms": PHI
    | {
        "num_key_value_heads": 2,
        "qk_layernorm": True,
        "rope_parameters": ROPE | {"partial_rotary_factor": 0.25},
        "sharp": 2.0,
    },
    "bert": BERT | {"class": AutoModelForMaskedLM, "sharp": 2.5},
    "bert-untied": BERT
    | {
        "class": AutoModelForMaskedLM,
        "tie_word_embeddings": False,
        "hidden_act": "relu",
        "sharp": 2.5,
    },
    "bert-encoder": BERT | {"class": AutoModel, "sharp": 2.5},
    "roberta": ROBERTA | {"class": AutoModelForMaskedLM, "sharp": 2.5},
    "roberta-encoder": ROBERTA | {"class": AutoModel, "sharp": 2.5},
}

# Whose output's gradient is compared.
GRADIENTS = {
    "gpt_neox": ("gpt_neox.embed_in", "gpt_neox.layers.0.attention", "gpt_neox.layers.1.mlp"),
    "gptj": ("transformer.wte", "transformer.h.0.attn", "transformer.h.1.mlp"),
    "opt": (
        "model.decoder.embed_tokens",
        "model.decoder.layers.0.self_attn",
        "model.decoder.layers.1",
    ),
    "falcon": (
        "transformer.word_embeddings",
        "transformer.h.0.self_attention",
        "transformer.h.1.mlp",
    ),
    "phi": ("model.embed_tokens", "model.layers.0.self_attn", "model.layers.1.mlp"),
    "bert": (
        "embeddings.word_embeddings",
        "encoder.layer.0.attention.self",
        "encoder.layer.1.intermediate",
    ),
}
GRADIENTS["roberta"] = GRADIENTS["bert"]

QUERIES_AND_KEYS = ("query_key_value", "q_proj", "k_proj", "self.query", "self.key")
EMBEDDINGS = ("embed", "wte", "word_embeddings")


def is_norm(name):
    return any(part in name.lower() for part in ("norm", "ln_", ".ln"))


def randomize(model, seed, sharp):
    """Fill the weights so that attention is sharp and no bias or norm is trivial, in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if is_norm(name):
            value = 0.3 * value + (0.0 if name.endswith("bias") else 1.0)
            if "q_layernorm" in name or "k_layernorm" in name:
                value = sharp * value
        elif name.endswith("bias"):
            value = 0.3 * value
        elif any(part in name for part in EMBEDDINGS):
            value = 0.8 * value
        else:
            value = value * parameter.shape[-1] ** -0.5
            if any(part in name for part in QUERIES_AND_KEYS):
                value = sharp * value
        parameter.copy_(value.to(torch.bfloat16))


def call(model, prompts):
    inputs = padded(prompts)
    if "Roberta" in type(model).__name__:
        mask, pad = inputs["attention_mask"], model.config.pad_token_id
        inputs["position_ids"] = mask.cumsum(-1) * mask + pad
    if not is_encoder(model):
        inputs["use_cache"] = False
    return model(**inputs)


def is_encoder(model):
    return model.config.model_type in ("bert", "roberta")


def as_shown(path, output, model):
    """What Weft shows of a module's output."""
    kind = model.config.model_type
    if kind == "opt" and output.dim() == 2:
        return output.unflatten(0, (1, -1))
    if kind == "phi" and path.endswith("_layernorm") and output.dim() == 4:
        return output.transpose(1, 2)
    return output


def single(model, golden):
    """Every module's output, and the inside of the last attention."""
    outputs, calls, points = {}, [], {}

    def keep(path):
        def hook(_module, _args, output):
            # Falcon's block adds to what its MLP gave, in place.
            outputs.setdefault(path, first_tensor(output).clone())
            calls.append(path)

        return hook

    modeling = sys.modules[type(model).__module__]
    eager = getattr(modeling, "eager_attention_forward", None)

    def forward(module, query, key, value, *args, **kwargs):
        z, probs = eager(module, query, key, value, *args, **kwargs)
        points[module] = {"q": query, "k": key, "v": value, "probs": probs, "z": z.transpose(1, 2)}
        return z, probs

    # Falcon's attention is its own, and adds ALiBi twice where it is not fused.
    fused = torch.nn.functional.scaled_dot_product_attention

    def fused_forward(query, key, value, attn_mask=None, **kwargs):
        z = fused(query, key, value, attn_mask=attn_mask, **kwargs)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        hidden = torch.finfo(scores.dtype).min
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, hidden)
        else:
            scores = scores + attn_mask
        module = model.transformer.h[len(points)].self_attention
        points[module] = {"q": query, "probs": scores.softmax(-1), "z": z}
        if not model.config.new_decoder_architecture:  # which repeats them for each head
            points[module] |= {"k": key, "v": value}
        return z

    handles = [m.register_forward_hook(keep(p)) for p, m in model.named_modules()]
    if eager is None:
        torch.nn.functional.scaled_dot_product_attention = fused_forward
    else:
        modeling.eager_attention_forward = forward
    call(model, [PROMPT])
    torch.nn.functional.scaled_dot_product_attention = fused
    if eager is not None:
        modeling.eager_attention_forward = eager
    for handle in handles:
        handle.remove()
    for path, tensor in outputs.items():
        if not path.endswith("rotary_emb"):
            golden[f"single/{path}"] = as_shown(path, tensor, model).clone().contiguous()
    paths = {module: path for path, module in model.named_modules()}
    last = list(points)[-1]
    for name, tensor in points[last].items():
        golden[f"single/{paths[last]}/{name}"] = tensor.clone().contiguous()
    sharp = torch.cat([p["probs"].amax(-1).flatten() for p in points.values()])
    return (sharp > 0.9).float().mean().item(), calls


def gradients(model, paths, golden):
    kept = {}

    def keep(path):
        def hook(_module, _args, output):
            kept[path] = first_tensor(output)

        return hook

    handles = [model.get_submodule(p).register_forward_hook(keep(p)) for p in paths]
    with torch.enable_grad():
        result = first_tensor(call(model, [PROMPT]))
        grads = torch.autograd.grad(result[:, -1, 5].sum(), [kept[p] for p in paths])
    for handle in handles:
        handle.remove()
    for path, grad in zip(paths, grads, strict=True):
        golden[f"gradients/{path}"] = grad.clone().contiguous()


def save(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.copy(TOKENIZER, folder)


def make_checkpoint(name, given, seed):
    fields = dict(given)
    sharp, kind = fields.pop("sharp"), fields.pop("class", AutoModelForCausalLM)
    family = name.split("-")[0]
    config = AutoConfig.for_model(family, **fields)
    attention = {"attn_implementation": "sdpa" if family == "falcon" else "eager"}
    model = kind.from_config(config, **attention).eval()
    randomize(model, seed, sharp)
    folder = FAMILIES / name
    save(model, folder)

    model = kind.from_pretrained(folder, dtype=torch.float32, **attention).eval()
    golden = {}
    share, calls = single(model, golden)
    batch = first_tensor(call(model, BATCH))
    golden["batch/logits"] = batch.clone()
    for row, prompt in enumerate(BATCH):
        alone = first_tensor(call(model, [prompt]))[0]
        difference = (batch[row, -len(prompt) :] - alone).abs().max() / alone.abs().max()
        assert difference < 2e-5, f"{name}: a batch is not its prompts alone: {difference}"
    varied = 0
    if not is_encoder(model):
        generate(model, [PROMPT], "single", golden)
        generate(model, BATCH, "batch", golden)
        varied = len(set(golden["generate/single"][0].tolist()))
    prefix = "" if family not in ("bert", "roberta") or kind is AutoModel else f"{family}."
    gradients(model, [prefix + path for path in GRADIENTS[family]], golden)
    save_file(golden, folder / "golden.safetensors")
    print(f"{name}: {share:.0%} of rows have a prob over 0.9, {len(calls)} calls, {varied} tokens")
    assert share > 0.2, f"{name}: attention is not sharp"


def main():
    chosen = sys.argv[1:]
    set_up()
    for seed, (name, given) in enumerate(CHECKPOINTS.items(), start=300):
        if not chosen or name in chosen:
            make_checkpoint(name, given, seed)


if __name__ == "__main__":
    main()
