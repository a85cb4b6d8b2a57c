#!/usr/bin/env python3
"""Make gpt2-tiny/dtypes.safetensors: what transformers' GPT-2 gives in bfloat16 and in float16.

Needs torch, transformers and safetensors; the folder gpt2-tiny, made by make_gpt2.py, is read. Each
tensor is named after its dtype: what modules return for a left-padded batch, gradients for one
prompt, and the tokens of a greedy generation.
"""

from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

TINY = Path(__file__).resolve().parent / "gpt2-tiny"
PAD = 96
SINGLE = [39, 72, 94, 86, 68, 69, 83]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]
SITES = {
    "wte": "transformer.wte",
    "h0": "transformer.h.0",
    "attn1": "transformer.h.1.attn",
    "mlp1": "transformer.h.1.mlp",
    "h2": "transformer.h.2",
    "ln_f": "transformer.ln_f",
    "logits": "lm_head",
}
GRADIENTS = ("wte", "h0", "mlp1", "ln_f")
NEW_TOKENS = 6


def padded(prompts):
    longest = max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def forward(model, prompts):
    """Return the outputs of SITES, still in the graph."""
    values, hooks = {}, []

    def hook(name):
        def keep(_module, _args, output):
            values[name] = output[0] if isinstance(output, tuple) else output

        return keep

    for name, path in SITES.items():
        hooks.append(model.get_submodule(path).register_forward_hook(hook(name)))
    model(**padded(prompts), use_cache=False)
    for one in hooks:
        one.remove()
    return values


def generate(model, key):
    """Return a greedy generation in which no token is a near tie, and its logits."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        prompt = torch.randint(0, PAD, (1, 6), generator=generator)
        generated = model.generate(
            prompt,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=PAD,
            output_logits=True,
            return_dict_in_generate=True,
        )
        logits = torch.stack(generated.logits, 1)
        best = logits[0].float().topk(2).values
        clear = (best[:, 0] - best[:, 1] > 0.06 * logits.abs().max()).all()
        if clear and logits.shape[1] == NEW_TOKENS:
            return {
                f"{key}.prompt": prompt,
                f"{key}.generated": generated.sequences.contiguous(),
                f"{key}.step_logits": logits.contiguous(),
            }
    raise RuntimeError(f"{key}: every generation has a near tie")


def main():
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    golden = {}
    for dtype in (torch.bfloat16, torch.float16):
        key = str(dtype).removeprefix("torch.")
        model = GPT2LMHeadModel.from_pretrained(TINY, dtype=dtype).eval()
        model.set_attn_implementation("sdpa")
        for name, value in forward(model, BATCH).items():
            golden[f"{key}.batch.{name}"] = value.detach().contiguous()
        values = forward(model, [SINGLE])
        loss = values["logits"][:, -1, 5].sum()
        sites = [values[name] for name in GRADIENTS]
        for name, gradient in zip(GRADIENTS, torch.autograd.grad(loss, sites), strict=True):
            golden[f"{key}.gradient.{name}"] = gradient.contiguous()
        golden |= generate(model, key)
    save_file(golden, TINY / "dtypes.safetensors")
    print(f"{len(golden)} tensors in {TINY / 'dtypes.safetensors'}")


main()
