#!/usr/bin/env python3
"""Check that what docs/adding-a-family.md quotes stands in the repository.

check_quotes.py REPOSITORY: a block that begins with a comment that is a path quotes that file.
"""

import pathlib
import re
import sys

PAGE = "docs/adding-a-family.md"


def main():
    repository = pathlib.Path(sys.argv[1])
    text = (repository / PAGE).read_text()
    blocks = re.findall(r"^```\w+\n(?://|#) (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    wrong = [
        f"{PAGE}: {path} does not have\n{quote}"
        for path, quote in blocks
        if quote not in (repository / path).read_text()
    ]
    if not blocks:
        wrong.append(f"{PAGE} quotes nothing")
    print("\n".join(wrong) or f"{len(blocks)} quotes are as they stand")
    return 1 if wrong else 0


sys.exit(main())
