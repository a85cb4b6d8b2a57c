#!/usr/bin/env python3
"""Make lora/: LoRA adapters of the small checkpoints, made by the peft library, and what they change.

Needs torch, transformers and peft; gpt2-tiny/ and families/ are read. lora/BASE/ADAPTER is a folder
as `save_pretrained` writes it. lora/BASE/golden.safetensors has, in float32, for each adapter:

  ADAPTER/single/SITE, ADAPTER/batch/SITE   what modules return, for one prompt and for three padded
  ADAPTER/generate                          greedy tokens of the prompt, of models that generate
  ADAPTER/gradient                          of the last token's logit 5, at the output of one module
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
LORA = HERE / "lora"
NEW = 8
SINGLE = [[39, 72, 94, 86, 68, 69, 83]]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]
BASES = {
    "gpt2": {
        "folder": "gpt2-tiny",
        "sites": {
            "c_attn": "transformer.h.0.attn.c_attn",
            "c_proj": "transformer.h.1.mlp.c_proj",
            "last": "transformer.h.2",
        },
        "gradient": "transformer.h.0",
        "adapters": {
            "plain": {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn", "mlp.c_fc"]},
            "rslora": {"r": 2, "lora_alpha": 3, "target_modules": ["c_proj"], "use_rslora": True},
        },
        "fields": {"fan_in_fan_out": True},
    },
    "llama": {
        "folder": "families/llama",
        "sites": {
            "q_proj": "model.layers.0.self_attn.q_proj",
            "down_proj": "model.layers.2.mlp.down_proj",
            "last": "model.layers.2",
        },
        "gradient": "model.layers.0",
        "adapters": {
            "attention": {
                "r": 4,
                "lora_alpha": 6,
                "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
            },
            "mlp": {
                "r": 3,
                "lora_alpha": 3,
                "target_modules": r".*\.layers\.(0|2)\.mlp\.(gate|down)_proj",
            },
        },
    },
    "phi3": {
        "folder": "families/phi3",
        "sites": {
            "qkv_proj": "model.layers.0.self_attn.qkv_proj",
            "gate_up_proj": "model.layers.1.mlp.gate_up_proj",
            "last": "model.layers.2",
        },
        "gradient": "model.layers.0",
        "adapters": {
            "fused": {"r": 4, "lora_alpha": 4, "target_modules": ["qkv_proj", "gate_up_proj"]},
        },
    },
    # Of an encoder without a head; the pooler's rows are prompts.
    "bert-encoder": {
        "folder": "families/bert-encoder",
        "sites": {
            "query": "encoder.layer.0.attention.self.query",
            "last": "encoder.layer.1",
            "pooled": "pooler.dense",
        },
        "adapters": {
            "pooler": {
                "r": 4,
                "lora_alpha": 8,
                "target_modules": ["query", "value", "pooler.dense"],
            },
        },
    },
}


def padded(prompts, pad_left):
    longest = max(map(len, prompts))

    def row(tokens, fill):
        pads = [fill] * (longest - len(tokens))
        return pads + tokens if pad_left else tokens + pads

    mask = torch.tensor([row([1] * len(p), 0) for p in prompts])
    inputs = {"input_ids": torch.tensor([row(p, 0) for p in prompts]), "attention_mask": mask}
    if pad_left:
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return inputs


def outputs(model, base, prompts):
    values, hooks = {}, []
    for site, path in base["sites"].items():

        def keep(_module, _args, output, site=site):
            values[site] = output[0] if isinstance(output, tuple) else output

        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    generates = "gradient" in base
    result = model(**padded(prompts, generates), **({"use_cache": False} if generates else {}))
    for hook in hooks:
        hook.remove()
    values["result"] = result.logits if generates else result.last_hidden_state
    return values


def gradient(model, path):
    kept = []

    def keep(_module, _args, output):
        kept.append((output[0] if isinstance(output, tuple) else output).requires_grad_())
        return output

    hook = model.get_submodule(path).register_forward_hook(keep)
    with torch.enable_grad():
        logits = model(**padded(SINGLE, True), use_cache=False).logits
        (value,) = torch.autograd.grad(logits[:, -1, 5].sum(), kept)
    hook.remove()
    return value


def generate(model):
    result = model.generate(
        input_ids=torch.tensor(SINGLE),
        attention_mask=torch.ones(1, len(SINGLE[0]), dtype=torch.long),
        max_new_tokens=NEW,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    logits = torch.stack(result.logits, 1)
    best = logits.topk(2, -1).values
    if ((best[..., 0] - best[..., 1]) / logits.abs().amax(-1)).min() < 2e-4:
        raise RuntimeError("two tokens are nearly as likely; take another seed")
    return result.sequences


def save_adapter(adapted, folder, base_folder):
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    fields = json.loads(path.read_text()) | {"base_model_name_or_path": base_folder}
    if isinstance(fields["target_modules"], list):
        fields["target_modules"].sort()
    path.write_text(json.dumps(fields, indent=2) + "\n")


def make(name, base):
    golden = {}
    generates = "gradient" in base
    kind = AutoModelForCausalLM if generates else AutoModel
    for seed, (adapter, fields) in enumerate(base["adapters"].items()):
        model = kind.from_pretrained(HERE / base["folder"], dtype=torch.float32).eval()
        plain = outputs(model, base, SINGLE)["result"]
        config = LoraConfig(
            **{"lora_dropout": 0.1, "bias": "none"} | base.get("fields", {}) | fields,
            task_type="CAUSAL_LM" if generates else "FEATURE_EXTRACTION",
        )
        adapted = get_peft_model(model, config).eval()
        generator = torch.Generator().manual_seed(seed)
        for parameter_name, parameter in adapted.named_parameters():
            parameter.requires_grad_(False)
            if ".lora_" in parameter_name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        save_adapter(adapted, LORA / name / adapter, base["folder"])
        inner = adapted.base_model.model
        for case, prompts in {"single": SINGLE, "batch": BATCH}.items():
            for site, value in outputs(inner, base, prompts).items():
                golden[f"{adapter}/{case}/{site}"] = value.clone().contiguous()
        if generates:
            golden[f"{adapter}/generate"] = generate(inner)
            golden[f"{adapter}/gradient"] = gradient(inner, base["gradient"]).contiguous()
        difference = (golden[f"{adapter}/single/result"] - plain).abs().max() / plain.abs().max()
        if difference < 0.05:
            raise RuntimeError(f"{adapter} of {name} changes next to nothing")
    save_file(golden, LORA / name / "golden.safetensors")
    print(f"{name}: {len(golden)} tensors")


def main():
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    shutil.rmtree(LORA, ignore_errors=True)
    for name, base in BASES.items():
        make(name, base)


main()
