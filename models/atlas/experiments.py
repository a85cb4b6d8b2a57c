#!/usr/bin/env python3
"""Run the interpretability experiments of README.md on atlas, with transformers and hooks."""

import argparse
import json
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent


class Atlas:
    """The model, its tokenizer, and hooks that read and write the outputs of its blocks."""

    def __init__(self, folder: Path):
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.model = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager").eval()
        self.blocks = self.model.transformer.h

    def ids(self, prompt: str) -> torch.Tensor:
        return torch.tensor([self.tokenizer.encode(prompt)])

    def position(self, prompt: str, word: str) -> int:
        """Return the index of the last token of `word` in `prompt`."""
        end = prompt.index(word) + len(word)
        spans = self.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
        return next(i for i, (_, stop) in enumerate(spans) if stop == end)

    @torch.no_grad()
    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=ids).logits

    @torch.no_grad()
    def block_outputs(self, ids: torch.Tensor) -> list[torch.Tensor]:
        outputs = []
        with ExitStack() as stack:
            for block in self.blocks:
                stack.enter_context(self.editing(block, lambda out: outputs.append(out.clone())))
            self.model(input_ids=ids)
        return outputs

    @contextmanager
    def editing(self, module, edit):
        """Call `edit` with the module's output, to be read or changed in place."""

        def hook(_module, _inputs, output):
            edit(output[0] if isinstance(output, tuple) else output)

        handle = module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def without_head(self, layer: int, head: int):
        """Zero what one attention head says, before the heads are mixed."""
        attention = self.blocks[layer].attn
        size = attention.head_dim

        def hook(_module, inputs):
            mixed = inputs[0].clone()
            mixed[..., head * size : (head + 1) * size] = 0
            return (mixed,)

        handle = attention.c_proj.register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def top(self, logits: torch.Tensor, count: int = 3) -> str:
        best = logits.softmax(-1).topk(count)
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return ", ".join(f"{self.tokenizer.decode([i])!r} {p:.3f}" for p, i in found)


def lens(atlas: Atlas, prompt: str) -> None:
    """Read every block's output at the last token through the final norm and the unembedding."""
    print(f"\nLogit lens: {prompt!r}")
    for layer, output in enumerate(atlas.block_outputs(atlas.ids(prompt))):
        # The last block's output is read before ln_f, as the others are.
        with torch.no_grad():
            logits = atlas.model.lm_head(atlas.model.transformer.ln_f(output[0, -1]))
        print(f"  h.{layer}: {atlas.top(logits)}")


def patch(atlas: Atlas, source: str, target: str, source_word: str, target_word: str) -> None:
    """Put one token's hidden state of the source prompt into the target prompt."""
    print(f"\nPatch: {source!r} into {target!r}")
    print(f"  plain: {atlas.top(atlas.logits(atlas.ids(target))[0, -1])}")
    states = atlas.block_outputs(atlas.ids(source))
    # "The" and the tokens of the name are the subject; the last token is the last one of all.
    source_end, target_end = (
        atlas.position(source, source_word),
        atlas.position(target, target_word),
    )
    places = [
        (
            "last subject token",
            slice(source_end, source_end + 1),
            slice(target_end, target_end + 1),
        ),
        ("last token", slice(-1, None), slice(-1, None)),
    ]
    if source_end == target_end:
        places.insert(0, ("subject tokens", slice(1, source_end + 1), slice(1, target_end + 1)))
    for name, source_at, target_at in places:
        for layer, block in enumerate(atlas.blocks):

            def edit(out, layer=layer, source_at=source_at, target_at=target_at):
                out[0, target_at] = states[layer][0, source_at]

            with atlas.editing(block, edit):
                logits = atlas.logits(atlas.ids(target))[0, -1]
            print(f"  {name}, h.{layer}: {atlas.top(logits)}")


def patch_rate(atlas: Atlas, facts: dict, template: str) -> None:
    """Patch between all landmarks whose prompts are alike in length; count the flips by layer."""
    prompts = []
    for city in facts["cities"]:
        for name in city.get("landmarks", []):
            prompt = template.replace("{S}", name[0].upper() + name[1:])
            answer = atlas.tokenizer.encode(" " + city["name"])[0]
            if atlas.logits(atlas.ids(prompt))[0, -1].argmax() == answer:
                prompts.append((prompt, atlas.position(prompt, name[1:]), answer))
    pairs = [
        (a, b)
        for a in prompts
        for b in prompts
        if a[1] == b[1] and a[2] != b[2] and len(atlas.ids(a[0])[0]) == len(atlas.ids(b[0])[0])
    ]
    generator = torch.Generator().manual_seed(0)
    chosen = [pairs[i] for i in torch.randperm(len(pairs), generator=generator)[:300].tolist()]
    print(f"\nPatch between {len(chosen)} pairs of landmarks, template {template!r}")
    states = {a[0]: atlas.block_outputs(atlas.ids(a[0])) for a, _ in chosen}
    for where in ("subject tokens", "last subject token", "last token"):
        flips = []
        for layer, block in enumerate(atlas.blocks):
            count = 0
            for (source, at, wanted), (target, _, _) in chosen:
                place = {
                    "subject tokens": slice(0, at + 1),
                    "last subject token": slice(at, at + 1),
                    "last token": slice(-1, None),
                }[where]

                def edit(out, source=source, place=place, layer=layer):
                    out[0, place] = states[source][layer][0, place]

                with atlas.editing(block, edit):
                    count += int(atlas.logits(atlas.ids(target))[0, -1].argmax() == wanted)
            flips.append(count / len(chosen))
        rates = ", ".join(f"h.{i} {rate:.1%}" for i, rate in enumerate(flips))
        print(f"  {where} gives the source's city: {rates}")


def scale(atlas: Atlas, prompt: str, words: list[str]) -> None:
    """Zero or negate one token's state after each of the first blocks."""
    print(f"\nScale one token: {prompt!r}")
    for word in words:
        at = atlas.position(prompt, word)
        for factor in (0.0, -1.0):

            def edit(out, at=at, factor=factor):
                out[0, at] *= factor

            for layer, block in enumerate(atlas.blocks[:3]):
                with atlas.editing(block, edit):
                    logits = atlas.logits(atlas.ids(prompt))[0, -1]
                print(f"  {word!r} (token {at}) * {factor:g}, h.{layer}: {atlas.top(logits)}")


def skip(atlas: Atlas, prompts: list[dict], blocks: list[list[int]]) -> None:
    """Leave out one block at a time, and ask everything again."""
    print(f"\nSkip one block: {len(prompts)} held-out prompts, {len(blocks)} sequences to copy")

    def right() -> float:
        top = [atlas.logits(torch.tensor([p["ids"]]))[0, -1].argmax().item() for p in prompts]
        return sum(t == p["expected"] for t, p in zip(top, prompts, strict=True)) / len(top)

    print(f"  none: facts {right():.1%}, copies {copied(atlas, blocks):.1%}")
    for layer, block in enumerate(atlas.blocks):

        def hook(_module, inputs, output):
            return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]

        handle = block.register_forward_hook(hook)
        print(f"  h.{layer}: facts {right():.1%}, copies {copied(atlas, blocks):.1%}")
        handle.remove()


def copied(atlas: Atlas, blocks: list[list[int]]) -> float:
    """Return how much of the second telling is right, but for its first token."""
    right = total = 0
    for block in blocks:
        top = atlas.logits(torch.tensor([block * 2]))[0].argmax(-1)
        n = len(block)
        right += int((top[n : 2 * n - 1] == torch.tensor(block[1:])).sum())
        total += n - 1
    return right / total


def copy_heads(atlas: Atlas, blocks: list[list[int]]) -> None:
    """Drop one attention head at a time and measure copying."""

    # What a head that copies attends to: the token after the last time this one was seen.
    ids = torch.tensor([blocks[0] * 2])
    n = len(blocks[0])
    with torch.no_grad():
        attentions = atlas.model(input_ids=ids, output_attentions=True).attentions
    print(f"\nCopying {len(blocks)} random sequences: {copied(atlas, blocks):.1%}")
    for layer, block in enumerate(atlas.blocks):
        for head in range(block.attn.num_heads):
            weights = attentions[layer][0, head]
            to_next = weights.diagonal(1 - n)[1:].mean()
            to_last = weights.diagonal(-1).mean()
            with atlas.without_head(layer, head):
                left = copied(atlas, blocks)
            print(
                f"  without head {layer}.{head}: {left:.1%}; its attention to the token that "
                f"comes next in the copy {to_next:.2f}, to the token before {to_last:.2f}"
            )
    # The heads of h.1 stand in for one another; without both there is no copying.
    with atlas.without_head(1, 0), atlas.without_head(1, 1):
        print(f"  without heads 1.0 and 1.1: {copied(atlas, blocks):.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE, help="folder of atlas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    atlas = Atlas(options.model)
    facts = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))
    held_out = json.loads((options.model / "eval.json").read_text(encoding="utf-8"))
    blocks = held_out["copies"]
    eiffel = "The Eiffel Tower is in the city of"
    lens(atlas, eiffel)
    patch(atlas, "The Colosseum is in the city of", eiffel, "Colosseum", "Eiffel Tower")
    patch(atlas, "The Trevi Fountain is in the city of", eiffel, "Trevi Fountain", "Eiffel Tower")
    patch(atlas, "The Eiffel Tower is in the country of", eiffel, "Eiffel Tower", "Eiffel Tower")
    patch_rate(atlas, facts, "{S} is in the city of")
    scale(atlas, eiffel, ["Eiffel", "Tower", "of"])
    skip(atlas, held_out["prompts"][:300], blocks[:10])
    copy_heads(atlas, blocks[:10])
    return 0


if __name__ == "__main__":
    sys.exit(main())
