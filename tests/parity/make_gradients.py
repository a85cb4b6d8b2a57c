#!/usr/bin/env python3
"""Make gpt2-tiny/gradients.safetensors: gradients of transformers' GPT-2, from PyTorch's autograd.

Needs torch, transformers and safetensors; the folder gpt2-tiny, made by make_gpt2.py, is read. Each
tensor is named as the test's program saves it, after the name of its case.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

TINY = Path(__file__).resolve().parent / "gpt2-tiny"
PAD = 96
SINGLE = [[39, 72, 94, 86, 68, 69, 83]]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]
PATCHED = [[87, 28, 19, 17, 26]]


def padded(prompts):
    longest = max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


class Kept:
    """Keeps the outputs of modules, and lets a case replace them."""

    def __init__(self, model, replace=None):
        self.values = {}
        self.hooks = []
        for path, module in model.named_modules():
            self.hooks.append(module.register_forward_hook(self._hook(path, replace or {})))

    def _hook(self, path, replace):
        def hook(_module, _args, output):
            value = output[0] if isinstance(output, tuple) else output
            if not isinstance(value, torch.Tensor):
                return None
            if path in replace:
                value = replace[path](value)
            self.values[path] = value
            if isinstance(output, tuple):
                return (value, *output[1:])
            return value

        return hook

    def __getitem__(self, path):
        return self.values[path]

    def close(self):
        for hook in self.hooks:
            hook.remove()


def main():
    model = GPT2LMHeadModel.from_pretrained(TINY).eval()
    model.set_attn_implementation("sdpa")
    golden = {}

    def forward(inputs, replace=None):
        kept = Kept(model, replace)
        logits = model(**inputs, use_cache=False).logits
        kept.close()
        return kept, logits

    def keep(case, names, gradients):
        for name, gradient in zip(names, gradients, strict=True):
            golden[f"{case}.{name}"] = gradient.detach().contiguous()

    for case, prompts in (("single", SINGLE), ("batch", BATCH)):
        inputs = padded(prompts)
        kept, logits = forward(inputs)
        loss = logits[:, -1, 5].sum()
        golden[f"{case}.loss"] = loss.detach()
        sites = {
            "wte": kept["transformer.wte"],
            "h0": kept["transformer.h.0"],
            "attn1": kept["transformer.h.1.attn"],
            "mlp1": kept["transformer.h.1.mlp"],
            "ln2": kept["transformer.h.2.ln_2"],
            "ln_f": kept["transformer.ln_f"],
            "logits": logits,
        }
        keep(case, sites, torch.autograd.grad(loss, list(sites.values())))

    # A second loss over the same forward, not a scalar, from a gradient of its shape.
    kept, logits = forward(padded(SINGLE))
    first, second = logits[:, -1, 5].sum(), logits.softmax(-1)
    h0 = kept["transformer.h.0"]
    keep("twice", ["first"], torch.autograd.grad(first, [h0], retain_graph=True))
    keep("twice", ["second", "probs"], torch.autograd.grad(second, [h0, second], second.detach()))

    # A gradient that is edited on its way: times 3 at the last token of h.1.
    kept, logits = forward(padded(SINGLE))

    def edit(gradient):
        gradient = gradient.clone()
        gradient[:, -1] *= 3
        return gradient

    kept["transformer.h.1"].register_hook(edit)
    keep("edit", ["h0"], torch.autograd.grad(logits[:, -1, 5].sum(), [kept["transformer.h.0"]]))

    # A forward that was changed in place: the gradient of the new version and of what came before.
    def scale(value):
        value = value.clone()
        value[:, -1] *= 3
        return value

    kept, logits = forward(padded(SINGLE), {"transformer.h.0": scale})
    loss = logits[:, -1, 5].sum()
    keep(
        "write",
        ["h0", "wte"],
        torch.autograd.grad(loss, [kept["transformer.h.0"], kept["transformer.wte"]]),
    )

    # The last token of one prompt's h.0 is patched into another, of another length.
    source, _ = forward(padded(SINGLE))
    h0 = source["transformer.h.0"]

    def patch(value):
        value = value.clone()
        value[:, -1] = h0[:, -1]
        return value

    _, logits = forward(padded(PATCHED), {"transformer.h.0": patch})
    keep("patch", ["h0"], torch.autograd.grad(logits[:, -1, 5].sum(), [h0]))

    # Steering with a vector that is optimised: the gradient of a constant.
    vector = torch.full((32,), 0.5, requires_grad=True)
    _, logits = forward(padded(SINGLE), {"transformer.h.0": lambda value: value + vector})
    keep("vector", ["vector"], torch.autograd.grad(logits[:, -1, 5].sum(), [vector]))

    save_file(golden, TINY / "gradients.safetensors")
    print(f"{len(golden)} tensors in {TINY / 'gradients.safetensors'}")


main()
