#!/usr/bin/env python3
"""Run an example on models/atlas, and check that docs/cookbook.md shows what it is and does.

Fails if the example does; if a line of code on the page is not in its source, or not in that order;
if the page's output is not the program's; or if the page's picture is another one. Numbers may
differ by a hundredth of the larger one, as they do between machines.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def section(page: str, name: str) -> str:
    link = f"(../examples/cookbook/{name}.cc)"
    found = [part for part in re.split(r"^## ", page, flags=re.M) if link in part]
    if len(found) != 1:
        raise SystemExit(f"docs/cookbook.md: {len(found)} sections link to {link}")
    return found[0]


def blocks(text: str, language: str) -> list[list[str]]:
    found = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in found]


def alike(a: str, b: str) -> bool:
    """Whether two lines are the same, but for spaces and small differences of their numbers."""
    if NUMBER.sub("N", a).split() != NUMBER.sub("N", b).split():
        return False
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return all(
        abs(float(x) - float(y)) <= max(0.011, 0.01 * max(abs(float(x)), abs(float(y))))
        for x, y in pairs
    )


def check_lines(what: str, wanted: list[str], lines: list[str], same) -> None:
    """Every wanted line is among `lines`, in order."""
    rest = iter(lines)
    for line in wanted:
        if line not in ("...", "// ...") and not any(same(line, other) for other in rest):
            raise SystemExit(f"docs/cookbook.md shows, and {what} has not (in that place):\n{line}")


def outline(svg: str) -> str:
    """A picture without its numbers and colours, and what they alone make."""
    svg = re.sub(r"<path [^>]*/>\n", "", svg)
    return NUMBER.sub("N", re.sub(r"#[0-9a-f]{6}", "C", svg))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    part = section((ROOT / "docs/cookbook.md").read_text(encoding="utf-8"), options.name)
    source = (ROOT / f"examples/cookbook/{options.name}.cc").read_text(encoding="utf-8")
    code = [line.strip() for line in source.splitlines()]
    if not blocks(part, "cpp") or not blocks(part, "text"):
        raise SystemExit(f"docs/cookbook.md: the section of {options.name} lacks code or output")
    for block in blocks(part, "cpp"):
        check_lines(f"{options.name}.cc", block, code, str.__eq__)
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [options.program.resolve(), "--local", "models/atlas", "--pictures", folder],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(run.stdout)
        if run.returncode != 0:
            raise SystemExit(f"{options.name}: exit code {run.returncode}")
        output = [line.strip() for line in run.stdout.splitlines()]
        for block in blocks(part, "text"):
            check_lines("its output", block, output, alike)
        for picture in Path(folder).iterdir():
            kept = ROOT / "docs/pictures" / picture.name
            if f"(pictures/{picture.name})" not in part:
                raise SystemExit(f"docs/cookbook.md does not show {picture.name}")
            if outline(kept.read_text(encoding="utf-8")) != outline(
                picture.read_text(encoding="utf-8")
            ):
                raise SystemExit(
                    f"{kept} is not what {options.name} draws; ./run example {options.name} "
                    "--pictures docs/pictures draws it anew"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
