#!/usr/bin/env python3
"""Compare docs/metrics.md, the alerts and the dashboard with what a weftd under a little load shows.

check_metrics.py REPOSITORY WEFTD WEFT
"""

import json
import pathlib
import re
import subprocess
import sys
import urllib.request

PROGRAM = (
    "invoke [1, 2, 3] { %h = read lm_head.output %t = aten::argmax(%h[:, -1]) save token = %t }"
)
METRIC = re.compile(r"\b(?:weft|process|exposer)_[a-z0-9_]+")


def start(weftd, model):
    """A weftd, the address that it serves on and its metrics' URL."""
    server = subprocess.Popen(
        [weftd, "--no-keys", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
        + ["--log-format", "json", "--model", f"tiny={model}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = None
    for line in server.stderr:
        found = re.search(r"http://[\d.]+:\d+/metrics", json.loads(line)["message"])
        if found:
            metrics = found.group()
            break
    address = server.stdout.readline().split()[-1]
    return server, address, metrics


def scrape(url):
    """Type and labels of every metric by name."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    labels = {name: set() for name in types}
    for line in lines:
        if line.startswith("#"):
            continue
        name = base(re.match(r"\w+", line).group(), types)
        labels[name] |= set(re.findall(r"[{,](\w+)=", line)) - {"le"}
    return {name: (types[name], labels[name]) for name in types}


def base(name, metrics):
    """The metric that a series belongs to."""
    shorter = re.sub(r"_(bucket|sum|count)$", "", name)
    return shorter if name not in metrics and shorter in metrics else name


def documented(page):
    rows = {}
    for row in page.read_text().splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 5 and METRIC.search(cells[0]):
            labels = {label.strip() for label in cells[2].split(",")} - {""}
            rows[cells[0].strip("`")] = (cells[1], labels)
    return rows


def main():
    root, weftd, weft = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    server, address, url = start(weftd, root / "tests/parity/gpt2-tiny")
    try:
        subprocess.run(
            [weft, "--target", address, "run", "-"],
            input=PROGRAM,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shown = scrape(url)
    finally:
        server.terminate()
        server.communicate(timeout=60)
    wrong = []
    page = documented(root / "docs/metrics.md")
    for name in sorted(page.keys() | shown.keys()):
        if name not in shown:
            wrong.append(f"docs/metrics.md has {name}, which is not there")
        elif name not in page:
            wrong.append(f"docs/metrics.md lacks {name}")
        elif page[name] != shown[name]:
            wrong.append(f"docs/metrics.md says {page[name]} of {name}, which is {shown[name]}")
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/weft.json"]:
        used = {base(name, shown) for name in METRIC.findall((root / file).read_text())}
        wrong += [f"{file} uses {name}, which is not there" for name in sorted(used - shown.keys())]
        if not used:
            wrong.append(f"{file} uses no metrics")
    alerts = re.findall(r"alert: (\w+)", (root / "deploy/prometheus/alerts.yml").read_text())
    text = (root / "docs/metrics.md").read_text()
    wrong += [
        f"docs/metrics.md lacks the alert {name}" for name in alerts if f"`{name}`" not in text
    ]
    print("\n".join(wrong))
    print(f"{len(shown)} metrics, {len(wrong)} things wrong")
    return 1 if wrong else 0


sys.exit(main())
