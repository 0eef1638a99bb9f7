"""The comparison's report: the same blocks as markdown (pictures beside it) and as one HTML file (pictures inside)."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from models.convert import METHODS
from models.energy import CAVEATS, PICOJOULES, Report, Work, ann_energy, bit_budget, quantised_energy, spiking_energy
from models.simulate import interval
from training.report import write_whole

Result = dict[str, Any]


class Block(NamedTuple):
    """A piece of the report: kind "h2", "p", "table" (first row: header), "list" or "picture" (file, caption)."""

    kind: str
    content: Any


def accuracy_at(result: Result, steps: int) -> float:
    """Per cent at T = steps."""
    return 100 * result["correct"][steps - 1] / result["images"]


def with_interval(correct: int, images: int) -> str:
    """An accuracy with its 95 % interval."""
    low, high = interval(correct, images)
    return f"{100 * correct / images:.2f} ({low:.1f} to {high:.1f})"


def steps_to(result: Result, target: float) -> int | None:
    """The first T from which the accuracy stays at `target` or above."""
    good = [100 * c / result["images"] >= target for c in result["correct"]]
    if not good or not good[-1]:
        return None
    bad = [t for t, ok in enumerate(good) if not ok]
    return (bad[-1] + 2) if bad else 1


def columns(results: Sequence[Result]) -> list[int]:
    """Powers of two within the longest run, and its end."""
    longest = max(len(r["correct"]) for r in results)
    return sorted({*(2**k for k in range(12) if 2**k <= longest), longest})


def accuracy_table(results: Sequence[Result]) -> list[list[str]]:
    """Methods by T."""
    at = columns(results)
    rows = [["method", *(f"T = {t}" for t in at), "images"]]
    for r in results:
        cells = [f"{accuracy_at(r, t):.2f}" if t <= len(r["correct"]) else "" for t in at]
        rows.append([r["method"], *cells, str(r["images"])])
    return rows


def first_table(results: dict[str, Any]) -> list[list[str]]:
    """The seed paper's Table 1 on these data."""
    ann = results["ann"]
    rows = [["network", "training", "T", "accuracy, % (95 %)", "images"]]
    rows.append(
        [
            "ANN",
            "direct",
            "-",
            with_interval(round(ann["accuracy"] * ann["images"] / 100), ann["images"]),
            str(ann["images"]),
        ]
    )
    rows += [
        [
            "SNN",
            f"direct ({r['method']})",
            str(len(r["correct"])),
            with_interval(r["correct"][-1], r["images"]),
            str(r["images"]),
        ]
        for r in results["direct"]
    ]
    for r in (*results["binary"], *results["multi"], *results["long"]):
        rows.append(
            [
                "SNN",
                f"conversion ({r['method']})",
                str(len(r["correct"])),
                with_interval(r["correct"][-1], r["images"]),
                str(r["images"]),
            ]
        )
    rows += [
        ["SNN", f"{r['method']}, seed {r['seed']}", "60", with_interval(r["right"], r["images"]), str(r["images"])]
        for r in results["stdp"]
    ]
    return rows


def latency_table(results: dict[str, Any]) -> list[list[str]]:
    """Steps until the accuracy stays within one point of the ANN's, and with early exit."""
    top = results["ann"]["accuracy_here"]
    rows = [["method", "T within 1 point of the ANN", "early exit at 0.9: mean steps", "accuracy there, %"]]
    for r in (*results["binary"], *results["multi"]):
        need = steps_to(r, top - 1)
        mean, right = r["exits"].get("0.9", (None, None))
        rows.append(
            [
                r["method"],
                str(need) if need else f"not by {len(r['correct'])}",
                f"{mean:.1f}" if mean else "",
                f"{right:.2f}" if right else "",
            ]
        )
    return rows


def work_report(work: dict[str, float], steps: int) -> Report:
    """Stored counts as the energy module's report."""
    done = Work(work["macs"], work["acs"], 0.0, work["updates"])
    return Report(steps, 0, 0, 0.0, 1 - work["rate"], work["rate"], work["spikes"], done, {})


def bits_of(method: str, steps: int) -> int:
    """Bits of the activation that T steps amount to; a multi-threshold spike of n levels is worth 2^(n-1) of them."""
    levels = METHODS[method].rule.levels if method in METHODS else 1
    return bit_budget(steps * 2 ** (levels - 1))


def energy_table(results: dict[str, Any]) -> list[list[str]]:
    """Operations and estimated energy of one image: every network at its T, the ANN and quantised ANNs beside them."""
    macs, values = results["ann"]["macs"], results["ann"]["activations"]
    rows = [
        ["network", "T", "bits", "spike rate", "MACs, M", "ACs, M", "compute, uJ", "with memory, uJ", "accuracy, %"]
    ]
    for bits in (32, 8, 4):
        e = ann_energy(macs, values) if bits == 32 else quantised_energy(macs, values, bits)
        right = f"{results['ann']['accuracy_here']:.2f}" if bits == 32 else "not measured"
        cost = [f"{macs / 1e6:.2f}", "0", f"{e.compute:.2f}", f"{e.with_memory:.2f}"]
        rows.append([f"ANN, {bits} bits", "-", str(bits), "-", *cost, right])
    for r in (*results["direct"], *results["binary"], *results["multi"]):
        for step, work in r["work"].items():
            e = spiking_energy(work_report(work, int(step)))
            cost = [f"{work['macs'] / 1e6:.2f}", f"{work['acs'] / 1e6:.2f}", f"{e.compute:.2f}", f"{e.with_memory:.2f}"]
            facts = [r["method"], step, str(bits_of(r["method"], int(step))), f"{work['rate']:.2%}"]
            rows.append([*facts, *cost, f"{accuracy_at(r, int(step)):.2f}"])
    return rows


def equal_work(results: dict[str, Any]) -> list[list[str]]:
    """Each direct network against the best conversion that needs no more synaptic operations."""
    rows = [
        ["direct", "operations, M", "accuracy, %", "best conversion within them", "T", "operations, M", "accuracy, %"]
    ]
    for d in results["direct"]:
        steps, work = next(iter(d["work"].items()))
        budget = work["macs"] + work["acs"]
        found: list[tuple[float, str, str, float]] = []
        for r in (*results["binary"], *results["multi"]):
            for step, spent in r["work"].items():
                cost = spent["macs"] + spent["acs"]
                if cost <= budget:
                    found.append((accuracy_at(r, int(step)), r["method"], step, cost))
        best = max(found, default=None)
        tail = [best[1], best[2], f"{best[3] / 1e6:.2f}", f"{best[0]:.2f}"] if best else ["none", "", "", ""]
        rows.append([d["method"], f"{budget / 1e6:.2f}", f"{accuracy_at(d, int(steps)):.2f}", *tail])
    return rows


def found_by(result: Result, target: float, who: str) -> str:
    """From which T a method is at a target, in words."""
    need = steps_to(result, target)
    return f"{who} is there from T = {need}" if need else f"{who} is not there by T = {len(result['correct'])}"


def needs_hundreds(result: Result, target: float) -> bool | None:
    """Whether a method needs 100 steps or more for a target; None where the run was too short to tell."""
    need = steps_to(result, target)
    if need is None:
        return True if len(result["correct"]) >= 100 else None
    return need >= 100


def claims(results: dict[str, Any]) -> list[list[str]]:
    """Which of the seed paper's claims hold here, with the numbers that say so."""
    rows = [["claim of the paper", "here", "evidence"]]

    def add(claim: str, holds: bool | None, evidence: str) -> None:
        rows.append([claim, "not tested" if holds is None else "holds" if holds else "does not hold", evidence])

    near = results["ann"]["accuracy_here"] - 1
    by_name = {r["method"]: r for r in (*results["binary"], *results["multi"])}
    base = {r["method"]: r for r in results["long"]}.get("rueckauer") or by_name.get("rueckauer")
    ends = sorted((len(d["correct"]), accuracy_at(d, len(d["correct"]))) for d in results["direct"])
    if len({t for t, _ in ends}) > 1:
        evidence = f"T = {ends[0][0]}: {ends[0][1]:.2f} %, T = {ends[-1][0]}: {ends[-1][1]:.2f} %"
        add("more steps raise direct accuracy", ends[-1][1] > ends[0][1], evidence)
    else:
        add("more steps raise direct accuracy", None, "needs two direct runs that differ in T")
    add("removing max-pool raises ANN accuracy", None, "this network has no max-pool in its stem")
    if base is not None:
        own = base.get("ann_accuracy", near + 1) - 1  # the ANN on the images of that run
        evidence = found_by(base, own, f"within 1 point of the ANN on {base['images']} images: rueckauer")
        add("conversion (Rueckauer) needs hundreds of steps", needs_hundreds(base, own), evidence)
    if by_name:
        first = min(by_name.values(), key=lambda r: steps_to(r, near) or 1 << 30)
        evidence = found_by(first, near, f"within 1 point of the ANN: {first['method']}")
        add("any conversion needs hundreds of steps", needs_hundreds(first, near), evidence)
    if base is not None and ends:
        last, (steps, best) = accuracy_at(base, len(base["correct"])), max(ends, key=lambda e: e[1])
        evidence = f"{last:.2f} % against {best:.2f} % at T = {steps}"
        add(f"conversion at T = {len(base['correct'])} beats direct training", last > best, evidence)
        quick = [(need, r["method"]) for r in by_name.values() if (need := steps_to(r, best))]
        evidence = found_by(base, best, f"as good as direct ({best:.2f} %): rueckauer")
        evidence += f"; {min(quick)[1]} from T = {min(quick)[0]}" if quick else ""
        holds = not quick or min(quick)[0] >= 100 * steps
        add("conversion's latency is two orders of magnitude higher at equal accuracy", holds, evidence)
    add("direct training is the road for event data", None, "still images only")
    return rows


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
        f"unlabelled training images; thresholds and biases are made for T = {config['aim']} (multi-threshold: "
        f"{config['multi_aim']}); seed {config['seed']}. Direct networks have its shape and are chosen by a validation "
        "split; this run chooses nothing by test images. Intervals are Wilson's at 95 %."
    )


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


def to_markdown(parts: Sequence[Block], pictures: str) -> str:
    """Blocks as markdown; `pictures` is the folder of the pictures seen from the file."""
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
    """Blocks as one HTML file that needs nothing else."""
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


def write_report(results: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """report.md, report.html and pictures/ in `folder`; the two files."""
    parts = blocks(results, folder / "pictures")
    markdown, page = folder / "report.md", folder / "report.html"
    write_whole(markdown, to_markdown(parts, "pictures"))
    write_whole(page, to_html(parts, folder / "pictures"))
    return markdown, page
