"""Draw the pictures of the documents: `python docs/make/draw.py [accuracy speed twins encodings trace]`.

accuracy, speed and twins (docs/results/pictures) show numbers of training/results/, benchmarks/results/ and
experiments/results/. Their metadata hold the SHA-256 of these numbers, by which a test tells which is out of date.
encodings and trace (docs/pictures) show a digit in all encodings, and the motion model on a moving circle.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "results" / "pictures"
OTHERS = ROOT / "docs" / "pictures"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito
NETWORKS = {
    "N-MNIST, T = 10": ("nmnist", "nmnist-short"),
    "MNIST, T = 2 and 4": ("mnist-direct", "mnist-medium", "mnist-four", "mnist-ann"),
    "Fashion-MNIST, T = 4": ("fashion-direct", "fashion-ann"),
    "CIFAR-10, T = 4": ("cifar-direct", "cifar-ann"),
}
MACHINES = {
    "EPYC, Zen 4": "engine-amd-epyc-family-25-model-17.json",
    "Xeon with AMX": "engine-intel-r-xeon-r-processor-family-6-model-207.json",
}
PROGRAMS = {
    "SpikingJelly multi-step": ("SpikingJelly", "-", "#999999"),
    "PyTorch, folded, channels last": ("PyTorch", "-", "#cc79a7"),
    "OpenVINO f32": ("OpenVINO float32", "-", "#56b4e9"),
    "OpenVINO bf16": ("OpenVINO bfloat16", "--", "#56b4e9"),
    "engine": ("Spikesight float32", "-", "#d55e00"),
    "engine bf16": ("Spikesight bfloat16", "--", "#d55e00"),
}
FIRING = re.compile(r"resnet18, T = 4, 3x224x224, neurons fire at (\d+)%")


class Point(NamedTuple):
    """Error and operations of one run on a test split."""

    group: str
    spiking: bool
    operations: float  # a sample: synaptic operations, or an ANN's multiply-adds with non-zero input
    error: float  # percentage of the test samples


def accuracies() -> list[Point]:
    """Return a point for every run, of any seed, of NETWORKS."""
    found = []
    for group, names in NETWORKS.items():
        for name in names:
            for path in sorted((ROOT / "training" / "results" / name).glob("result*.json")):
                test = json.loads(path.read_text())["test"]
                error = 100 * (1 - test["correct"] / test["count"])
                found.append(Point(group, not name.endswith("-ann"), test["synops"], error))
    return found


def tables(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["tables"]


def times() -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return [(percentage of neurons that fire in a step, milliseconds)] by machine and program."""
    found = {machine: {program: list[tuple[int, float]]() for program in PROGRAMS} for machine in MACHINES}
    for machine, name in MACHINES.items():
        for table in tables(ROOT / "benchmarks" / "results" / name):
            fires = FIRING.fullmatch(table["title"])
            for program, ms, *_ in table["rows"] if fires else ():
                if fires and program in PROGRAMS:
                    found[machine][program].append((int(fires[1]), ms))
    return {machine: {program: sorted(points) for program, points in of.items()} for machine, of in found.items()}


def twins() -> dict[str, list[float]]:
    """Return the accuracy in per cent after each bin of 31 ms, by form of the network."""
    (path,) = (ROOT / "experiments" / "results").glob("twinlong-*.json")
    (table,) = (one for one in tables(path) if one["title"].startswith("accuracy by time"))
    return {row[0]: row[1:] for row in table["rows"]}


def digest(numbers: object) -> str:
    """Return a hash of the numbers in a picture."""
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()


def draw_accuracy() -> None:
    """Plot error against operations on logarithmic axes; lower left is better."""
    figure, axes = plt.subplots(figsize=(8.5, 4), layout="constrained")
    points, ticks = accuracies(), (0.5, 1, 2, 5, 10, 20)
    for group, colour in zip(NETWORKS, COLOURS, strict=True):
        for spiking, marker in ((True, "o"), (False, "s")):
            these = [p for p in points if (p.group, p.spiking) == (group, spiking) and p.error > 0]
            if these:
                label, face = (group, colour) if spiking else (f"{group.partition(',')[0]}, an ANN", "none")
                x, y = [p.operations for p in these], [p.error for p in these]
                axes.scatter(x, y, marker=marker, edgecolors=colour, facecolors=face, label=label)
    axes.set(xscale="log", yscale="log", xlabel="operations a sample (an ANN's: multiply-adds)", ylabel="error, %")
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(PICTURES / "accuracy.png", dpi=100, metadata={"Numbers": digest(points)})


def draw_speed() -> None:
    """Plot milliseconds against the firing rate on two machines."""
    figure, both = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    for axes, (machine, programs) in zip(both, times().items(), strict=True):
        for program, points in programs.items():
            label, line, colour = PROGRAMS[program]
            axes.plot(*zip(*points, strict=True), line, color=colour, marker=".", label=label)
        axes.set(title=machine, xlabel="neurons that fire in a step, %", ylim=(0, None))
        axes.grid(alpha=0.3)
    both[0].set_ylabel("ResNet-18, T = 4, 224 x 224: ms, one thread")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(PICTURES / "speed.png", dpi=100, metadata={"Numbers": digest(times())})


def draw_twins() -> None:
    """Plot accuracy against the time seen."""
    figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
    for (name, shares), colour in zip(twins().items(), COLOURS, strict=False):
        axes.plot([31 * (n + 1) for n in range(len(shares))], shares, marker=".", color=colour, label=name)
    axes.set(xlabel="N-MNIST: time seen, ms", ylabel="top-1 accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(PICTURES / "twins.png", dpi=100, metadata={"Numbers": digest(twins())})


def maps(rows: dict[str, NDArray], titles: list[str], path: Path, dpi: int) -> None:
    """Draw pictures [T, H, W] or [T, H, W, 3] of each name in a row."""
    figure, grid = plt.subplots(len(rows), len(titles), figsize=(0.85 * len(titles), 0.8 * len(rows)), squeeze=False)
    for line, (name, pictures) in zip(grid, rows.items()):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, cmap="gray_r", vmin=0, vmax=max(1.0, float(pictures.max())))
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name.replace(", ", "\n").replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=8)
    for axes, title in zip(grid[0], titles):
        axes.set_title(title, fontsize=7, pad=2)
    figure.subplots_adjust(0.085, 0.01, 0.995, 0.97, 0.05, 0.05)
    figure.savefig(path, dpi=dpi, metadata={"Software": None}, facecolor="white")


def draw_encodings() -> None:
    """Draw a 2 at each of ten steps, one row an encoding; the last as event frames by polarity, ON blue."""
    import cv2
    import torch

    from spikesight.encoders.dvs import DvsEncoder
    from spikesight.encoders.emulator.saccades import saccades
    from spikesight.encoders.events import NMNIST_SENSOR
    from spikesight.encoders.image import IMAGE_ENCODERS, Latency

    big = cv2.putText(np.zeros((280, 280), np.uint8), "2", (62, 226), 0, 7.2, 255, 30, cv2.LINE_AA)
    digit = np.asarray(cv2.resize(cv2.GaussianBlur(big, (0, 0), 5), (28, 28), interpolation=cv2.INTER_AREA), np.uint8)
    image, rows = torch.from_numpy(digit)[None, None].float() / 255, dict[str, NDArray]()
    for name, kind in {**IMAGE_ENCODERS, "latency, log": lambda steps: Latency(steps, "log")}.items():
        rows[name] = kind(10)(image, generator=torch.Generator().manual_seed(0))[:, 0, 0].numpy()
    frames = DvsEncoder(NMNIST_SENSOR, (34, 34), 31_000, 10, "binary")(saccades(digit, seed=0))[:, 0, ..., None] > 0
    coloured = np.where(frames[:, 1], (0.0, 0.45, 0.70), np.where(frames[:, 0], (0.90, 0.62, 0.0), 0.97))
    maps({**rows, "DVS, events": coloured}, [f"step {n + 1}" for n in range(10)], OTHERS / "encodings.png", 100)


def draw_trace() -> None:
    """Draw all neuron layers of the motion model on a moving circle, channels summed, and note what it says."""
    import spikesight
    from spikesight.encoders.sources.samples import events_of

    events, model = events_of("circle"), spikesight.load("motions")
    window = events[events["t"] < events["t"][0] + 330_000]
    trace = model.trace(window, (128, 128))
    layers = {f"{one.title}, {one.spikes.shape[1]} channels": one.spikes for one in trace.layers.values()}
    titles = [f"{(n + 1) * trace.step_us / 1000:g} ms" for n in range(len(trace.inputs))]
    rows = {name: values.sum(1) for name, values in ({"input": trace.inputs} | layers).items()}
    maps(rows, titles, OTHERS / "trace.png", 72)
    shown = json.loads((OTHERS / "shown.json").read_text())
    sha256 = hashlib.sha256((OTHERS / "trace.png").read_bytes()).hexdigest()
    shown["trace.png"] = {"says": model.predict(window, (128, 128)).label, "sha256": sha256, "source": "circle"}
    (OTHERS / "shown.json").write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("accuracy", "speed", "twins", "encodings", "trace"):
        globals()[f"draw_{name}"]()
