"""Make a small random GPT-2 and record what transformers gives at every module.

Writes two folders beside this script:

  gpt2-tiny/      a Hub folder (config, weights, tokenizer) and, for each case, the first argument
                  and the output of every module that is called
  gpt2-variants/  one small Hub folder for each field of the configuration that changes the
                  arithmetic or the layout of the checkpoint, each with its logits

Run it with torch 2.11 and transformers 5.x:  python tests/parity/make_gpt2.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2

HERE = Path(__file__).resolve().parent
TINY = HERE / "gpt2-tiny"
VARIANTS = HERE / "gpt2-variants"

# Every printable ASCII character, a space, a newline and the end of text: 97 tokens.
END_OF_TEXT = "<|endoftext|>"
ALPHABET = [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]

SINGLE = ["Hi weft"]
BATCH = ["Paris is", "abc", "x=42;"]
TOLERANCE = 1e-5  # of scale, as everywhere in this repository


def make_tokenizer(folder: Path) -> Tokenizer:
    vocab = {token: i for i, token in enumerate(ALPHABET)}
    vocab[END_OF_TEXT] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def randomize(model: torch.nn.Module, seed: int, attention_std: float, mlp_std: float) -> None:
    """Fill the weights so that attention is sharp and no bias or norm is trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.randn(parameter.shape, generator=generator)
            if ".ln_" in name or "ln_f" in name:
                value = 0.3 * value + (1.0 if name.endswith("weight") else 0.0)
            elif name.endswith("bias"):
                value = 0.3 * value
            elif "attn" in name:
                value = attention_std * value
            elif "wte" in name:
                value = 0.6 * value
            elif "wpe" in name:
                value = 0.4 * value
            else:
                value = mlp_std * value
            parameter.copy_(value)


def make_model(
    seed: int, attention_std: float = 0.45, mlp_std: float = 0.25, **fields
) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=len(ALPHABET) + 1,
        bos_token_id=len(ALPHABET),
        eos_token_id=len(ALPHABET),
        **fields,
    )
    model = GPT2LMHeadModel(config).eval()
    randomize(model, seed, attention_std, mlp_std)
    model.set_attn_implementation("sdpa")
    return model


def left_padded(prompts: list[list[int]], pad: int) -> dict[str, torch.Tensor]:
    """Return ids, mask and the positions that generate() derives from the mask."""
    longest = max(len(p) for p in prompts)
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def describe(value) -> object:
    """Return the Python structure of a value in a form that JSON can hold."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, transformers.utils.ModelOutput):
        return {"model_output": {k: describe(v) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [describe(v) for v in value]}
    raise TypeError(f"unexpected value of type {type(value)}")


def leaves(value, path: str):
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, transformers.utils.ModelOutput):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}/{i}")


class Recording:
    """Record, through hooks, the first argument and the output of every call of a module."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.order: list[list[str]] = []
        self.structure: dict[str, object] = {}
        self.arguments: dict[str, dict[str, object]] = {}
        self._handles = []
        for path, module in model.named_modules():
            self._handles.append(
                module.register_forward_pre_hook(self._enter(path), with_kwargs=True)
            )
            self._handles.append(module.register_forward_hook(self._leave(path)))

    def _keep(self, name: str, tensor: torch.Tensor) -> None:
        if name in self.tensors:
            raise RuntimeError(f"{name} was recorded twice")
        self.tensors[name] = tensor.detach().clone().contiguous()

    def _enter(self, path: str):
        def hook(_module, args, kwargs):
            self.order.append(["enter", path])
            self.arguments[path] = {
                "positional": [describe(a) for a in args],
                "keyword": {
                    k: describe(v) if v is None or isinstance(v, torch.Tensor) else v
                    for k, v in kwargs.items()
                },
            }
            first = next(v for v in [*args, *kwargs.values()] if isinstance(v, torch.Tensor))
            self._keep(f"{path}/input", first)

        return hook

    def _leave(self, path: str):
        def hook(_module, _args, output):
            self.order.append(["leave", path])
            self.structure[path] = describe(output)
            for name, tensor in leaves(output, f"{path}/output"):
                self._keep(name, tensor)

        return hook

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def attention_points(model: GPT2LMHeadModel, inputs: dict[str, torch.Tensor]):
    """Return q, k, v, scores, probs and z of each layer, and the logits, from eager attention.

    All are [batch, heads, tokens, ...]; scores are scaled and not yet masked.
    """
    points: dict[str, torch.Tensor] = {}
    original = modeling_gpt2.eager_attention_forward

    def spy(module, query, key, value, attention_mask, scaling=None, **kwargs):
        output, probs = original(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        scores = torch.matmul(query, key.transpose(-1, -2)) * scaling
        site = f"transformer.h.{module.layer_idx}.attn"
        named = {"q": query, "k": key, "v": value, "scores": scores, "probs": probs}
        named["z"] = output.transpose(1, 2)
        for name, tensor in named.items():
            points[f"{site}/{name}"] = tensor.detach().clone().contiguous()
        return output, probs

    model.set_attn_implementation("eager")
    modeling_gpt2.eager_attention_forward = spy
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        modeling_gpt2.eager_attention_forward = original
        model.set_attn_implementation("sdpa")
    return points, logits


def check_close(what: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
    error = (actual - expected).abs().max() / expected.abs().max()
    if not error <= TOLERANCE:
        raise RuntimeError(f"{what} differs by {error:.2e} of scale")


def make_tiny() -> None:
    shutil.rmtree(TINY, ignore_errors=True)
    TINY.mkdir()
    tokenizer = make_tokenizer(TINY)
    model = make_model(seed=1, n_layer=3, n_embd=32, n_head=4, n_positions=64)
    model.save_pretrained(TINY)
    (TINY / "generation_config.json").unlink(missing_ok=True)
    pad = len(ALPHABET)

    def encode(texts: list[str]) -> list[list[int]]:
        return [tokenizer.encode(text).ids for text in texts]

    cases: dict[str, tuple[list[str], bool]] = {"single": (SINGLE, True), "batch": (BATCH, True)}
    for i, text in enumerate(BATCH):
        cases[f"solo_{i}"] = ([text], False)

    facts: dict[str, object] = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cases": {},
    }
    sharp: list[float] = []
    logits: dict[str, torch.Tensor] = {}
    for case, (texts, everything) in cases.items():
        prompts = encode(texts)
        inputs = left_padded(prompts, pad)
        recording = Recording(model)
        logits[case] = model(**inputs, use_cache=False).logits
        recording.close()

        real = inputs["attention_mask"].bool()
        points, eager = attention_points(model, inputs)
        check_close(f"{case}: eager", eager[real], logits[case][real])
        layers = model.config.n_layer
        for layer in range(layers):
            largest = points[f"transformer.h.{layer}.attn/probs"].amax(-1).transpose(1, 2)[real]
            sharp += largest.flatten().tolist()

        tensors = recording.tensors
        if everything:
            tensors.update(points)
        else:
            last = f"transformer.h.{layers - 1}/output"
            tensors = {k: tensors[k] for k in (last, "/output/logits")}
        tensors.update(inputs)
        save_file(tensors, TINY / f"{case}.safetensors")

        facts["cases"][case] = {"texts": texts, "ids": prompts} | {
            name: tensor.tolist() for name, tensor in inputs.items()
        }
        called = {path for _, path in recording.order}
        shared = {
            "not_called": [p for p, _ in model.named_modules() if p not in called],
            "order": recording.order,
            "structure": recording.structure,
        }
        if case == "batch":
            facts["arguments"] = recording.arguments
        for key, value in shared.items():
            if facts.setdefault(key, value) != value:
                raise RuntimeError(f"{key} of case {case} differs from that of the others")

    for i, prompt in enumerate(encode(BATCH)):
        check_close(f"solo_{i}", logits["batch"][i, -len(prompt) :], logits[f"solo_{i}"][0])
    share = sum(p > 0.9 for p in sharp) / len(sharp)
    if share < 0.5:
        raise RuntimeError(f"attention is not sharp: only {share:.0%} of rows have a prob over 0.9")
    facts["rows_with_a_prob_over_0.9"] = round(share, 3)
    (TINY / "golden.json").write_text(compact_json(facts) + "\n")
    print(f"gpt2-tiny: {share:.0%} of attention rows have a prob over 0.9")


def compact_json(value: object, indent: int = 0) -> str:
    """Print JSON with what fits a line on one line."""
    flat = json.dumps(value)
    if len(flat) + indent <= 100 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{pad}{json.dumps(k)}: {compact_json(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
    items = [pad + compact_json(v, indent + 1) for v in value]
    return "[\n" + ",\n".join(items) + "\n" + " " * indent + "]"


def openai_layout(state: dict[str, torch.Tensor], positions: int) -> dict[str, torch.Tensor]:
    """Return the checkpoint as the first GPT-2 files had it: no prefix, and mask buffers."""
    old = {}
    for name, tensor in state.items():
        if name == "lm_head.weight":
            continue
        name = name.removeprefix("transformer.")
        old[name] = tensor
        if name.endswith("attn.c_attn.weight"):
            site = name.removesuffix("c_attn.weight")
            old[f"{site}bias"] = torch.ones(positions, positions).tril()[None, None]
            old[f"{site}masked_bias"] = torch.tensor(-1e4)
    return old


def save_checkpoint(model: GPT2LMHeadModel, folder: Path, layout: str) -> None:
    if layout == "sharded":
        model.save_pretrained(folder, max_shard_size="12KB")
        if not (folder / "model.safetensors.index.json").exists():
            raise RuntimeError("the sharded variant has one shard only")
        return
    model.save_pretrained(folder)
    if layout == "openai":
        old = openai_layout(model.state_dict(), model.config.n_positions)
        save_file(old, folder / "model.safetensors", metadata={"format": "pt"})


VARIANT_FIELDS: dict[str, dict[str, object]] = {
    **{
        f"act-{name}": {"activation_function": name}
        for name in ("gelu", "gelu_new", "relu", "silu", "tanh", "quick_gelu", "gelu_pytorch_tanh")
    },
    "scale-by-inverse-layer": {"scale_attn_by_inverse_layer_idx": True},
    "reorder-and-upcast": {
        "reorder_and_upcast_attn": True,
        "scale_attn_by_inverse_layer_idx": True,
    },
    "no-attention-scale": {"scale_attn_weights": False},
    "no-attention-scale-but-inverse-layer": {
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
    },
    "inner": {"n_inner": 24},
    "layer-norm-epsilon": {"layer_norm_epsilon": 0.3},
    "untied": {"tie_word_embeddings": False},
    "openai-names": {"layout": "openai"},
    "sharded": {"layout": "sharded"},
}
# The other layouts, and the function of the default under its two names.
SAME_AS_DEFAULT = {"act-gelu_new", "act-gelu_pytorch_tanh", "openai-names", "sharded"}


def make_variants() -> None:
    shutil.rmtree(VARIANTS, ignore_errors=True)
    VARIANTS.mkdir()
    for seed, (name, given) in enumerate(VARIANT_FIELDS.items(), start=100):
        fields = dict(given)
        layout = fields.pop("layout", "hub")
        folder = VARIANTS / name
        folder.mkdir()
        shape = {"n_layer": 2, "n_embd": 12, "n_head": 3, "n_positions": 12} | fields
        # The MLP is strong, so that functions as close as gelu and gelu_new can be told apart.
        scales = {"attention_std": 0.6, "mlp_std": 0.7}
        model = make_model(seed, **scales, **shape)
        save_checkpoint(model, folder, layout)
        (folder / "generation_config.json").unlink(missing_ok=True)
        tokenizer = make_tokenizer(folder)
        inputs = left_padded([tokenizer.encode("w = 1+2;").ids], len(ALPHABET))
        logits = model(**inputs, use_cache=False).logits
        _, eager = attention_points(model, inputs)
        check_close(f"{name}: eager", eager, logits)

        loaded = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="sdpa").eval()
        check_close(f"{name}: reloaded", loaded(**inputs, use_cache=False).logits, logits)
        if name not in SAME_AS_DEFAULT:
            kept = {k: v for k, v in shape.items() if k not in fields}
            plain = make_model(seed, **scales, **kept)(**inputs, use_cache=False).logits
            if (plain - logits).abs().max() < 10 * TOLERANCE * logits.abs().max():
                raise RuntimeError(f"{name} gives what the default configuration gives")
        save_file({**inputs, "logits": logits.contiguous()}, folder / "golden.safetensors")
        print(f"gpt2-variants/{name}")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    make_tiny()
    make_variants()
