"""Write the comparison's report with tables and pictures, as markdown and as one HTML file with embedded pictures."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from spikesight.models.networks.energy import CAVEATS, PICOJOULES
from spikesight.models.statistics import interval
from spikesight.training.compare.results import Curve, Results
from spikesight.training.compare.tables import (
    accuracy_table,
    claims,
    energy_table,
    equal_work,
    first_table,
    latency_table,
    trial_table,
)
from spikesight.training.run.report import write_whole


class Block(NamedTuple):
    """A block of the report: kind "h2", "p", "table" (first row: header), "list" or "picture" (file, caption)."""

    kind: str
    content: Any


def to_markdown(parts: Sequence[Block], pictures: str) -> str:
    """Return blocks as markdown; `pictures` is the folder of the pictures, relative to the file."""
    lines: list[str] = []
    for kind, content in parts:
        if kind == "h2":
            lines += [f"{'#' if not lines else '##'} {content}", ""]
        elif kind == "p":
            lines += [content, ""]
        elif kind == "list":
            lines += [*(f"- {item}" for item in content), ""]
        elif kind == "picture":
            lines += [f"![{content[1]}]({pictures}/{content[0]})", ""]
        else:
            head, *rows = content
            lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows), ""]
    return "\n".join(lines)


STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}"
    "td,th{border:1px solid #ccc;padding:3px 8px;text-align:right}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%}"
)
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Spikesight comparison</title>'


def to_html(parts: Sequence[Block], pictures: Path) -> str:
    """Return blocks as one HTML file with embedded pictures."""
    out = [f"{HEAD}<style>{STYLE}</style>"]
    for kind, content in parts:
        if kind in ("h2", "p"):
            out.append(f"<{kind}>{html.escape(content)}</{kind}>")
        elif kind == "list":
            out.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in content) + "</ul>")
        elif kind == "picture":
            data = base64.b64encode((pictures / content[0]).read_bytes()).decode()
            out.append(f'<img alt="{html.escape(content[1])}" src="data:image/png;base64,{data}">')
        else:
            head, *rows = content
            out.append("<table><tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in head) + "</tr>")
            out += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows]
            out.append("</table>")
    return "\n".join(out) + "</html>\n"


def curves_picture(results: Results, path: Path, curves: Iterable[Curve], title: str) -> None:
    """Draw accuracy against T, as the seed paper's Figure 2."""
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=110)
    for r in curves:
        right = [100 * c / r.images for c in r.correct]
        (line,) = axes.plot(range(1, len(right) + 1), right, label=r.method, linewidth=1.3)
        band = [interval(c, r.images) for c in r.correct]
        axes.fill_between(
            range(1, len(right) + 1),
            [100 * b[0] for b in band],
            [100 * b[1] for b in band],
            color=line.get_color(),
            alpha=0.12,
            linewidth=0,
        )
    axes.axhline(results.ann.accuracy_here, color="black", linestyle="--", linewidth=1, label="ANN")
    for d in results.direct:
        axes.plot(d.steps, d.at(d.steps), "k^", markersize=6)
    axes.set(xscale="log", xlabel="time steps T", ylabel="test accuracy, %", title=title)
    axes.legend(fontsize=7, ncols=2)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def opening(results: Results) -> str:
    """Return the paragraph on the networks compared, how they were chosen, and on how many images."""
    config, ann = results.config, results.ann
    return (
        f"Network {config.network}. ANN: {ann.accuracy:.2f} % on {ann.images} test images, "
        f"{ann.accuracy_here:.2f} % on the {ann.images_here} of the curves. Conversion: {config.calibration} "
        f"unlabelled training images; thresholds and weights are made for T = {config.aim}; "
        f"seed {config.seed}. Direct networks have its shape and are chosen by a validation split. Nothing is chosen "
        "by test images. Intervals are Wilson's at 95 %."
    )


def choice(results: Results) -> list[Block]:
    """Return the section with all methods on held-out training images."""
    if not results.trials:
        return []
    words = f"Which conversion is best is decided on {results.trials[0].images} training images that no network "
    words += (
        "learns from (weights published by others may have seen them, so the accuracies are not those of new images)."
    )
    return [Block("h2", "The choice"), Block("p", words), Block("table", trial_table(results))]


def section(results: Results, name: str, curves: Sequence[Curve], title: str, pictures: Path) -> list[Block]:
    """Return the section with curves and table of one group of conversions."""
    if not curves:
        return []
    name = f"compare-{results.data}-{results.config.network}-{name}.png"
    curves_picture(results, pictures / name, curves, title)
    caption = f"{title}: accuracy against T; dashed: the ANN; triangles: direct training"
    return [Block("h2", title), Block("picture", (name, caption)), Block("table", accuracy_table(curves))]


def blocks(results: Results, pictures: Path) -> list[Block]:
    """Return the report's content and draw its pictures."""
    config = results.config
    mac, ac = PICOJOULES["fp32"]
    notes = (
        f"fp32: {mac} pJ a MAC, {ac} pJ an AC. A converted network's first layer is computed once, a direct one's at "
        "every step.",
    )
    parts = [
        Block("h2", f"Two ways to a spiking network on {results.data}"),
        Block("p", opening(results)),
        *choice(results),
        Block("h2", "Accuracy (the paper's Table 1)"),
        Block("table", first_table(results)),
        *section(results, "long", results.long, "Long runs (the paper's Figure 2)", pictures),
        *section(results, "binary", results.binary, "Binary spikes", pictures),
        Block("h2", "Latency"),
        Block("table", latency_table(results)),
        Block("h2", "Operations and energy of an image (estimate)"),
        Block("table", energy_table(results)),
        Block("list", [*CAVEATS, *notes]),
    ]
    if results.direct:
        parts += [Block("h2", "At equal synaptic operations"), Block("table", equal_work(results))]
    if results.stdp:
        shares = ", ".join(f"{100 * r.right / r.images:.2f}" for r in results.stdp)
        words = f"Unsupervised, {config.stdp_neurons} neurons, {config.stdp_images} images, neurons named by labels: "
        words += f"{shares} %. A shallow baseline; it does not scale to deep networks."
        parts += [Block("h2", "STDP"), Block("p", words)]
    return [*parts, Block("h2", "The paper's claims here"), Block("table", claims(results))]


def write_report(results: Results, folder: Path) -> tuple[Path, Path]:
    """Write report.md, report.html and pictures/ in `folder`; return the two files."""
    parts = blocks(results, folder / "pictures")
    markdown, page = folder / "report.md", folder / "report.html"
    write_whole(markdown, to_markdown(parts, "pictures"))
    write_whole(page, to_html(parts, folder / "pictures"))
    return markdown, page
