"""Draw the pictures of docs/results/results.md from training/results/ and benchmarks/results/:
accuracy against operations, time against the firing rate for several programs, and the twins' accuracy by time seen.

python docs/make/draw_results.py

Each picture's metadata hold the SHA-256 of its numbers, so that a test can tell whether it is out of date.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "results" / "pictures"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito
NETWORKS = {
    "N-MNIST, T = 10": ("nmnist", "nmnist-short"),
    "MNIST, T = 2 and 4": ("mnist-direct", "mnist-medium", "mnist-four"),
    "Fashion-MNIST, T = 4": ("fashion-direct",),
    "CIFAR-10, T = 4": ("cifar-direct",),
}
ANNS = {"MNIST, T = 2 and 4": "mnist-ann", "Fashion-MNIST, T = 4": "fashion-ann", "CIFAR-10, T = 4": "cifar-ann"}
MACHINES = {
    "EPYC, Zen 4": "engine-amd-epyc-family-25-model-17.json",
    "Xeon with AMX": "engine-intel-r-xeon-r-processor-family-6-model-207.json",
}
PROGRAMS = {
    "SpikingJelly multi-step": ("SpikingJelly", "-"),
    "PyTorch, folded, channels last": ("PyTorch", "-"),
    "OpenVINO f32": ("OpenVINO float32", "-"),
    "OpenVINO bf16": ("OpenVINO bfloat16", "--"),
    "engine": ("Spikesight float32", "-"),
    "engine bf16": ("Spikesight bfloat16", "--"),
}
PROGRAM_COLOURS = ("#999999", "#cc79a7", "#56b4e9", "#56b4e9", "#d55e00", "#d55e00")
FIRING = re.compile(r"resnet18, T = 4, 3x224x224, neurons fire at (\d+)%")


class Point(NamedTuple):
    """Error and operations of one run on a test split."""

    group: str
    spiking: bool
    operations: float  # a sample: synaptic operations, or an ANN's multiply-adds with non-zero input
    error: float  # percentage of the test samples


def accuracies() -> list[Point]:
    """Return a point for every run, of any seed, of NETWORKS and ANNS."""
    found = []
    for group, names in NETWORKS.items():
        for name in (*names, *([ANNS[group]] if group in ANNS else [])):
            for path in sorted((ROOT / "training" / "results" / name).glob("result*.json")):
                test = json.loads(path.read_text())["test"]
                error = 100 * (1 - test["correct"] / test["count"])
                found.append(Point(group, not name.endswith("-ann"), test["synops"], error))
    return found


def times() -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return [(percentage of neurons that fire in a step, milliseconds)] by machine and program."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for machine, name in MACHINES.items():
        programs = found.setdefault(machine, {program: [] for program in PROGRAMS})
        for firing, table in sorted(_tables(ROOT / "benchmarks" / "results" / name)):
            for program, ms in table.items():
                if program in programs:
                    programs[program].append((firing, ms))
    return found


def _tables(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    for table in json.loads(path.read_text())["tables"]:
        if fires := FIRING.fullmatch(table["title"]):
            yield int(fires[1]), {row[0]: row[1] for row in table["rows"]}


def twins() -> dict[str, list[float]]:
    """Return the accuracy in per cent after each bin of 31 ms, by form of the network."""
    (path,) = (ROOT / "benchmarks" / "results").glob("twinlong-*.json")
    (table,) = (one for one in json.loads(path.read_text())["tables"] if one["title"].startswith("accuracy by time"))
    return {row[0]: row[1:] for row in table["rows"]}


def digest(numbers: object) -> str:
    """Return a hash of the numbers in a picture."""
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()


def draw_accuracy(axes: Any) -> None:
    """Plot error against operations on logarithmic axes; lower left is better."""
    points = accuracies()
    for group, colour in zip(NETWORKS, COLOURS, strict=True):
        for spiking, marker in ((True, "o"), (False, "s")):
            these = [p for p in points if (p.group, p.spiking) == (group, spiking) and p.error > 0]
            if these:
                label = group if spiking else f"{group.partition(',')[0]}, an ANN"
                x, y = [p.operations for p in these], [p.error for p in these]
                face = colour if spiking else "none"
                axes.scatter(x, y, marker=marker, edgecolors=colour, facecolors=face, label=label)
    axes.set(xscale="log", yscale="log", xlabel="operations a sample (an ANN's: multiply-adds)", ylabel="error, %")
    ticks = (0.5, 1, 2, 5, 10, 20)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def draw_times(axes: Any, machine: str) -> None:
    """Plot milliseconds against the firing rate on one machine."""
    for (program, points), colour in zip(times()[machine].items(), PROGRAM_COLOURS, strict=True):
        label, line = PROGRAMS[program]
        axes.plot(*zip(*points, strict=True), line, color=colour, marker=".", label=label)
    axes.set(title=machine, xlabel="neurons that fire in a step, %", ylim=(0, None))
    axes.grid(alpha=0.3)


def draw_twins(axes: Any) -> None:
    """Plot accuracy against the time seen."""
    for (name, shares), colour in zip(twins().items(), COLOURS, strict=False):
        axes.plot([31 * (n + 1) for n in range(len(shares))], shares, marker=".", color=colour, label=name)
    axes.set(xlabel="N-MNIST: time seen, ms", ylabel="top-1 accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 4), layout="constrained")
    draw_accuracy(axes)
    figure.savefig(PICTURES / "accuracy.png", dpi=100, metadata={"Numbers": digest(accuracies())})
    figure, both = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    for axes, machine in zip(both, MACHINES, strict=True):
        draw_times(axes, machine)
    both[0].set_ylabel("ResNet-18, T = 4, 224 x 224: ms, one thread")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(PICTURES / "speed.png", dpi=100, metadata={"Numbers": digest(times())})
    figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
    draw_twins(axes)
    figure.savefig(PICTURES / "twins.png", dpi=100, metadata={"Numbers": digest(twins())})


if __name__ == "__main__":
    main()
