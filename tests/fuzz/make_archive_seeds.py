#!/usr/bin/env python3
"""Make corpus/archive from tests/exported/archives: of each a small zip archive, and the JSON of its
program and its weights as archive_fuzz takes them, without the lines of Python that nodes hold."""

import json
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCHIVES = HERE.parent / "exported" / "archives"
OUT = HERE / "corpus" / "archive"
TOGETHER = ("mlp", "twice", "assign", "several", "regions")


def strip(value):
    if isinstance(value, dict):
        return {
            key: strip(item)
            for key, item in value.items()
            if key not in ("stack_trace", "torch_fn", "guards_code", "strides", "requires_grad")
        }
    return [strip(item) for item in value] if isinstance(value, list) else value


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name in TOGETHER:
        with zipfile.ZipFile(ARCHIVES / f"{name}.pt2") as archive:
            entries = {entry.split("/", 1)[1]: archive.read(entry) for entry in archive.namelist()}
        model = json.dumps(strip(json.loads(entries["models/model.json"])), separators=(",", ":"))
        weights = entries["data/weights/model_weights_config.json"].decode()
        weights = json.dumps(json.loads(weights), separators=(",", ":"))
        (OUT / f"{name}.json").write_text(f"{model}\0{weights}")
        if name != "mlp":
            continue
        for suffix, method in (("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
            path = OUT / f"{name}_{suffix}.zip"
            with zipfile.ZipFile(path, "w", method) as archive:
                for entry, data in entries.items():
                    data = model if entry == "models/model.json" else data
                    archive.writestr(zipfile.ZipInfo(f"{name}/{entry}"), data, method)


if __name__ == "__main__":
    main()
