#!/usr/bin/env python3
"""Make gpt2-tiny/generation.safetensors: what transformers' generate() gives, step by step.

Needs torch, transformers and safetensors; the folder gpt2-tiny, made by make_gpt2.py, is read. Each
tensor is named CASE/WHAT, and CASE/WHAT/STEP where there is one for each step:

  plain    one prompt: ids, the output of transformer.h.1 and the logits of the last token
  batch    three prompts, padded on the left: the same
  scaled   transformer.h.0's output times 1.5 in each step: ids, logits
  late     in step 2 alone, the last token of transformer.h.1's output negated: ids, logits
  skipped  transformer.h.1 is not run in any step: ids, logits
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

TINY = Path(__file__).resolve().parent / "gpt2-tiny"
PAD = 96
NEW = 6
SINGLE = [[39, 72, 94, 86, 68, 69, 83]]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]


def padded(prompts):
    longest = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts]),
    }


def generate(model, case, prompts, out, replace=None, kept=()):
    step = {}
    hooks = []

    def hook(path):
        def record(_module, _args, output):
            at = step.get(path, 0)
            step[path] = at + 1
            value = output[0] if isinstance(output, tuple) else output
            if replace and path in replace:
                value = replace[path](value, at)
            if path in kept:
                name = "logits" if path == "lm_head" else path
                out[f"{case}/{name}/{at}"] = value.detach().clone().contiguous()
            return (value, *output[1:]) if isinstance(output, tuple) else value

        return record

    for path in {*kept, *(replace or {})}:
        hooks.append(model.get_submodule(path).register_forward_hook(hook(path)))
    ids = model.generate(
        **padded(prompts), max_new_tokens=NEW, do_sample=False, pad_token_id=PAD, eos_token_id=PAD
    )
    for handle in hooks:
        handle.remove()
    out[f"{case}/ids"] = ids.clone()


def negate_late(value, at):
    if at != 2:
        return value
    value = value.clone()
    value[:, -1] *= -1.0
    return value


def main():
    model = GPT2LMHeadModel.from_pretrained(TINY).eval()
    out = {}
    block = "transformer.h.1"
    with torch.no_grad():
        generate(model, "plain", SINGLE, out, kept=(block, "lm_head"))
        generate(model, "batch", BATCH, out, kept=(block, "lm_head"))
        scaled = {"transformer.h.0": lambda value, _at: value * 1.5}
        generate(model, "scaled", SINGLE, out, scaled, kept=("lm_head",))
        generate(model, "late", SINGLE, out, {block: negate_late}, kept=("lm_head",))
        skipped = model.transformer.h[1]
        skipped.forward = lambda hidden_states, *_args, **_kwargs: hidden_states
        generate(model, "skipped", SINGLE, out, kept=("lm_head",))
    # Only a step that changes the text shows that the change went on.
    plain = out["plain/ids"]
    for case in ("scaled", "late", "skipped"):
        assert not torch.equal(out[f"{case}/ids"], plain), case
    save_file(out, TINY / "generation.safetensors")
    for name, tensor in out.items():
        if name.endswith("ids"):
            print(name, tensor.tolist())


if __name__ == "__main__":
    main()
