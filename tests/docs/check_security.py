#!/usr/bin/env python3
"""Check that every test that docs/security.md names exists: check_security.py REPOSITORY."""

import pathlib
import re
import sys


def main():
    root = pathlib.Path(sys.argv[1])
    page = (root / "docs/security.md").read_text()
    named = set(re.findall(r"`(\w+Test\.\w+)`", page))
    macro = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)", re.MULTILINE)
    there = set()
    for source in (root / "tests").rglob("*.cc"):
        there |= {f"{suite}.{name}" for suite, name in macro.findall(source.read_text())}
    missing = sorted(named - there)
    for name in missing:
        print(f"docs/security.md names {name}, which does not exist")
    rows = [row for row in page.splitlines() if row.startswith("| ") and row.count("|") == 4]
    bare = [row for row in rows if "`" not in row.split("|")[3] and "| test |" not in row]
    bare = [row for row in bare if "---" not in row]
    for row in bare:
        print(f"docs/security.md has a line without a test: {row}")
    print(f"{len(named)} tests are named, {len(missing)} of them do not exist")
    return 1 if missing or bare or not named else 0


sys.exit(main())
