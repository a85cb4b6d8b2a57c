"""What nnsight 0.8.1 takes for the same experiments on the same weights.

usage: nnsight_beside.py FOLDER SAMPLES     (Python with torch, transformers and nnsight)

Prints one JSON object: each experiment's median over that of the bare forward, samples taken in turns.
"""

import json
import statistics
import sys
import time

import torch
from nnsight import NNsight
from safetensors.torch import load_file
from transformers import AutoConfig, GPT2LMHeadModel

LAYERS, TOKENS = 12, 128


def load(folder):
    config = AutoConfig.from_pretrained(folder)
    model = GPT2LMHeadModel(config)
    model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
    model.tie_weights()
    return model.eval()


def prompt(tokens):
    return torch.tensor([[(7919 * (i + 1)) % 50257 for i in range(tokens)]])


def tensor_of(output):
    return output[0] if isinstance(output, tuple) else output


def main(folder, samples):
    bare = load(folder)
    model = NNsight(bare)
    ids = prompt(TOKENS)

    def forward():
        with torch.inference_mode():
            bare(ids)

    def one_row_of_each_layer():
        with torch.no_grad(), model.trace(ids):
            rows = list().save()
            for block in model.transformer.h:
                rows.append(tensor_of(block.output)[:, -1])
            model.lm_head.output[:, -1].argmax(-1).save()

    def residual_streams():
        with torch.no_grad(), model.trace(ids):
            streams = list().save()
            for block in model.transformer.h:
                streams.append(tensor_of(block.output))
            model.lm_head.output[:, -1].argmax(-1).save()

    def gradients():
        with model.trace(ids):
            streams = []
            for block in model.transformer.h:
                stream = tensor_of(block.output)
                stream.requires_grad_(True)
                streams.append(stream)
            loss = model.lm_head.output[:, -1, 42].sum()
            grads = list().save()
            with loss.backward():
                for stream in reversed(streams):
                    grads.append(stream.grad)

    experiments = {
        "12 saves of one row": one_row_of_each_layer,
        "all residual streams": residual_streams,
        "gradients at all layers": gradients,
    }
    for run in [forward, *experiments.values()]:
        run()
    taken = {name: [] for name in ["bare", *experiments]}
    for _ in range(samples):
        for name, run in [("bare", forward), *experiments.items()]:
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print(json.dumps({name: medians[name] / medians["bare"] for name in experiments}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
