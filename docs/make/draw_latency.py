"""Draw docs/pictures/latency.png: the parts of the latency from an event to its decision, as measured by `python -m
benchmarks.serving.camera`.

python docs/make/draw_latency.py benchmarks/results/camera-PROCESSOR.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parent.parent
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#999999")  # Okabe and Ito
WHOLE = "event to decision"


def measured(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a run's result file; return the processor's name and the table."""
    file = json.loads(path.read_text())
    return file["processor"], file["tables"][0]


def draw(processor: str, table: dict[str, Any], path: Path) -> None:
    """Draw a stacked bar of the parts' means, with marks at the median and the 95th percentile of the total."""
    rows = {name: dict(zip(table["columns"][1:], values)) for name, *values in table["rows"]}
    whole = rows.pop(WHOLE)
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    begin = 0.0
    for (name, row), colour in zip(rows.items(), COLOURS, strict=True):
        mean = row["mean, ms"]
        axes.barh(0, mean, left=begin, color=colour, label=f"{name}: {mean:.2f} ms")
        begin += mean
    for quantile in ("p50", "p95"):
        at = whole[f"{quantile}, ms"]
        axes.axvline(at, color="black", linestyle="--" if quantile == "p95" else ":")
        axes.text(at, 0.5, f" {quantile} {at:.1f} ms", va="center")
    axes.set(
        yticks=[],
        ylim=(-0.45, 0.62),
        xlabel="milliseconds after an event (mean of each part)",
        xlim=(0, 1.15 * whole["p95, ms"]),
    )
    axes.set_title(
        f"{whole['Mev/s']:g} million events a second, steps of {whole['bin, ms']:g} ms, {processor}", loc="left"
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=3, frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(*measured(Path(sys.argv[1])), DOCS / "pictures" / "latency.png")
