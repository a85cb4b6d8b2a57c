#!/usr/bin/env python3
"""Check that weftd takes the settings in deploy/: check_configuration.py WEFTD REPOSITORY.

Each is given to `weftd --check-config`, with the image's models where the repository has them.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap


def found(pattern, file):
    match = re.search(pattern, file.read_text(), re.DOTALL)
    if not match:
        sys.exit(f"{file} has nothing like {pattern}")
    return match[1]


def main():
    weftd, root = sys.argv[1], pathlib.Path(sys.argv[2])
    dockerfile = root / "Dockerfile"
    compose = root / "deploy/compose.yaml"
    kubernetes = root / "deploy/kubernetes/weft.yaml"
    flags_of_compose = found(r"\n    command:\n((?:      - \S+\n)+)", compose)
    # Flags, and what the file that they name says.
    settings = {
        dockerfile: (json.loads(found(r"\nCMD (\[.*?\])\n", dockerfile)), ""),
        compose: (
            re.findall(r"- (\S+)", flags_of_compose),
            (root / "deploy/weftd/weftd.textproto").read_text(),
        ),
        kubernetes: (
            json.loads(found(r"\n +args: (\[.*?\])\n", kubernetes)),
            textwrap.dedent(found(r"weftd\.textproto: \|\n(.*?)\n---", kubernetes)),
        ),
    }
    failed = 0
    for where, (flags, config) in settings.items():
        with tempfile.NamedTemporaryFile("w", suffix=".textproto") as file:
            places = {"/etc/weft/weftd.textproto": file.name, "/opt/weft/models": f"{root}/models"}

            def here(text, places=places):
                for there, place in places.items():
                    text = text.replace(there, place)
                return text

            file.write(here(config))
            file.flush()
            command = [weftd, *map(here, flags), "--check-config"]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            print(f"{where.relative_to(root)}: {result.stderr.strip() or 'taken'}")
            failed += result.returncode != 0
    return 1 if failed else 0


sys.exit(main())
