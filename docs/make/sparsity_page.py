"""Generate docs/results/sparsity.md, where sparsity pays on a CPU, from the results of `benchmarks.sparsity`."""

import json
from collections.abc import Iterator
from typing import Any

from performance_page import RESULTS, alone, when

OURS = "engine "
PRECISIONS = {"float32": ("float32", "f32"), "bfloat16": ("bfloat16", "bf16"), "int8": ("int8",)}
HEAD = """# Sparsity on a CPU

Written by `docs/make/make_docs.py` from what `python -m benchmarks.sparsity` measured; a test fails when this page is
out of date.

Does it pay to skip silent neurons on a processor made for dense products? A paper (arXiv 2603.13810) tried five
sparse methods on an Apple M3 Max and found each slower than a dense convolution. It is about GPUs. We know only its
abstract, which does not name the methods, so they are not among the programs below. These results, for another method
on another kind of processor, do not contradict it. One image goes through ResNet-18 at T = 4, 224 x 224, with every
neuron layer firing at a stated rate: by dense programs, which compute every product, and by the engine. For each layer
the engine adds only what spikes reach or computes densely, whichever was faster at that density on the machine.

![Milliseconds against the share of neurons that fire, in float32, bfloat16 and int8](pictures/sparsity.png)
"""
LIMITS = """
## Limits

Weights are random and all layers fire at the same rate; trained networks fire less in some layers than in others, and the
[engine's tables](performance.md#engine) include some. Batches have one image; in larger batches dense programs reuse their
weights. The engine's gain is not only sparsity: at 50 % it computes densely, and its time there shows its dense kernels
and fused neurons; what spikes save is the difference from there to 1 %. On a processor with a matrix unit, its float32
products are three bfloat16 products. In int8 a program rounds currents and membranes, so it is another
network, whose accuracy is not measured here; both int8 rows use one file, quantised by ONNX Runtime with the ranges of one
image. Only the processors listed here were measured. Tables of several threads use the wall clock: the load below a table
says whether the cores were free.
"""


def best(table: dict[str, Any], column: int, precision: str) -> tuple[str, float]:
    """Return the fastest program other than ours at one firing rate (a column), and its time."""
    rows = [row for row in table["rows"] if row[0].endswith(PRECISIONS[precision]) and not row[0].startswith(OURS)]
    return min(((row[0], row[column]) for row in rows), key=lambda row: row[1])


def compared(table: dict[str, Any]) -> Iterator[str]:
    """Yield comparisons of the engine with the fastest dense program, in its own precision and in int8."""
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
    """Return docs/results/sparsity.md."""
    parts = [HEAD]
    for file in sorted(RESULTS.glob("sparsity-*.json")):
        found = json.loads(file.read_text())
        for table in found["tables"]:
            parts += [f"## {found['processor']}: {table['title']}\n", *alone(table), ""]
            parts += [f"By rate, from {table['columns'][1]} to {table['columns'][-1]} %:\n", *compared(table), ""]
            parts.append(f"{found['processor']}{when(table)}: `{table['command']}`.")
    return "\n".join(parts).rstrip() + "\n" + LIMITS
