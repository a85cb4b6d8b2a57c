#!/usr/bin/env python3
"""Make gpt2-tiny/attention.safetensors: interventions on and gradients of the inside of attention.

They are made with hooks on transformers' GPT-2 with eager attention, which calls dropout on the
probabilities, c_attn for q, k and v, and c_proj on what comes out of the heads. Needs torch,
transformers and safetensors; the folder gpt2-tiny, made by make_gpt2.py, is read. Each tensor is
named as the test's program saves it, after the names of its case and of its prompts.
"""

import contextlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2

TINY = Path(__file__).resolve().parent / "gpt2-tiny"
PAD = 96
HEADS, HEAD_DIM, WIDTH = 4, 8, 32
PROMPTS = {
    "single": [[39, 72, 94, 86, 68, 69, 83]],
    "batch": [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]],
}


def padded(prompts):
    longest = max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def by_head(joined):
    return joined.unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)


def head(index):
    return slice(index * HEAD_DIM, (index + 1) * HEAD_DIM)


@contextlib.contextmanager
def at_probs(layer, visit):
    """Call `visit` with the probabilities of a layer's attention; what it returns goes on."""
    eager, dropout = modeling_gpt2.eager_attention_forward, torch.nn.functional.dropout
    inside = []

    def forward(module, *args, **kwargs):
        inside.append(module.layer_idx)
        try:
            return eager(module, *args, **kwargs)
        finally:
            inside.pop()

    def after_dropout(x, *args, **kwargs):
        x = dropout(x, *args, **kwargs)
        return visit(x) if inside and inside[-1] == layer else x

    modeling_gpt2.eager_attention_forward = forward
    torch.nn.functional.dropout = after_dropout
    try:
        yield
    finally:
        modeling_gpt2.eager_attention_forward = eager
        torch.nn.functional.dropout = dropout


def main():
    model = GPT2LMHeadModel.from_pretrained(TINY).eval()
    model.set_attn_implementation("eager")
    layers = model.transformer.h
    golden = {}

    def logits(inputs, module, change, before=False):
        """Return the logits with a module's output (or its input) changed in place."""

        def hook(_module, _args, output):
            output = output.clone()
            change(output)
            return output

        def pre_hook(_module, args):
            value = args[0].clone()
            change(value)
            return (value, *args[1:])

        handle = (
            module.register_forward_pre_hook(pre_hook)
            if before
            else module.register_forward_hook(hook)
        )
        result = model(**inputs, use_cache=False).logits
        handle.remove()
        return result.detach().contiguous()

    def no_probs(probs):
        probs = probs.clone()
        probs[:, 3] = 0
        return probs

    def no_z(z):
        z[..., head(2)] = 0

    def half_q(qkv):
        qkv[..., head(1)] *= 0.5

    def no_v(qkv):
        qkv[..., 2 * WIDTH :][..., head(0)] = 0

    def no_k(qkv):
        qkv[..., WIDTH : 2 * WIDTH][..., head(0)] = 0

    for name, prompts in PROMPTS.items():
        inputs = padded(prompts)
        attention = layers[1].attn
        with at_probs(1, no_probs):
            golden[f"probs.{name}.p"] = model(**inputs, use_cache=False).logits.detach()
        golden[f"z.{name}.p"] = logits(inputs, attention.c_proj, no_z, before=True)
        golden[f"q.{name}.p"] = logits(inputs, attention.c_attn, half_q)
        golden[f"k.{name}.p"] = logits(inputs, attention.c_attn, no_k)
        golden[f"v.{name}.p"] = logits(inputs, attention.c_attn, no_v)

        kept = {}

        def keep(name, kept=kept):
            def hook(_module, _args, output):
                kept[name] = output

            return hook

        def keep_input(name, kept=kept):
            def hook(_module, args):
                kept[name] = args[0]

            return hook

        handles = [
            attention.c_attn.register_forward_hook(keep("qkv")),
            attention.c_proj.register_forward_pre_hook(keep_input("z")),
            layers[1].ln_2.register_forward_pre_hook(keep_input("add")),
            layers[1].mlp.act.register_forward_hook(keep("act")),
        ]

        def keep_probs(probs, kept=kept):
            kept["probs"] = probs
            return probs

        with at_probs(1, keep_probs):
            loss = model(**inputs, use_cache=False).logits[:, -1, 5].sum()
        for handle in handles:
            handle.remove()
        grads = dict(zip(kept, torch.autograd.grad(loss, list(kept.values())), strict=True))
        q, k, v = (by_head(part) for part in grads["qkv"].split(WIDTH, dim=-1))
        grads |= {"q": q, "k": k, "v": v, "z": by_head(grads["z"])}
        del grads["qkv"]
        for point, gradient in grads.items():
            golden[f"gradients.{name}.{point}"] = gradient.contiguous()

    save_file(golden, TINY / "attention.safetensors")
    print(f"{len(golden)} tensors in {TINY / 'attention.safetensors'}")


main()
