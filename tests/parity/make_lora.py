#!/usr/bin/env python3
"""Make gpt2-lora/: LoRA adapters of gpt2-tiny, made by the peft library, and what they change.

Needs torch, transformers and peft; the folder gpt2-tiny, made by make_gpt2.py, is read. Each adapter
is a folder as `save_pretrained` writes it; golden.safetensors has, for each, what modules return
for one prompt and for a left-padded batch.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

HERE = Path(__file__).resolve().parent
TINY = HERE / "gpt2-tiny"
FOLDER = HERE / "gpt2-lora"
PAD = 96
PROMPTS = {
    "single": [[39, 72, 94, 86, 68, 69, 83]],
    "batch": [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]],
}
SITES = {
    "c_attn": "transformer.h.0.attn.c_attn",
    "c_proj": "transformer.h.1.mlp.c_proj",
    "h2": "transformer.h.2",
    "logits": "lm_head",
}
ADAPTERS = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn", "mlp.c_fc"]},
    "rslora": {"r": 2, "lora_alpha": 3, "target_modules": ["c_proj"], "use_rslora": True},
}


def padded(prompts):
    longest = max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def main():
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    golden = {}
    for seed, (name, fields) in enumerate(ADAPTERS.items()):
        model = GPT2LMHeadModel.from_pretrained(TINY, dtype=torch.float32).eval()
        plain = model(**padded(PROMPTS["single"]), use_cache=False).logits
        config = LoraConfig(
            **{"fan_in_fan_out": True, "lora_dropout": 0.1, "bias": "none"} | fields,
            task_type="CAUSAL_LM",
        )
        adapted = get_peft_model(model, config).eval()
        generator = torch.Generator().manual_seed(seed)
        for parameter_name, parameter in adapted.named_parameters():
            if ".lora_" in parameter_name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        adapted.save_pretrained(FOLDER / name)
        (FOLDER / name / "README.md").unlink(missing_ok=True)
        path = FOLDER / name / "adapter_config.json"
        saved = json.loads(path.read_text()) | {"base_model_name_or_path": "gpt2-tiny"}
        path.write_text(json.dumps(saved, indent=2) + "\n")
        for case, prompts in PROMPTS.items():
            values, hooks = {}, []
            for site, path in SITES.items():
                module = adapted.base_model.model.get_submodule(path)

                def keep(_module, _args, output, site=site, values=values):
                    values[site] = output[0] if isinstance(output, tuple) else output

                hooks.append(module.register_forward_hook(keep))
            adapted(**padded(prompts), use_cache=False)
            for hook in hooks:
                hook.remove()
            for site, value in values.items():
                golden[f"{name}.{case}.{site}"] = value.contiguous()
        difference = (golden[f"{name}.single.logits"] - plain).abs().max() / plain.abs().max()
        if difference < 0.05:
            raise RuntimeError(f"{name} changes next to nothing")
    save_file(golden, FOLDER / "golden.safetensors")
    print(f"{len(golden)} tensors in {FOLDER / 'golden.safetensors'}")


main()
