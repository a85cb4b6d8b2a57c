#!/usr/bin/env python3
"""Make nnsight/scenarios.weft and nnsight/golden.safetensors from the scenarios beside them.

make_nnsight.py [NAME...]: with names, only run these and print what they give.

Needs nnsight 0.8.1, torch, transformers 5 and safetensors; the folder gpt2-tiny is read. Each tensor
is named SCENARIO/SAVE, and a part of a list or dict SCENARIO/SAVE/PART.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from nnsight.modeling.transformers import TransformersModel
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging

FOLDER = Path(__file__).resolve().parent
TINY = FOLDER / "gpt2-tiny"
sys.path.insert(0, str(FOLDER / "nnsight"))

import batching  # noqa: E402, F401
import control  # noqa: E402, F401
import experiments  # noqa: E402, F401
import generation  # noqa: E402, F401
import gradient_edits  # noqa: E402, F401
import gradients  # noqa: E402, F401
import inside  # noqa: E402, F401
import reading  # noqa: E402, F401
import sessions  # noqa: E402, F401
import steps  # noqa: E402, F401
import values  # noqa: E402, F401
import writing  # noqa: E402, F401
from common import SCENARIOS  # noqa: E402

logging.disable_progress_bar()

HEADER = """\
# Programs in Weft's text form, each beside the nnsight code that it is compared with in
# tests/parity/nnsight/*.py, which make_nnsight.py made this file from.
"""


def new_model():
    """The tiny model in nnsight, with attention whose weights can be read."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(TINY / "tokenizer.json"),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    module = GPT2LMHeadModel.from_pretrained(TINY, attn_implementation="eager").eval()
    return TransformersModel(module, task="text-generation", tokenizer=tokenizer)


def flatten(name, value, out):
    if value is None:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            flatten(f"{name}/{key}", item, out)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            flatten(f"{name}/{index}", item, out)
    else:
        tensor = torch.as_tensor(value).detach().clone().contiguous()
        assert name not in out, name
        out[name] = tensor


def run(name, scenario):
    """What nnsight gives. Each scenario has a model of its own: some change it."""
    out = {}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = scenario.function(new_model())
        except Exception as error:  # noqa: BLE001 - compared with what the scenario says
            if scenario.raises is None or scenario.raises not in type(error).__name__:
                raise
            return out
    if scenario.raises is not None:
        raise AssertionError(f"{name}: nnsight did not raise {scenario.raises}")
    for save, value in (values or {}).items():
        flatten(f"{name}/{save}", value, out)
    return out


def main():
    chosen = sys.argv[1:]
    golden, text, failed = {}, [HEADER], []
    for name, scenario in SCENARIOS.items():
        if chosen and name not in chosen:
            continue
        try:
            tensors = run(name, scenario)
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            failed.append(f"{name}: {type(error).__name__}: {error}")
            continue
        golden.update(tensors)
        directives = "".join(f"#! {directive}\n" for directive in scenario.directives)
        text.append(f"#! scenario {name}\n{directives}{scenario.program}\n")
    if chosen:
        for name, tensor in golden.items():
            print(name, tuple(tensor.shape), tensor.flatten()[:4].tolist())
    elif not failed:
        (FOLDER / "nnsight" / "scenarios.weft").write_text("\n".join(text))
        save_file(golden, FOLDER / "nnsight" / "golden.safetensors")
        print(f"{len(SCENARIOS)} scenarios, {len(golden)} tensors")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
