"""Generate docs/results/performance.md from the files that benchmarks write to benchmarks/results/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
HEAD = """# Performance

Written by `docs/make/make_docs.py` from [`benchmarks/results/`](../../benchmarks/results/); a test fails when this page
is out of date.

## Summary

![Time of ResNet-18 against the share of neurons that fire, on two processors, with other programs](pictures/speed.png)

| what | result | more |
|---|---|---|
| ResNet-18, T = 4, 224x224, 7 % firing | 7.8 times SpikingJelly (EPYC, Zen 4), 5.9 times (Xeon with AMX) | [engine](#engine) |
| the same, bfloat16 | 2.8 and 1.3 times OpenVINO; OpenVINO in int8 is faster from about 15 % on | [engine](#engine) |
| one step of one stream, `nmnist` | 0.083 ms (EPYC), 0.1025 ms (Xeon): 19.84 and 14.36 times PyTorch | [engine](#engine) |
| a LIF layer, forward and backward | 7.419 and 11.15 times SpikingJelly | [neurons](#neurons) |
| a training step, SEW ResNet-18 | 1.001 and 1.084 times as fast as its ANN's; 1.821 and 2.302 in bfloat16 | [training](#training) |
| a million events into bins | 26.49 and 25.21 times Tonic | [events](#events) |
| images a second through the service, relative to the bare model | 0.98 | [service](#service) |
| latency of 32 live streams, from the end of a bin to its answer | median 1.5 ms, p95 4.1 ms | [service](#service) |

Goals not reached: the rate of a digit model's images (0.89 and 0.86 of the bare model's), and reading DAT files (0.71 times
evutils). No GPU was available: those tables are missing.

How to read the tables: absolute times are for orientation, each ratio comes from one run ([rules](measuring.md)). One
thread unless a row says otherwise, by the process's CPU clock (service and network: the wall clock). A load well above 1
means that other work ran at the same time. The command below a table repeats it.
"""
SECTIONS = {
    "Engine": (
        ("engine", "threads", "single_events", "convert"),
        "Event-driven inference on the CPU. It runs every network of the registry, with any LIF, IF, PLIF, CLIF or\n"
        "sliding PSN, and converted networks with binary, signed or multi-threshold neurons of up to 7 levels.\n"
        "PyTorch runs other networks, stream by stream; `spikesight doctor` and the log line `model ready` say why.\n"
        "These are ANNs, spiking read-outs, and converted networks with differential coding, a reset to zero,\n"
        "cascades, few-spikes neurons, 8 levels, or a pool after the first neurons.\n\n"
        "ResNet-18 at 7 % firing, T = 4 at 224x224: 7.8 times SpikingJelly, and in bfloat16 2.8 times OpenVINO, on an\n"
        "EPYC (Zen 4); 5.9 and 1.3 times on a Xeon with AMX. From 2 to 50 % firing it takes at most 1.03 times\n"
        "the time of the fastest dense program of its precision on both, except at 50 % in bfloat16 on the Xeon (1.11).\n"
        "OpenVINO in int8, which rounds currents, is faster from about 15 % on.",
    ),
    "Neurons": (("neurons",), "A LIF layer through all of its steps in one fused pass."),
    "Training": (("training", "event_convolutions", "data"), "Optimiser steps, and loading data for them."),
    "GPU": (("gpu",), "The Triton kernels and training on a GPU: `python -m benchmarks.gpu`, one command."),
    "Events": (("events", "bags"), "Reading, binning, emulating and receiving events."),
    "Service": (
        ("service", "camera"),
        "Images and live streams over HTTP and WebSockets, client and server on the same cores.",
    ),
}
"""Sections of the page: heading -> (benchmarks, introduction)."""

Run = tuple[str, dict[str, Any]]
"""A processor's name and a table measured on it."""


def measured() -> list[dict[str, Any]]:
    """Read every result file, those of earlier runs first."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return sorted(found, key=lambda one: "earlier run" not in one["processor"])


def cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def merged(head: list[str], row: list[str]) -> tuple[list[str], list[str]]:
    """Merge the last three columns (ratio, low, high) into one, with the range in brackets."""
    if head[-2:] != ["low", "high"] or len(head) != len(row):
        return head, row
    spread = f" ({row[-2]} to {row[-1]})" if row[-1] else ""
    return [*head[:-3], f"{head[-3]} (low to high)"], [*row[:-3], row[-3] + spread]


def alone(table: dict[str, Any]) -> Iterator[str]:
    """Yield the table of one machine."""
    made = [merged(table["columns"], [cell(value) for value in row]) for row in table["rows"]]
    head = made[0][0] if made else table["columns"]
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for _, row in made)


def side_by_side(runs: list[Run]) -> Iterator[str]:
    """Yield one table for several machines: text columns once, then one column of numbers for each machine."""
    columns, rows = runs[0][1]["columns"], runs[0][1]["rows"]
    words = [n for n in range(len(columns)) if all(isinstance(row[n], str) and row[n] for row in rows)]
    lines: dict[tuple[str, ...], list[str]] = {}
    longest: list[str] = []
    for number, (_, table) in enumerate(runs):
        for row in table["rows"]:
            numbers = [n for n in range(len(row)) if n not in words]
            head, values = merged([table["columns"][n] for n in numbers], [cell(row[n]) for n in numbers])
            longest = max(longest, head, key=lambda columns: len("".join(columns)))
            key = tuple(cell(row[n]) for n in words)
            line = lines.setdefault(key, [*key, *[""] * len(runs)])
            line[len(words) + number] = "; ".join(value or "-" for value in values)
    yield f"A machine's numbers: {'; '.join(longest)}.\n"
    head = [columns[n] for n in words] + [processor for processor, _ in runs]
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line)} |" for line in lines.values())


def joined(title: str, runs: list[Run]) -> Iterator[str]:
    """Yield a section with the tables of one title, from all processors that measured it."""
    yield f"### {title}\n"
    yield from alone(runs[0][1]) if len(runs) == 1 else side_by_side(runs)
    yield from (f"\n{note}" for _, table in runs for note in table.get("notes", ()))
    yield from (f"\n{processor}{when(table)}: `{table['command']}`." for processor, table in runs)
    yield ""


def when(table: dict[str, Any]) -> str:
    """Return date, load and versions, if the table has them."""
    if "date" not in table:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    return f", {table['date']}, load {table['load']}, {versions}"


def tables_of(benchmarks: tuple[str, ...], results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield all tables of these benchmarks, each with all processors that measured it."""
    tables: dict[str, list[Run]] = {}
    for name in benchmarks:
        for result in (each for each in results if each["benchmark"] == name):
            for table in result["tables"]:
                tables.setdefault(table["title"], []).append((result["processor"], table))
    for title, runs in tables.items():
        yield from joined(title, runs)


def page() -> str:
    """Return docs/results/performance.md."""
    parts, results = [HEAD], measured()
    for heading, (benchmarks, about) in SECTIONS.items():
        if not any(result["benchmark"] in benchmarks for result in results):
            continue
        parts += [f"## {heading}\n\n{about}\n", *tables_of(benchmarks, results)]
    return "\n".join(parts).rstrip() + "\n"
