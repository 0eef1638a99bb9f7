"""docs/results/performance.md: how fast things are, from the files that benchmarks write to benchmarks/results/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
HEAD = """# Performance

Written by `docs/make/make_docs.py` from [`benchmarks/results/`](../../benchmarks/results/); a test fails when this page
is out of date. Absolute times are for orientation, ratios come from one run each; [the rules](measuring.md). One
thread unless a row says otherwise, on the process's CPU clock (service and network: the wall clock). A load well above
1 means that other work ran beside it. A benchmark that runs writes its rows there, so one command repeats a table.
"""
SECTIONS = {
    "Engine": (
        ("engine", "convert"),
        "Event-driven inference on the CPU. It runs every network of the registry, with any LIF, IF, PLIF, CLIF or\n"
        "sliding PSN, and converted networks with binary, signed or multi-threshold neurons of up to 7 levels.\n"
        "PyTorch runs the rest, stream by stream, and `spikesight doctor` and the log line `model ready` say why:\n"
        "rectifiers (an ANN), spiking read-outs, and converted networks with differential coding, a reset to zero,\n"
        "cascades, few-spikes neurons, 8 levels, or a pool behind the first neurons.",
    ),
    "Neurons": (("neurons",), "A LIF layer through all of its steps in one fused pass."),
    "Training": (("training", "event_convolutions", "data"), "Steps of the optimiser, and what feeds them."),
    "Events": (("events",), "Reading, binning, emulating and receiving events."),
    "Service": (("service",), "Images and live streams over HTTP and WebSockets, client and server on the same cores."),
}
"""Headings of the page: (benchmarks, what they are about)."""

Run = tuple[str, dict[str, Any]]
"""A processor's name and one table measured on it."""


def measured() -> list[dict[str, Any]]:
    """Every result file, the recorded ones first."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return sorted(found, key=lambda one: "earlier run" not in one["processor"])


def cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def joined(title: str, runs: list[Run]) -> Iterator[str]:
    """One table of the same title on every processor: columns of words once, those of numbers for each."""
    columns, rows = runs[0][1]["columns"], runs[0][1]["rows"]
    words = [n for n in range(len(columns)) if len(runs) == 1 or all(isinstance(row[n], str) for row in rows)]
    head = [columns[n] for n in words]
    lines: dict[tuple[str, ...], list[str]] = {}
    for processor, table in runs:
        numbers = [n for n in range(len(table["columns"])) if n not in words]
        there = len(head)
        head += [table["columns"][n] + (f", {processor}" if len(runs) > 1 else "") for n in numbers]
        for row in table["rows"]:
            line = lines.setdefault(tuple(cell(row[n]) for n in words), [cell(row[n]) for n in words])
            line += [""] * (there - len(line)) + [cell(row[n]) for n in numbers]
    yield f"### {title}\n"
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line + [''] * (len(head) - len(line)))} |" for line in lines.values())
    yield from (f"\n{note}" for _, table in runs for note in table.get("notes", ()))
    yield from (f"\n{processor}{when(table)}: `{table['command']}`." for processor, table in runs)
    yield ""


def when(table: dict[str, Any]) -> str:
    """Date, load and versions, where the file knows them."""
    if "date" not in table:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    return f", {table['date']}, load {table['load']}, {versions}"


def page() -> str:
    """docs/results/performance.md."""
    parts, results = [HEAD], measured()
    for heading, (benchmarks, about) in SECTIONS.items():
        parts.append(f"## {heading}\n\n{about}\n")
        tables: dict[str, list[Run]] = {}
        for name in benchmarks:
            for result in (each for each in results if each["benchmark"] == name):
                for table in result["tables"]:
                    tables.setdefault(table["title"], []).append((result["processor"], table))
        for title, runs in tables.items():
            parts += joined(title, runs)
    return "\n".join(parts).rstrip() + "\n"
