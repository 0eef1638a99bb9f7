"""docs/results/sparsity.md: where sparsity pays on a CPU, from what `benchmarks.sparsity` measured."""

import json
from collections.abc import Iterator
from typing import Any

from performance_page import RESULTS, alone, when

OURS = "engine "
PRECISIONS = {"float32": ("float32", "f32"), "bfloat16": ("bfloat16", "bf16"), "int8": ("int8",)}
HEAD = """# Sparsity on a CPU

Written by `docs/make/make_docs.py` from what `python -m benchmarks.sparsity` measured; a test fails when this page is
out of date.

Does it pay to skip what did not spike, on a processor made for dense products? A paper (arXiv 2603.13810) tried five
ways to compute sparsely on an Apple M3 Max and found each slower than a dense convolution. It speaks of GPUs; we know its
abstract alone, which does not say what the five are, so they are not among the programs below, and what stands here,
another way on another kind of processor, does not contradict it. One image goes through ResNet-18 at T = 4, 224 x 224,
whose every neuron layer fires at a stated rate, by programs that compute every product, and by the engine, which adds
what spikes reach where that is less work, and computes densely where it is not: it chooses layer by layer, by densities
that it measured on this machine.

![Milliseconds against the share of neurons that fire, in float32, bfloat16 and int8](pictures/sparsity.png)
"""
LIMITS = """
## Limits

Random weights, every layer at the same rate: networks that were trained fire less in some layers than in others, and the
[engine's tables](performance.md#engine) have some. One image at a time: with a batch dense programs reuse their weights.
The engine's own gain is not of sparsity alone: at 50 % it computes densely, and its time there is what its dense kernels
and fused neurons are worth; what spikes save is the way from there down to 1 %. Its float32 products are three of
bfloat16 on a matrix unit, where a processor has one. In int8 a program rounds currents and membranes, so it is another
network, whose accuracy is not judged here; both int8 rows are one file, quantised by ONNX Runtime from one image's
ranges. Only processors that stand here were measured. A table of several threads is by the wall's clock: the load below it
says whether the cores were free.
"""


def best(table: dict[str, Any], column: int, precision: str) -> tuple[str, float]:
    """The fastest program but ours at a rate, in a precision."""
    rows = [row for row in table["rows"] if row[0].endswith(PRECISIONS[precision]) and not row[0].startswith(OURS)]
    return min(((row[0], row[column]) for row in rows), key=lambda row: row[1])


def compared(table: dict[str, Any]) -> Iterator[str]:
    """The engine's times over those of the fastest dense program: of its own precision, and of int8."""
    times = {row[0]: row for row in table["rows"]}
    for precision in ("float32", "bfloat16"):
        if (name := OURS + precision) not in times:
            continue
        for dense in (precision, "int8"):
            ratios = [best(table, n, dense)[1] / times[name][n] for n in range(1, len(table["columns"]))]
            shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            slower = [rate for rate, ratio in zip(table["columns"][1:], ratios) if ratio < 1]
            where = f"slower at {', '.join(slower)} % firing" if slower else "slower nowhere"
            peers = sorted({best(table, n, dense)[0] for n in range(1, len(table["columns"]))})
            yield f"- {name} is {shown} times as fast as the fastest dense {dense} ({', '.join(peers)}): {where}."


def page() -> str:
    """docs/results/sparsity.md."""
    parts = [HEAD]
    for file in sorted(RESULTS.glob("sparsity-*.json")):
        found = json.loads(file.read_text())
        for table in found["tables"]:
            parts += [f"## {found['processor']}: {table['title']}\n", *alone(table), ""]
            parts += [f"By rate, from {table['columns'][1]} to {table['columns'][-1]} %:\n", *compared(table), ""]
            parts.append(f"{found['processor']}{when(table)}: `{table['command']}`.")
    return "\n".join(parts).rstrip() + "\n" + LIMITS
