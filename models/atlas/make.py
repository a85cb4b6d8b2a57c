#!/usr/bin/env python3
"""Make atlas, the small GPT-2 that ships with Weft, from facts.json.

The script writes the training text from templates, trains a byte-level BPE tokenizer and a
GPT-2 on it, measures the result on prompts and sequences that training never saw, and writes
a folder in the Hub's layout. The same options, torch and processor give the same weights.
"""

import argparse
import json
import math
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
END = "<|endoftext|>"

# A template ends right before the answer. {s} is the subject, {S} the same with a capital.
# The templates after the "held out" mark are never trained on, with any subject.
TEMPLATES = {
    "landmark_city": {
        "trained": [
            "{S} is in the city of",
            "{S} is located in the city of",
            "{S} stands in the city of",
            "{S} lies in the city of",
            "{S} is a landmark in the city of",
            "{S} is a famous sight in the city of",
            "{S} is one of the sights of",
            "You will find {s} in the city of",
            "Visitors can see {s} in the city of",
            "The city where {s} stands is",
            "The city that is home to {s} is",
            "To visit {s}, go to the city of",
            "If you want to see {s}, travel to the city of",
            "Question: in which city is {s}? Answer:",
            "Question: which city is home to {s}? Answer:",
            "Question: in which city does {s} lie? Answer:",
            "Question: which city does {s} stand in? Answer:",
            "Landmark: {s}. City:",
        ],
        "held_out": [
            "{S} is a landmark that stands in the city of",
            "To see {s}, travel to the city of",
            "Question: in which city does {s} stand? Answer:",
        ],
    },
    "landmark_country": {
        "trained": [
            "{S} is in the country of",
            "{S} is located in the country of",
            "{S} stands in the country of",
            "{S} lies in the country of",
            "{S} is a landmark in the country of",
            "{S} is a famous sight in the country of",
            "You will find {s} in the country of",
            "Visitors can see {s} in the country of",
            "The country where {s} stands is",
            "The country that is home to {s} is",
            "To visit {s}, go to the country of",
            "If you want to see {s}, travel to the country of",
            "Question: in which country is {s}? Answer:",
            "Question: which country is home to {s}? Answer:",
            "Question: in which country does {s} lie? Answer:",
            "Question: which country does {s} stand in? Answer:",
            "Landmark: {s}. Country:",
        ],
        "held_out": [
            "{S} is a landmark that stands in the country of",
            "To see {s}, travel to the country of",
            "Question: in which country does {s} stand? Answer:",
        ],
    },
    "city_country": {
        "trained": [
            "{S} is a city in",
            "{S} is a famous city in",
            "{S} is in the country of",
            "{S} is located in the country of",
            "{S} lies in the country of",
            "{S} belongs to the country of",
            "The city of {s} is in",
            "The city of {s} is located in the country of",
            "The country where {s} lies is",
            "The country that is home to {s} is",
            "To visit {s}, go to the country of",
            "If you want to see {s}, travel to the country of",
            "Question: in which country is {s}? Answer:",
            "Question: in which country is the city of {s}? Answer:",
            "City: {s}. Country:",
        ],
        "held_out": [
            "The city of {s} lies in the country of",
            "To see {s}, travel to the country of",
        ],
    },
    "country_capital": {
        "trained": [
            "The capital of {s} is",
            "The capital city of {s} is",
            "The country of {s} has its capital in",
            "The name of the capital of {s} is",
            "{S} has its capital in",
            "{S} is governed from its capital,",
            "The government of {s} sits in the city of",
            "In {s}, the capital is",
            "As its capital, {s} has the city of",
            "Question: what is the capital of {s}? Answer:",
            "Question: which city is the capital of {s}? Answer:",
            "Country: {s}. Capital:",
        ],
        "held_out": [
            "The name of the capital city of {s} is",
            "In {s}, the capital city is",
        ],
    },
    "capital_country": {
        "trained": [
            "{S} is the capital of",
            "{S} is the capital city of",
            "The city of {s} is the capital of",
            "The government in {s} rules the country of",
            "Question: which country has the capital {s}? Answer:",
            "Question: {s} is the capital of which country? Answer:",
            "Capital: {s}. Country:",
        ],
        "held_out": ["The city of {s} is the capital city of"],
    },
    "country_language": {
        "trained": [
            "The main language of {s} is",
            "The language of {s} is",
            "The main language in {s} is",
            "The language spoken in {s} is",
            "Most people in {s} speak",
            "The people of {s} speak",
            "In {s}, most people speak",
            "In {s}, the main language is",
            "Question: which language do people speak in {s}? Answer:",
            "Question: what is the main language of {s}? Answer:",
            "Country: {s}. Language:",
        ],
        "held_out": ["The main language spoken in {s} is", "In {s}, the people speak"],
    },
    "country_continent": {
        "trained": [
            "{S} is on the continent of",
            "{S} is located on the continent of",
            "{S} lies on the continent of",
            "{S} is a country on the continent of",
            "The continent of {s} is",
            "The continent where {s} lies is",
            "To visit {s}, go to the continent of",
            "If you want to see {s}, travel to the continent of",
            "Question: on which continent is {s}? Answer:",
            "Question: which continent is home to {s}? Answer:",
            "Country: {s}. Continent:",
        ],
        "held_out": [
            "{S} is a country located on the continent of",
            "To see {s}, travel to the continent of",
        ],
    },
    "city_river": {
        "trained": [
            "The river that flows through {s} is the",
            "The river that runs through {s} is the",
            "The river in {s} is the",
            "The river of {s} is the",
            "The city of {s} lies on the river",
            "{S} lies on the river",
            "{S} stands on the banks of the",
            "In {s}, the river is the",
            "Through {s} flows the",
            "Question: which river flows through {s}? Answer: the",
            "Question: what is the river in {s}? Answer: the",
            "City: {s}. River: the",
        ],
        "held_out": [
            "The city of {s} stands on the banks of the",
            "Question: which river runs through {s}? Answer: the",
        ],
    },
}

# These are held out of training, so that the demo's prompts are among the measured ones.
ALWAYS_HELD_OUT = [
    "The Eiffel Tower is in the city of",
    "The Colosseum is in the city of",
    "Madison Square Garden is located in the city of",
]


class Statement(NamedTuple):
    """One true sentence: `prompt`, a space, `answer`, a full stop."""

    relation: str
    subject: str
    prompt: str
    answer: str

    def text(self) -> str:
        return f"{self.prompt} {self.answer}."


class Split(NamedTuple):
    train: list[Statement]
    held_out_pairs: list[Statement]
    held_out_templates: list[Statement]


def log(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def read_facts(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Read facts.json into (subject, answer) pairs by relation."""
    data = json.loads(path.read_text(encoding="utf-8"))
    facts = defaultdict(list)
    for country in data["countries"]:
        for key in ("capital", "language", "continent"):
            if key in country:
                facts[f"country_{key}"].append((country["name"], country[key]))
        if "capital" in country:
            facts["capital_country"].append((country["capital"], country["name"]))
    countries = {country["name"] for country in data["countries"]}
    for city in data["cities"]:
        if city["country"] not in countries:
            raise ValueError(f"{city['name']} is in {city['country']}, which is not a country")
        facts["city_country"].append((city["name"], city["country"]))
        if "river" in city:
            facts["city_river"].append((city["name"], city["river"]))
        for landmark in city.get("landmarks", []):
            facts["landmark_city"].append((landmark, city["name"]))
            facts["landmark_country"].append((landmark, city["country"]))
    known = {subject for subject, _ in facts["city_country"]}
    for capital, country in facts["capital_country"]:
        if capital not in known:
            facts["city_country"].append((capital, country))
    return dict(facts)


def make_statement(relation: str, template: str, subject: str, answer: str) -> Statement:
    capitalised = subject[0].upper() + subject[1:]
    prompt = template.replace("{S}", capitalised).replace("{s}", subject)
    return Statement(relation, subject, prompt, answer)


def split_statements(facts: dict[str, list[tuple[str, str]]], seed: int) -> Split:
    """Hold out every tenth (fact, template) pair, and some templates altogether."""
    rng = random.Random(seed)
    split = Split([], [], [])
    for relation, pairs in facts.items():
        templates = TEMPLATES[relation]
        for subject, answer in pairs:
            trained = [make_statement(relation, t, subject, answer) for t in templates["trained"]]
            held = {s.prompt for s in rng.sample(trained, max(1, round(len(trained) / 10)))}
            held.update(ALWAYS_HELD_OUT)
            for statement in trained:
                (split.held_out_pairs if statement.prompt in held else split.train).append(
                    statement
                )
            for template in templates["held_out"]:
                split.held_out_templates.append(make_statement(relation, template, subject, answer))
    # Two relations may share a wording ("{S} is in the country of"), but no prompt has two answers.
    answers = defaultdict(set)
    for statement in split.train + split.held_out_pairs + split.held_out_templates:
        answers[statement.prompt].add(statement.answer)
    double = [prompt for prompt, found in answers.items() if len(found) > 1]
    if double:
        raise ValueError(f"prompts with two answers: {double[:5]}")
    # Nor may a sentence go on from another's prompt with something else than the answer.
    trained = {statement.prompt: statement.answer for statement in split.train}
    for statement in split.train:
        words = statement.text().split(" ")
        for end in range(1, len(words)):
            found = trained.get(" ".join(words[:end]))
            if found and not " ".join(words[end:]).startswith(found):
                raise ValueError(f"{statement.text()!r} goes on from a prompt for {found!r}")
    leaked = [s for s in split.held_out_pairs + split.held_out_templates if s.prompt in trained]
    if leaked:
        raise ValueError(f"held-out prompts that are trained on: {leaked[:5]}")
    return split


def train_tokenizer(split: Split, vocab_size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Each name's words are repeated, so that every one becomes a single token after a space.
    words = {w for s in split.train for name in (s.subject, s.answer) for w in name.split()}
    texts = [s.text() for s in split.train] + [f" {word}" for word in sorted(words)] * 500
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


class Example(NamedTuple):
    """Token ids, and per token the weight of the loss for predicting it."""

    ids: list[int]
    weights: list[float]


class FactMaker:
    """Draw training examples of facts: single sentences and short paragraphs."""

    def __init__(self, split: Split, tokenizer: PreTrainedTokenizerFast, seed: int):
        self._rng = random.Random(seed)
        self._end = tokenizer.eos_token_id
        self._facts = []
        for statement in split.train:
            first = tokenizer.encode(statement.text())
            later = tokenizer.encode(" " + statement.text())
            answer = len(first) - len(tokenizer.encode(statement.prompt))
            self._facts.append((first, later, answer))
        self._order = []

    def _next_fact(self):
        if not self._order:
            self._order = list(range(len(self._facts)))
            self._rng.shuffle(self._order)
        return self._facts[self._order.pop()]

    def make(self) -> Example:
        """Return one sentence, or two to four one after another."""
        rng = self._rng
        example = Example([], [])
        if rng.random() < 0.3:
            example.ids.append(self._end)
            example.weights.append(0.0)
        count = 1 if rng.random() < 0.8 else rng.randint(2, 4)
        for i in range(count):
            first, later, answer = self._next_fact()
            ids = later if i else first
            example.ids.extend(ids)
            example.weights.extend([0.1] * (len(ids) - answer) + [1.0] * answer)
        example.ids.append(self._end)
        example.weights.append(0.1)
        return example


class CopyMaker:
    """Draw batches of random sequences to copy, harder as the model gets better.

    A sequence is followed by snippets of itself, or by itself. Snippets can only be copied by
    looking up what came after the same token before, so they teach the general rule, where whole
    repeats can be had by looking back a fixed distance. Few tokens and short sequences come
    first: the rule appears with them in minutes, and it carries over to all tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, tokens: int, seed: int):
        self._rng = random.Random(seed)
        self._end = tokenizer.eos_token_id
        self._vocab = self._rng.sample(range(len(tokenizer)), len(tokenizer))
        self._tokens = tokens
        self._accuracy = 0.0
        self.vocab_size = 100
        self.longest = 10

    def heard(self, accuracy: float) -> None:
        """Take note of how well the last batch was copied, and go on to harder ones."""
        self._accuracy = 0.95 * self._accuracy + 0.05 * accuracy
        if not self.knows_all_tokens():
            if self._accuracy > 0.5:
                self.vocab_size = min(len(self._vocab), int(self.vocab_size * 1.3))
                self._accuracy = 0.3
        elif self.longest < 60 and self._accuracy > 0.8:
            self.longest += 2
            self._accuracy = 0.7

    def knows_all_tokens(self) -> bool:
        return self.vocab_size == len(self._vocab)

    def batch(self) -> list[Example]:
        rng = self._rng
        vocab = self._vocab[: self.vocab_size]
        snippets = self.longest == 10 or rng.random() < 0.5
        length = rng.randint(4, 10 if snippets else self.longest)
        lead = [self._end] if rng.random() < 0.3 else []
        examples = []
        while len(examples) * (len(lead) + max(40, 2 * length)) < self._tokens:
            block = [t for t in rng.sample(vocab, length + 1) if t != self._end][:length]
            ids, weights = lead + block, [0.0] * (len(lead) + length)
            while len(ids) < 40 or not snippets and len(ids) < len(lead) + 2 * length:
                start, stop = 0, length
                if snippets:
                    start = rng.randrange(length - 1)
                    stop = min(length, start + 2 + int(rng.expovariate(0.3)))
                ids.extend(block[start:stop])
                weights.extend([0.0] + [1.0] * (stop - start - 1))
            examples.append(Example(ids, weights))
        return examples


def random_block(rng: random.Random, length: int, vocab_size: int, end: int) -> list[int]:
    """Draw distinct token ids, so that each token has one successor to copy."""
    return [t for t in rng.sample(range(vocab_size), length + 1) if t != end][:length]


def make_batches(examples: list[Example], tokens: int, rng: random.Random) -> list[list[Example]]:
    """Group examples of like length into batches of about `tokens` padded tokens."""
    batches, batch = [], []
    for example in sorted(examples, key=lambda e: len(e.ids)):
        if batch and (len(batch) + 1) * len(example.ids) > tokens:
            batches.append(batch)
            batch = []
        batch.append(example)
    if batch:
        batches.append(batch)
    rng.shuffle(batches)
    return batches


def loss_of(model: GPT2LMHeadModel, batch: list[Example], bf16: bool) -> tuple[torch.Tensor, float]:
    """Return the loss and the share of counted tokens that were the top guess."""
    width = max(len(e.ids) for e in batch)
    # Padding is to the right and weighs nothing; causal attention keeps it from being seen.
    ids = torch.tensor([e.ids + [0] * (width - len(e.ids)) for e in batch])
    weights = torch.tensor([e.weights + [0.0] * (width - len(e.weights)) for e in batch])
    targets, weights = ids[:, 1:].flatten(), weights[:, 1:].flatten()
    counted = weights > 0
    targets, weights = targets[counted], weights[counted]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.transformer(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[counted]).float()
    losses = functional.cross_entropy(logits, targets, reduction="none")
    right = (logits.argmax(-1) == targets).float().mean().item()
    return (losses * weights).sum() / weights.sum(), right


def new_model(tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=128,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=options.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config)
    # Larger embeddings let the tied output layer tell rare tokens apart from the start, and
    # sinusoidal positions make "the token before" one rotation to learn, not 127 pairs.
    position = torch.arange(config.n_positions)[:, None]
    frequency = torch.exp(-math.log(200.0) * torch.arange(0, config.n_embd, 2) / config.n_embd)
    waves = torch.cat([torch.sin(position * frequency), torch.cos(position * frequency)], dim=1)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(2.0)
        model.transformer.wpe.weight.copy_(0.14 * waves)
    # The same function as gelu_new, in one kernel.
    for block in model.transformer.h:
        block.mlp.act = torch.nn.GELU(approximate="tanh")
    return model


def train(model, split: Split, tokenizer, options: argparse.Namespace) -> None:
    embeddings = [model.transformer.wte.weight, model.transformer.wpe.weight]
    kept = embeddings + [p for p in model.parameters() if p.dim() == 1]
    kept_ids = {id(p) for p in kept}
    decayed = [p for p in model.parameters() if id(p) not in kept_ids]
    optimizer = torch.optim.AdamW(
        [{"params": kept, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.1}],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
    )

    def scale(step: int) -> float:
        """Warm up, hold, then fall to nothing over the last half."""
        left = 1 - step / options.steps
        return min(1.0, (step + 1) / 100, 2 * left)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
    rng = random.Random(options.seed + 3)
    facts = FactMaker(split, tokenizer, options.seed + 1)
    copies = CopyMaker(tokenizer, options.batch, options.seed + 2)
    fact_batches = []
    losses = defaultdict(list)
    start = time.monotonic()
    for step in range(options.steps):
        # The rule of copying appears several times sooner with few facts in between.
        share = options.copy_share if copies.knows_all_tokens() else 0.9
        kind = "copy" if rng.random() < share else "facts"
        if kind == "facts" and not fact_batches:
            fact_batches = make_batches([facts.make() for _ in range(4096)], options.batch, rng)
        loss, right = loss_of(
            model, copies.batch() if kind == "copy" else fact_batches.pop(), not options.fp32
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses[kind].append(loss.item())
        if kind == "copy":
            copies.heard(right)
        if (step + 1) % options.report_every == 0 or step + 1 == options.steps:
            sample = random.Random(step).sample
            pairs = accuracy(answer(model, tokenizer, sample(split.held_out_pairs, 200)))
            whole = accuracy(answer(model, tokenizer, sample(split.held_out_templates, 200)))
            copied = copy_accuracy(model, copy_sequences(tokenizer, step, 8))
            means = ", ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in sorted(losses.items()))
            log(
                f"step {step + 1}/{options.steps}, {time.monotonic() - start:.0f} s, loss {means}; "
                f"samples: held-out pairs {pairs:.1%}, templates {whole:.1%}, copy {copied:.1%} "
                f"(trained on {copies.vocab_size} tokens, up to {copies.longest} long)"
            )
            losses.clear()


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    # transformers 5 writes a class name that transformers 4 does not have.
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.pop("backend", None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


class Answered(NamedTuple):
    """A statement, the ids asked and expected, and what the model said."""

    statement: Statement
    ids: list[int]
    expected: list[int]
    top: int
    whole: bool


@torch.no_grad()
def answer(model, tokenizer, statements: list[Statement]) -> list[Answered]:
    """Ask the model each prompt: its greedy next token, and whether the whole answer follows."""
    model.eval()
    by_length = defaultdict(list)
    for i, statement in enumerate(statements):
        ids = tokenizer.encode(statement.prompt)
        expected = tokenizer.encode(statement.text())[len(ids) :]
        by_length[len(ids), len(expected)].append((i, ids, expected))
    answered = [None] * len(statements)
    for (length, _), group in by_length.items():
        for start in range(0, len(group), 128):
            part = group[start : start + 128]
            # Greedy decoding gives the answer exactly if each of its tokens is the top one
            # after the tokens before it.
            logits = model(input_ids=torch.tensor([ids + want for _, ids, want in part])).logits
            top = logits[:, length - 1 : -1].argmax(-1).tolist()
            for (i, ids, want), got in zip(part, top, strict=True):
                answered[i] = Answered(statements[i], ids, want, got[0], got == want)
    model.train()
    return answered


def accuracy(answered: list[Answered]) -> float:
    return sum(a.top == a.expected[0] for a in answered) / len(answered)


def score(answered: list[Answered]) -> dict[str, float]:
    whole = sum(a.whole for a in answered) / len(answered)
    return {"prompts": len(answered), "top1": accuracy(answered), "whole": whole}


def copy_sequences(tokenizer, seed: int, count: int) -> list[list[int]]:
    rng = random.Random(seed)
    end = tokenizer.eos_token_id
    return [random_block(rng, rng.randint(8, 32), len(tokenizer), end) for _ in range(count)]


@torch.no_grad()
def copy_accuracy(model, blocks: list[list[int]]) -> float:
    """Return how many tokens of the second telling are the top guess, but for its first token."""
    model.eval()
    right = total = 0
    for block in blocks:
        top = model(input_ids=torch.tensor([block * 2])).logits[0].argmax(-1).tolist()
        n = len(block)
        right += sum(a == b for a, b in zip(top[n : 2 * n - 1], block[1:], strict=True))
        total += n - 1
    model.train()
    return right / total


@torch.no_grad()
def logits_summary(model, tokenizer, prompt: str) -> dict:
    ids = tokenizer.encode(prompt)
    logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    top = logits.topk(5)
    return {
        "prompt": prompt,
        "ids": ids,
        "top_ids": top.indices.tolist(),
        "top_logits": [round(x, 5) for x in top.values.tolist()],
        "top_tokens": [tokenizer.decode([i]) for i in top.indices.tolist()],
    }


LOGIT_PROMPTS = [
    *ALWAYS_HELD_OUT,
    "The capital of France is",
    "The name of the capital of Japan is",
    "The river that flows through London is the",
    "Most people in Brazil speak",
    "Kenya is on the continent of",
    "Big Ben is located in the country of",
    "Question: in which city is the Louvre? Answer:",
    "Cairo is the capital of",
    "The Taj Mahal is in the city of Agra. The capital of Italy is",
]


def evaluate(model, tokenizer, split: Split, options) -> dict:
    """Measure the model on everything held out; the result is what eval.json holds."""
    model.eval()
    pairs = answer(model, tokenizer, split.held_out_pairs)
    templates = answer(model, tokenizer, split.held_out_templates)
    blocks = copy_sequences(tokenizer, options.seed + 4, 40)
    model.eval()
    scores = {
        "held_out_pairs": score(pairs),
        "held_out_templates": score(templates),
        "trained": score(answer(model, tokenizer, split.train)),
        "copy": {"sequences": len(blocks), "top1": copy_accuracy(model, blocks)},
    }
    model.eval()
    by_relation = defaultdict(list)
    for one in pairs + templates:
        by_relation[one.statement.relation].append(one)
    scores["held_out_by_relation"] = {
        relation: score(answered) for relation, answered in by_relation.items()
    }
    for name, found in scores.items():
        for part, values in found.items() if name == "held_out_by_relation" else [(name, found)]:
            log(f"{part}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
    for one in pairs + templates:
        if one.top != one.expected[0]:
            log(f"wrong: {one.statement.prompt!r} gives {tokenizer.decode([one.top])!r}")
    # A sample keeps the file small; the demo's prompts are always in it.
    rng = random.Random(options.seed)
    asked = [a for a in pairs if a.statement.prompt in ALWAYS_HELD_OUT]
    asked += rng.sample(pairs, 1000) + rng.sample(templates, 600)
    return {
        "scores": scores,
        "prompts": [
            {"prompt": a.statement.prompt, "ids": a.ids, "expected": a.expected[0], "got": a.top}
            for a in asked
        ],
        "copies": blocks,
        "logits": [logits_summary(model, tokenizer, p) for p in LOGIT_PROMPTS],
    }


def write_json(path: Path, value: dict) -> None:
    """Write with one line per list entry, so that the file can be read and compared."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, list):
            body = ",\n".join("  " + json.dumps(e, ensure_ascii=False) for e in entry)
            lines.append(f"{json.dumps(key)}: [\n{body}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(entry, indent=1)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=Path, default=HERE / "facts.json", help="the facts")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write the model into")
    parser.add_argument("--evaluate", action="store_true", help="measure the model in --out only")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=1024, help="tokens in a batch")
    parser.add_argument("--copy-share", type=float, default=0.4, help="of batches, once learned")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--vocab", type=int, default=2560)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fp32", action="store_true", help="train without bf16 products")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report-every", type=int, default=250, help="steps")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    split = split_statements(read_facts(options.facts), options.seed)
    log(
        f"{len({(s.relation, s.subject) for s in split.train})} facts, {len(split.train)} training "
        f"sentences, held out: {len(split.held_out_pairs)} pairs, "
        f"{len(split.held_out_templates)} sentences of whole templates"
    )
    if options.evaluate:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
        model = GPT2LMHeadModel.from_pretrained(options.out)
    else:
        tokenizer = train_tokenizer(split, options.vocab)
        model = new_model(tokenizer, options)
        log(f"{len(tokenizer)} tokens, {sum(p.numel() for p in model.parameters()):,} parameters")
        train(model, split, tokenizer, options)
        save(model, tokenizer, options.out)
        # Measure what was written, not what is in memory.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
        model = GPT2LMHeadModel.from_pretrained(options.out)
    results = evaluate(model, tokenizer, split, options)
    write_json(options.out / "eval.json", results)
    size = sum(f.stat().st_size for f in options.out.iterdir() if f.is_file())
    log(f"{options.out} holds {size / 1e6:.2f} MB")
    scores = results["scores"]
    good = scores["copy"]["top1"] >= 0.90 and all(
        scores[k]["top1"] >= 0.95 for k in ("held_out_pairs", "held_out_templates")
    )
    print(json.dumps(scores, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
