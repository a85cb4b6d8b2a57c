#!/usr/bin/env python3
"""Give each checkpoint in families/ the numbers that transformers computes in bfloat16.

make_bfloat16.py [NAME...]: with names, only these. Run it behind make_families.py and
make_gpt_families.py, whose golden.safetensors has the same names in float32.
"""

import json
import sys

import make_families
import make_gpt_families
import torch
import transformers
from make_families import BATCH, FAMILIES, PROMPT, first_tensor, generate, set_up
from safetensors.torch import load_file, save_file


def load(folder, attention):
    config = json.loads((folder / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    return kind.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation=attention
    ).eval()


def make(folder):
    config = json.loads((folder / "config.json").read_text())
    # Rounding shows in gradients: they are those of the attention that transformers takes unless it
    # is told otherwise, which is what Weft takes. What is inside attention is seen in eager alone.
    fused = "eager" if config.get("attn_logit_softcapping") else "sdpa"
    model = load(folder, "sdpa" if config["model_type"] == "falcon" else "eager")
    float32 = load_file(folder / "golden.safetensors")
    golden = {}
    if folder.name in make_families.CHECKPOINTS:
        make_families.single(model, golden)
        make_families.gradients(load(folder, fused), golden)
    else:
        make_gpt_families.single(model, golden)
        paths = [name.removeprefix("gradients/") for name in float32 if name.startswith("grad")]
        make_gpt_families.gradients(load(folder, fused), paths, golden)
    golden["batch/logits"] = first_tensor(make_gpt_families.call(model, BATCH)).clone()
    if "generate/single" in float32:
        generate(model, [PROMPT], "single", golden)
        generate(model, BATCH, "batch", golden)
    golden = {name: tensor for name, tensor in golden.items() if name in float32}
    assert set(golden) == set(float32), set(float32) - set(golden)
    save_file(golden, folder / "bfloat16.safetensors")
    difference = golden["batch/logits"].float() - float32["batch/logits"]
    relative = difference.norm() / float32["batch/logits"].norm()
    print(f"{folder.name}: logits {relative:.1e} from float32's")


def main():
    chosen = sys.argv[1:]
    set_up()
    for folder in sorted(FAMILIES.iterdir()):
        if (folder / "golden.safetensors").exists() and (not chosen or folder.name in chosen):
            make(folder)


if __name__ == "__main__":
    main()
