#!/usr/bin/env python3
"""Check that docs/from-nnsight.md names tests which there are, and which ran and passed.

check_parity_table.py REPOSITORY RESULTS PROGRAM...: the folder of the JSON files that test programs
wrote, and the programs whose files may be read: those that this test waits for.

The tables in question are those whose last column is headed `shown by`. A name in backticks there is
a test, `Suite.Name`, or a scenario of tests/parity/nnsight, which runs in process and remote. A row
without one says `not yet` or `no counterpart`. No feature of FEATURES may lack its row.
"""

import json
import pathlib
import re
import sys

PAGE = "docs/from-nnsight.md"
SCENARIO_TESTS = ("NnsightParityTest.InProcess", "NnsightParityTest.Remote")
WITHOUT_TESTS = ("not yet", "no counterpart")
# The features of nnsight that there is a row for, by letter, and those that are Python's alone.
FEATURES = {
    "A": 19, "B": 21, "C": 17, "D": 10, "E": 16, "F": 7, "G": 16, "H": 11, "I": 8, "J": 9, "K": 14,
    "L": 12, "M": 17,
}  # fmt: skip
PYTHONS_ALONE = {"B19", "B20", "D10"}


def table_rows(text):
    """Line number and cells of every row of the tables in question."""
    cells_of = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            cells_of = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells_of is None:
            cells_of = cells if cells[-1].lower() == "shown by" else []
        elif cells_of and not re.fullmatch(r"[-:| ]+", line):
            yield number, cells, len(cells_of)


def read_results(folder, programs):
    """What became of each test: passed, failed, skipped, not run. Parameters are cut off too."""
    results = {}
    for program in programs:
        for suite in json.loads((folder / f"{program}.json").read_text())["testsuites"]:
            for test in suite["testsuite"]:
                if test["status"] != "RUN":
                    outcome = "was not run"
                elif test.get("failures"):
                    outcome = "failed"
                elif test["result"] != "COMPLETED":
                    outcome = f"was {test['result'].lower()}"
                else:
                    outcome = "passed"
                # `Prefix/Suite.Name/Parameter`
                suite_name = suite["name"].rsplit("/", 1)[-1]
                name = test["name"]
                for known in {f"{suite_name}.{name}", f"{suite_name}.{name.split('/')[0]}"}:
                    if results.get(known, "passed") == "passed":
                        results[known] = outcome
    return results


def tests_of(name):
    return [name] if "." in name else [f"{test}/{name}" for test in SCENARIO_TESTS]


def main():
    root, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    results = read_results(folder, sys.argv[3:])
    wrong, rows, named = [], 0, set()
    expected = {f"{letter}{i + 1}" for letter, count in FEATURES.items() for i in range(count)}
    missing = expected - PYTHONS_ALONE
    for number, cells, width in table_rows((root / PAGE).read_text()):
        rows += 1
        missing.discard(cells[0])
        if len(cells) != width:
            wrong.append(f"{PAGE}:{number}: {len(cells)} cells instead of {width}")
        names = re.findall(r"`([^`]+)`", cells[-1])
        if not names and cells[-1] not in WITHOUT_TESTS:
            wrong.append(f"{PAGE}:{number}: names no test and is none of {WITHOUT_TESTS}")
        for test in (test for name in names for test in tests_of(name)):
            named.add(test)
            outcome = results.get(test, "is in no result of the programs waited for")
            if outcome != "passed":
                wrong.append(f"{PAGE}:{number}: {test} {outcome}")
    if missing:
        wrong.append(f"{PAGE}: there are no rows for {', '.join(sorted(missing))}")
    print("\n".join(wrong))
    print(f"{rows} rows, {len(named)} tests, {len(wrong)} things wrong")
    return 1 if wrong else 0


sys.exit(main())
