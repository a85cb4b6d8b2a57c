#!/usr/bin/env python3
"""Make gpt2-tiny/sampling.safetensors and sampling.json: what transformers' `generate` draws from.

Needs torch, transformers and safetensors; the folder gpt2-tiny, made by make_gpt2.py, is read. The
JSON names the cases, each with the options of its generation in Weft's text form. Tensors:

  logits              [6, 97], as a model might give them
  ids                 [6, 12]: a prompt of 7 tokens, then new ones
  distribution/CASE   [6, 97]: softmax of the logits after the LogitsProcessorList of the options
  generated/CASE      the ids of a generation from one prompt that takes the likeliest token
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, GPT2LMHeadModel

TINY = Path(__file__).resolve().parent / "gpt2-tiny"
PAD = 96
ROWS, PROMPT, NEW, VOCABULARY = 6, 7, 5, 97
SINGLE = [39, 72, 94, 86, 68, 69, 83]
SAMPLED = {
    "plain": {},
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 2.5},
    "cold": {"temperature": 0.05},
    "top_k": {"top_k": 7},
    "top_k_of_one": {"top_k": 1},
    "top_k_of_all": {"top_k": 1000},
    "top_p": {"top_p": 0.8},
    "small_top_p": {"top_p": 0.01},
    "top_p_of_all": {"top_p": 1.0},
    "min_p": {"min_p": 0.1},
    "min_p_of_one": {"min_p": 1.0},
    "repetition": {"repetition_penalty": 1.3},
    "less_repetition": {"repetition_penalty": 0.8},
    "temperature_and_top_p": {"temperature": 1.5, "top_p": 0.6},
    "top_k_then_top_p": {"top_k": 20, "top_p": 0.7},
    "top_k_then_min_p": {"temperature": 1.2, "top_k": 12, "min_p": 0.2},
    "no_end_yet": {"min_new_tokens": 6, "eos_token_ids": [3, 50]},
    "end_allowed": {"min_new_tokens": 5, "eos_token_ids": [3, 50]},
    "all": {
        "temperature": 0.9,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.02,
        "repetition_penalty": 1.2,
        "min_new_tokens": 8,
        "eos_token_ids": [1, 2, 60],
    },
}
LIKELIEST = {
    "repetition": {"repetition_penalty": 1.4, "eos_token_ids": [96]},
    "less_repetition": {"repetition_penalty": 0.5, "eos_token_ids": [96]},
    "several_ends": {"eos_token_ids": []},
    "ends_not_before": {"eos_token_ids": [], "min_new_tokens": 6},
}
LENGTH = 12


def header(length, options):
    """The options as a trace's header in Weft's text form."""
    parts = [f"max_new_tokens={length}"]
    parts += [f"{name}={value}" for name, value in options.items()]
    return "generate " + " ".join(parts)


def config(length, options, sample):
    given = dict(options)
    end = given.pop("eos_token_ids", PAD)
    return GenerationConfig(
        max_new_tokens=length, do_sample=sample, pad_token_id=PAD, eos_token_id=end, **given
    )


def distribution(model, ids, logits, options):
    generation = config(20, options, sample=True)
    model._prepare_special_tokens(generation, device=logits.device)
    processors = model._get_logits_processor(generation, input_ids_seq_length=PROMPT)
    return torch.softmax(processors(ids, logits.clone()).double(), dim=-1)


def main():
    model = GPT2LMHeadModel.from_pretrained(TINY).eval()
    torch.manual_seed(5)
    logits = 3 * torch.randn(ROWS, VOCABULARY)
    ids = torch.randint(0, VOCABULARY - 1, (ROWS, PROMPT + NEW))
    # The likeliest token is one that the row has, and one is there several times.
    ids[0, 3] = logits[0].argmax()
    ids[1, -3:] = logits[1].argmax()
    out = {"logits": logits, "ids": ids}
    cases = {"prompt": PROMPT, "distribution": {}, "generated": {}}
    for name, options in SAMPLED.items():
        out[f"distribution/{name}"] = distribution(model, ids, logits, options)
        cases["distribution"][name] = header(20, {"do_sample": "true", **options})
    prompt = torch.tensor([SINGLE])
    with torch.no_grad():
        plain = model.generate(prompt, generation_config=config(LENGTH, {}, sample=False))
        plain = plain[0, len(SINGLE) :].tolist()
        # Tokens that do come: the later of them is met first where the other is not before it.
        ends = [plain[4], plain[2]]
        for name, options in LIKELIEST.items():
            chosen = {**options, "eos_token_ids": options["eos_token_ids"] or ends}
            out[f"generated/{name}"] = model.generate(
                prompt, generation_config=config(LENGTH, chosen, sample=False)
            )
            cases["generated"][name] = header(LENGTH, chosen)
    save_file(out, TINY / "sampling.safetensors")
    text = json.dumps(cases, indent=2)
    (TINY / "sampling.json").write_text(text + "\n")
    for name in LIKELIEST:
        print(name, out[f"generated/{name}"].tolist())


if __name__ == "__main__":
    main()
