"""Write a comparison's report: one HTML file with tables and a picture."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.common.energy import CAVEATS, ann_energy, spiking_energy
from experiments.common.metering import Work
from experiments.compare.comparison import Curve, Results
from spikesight.models.conversion.simulate import shown_steps
from spikesight.models.statistics import interval
from spikesight.training.run.report import write_whole

Table = list[list[str]]
STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}"
    "td,th{border:1px solid #ccc;padding:3px 8px;text-align:right}td:first-child,th:first-child{text-align:left}"
    "svg{max-width:100%}"
)
HEAD = (
    f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Spikesight comparison</title><style>{STYLE}</style>'
)


def with_interval(correct: int, images: int) -> str:
    """Format an accuracy with its 95 % interval."""
    low, high = interval(correct, images)
    return f"{100 * correct / images:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def steps_to(result: Curve, target: float) -> int | None:
    """Return the first T from which the accuracy stays at `target` (per cent) or above; None if it never does."""
    bad = [t for t in range(1, result.steps + 1) if result.at(t) < target]
    return None if result.steps in bad else bad[-1] + 1 if bad else 1


def first_table(results: Results) -> Table:
    """Return the seed paper's Table 1 for these data, with the ANN's accuracy on each conversion's images and the steps
    from which on a conversion stays within one point of it.
    """
    rows = [["network", "T", "accuracy, % (95 %)", "images", "ANN there, %", "T within 1 point of the ANN"]]
    groups = (
        ("ANN", [results.ann]),
        ("direct", results.direct),
        ("conversion, chosen", results.chosen),
        ("conversion", [*results.converted, *results.long]),
        ("STDP", results.stdp),
    )
    for name, r in ((name, r) for name, curves in groups for r in curves):
        beside = ["", ""]
        if r.ann_correct is not None:
            ann = 100 * r.ann_correct / r.images
            beside = [f"{ann:.2f}", str(steps_to(r, ann - 1) or f"not by {r.steps}")]
        accuracy = with_interval(r.correct[-1], r.images)
        rows.append([f"{name}: {r.method}", str(r.steps), accuracy, str(r.images), *beside])
    return rows


def accuracy_table(curves: Sequence[Curve]) -> Table:
    """Return a table of accuracies in per cent: one row a method, one column a number of steps T."""
    at = shown_steps(max(r.steps for r in curves))
    cells = [[f"{r.at(t):.2f}" if t <= r.steps else "" for t in at] for r in curves]
    return [["method", *(f"T = {t}" for t in at)], *([r.method, *row] for r, row in zip(curves, cells))]


def energy_table(results: Results) -> Table:
    """Return the table of operations and estimated energy of one image: every network at its T, and the ANN (without
    the traffic of its activations).
    """
    rows = [["network", "T", "spike rate", "MACs, M", "ACs, M", "compute, uJ", "with memory, uJ", "accuracy, %"]]
    for r in (results.ann, *results.direct, *results.converted):
        for step, work in r.work.items():
            spent = Work(work.macs, work.acs, 0.0, work.updates)
            e = ann_energy(work.macs, 0) if r is results.ann else spiking_energy(spent)
            counts = [f"{work.rate:.2%}", f"{work.macs / 1e6:.2f}", f"{work.acs / 1e6:.2f}"]
            joules = [f"{e.compute:.2f}", f"{e.with_memory:.2f}"]
            rows.append([r.method, step, *counts, *joules, f"{r.at(int(step)):.2f}"])
    return rows


def picture(results: Results, curves: Sequence[Curve]) -> str:
    """Draw accuracy against T, as the seed paper's Figure 2, with 95 % intervals; return SVG."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for r in curves:
        steps, band = range(1, r.steps + 1), [interval(c, r.images) for c in r.correct]
        (line,) = axes.plot(steps, [r.at(t) for t in steps], label=f"{r.method}, {r.images} images", linewidth=1.3)
        low, high = ([100 * side for side in sides] for sides in zip(*band))
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.axhline(results.ann.at(1), color="black", linestyle="--", linewidth=1, label="ANN")
    for d in results.direct:
        axes.plot(d.steps, d.at(d.steps), "k^", markersize=6)
    axes.set(xscale="log", xlabel="time steps T", ylabel="test accuracy, %")
    axes.legend(fontsize=7, ncols=2)
    axes.grid(alpha=0.3)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]


def opening(results: Results) -> str:
    """Return the paragraph on the networks compared and how they were chosen."""
    config = results.config
    return (
        f"Network {config.network}. Conversion: {config.calibration} unlabelled training images; thresholds and "
        f"weights are made for T = {config.aim}; seed {config.seed}. Direct networks have the ANN's shape and are "
        "chosen by a validation split, the best conversion by training images that no network learns from (weights "
        "published by others may have seen them). Nothing is chosen by test images. STDP is "
        "unsupervised, its neurons are named by labels. Intervals are Wilson's at 95 %."
    )


def as_html(table: Table) -> str:
    """Return a table, whose first row is its header, as HTML."""
    cells = (("th" if n == 0 else "td", row) for n, row in enumerate(table))
    rows = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in cells)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def write_report(results: Results, folder: Path) -> Path:
    """Write report.html in `folder`; return the file."""
    curves = [*results.converted, *results.long]
    parts = [HEAD, f"<h2>Two ways to a spiking network on {html.escape(results.data)}</h2>"]
    parts += [f"<p>{html.escape(opening(results))}</p>", as_html(first_table(results))]
    if results.trials:
        parts += ["<h2>Conversions on training images held out, of which the best is chosen</h2>"]
        parts += [as_html(accuracy_table(results.trials))]
    if curves:
        parts += ["<h2>Conversions: accuracy against T (dashed: the ANN; triangles: direct training)</h2>"]
        parts += [picture(results, curves), as_html(accuracy_table(curves))]
    parts += ["<h2>Operations and energy of an image (estimate)</h2>", as_html(energy_table(results))]
    parts += ["<ul>", *(f"<li>{html.escape(caveat)}</li>" for caveat in CAVEATS), "</ul></html>"]
    page = folder / "report.html"
    write_whole(page, "\n".join(parts) + "\n")
    return page
