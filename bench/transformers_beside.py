"""Runs a model with transformers, one request at a time, for the benchmark `models`.

usage: transformers_beside.py FOLDER DTYPE DEVICE   (Python with torch, transformers, safetensors)

Reads requests from standard input, one a line: `forward BATCH TOKENS` or
`generate BATCH TOKENS NEW`. Answers each with a line: the seconds that it took.
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM


def prompts(batch, tokens, vocabulary):
    return torch.tensor(
        [
            [(7919 * (tokens * row + i + 1)) % vocabulary for i in range(tokens)]
            for row in range(batch)
        ]
    )


def main(folder, dtype, device):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.eval().to(device)
    vocabulary = model.config.vocab_size
    print("ready", flush=True)
    for line in sys.stdin:
        kind, batch, *sizes = line.split()
        ids = prompts(int(batch), int(sizes[0]), vocabulary)
        mask = torch.ones_like(ids)
        # Prompts come from the CPU, as they come to a server.
        start = time.perf_counter()
        with torch.inference_mode():
            ids, mask = ids.to(device), mask.to(device)
            if kind == "forward":
                model(ids, attention_mask=mask)
            else:
                new = int(sizes[1])
                model.generate(
                    ids,
                    attention_mask=mask,
                    do_sample=False,
                    max_new_tokens=new,
                    min_new_tokens=new,
                    pad_token_id=0,
                )
            if device != "cpu":
                torch.cuda.synchronize()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
