#!/usr/bin/env python3
"""Make families/: small random checkpoints of Llama's relatives, and what transformers gives.

make_families.py [NAME...]: with names, only make these.

Needs torch, transformers 5 and safetensors; gpt2-tiny/tokenizer.json is copied. Each folder holds a
checkpoint in bfloat16, whose weights the goldens use in float32 (golden.safetensors):

  single/PATH       the output of every module that is called, its first tensor, for one prompt
  single/PATH/q     ... and k, v, probs, z of the last attention, as eager attention meets them
  batch/            three prompts padded on the left: logits, the last block's output
  generate/         32 greedy tokens of the prompt and of the batch, and how much the best logit is
                    ahead at each step, relative to the largest
  gradients/PATH    of the last token's logit 5, with respect to the outputs of three modules

A folder under families/variants is a configuration alone, of the checkpoint that its "of" names.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
FAMILIES = HERE / "families"
TOKENIZER = HERE / "gpt2-tiny" / "tokenizer.json"
VOCABULARY = 97
NEW = 32
PROMPT = [39, 72, 94, 86, 68, 69, 83, 11, 42, 7, 58, 23]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82, 15], [64, 65, 66], [87, 28, 19, 17, 26, 3, 71, 9, 12, 50]]

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}

# What stands beside SMALL in each family's configuration; `sharp` is what queries and keys are
# multiplied with, so that attention is sharp whatever norms and scales a family has.
CHECKPOINTS = {
    "llama": {"attention_bias": True, "mlp_bias": True, "head_dim": 12, "sharp": 2.5},
    "mistral": {"sliding_window": 5, "head_dim": None, "sharp": 3.0},
    "qwen2": {
        "use_sliding_window": True,
        "sliding_window": 6,
        "max_window_layers": 1,
        "sharp": 2.5,
    },
    "qwen3": {
        "head_dim": 12,
        "use_sliding_window": True,
        "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "tie_word_embeddings": True,
        "sharp": 1.6,
    },
    "gemma": {"num_key_value_heads": 1, "head_dim": 12, "sharp": 2.5},
    "gemma2": {
        "head_dim": 12,
        "query_pre_attn_scalar": 10,
        "sliding_window": 5,
        "attn_logit_softcapping": 6.0,
        "final_logit_softcapping": 4.0,
        "sharp": 2.5,
    },
    "gemma3_text": {
        "head_dim": 12,
        "query_pre_attn_scalar": 10,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 50000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
        "sharp": 1.8,
    },
    "phi3": {"sliding_window": 6, "sharp": 2.5},
    "olmo2": {"attention_bias": True, "num_key_value_heads": 4, "sharp": 1.6},
    "stablelm": {"use_qkv_bias": True, "qk_layernorm": True, "sharp": 2.0},
    "stablelm-parallel": {"use_parallel_residual": True, "sharp": 2.5},
    "cohere": {"use_qk_norm": True, "logit_scale": 0.25, "sharp": 1.6},
    "mixtral": {"num_local_experts": 5, "num_experts_per_tok": 2, "sharp": 2.5},
    "qwen3_moe": {
        "num_experts": 6,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 24,
        "mlp_only_layers": [0],
        "head_dim": 12,
        "sharp": 1.6,
    },
}

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
# Configurations of checkpoints made above: logits, and generated tokens.
VARIANTS = {
    "rope-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0}}),
    "rope-dynamic": (
        "llama",
        {"max_position_embeddings": 8, "rope_parameters": {"rope_type": "dynamic", "factor": 6.0}},
    ),
    "rope-llama3": ("llama", {"rope_parameters": LLAMA3}),
    "rope-llama3-old": (
        "llama",
        {
            "rope_theta": LLAMA3["rope_theta"],
            "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"},
        },
    ),
    "rope-yarn": ("llama", {"rope_parameters": YARN}),
    "rope-yarn-fields": (
        "llama",
        {
            "rope_parameters": YARN
            | {"beta_fast": 8, "beta_slow": 2, "mscale": 0.7, "mscale_all_dim": 0.3}
            | {"truncate": False}
        },
    ),
    "rope-longrope-short": (
        "phi3",
        {
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "short_factor": [1.0, 1.5, 2.0],
                "long_factor": [3.0, 4.0, 5.0],
                "partial_rotary_factor": 0.75,
            },
        },
    ),
    "rope-longrope-long": (
        "phi3",
        {
            "original_max_position_embeddings": 8,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0, 1.5, 2.0],
                "long_factor": [3.0, 4.0, 5.0],
            },
        },
    ),
    "no-window": ("mistral", {"sliding_window": None}),
    "no-softcaps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "relu": ("llama", {"hidden_act": "relu"}),
}


def randomize(model, seed, sharp):
    """Fill the weights so that attention is sharp and no bias or norm is trivial, in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            plus_one = "Gemma" in type(model).__name__
            value = 0.3 * value + (0.0 if plus_one or name.endswith("bias") else 1.0)
            if any(part in name for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
                value = sharp * (value + 1.0 if plus_one else value) - (1.0 if plus_one else 0.0)
        elif name.endswith("bias"):
            value = 0.3 * value
        elif "embed_tokens" in name:
            # A tied head likes the token that it has just seen; less so where embeddings are small.
            tied, scaled = model.config.tie_word_embeddings, "Gemma" in type(model).__name__
            value = (0.05 if scaled else 0.25 if tied else 0.8) * value
        else:
            value = value * parameter.shape[-1] ** -0.5
            if any(part in name for part in ("q_proj", "k_proj", "qkv_proj")):
                value = sharp * value
        parameter.copy_(value.to(torch.bfloat16))


def padded(prompts):
    longest = max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": torch.tensor([[0] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def first_tensor(value):
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, dict):
        return first_tensor(next(iter(value.values())))
    if isinstance(value, (tuple, list)):
        return next((t for t in map(first_tensor, value) if t is not None), None)
    return None


def single(model, golden):
    """Every module's output, and the inside of the last attention."""
    outputs, calls, points = {}, [], {}

    def keep(path):
        def hook(_module, _args, output):
            outputs.setdefault(path, first_tensor(output))
            calls.append(path)

        return hook

    handles = [m.register_forward_hook(keep(p)) for p, m in model.named_modules()]
    modeling = sys.modules[type(model).__module__]
    eager = modeling.eager_attention_forward

    def forward(module, query, key, value, *args, **kwargs):
        z, probs = eager(module, query, key, value, *args, **kwargs)
        points[module] = {"q": query, "k": key, "v": value, "probs": probs, "z": z.transpose(1, 2)}
        return z, probs

    modeling.eager_attention_forward = forward
    model(**padded([PROMPT]), use_cache=False)
    modeling.eager_attention_forward = eager
    for handle in handles:
        handle.remove()
    for path, tensor in outputs.items():
        if not path.endswith(("rotary_emb", "experts.act_fn")):
            golden[f"single/{path}"] = tensor.clone().contiguous()
    paths = {module: path for path, module in model.named_modules()}
    last = list(points)[-1]
    for name, tensor in points[last].items():
        golden[f"single/{paths[last]}/{name}"] = tensor.clone().contiguous()
    sharp = torch.cat([p["probs"].amax(-1).flatten() for p in points.values()])
    return (sharp > 0.9).float().mean().item(), calls


def generate(model, prompts, name, golden):
    inputs = padded(prompts)
    result = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=NEW,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    golden[f"generate/{name}"] = result.sequences[:, -NEW:].clone()
    logits = torch.stack(result.logits, 1)
    best = logits.topk(2, -1).values
    golden[f"generate/{name}/ahead"] = (best[..., 0] - best[..., 1]) / logits.abs().amax(-1)


def gradients(model, golden):
    kept = {}

    def keep(path):
        def hook(_module, _args, output):
            kept[path] = first_tensor(output)

        return hook

    paths = ["model.embed_tokens", "model.layers.1.self_attn", "model.layers.2.mlp"]
    handles = [model.get_submodule(p).register_forward_hook(keep(p)) for p in paths]
    with torch.enable_grad():
        logits = model(**padded([PROMPT]), use_cache=False).logits
        grads = torch.autograd.grad(logits[:, -1, 5].sum(), [kept[p] for p in paths])
    for handle in handles:
        handle.remove()
    for path, grad in zip(paths, grads, strict=True):
        golden[f"gradients/{path}"] = grad.clone().contiguous()


def write_config(folder, config):
    fields = config.to_dict()
    fields.pop("transformers_version", None)
    fields["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


def make_checkpoint(name, given, seed):
    fields = SMALL | given
    sharp = fields.pop("sharp")
    config = AutoConfig.for_model(name.split("-")[0], **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomize(model, seed, sharp)
    folder = FAMILIES / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_config(folder, config)
    shutil.copy(TOKENIZER, folder)

    model = load(folder)
    golden = {}
    share, calls = single(model, golden)
    inputs = padded(BATCH)
    logits = model(**inputs, use_cache=False).logits
    golden["batch/logits"] = logits.clone()
    for row, prompt in enumerate(BATCH):
        alone = model(**padded([prompt]), use_cache=False).logits[0]
        difference = (logits[row, -len(prompt) :] - alone).abs().max() / alone.abs().max()
        assert difference < 2e-5, f"{name}: a batch is not its prompts alone: {difference}"
    generate(model, [PROMPT], "single", golden)
    generate(model, BATCH, "batch", golden)
    gradients(model, golden)
    save_file(golden, folder / "golden.safetensors")
    varied = len(set(golden["generate/single"][0].tolist()))
    print(f"{name}: {share:.0%} of rows have a prob over 0.9, {len(calls)} calls, {varied} tokens")
    assert share > 0.2, f"{name}: attention is not sharp"
    assert varied > 4, f"{name}: the text says the same over and over"


def make_variant(name, of, changes):
    folder = FAMILIES / "variants" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fields = json.loads((FAMILIES / of / "config.json").read_text())
    if "rope_scaling" in changes:
        del fields["rope_parameters"]
    fields |= changes
    (folder / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    (folder / "of").write_text(of + "\n")
    shutil.copy(FAMILIES / of / "model.safetensors", folder)
    model = load(folder)
    golden = {}
    golden["logits"] = model(**padded([PROMPT]), use_cache=False).logits.clone()
    generate(model, [PROMPT], "single", golden)
    (folder / "model.safetensors").unlink()
    plain = load_file(FAMILIES / of / "golden.safetensors")["single/"]
    change = (golden["logits"] - plain).abs().max() / plain.abs().max()
    assert change > 1e-3, f"{name} gives what {of} gives"
    save_file(golden, folder / "golden.safetensors")
    print(f"variants/{name}: logits differ by {change:.2g} of {of}'s scale")


def set_up():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def main():
    chosen = sys.argv[1:]
    set_up()
    for seed, (name, given) in enumerate(CHECKPOINTS.items(), start=200):
        if not chosen or name in chosen:
            make_checkpoint(name, given, seed)
    for name, (of, changes) in VARIANTS.items():
        if not chosen or name in chosen:
            make_variant(name, of, changes)


if __name__ == "__main__":
    main()
