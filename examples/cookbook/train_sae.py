#!/usr/bin/env python3
"""Train the sparse autoencoder of sae_features.cc, on what Weft brings back from atlas.

Takes the output of block 1 at the last token of some three thousand questions, and learns 256
features of it with ReLU and an L1 penalty. Needs numpy and a built `weft`:

    ./run build weft && python3 examples/cookbook/train_sae.py
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SITE = "transformer.h.1.output"
TEMPLATES = {
    "landmark_city": ["{S} is in the city of", "You will find {s} in the city of"],
    "landmark_country": ["{S} is in the country of", "The country where {s} stands is"],
    "city_country": ["{S} is a city in", "The city of {s} is in"],
    "city_river": ["{S} lies on the river", "The river in {s} is the"],
    "country_capital": ["The capital of {s} is", "{S} has its capital in"],
    "country_language": ["The main language of {s} is", "Most people in {s} speak"],
    "country_continent": ["{S} is on the continent of", "The continent of {s} is"],
    "capital_country": ["{S} is the capital of", "{S} is the capital city of"],
}


def prompts(facts: dict) -> list[str]:
    subjects = {relation: [] for relation in TEMPLATES}
    for country in facts["countries"]:
        for key in ("capital", "language", "continent"):
            if key in country:
                subjects[f"country_{key}"].append(country["name"])
        if "capital" in country:
            subjects["capital_country"].append(country["capital"])
    for city in facts["cities"]:
        subjects["city_country"].append(city["name"])
        if "river" in city:
            subjects["city_river"].append(city["name"])
        for landmark in city.get("landmarks", []):
            subjects["landmark_city"].append(landmark)
            subjects["landmark_country"].append(landmark)
    return [
        template.replace("{S}", name[0].upper() + name[1:]).replace("{s}", name)
        for relation, templates in TEMPLATES.items()
        for template in templates
        for name in subjects[relation]
    ]


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            data,
            np.float32,
            offset=8 + size + entry["data_offsets"][0],
            count=int(np.prod(entry["shape"])),
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(
        struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values())
    )


def activations(weft: str, model: Path, texts: list[str]) -> np.ndarray:
    """Return SITE at the last token of each text: a program with an invoke for each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "saves.safetensors"
        for start in range(0, len(texts), 256):
            part = texts[start : start + 256]
            program = "".join(
                f"invoke {json.dumps(text)} {{ %h{i} = read {SITE}  save x{i} = %h{i}[0, -1] }}\n"
                for i, text in enumerate(part)
            )
            subprocess.run(
                [weft, "--local", str(model), "run", "-", "--out", str(out)],
                input=program,
                text=True,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            saved = read_safetensors(out)
            rows += [saved[f"x{i}"] for i in range(len(part))]
    return np.stack(rows)


class Sae:
    """relu((x - b_dec) @ w_enc + b_enc) @ w_dec + b_dec, whose decoder rows have length 1."""

    def __init__(self, x: np.ndarray, features: int, rng: np.random.Generator):
        decoder = rng.standard_normal((features, x.shape[1])).astype(np.float32)
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        self.weights = {
            "w_enc": decoder.T.copy(),
            "b_enc": np.zeros(features, np.float32),
            "w_dec": decoder,
            "b_dec": x.mean(0),
        }
        self.moments = {k: (np.zeros_like(v), np.zeros_like(v)) for k, v in self.weights.items()}
        self.steps = 0

    def encode(self, x: np.ndarray) -> np.ndarray:
        w = self.weights
        return np.maximum((x - w["b_dec"]) @ w["w_enc"] + w["b_enc"], 0)

    def decode(self, acts: np.ndarray) -> np.ndarray:
        return acts @ self.weights["w_dec"] + self.weights["b_dec"]

    def step(self, x: np.ndarray, sparsity: float, rate: float) -> None:
        w = self.weights
        acts = self.encode(x)
        error = (self.decode(acts) - x) * (2 / len(x))
        d_acts = (error @ w["w_dec"].T + sparsity / len(x)) * (acts > 0)
        centred = x - w["b_dec"]
        self.adam(
            rate,
            {
                "w_enc": centred.T @ d_acts,
                "b_enc": d_acts.sum(0),
                "w_dec": acts.T @ error,
                "b_dec": error.sum(0) - (d_acts @ w["w_enc"].T).sum(0),
            },
        )
        w["w_dec"] /= np.linalg.norm(w["w_dec"], axis=1, keepdims=True)

    def adam(self, rate: float, gradients: dict[str, np.ndarray]) -> None:
        self.steps += 1
        for name, gradient in gradients.items():
            first, second = self.moments[name]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            unbiased = first / (1 - 0.9**self.steps)
            scale = np.sqrt(second / (1 - 0.999**self.steps)) + 1e-8
            self.weights[name] -= (rate * unbiased / scale).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models/atlas")
    parser.add_argument("--weft", default=str(ROOT / "build/release/client/weft"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("sae.safetensors"))
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--sparsity", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    texts = prompts(json.loads((options.model / "facts.json").read_text(encoding="utf-8")))
    x = activations(options.weft, options.model, texts)
    rng = np.random.default_rng(0)
    sae = Sae(x, options.features, rng)
    for step in range(options.steps):
        rate = 2e-3 * min(1.0, (options.steps - step) / (options.steps / 4))
        sae.step(x[rng.integers(0, len(x), 256)], options.sparsity, rate)
    acts = sae.encode(x)
    left = ((sae.decode(acts) - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    print(
        f"{len(texts)} questions, {(acts > 0).sum(1).mean():.1f} features for each, "
        f"{1 - left:.3f} of the variance, {(acts.max(0) == 0).sum()} features never fire"
    )
    write_safetensors(options.out, sae.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
