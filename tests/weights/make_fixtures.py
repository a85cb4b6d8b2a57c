"""Write fixtures/python.safetensors with the reference implementation of the format.

Run it with torch 2.11 and safetensors:  python tests/weights/make_fixtures.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent / "fixtures"

if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    ramp = torch.arange(6).reshape(2, 3)
    save_file(
        {
            "f32": ramp.float() / 4,
            "f64": ramp.double() / 4,
            "f16": ramp.half() / 4,
            "bf16": ramp.bfloat16() / 4,
            "i64": ramp - 3,
            "i32": (ramp - 3).int(),
            "u8": ramp.to(torch.uint8),
            "bool": ramp % 2 == 1,
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
            "naïve name": torch.ones(1),
        },
        FIXTURES / "python.safetensors",
        metadata={"format": "pt", "note": "by the reference implementation"},
    )
