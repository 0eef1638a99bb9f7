"""The comparison's report: tables, pictures and claims in order, as report.md and report.html."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from models.energy import CAVEATS, PICOJOULES
from models.simulate import interval
from training.compare_blocks import Block, to_html, to_markdown
from training.compare_claims import claims
from training.compare_store import Result
from training.compare_tables import (
    accuracy_at,
    accuracy_table,
    energy_table,
    equal_work,
    first_table,
    latency_table,
    trial_table,
)
from training.report import write_whole


def curves_picture(results: dict[str, Any], path: Path, groups: Iterable[Result], title: str) -> None:
    """Accuracy against T, the seed paper's Figure 2."""
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=110)
    for r in groups:
        right = [100 * c / r["images"] for c in r["correct"]]
        (line,) = axes.plot(range(1, len(right) + 1), right, label=r["method"], linewidth=1.3)
        band = [interval(c, r["images"]) for c in r["correct"]]
        axes.fill_between(
            range(1, len(right) + 1),
            [b[0] for b in band],
            [b[1] for b in band],
            color=line.get_color(),
            alpha=0.12,
            linewidth=0,
        )
    axes.axhline(results["ann"]["accuracy_here"], color="black", linestyle="--", linewidth=1, label="ANN")
    for d in results["direct"]:
        axes.plot(len(d["correct"]), accuracy_at(d, len(d["correct"])), "k^", markersize=6)
    axes.set(xscale="log", xlabel="time steps T", ylabel="test accuracy, %", title=title)
    axes.legend(fontsize=7, ncols=2)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def opening(results: dict[str, Any]) -> str:
    """What was compared, how it was chosen, and on how many images."""
    config, ann = results["config"], results["ann"]
    return (
        f"Network {config['network']}. ANN: {ann['accuracy']:.2f} % on {ann['images']} test images, "
        f"{ann['accuracy_here']:.2f} % on the {ann['images_here']} of the curves. Conversion: {config['calibration']} "
        f"unlabelled training images; thresholds and weights are made for T = {config['aim']} (multi-threshold: "
        f"{config['multi_aim']}); seed {config['seed']}. Direct networks have its shape and are chosen by a validation "
        "split. Nothing is chosen by test images. Intervals are Wilson's at 95 %."
    )


def choice(results: dict[str, Any]) -> list[Block]:
    """The methods on held-out training images."""
    if not results["trials"]:
        return []
    words = f"Which conversion is best is decided on {results['trials'][0]['images']} training images that no network "
    words += (
        "learns from (weights published by others may have seen them, so the accuracies are not those of new images)."
    )
    return [Block("h2", "The choice"), Block("p", words), Block("table", trial_table(results))]


def section(results: dict[str, Any], road: str, title: str, pictures: Path) -> list[Block]:
    """Curves and table of one group of conversions."""
    if not results[road]:
        return []
    name = f"compare-{results['data']}-{results['config']['network']}-{road}.png"
    curves_picture(results, pictures / name, results[road], title)
    caption = f"{title}: accuracy against T; dashed: the ANN; triangles: direct training"
    return [Block("h2", title), Block("picture", (name, caption)), Block("table", accuracy_table(results[road]))]


def blocks(results: dict[str, Any], pictures: Path) -> list[Block]:
    """The report's content; draws its pictures."""
    config = results["config"]
    mac, ac = PICOJOULES["fp32"]
    notes = (
        f"fp32: {mac} pJ a MAC, {ac} pJ an AC. A converted network's first layer is computed once, a direct one's at "
        "every step. Multi-threshold spikes are charged as multiply-accumulates.",
    )
    parts = [
        Block("h2", f"Two roads to a spiking network on {results['data']}"),
        Block("p", opening(results)),
        *choice(results),
        Block("h2", "Accuracy (the paper's Table 1)"),
        Block("table", first_table(results)),
        *section(results, "long", "Long runs (the paper's Figure 2)", pictures),
        *section(results, "binary", "Binary spikes", pictures),
        *section(results, "multi", "Signed multi-threshold spikes: more than one bit each", pictures),
        Block("h2", "Latency"),
        Block("table", latency_table(results)),
        Block("h2", "Operations and energy of an image (estimate)"),
        Block("table", energy_table(results)),
        Block("list", [*CAVEATS, *notes]),
    ]
    if results["direct"]:
        parts += [Block("h2", "At equal synaptic operations"), Block("table", equal_work(results))]
    if results["stdp"]:
        shares = ", ".join(f"{100 * r['right'] / r['images']:.2f}" for r in results["stdp"])
        words = (
            f"Unsupervised, {config['stdp_neurons']} neurons, {config['stdp_images']} images, neurons named by labels: "
        )
        words += f"{shares} %. A shallow baseline; it does not scale to deep networks."
        parts += [Block("h2", "STDP"), Block("p", words)]
    return [*parts, Block("h2", "The paper's claims here"), Block("table", claims(results))]


def write_report(results: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """report.md, report.html and pictures/ in `folder`; the two files."""
    parts = blocks(results, folder / "pictures")
    markdown, page = folder / "report.md", folder / "report.html"
    write_whole(markdown, to_markdown(parts, "pictures"))
    write_whole(page, to_html(parts, folder / "pictures"))
    return markdown, page
