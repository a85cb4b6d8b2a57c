#!/usr/bin/env python3
"""Make beams/cases.json and beams/golden.safetensors: what transformers' beam search finds.

Needs torch, transformers and safetensors; gpt2-tiny, made by make_gpt2.py, and families/llama, made
by make_families.py, are read, both in float32. The JSON names the cases by model: each has the
options of its generation in Weft's text form, and its prompts. Tensors:

  MODEL/CASE/ids      what is returned: prompts (padded on the left) and new tokens, then pads
  MODEL/CASE/scores   the score of each: the sum of its log probabilities over length ** penalty

`stops` are generations of gpt2-tiny that a stop string ends: prompt, options, and the new ids; the
text is the tokenizer's, so what a stop string is found in is known to transformers.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
MODELS = {"gpt2-tiny": HERE / "gpt2-tiny", "llama": HERE / "families" / "llama"}
PAD = 96
SINGLE = [[39, 72, 94, 86, 68, 69, 83]]
BATCH = [[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]
ENDS = "ends"  # two tokens that beams of this model do choose
CASES = {
    "plain": {"num_beams": 4},
    "two": {"num_beams": 2, "num_return_sequences": 2},
    "many": {"num_beams": 24, "num_return_sequences": 24},
    "all": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS},
    "long": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS, "length_penalty": 2.0},
    "sums": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS, "length_penalty": 0.0},
    "short": {"num_beams": 4, "num_return_sequences": 3, "eos": ENDS, "length_penalty": -1.5},
    "at_once": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS, "early_stopping": True},
    "never": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS, "early_stopping": "never"},
    "never_longer": {
        "num_beams": 3,
        "num_return_sequences": 3,
        "eos": ENDS,
        "early_stopping": "never",
        "length_penalty": 1.5,
    },
    "not_before": {"num_beams": 4, "num_return_sequences": 4, "eos": ENDS, "min_new_tokens": 5},
    "repetition": {"num_beams": 4, "num_return_sequences": 2, "repetition_penalty": 1.4},
    "no_repeat": {"num_beams": 4, "num_return_sequences": 2, "no_repeat_ngram_size": 2},
    "no_token_twice": {"num_beams": 3, "num_return_sequences": 3, "no_repeat_ngram_size": 1},
    "batch": {"num_beams": 4, "num_return_sequences": 2, "batch": True},
    "batch_of_ends": {"num_beams": 3, "num_return_sequences": 3, "batch": True, "eos": ENDS},
    "batch_at_once": {
        "num_beams": 3,
        "num_return_sequences": 3,
        "batch": True,
        "eos": ENDS,
        "early_stopping": True,
    },
}
LENGTH = 10


def padded(prompts):
    longest = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts]),
    }


def header(options, ends):
    given = {key: value for key, value in options.items() if key not in ("batch", "eos")}
    if "early_stopping" in given:
        given["early_stopping"] = str(given["early_stopping"]).lower()
    parts = [f"generate max_new_tokens={LENGTH} eos_token_ids={ends}"]
    return " ".join(parts + [f"{name}={value}" for name, value in given.items()])


def search(model, options):
    prompts = BATCH if options.get("batch") else SINGLE
    ends = options["eos"] if isinstance(options.get("eos"), list) else [PAD]
    given = {key: value for key, value in options.items() if key not in ("batch", "eos")}
    found = model.generate(
        **padded(prompts),
        max_new_tokens=LENGTH,
        do_sample=False,
        pad_token_id=PAD,
        eos_token_id=ends,
        return_dict_in_generate=True,
        output_scores=True,
        **given,
    )
    case = {"options": header(options, ends), "prompts": prompts}
    return case, found.sequences, found.sequences_scores


def ends_of(model):
    """Two tokens that the beams choose early and late, so that some texts end and some do not."""
    _, ids, _ = search(model, CASES["many"])
    new = ids[:, len(SINGLE[0]) :]
    late = new[0, 6].item()
    early = next(token for token in new[1:, 2].tolist() if token not in (late, PAD))
    return [early, late]


def stops(model):
    """Stop strings beside min_new_tokens, and some that begin in the prompt."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(MODELS["gpt2-tiny"] / "tokenizer.json"))
    cases = []

    def add(prompt, prompt_ids, **options):
        inputs = torch.tensor([prompt_ids])
        ids = model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=LENGTH,
            pad_token_id=PAD,
            eos_token_id=PAD,
            do_sample=False,
            tokenizer=tokenizer,
            **options,
        )
        cases.append(
            {"prompt": prompt, "options": options, "ids": ids[0, len(prompt_ids) :].tolist()}
        )
        return cases[-1]["ids"]

    prompt = "a b c"
    prompt_ids = tokenizer(prompt)["input_ids"]
    whole = add(prompt, prompt_ids)
    text = [tokenizer.decode([token]) for token in whole]
    middle = text[2] + text[3]
    add(prompt, prompt_ids, stop_strings=[middle])
    add(prompt, prompt_ids, stop_strings=[middle], min_new_tokens=8)
    add(prompt, prompt_ids, stop_strings=["c" + text[0]])
    add(prompt, prompt_ids, stop_strings=["c" + text[0] + text[1]])
    add(prompt, prompt_ids, stop_strings=["c"])
    add(prompt, prompt_ids, stop_strings=[middle, text[1] + text[2]], num_beams=4)
    return cases


def differs(ids, others):
    rows = min(len(ids), len(others))
    return ids.shape[1] != others.shape[1] or not torch.equal(ids[:rows], others[:rows])


def main():
    out, cases = {}, {}
    for name, folder in MODELS.items():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        model.generation_config.eos_token_id = None
        with torch.no_grad():
            ends = ends_of(model)
            cases[name] = {}
            for case, options in CASES.items():
                if "eos" in options:
                    options = {**options, "eos": ends}
                cases[name][case], ids, scores = search(model, options)
                out[f"{name}/{case}/ids"] = ids.contiguous()
                out[f"{name}/{case}/scores"] = scores.contiguous()
            if name == "gpt2-tiny":
                cases["stops"] = stops(model)
    # Only a case that differs shows that its option was heard.
    for case in ("long", "sums", "short", "at_once", "not_before"):
        assert any(differs(out[f"{name}/{case}/ids"], out[f"{name}/all/ids"]) for name in MODELS), (
            case
        )
    folder = HERE / "beams"
    folder.mkdir(exist_ok=True)
    save_file(out, folder / "golden.safetensors")
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    for name, tensor in out.items():
        print(name, tensor.tolist())
    print(json.dumps(cases["stops"]))


if __name__ == "__main__":
    main()
