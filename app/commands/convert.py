"""`spikesight convert`: a trained ANN's weights to a checkpoint of a spiking network that the service serves."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert, graph_of
from spikesight.models.conversion.audit import audit
from spikesight.models.conversion.methods import METHODS, PATIENT, usual
from spikesight.models.conversion.simulate import curve, shown_steps
from spikesight.models.networks.ann import ANNS, as_ann, build_for, guess_name, read_state
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.shipped import name_of
from spikesight.models.statistics import interval
from spikesight.training.ann import accuracy, prepare
from spikesight.training.conversion import AIMS, choose_steps, splits_of
from spikesight.training.data.images import IMAGES
from spikesight.training.data.pictures import Images, load_images, pictures_below

DESCRIPTION = """Convert a trained ANN to a spiking network: a state dictionary (.safetensors, .pt, .pth, .th), or a
model folder that train-dvs --neuron relu --steps 1 made.

  spikesight convert resnet20.th --to models/cifar --data cifar10 --root DATA
  spikesight convert resnet18.pth --to models/imagenet --data PICTURES --labels names.txt
  spikesight convert runs/mnist-ann/model --to models/mnist --data mnist --root DATA --steps 0

Only unlabelled pictures are needed; with labelled ones the accuracy is measured too."""

CALIBRATION, BATCH, AUDITED, HELD = 512, 64, 32, 5000


@dataclass(frozen=True)
class Source:
    """An ANN and the input that it takes."""

    ann: nn.Module
    name: str
    contract: Contract  # of the ANN: one step
    labels: tuple[str, ...]
    classes: int
    card: Card | None = None  # of a model folder


@dataclass(frozen=True)
class Given:
    """Calibration and test pictures, [N, C, H, W] in [0, 1], and the labels of the test."""

    calibration: np.ndarray  # uint8 [N, C, H, W]
    held: Images | None = None  # they choose T
    test: Images | None = None
    labels: tuple[str, ...] = ()
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # the set's mean and std


def configure(parser: argparse.ArgumentParser) -> None:
    """What to convert, by which method, and the pictures that calibrate and measure it."""
    served = [name for name, method in METHODS.items() if method.streams]
    parser.add_argument("source", type=Path, help="the ANN's weights, or its model folder")
    parser.add_argument("--to", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument(
        "--network", choices=list(ANNS), help="what the weights belong to (default: found by their names)"
    )
    parser.add_argument(
        "--method",
        choices=served,
        help=f"way of conversion (default {usual(1)}, from T = {PATIENT} on {usual(PATIENT)})",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=32,
        help=f"T the network is made for (default 32); 0: the fewest of {', '.join(map(str, AIMS))} that held-out "
        "training pictures do not tell from the ANN",
    )
    parser.add_argument("--data", required=True, help=f"calibration pictures: a folder, or one of {', '.join(IMAGES)}")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where named data sets lie (default data)")
    parser.add_argument("--calibration", type=int, default=CALIBRATION, help=f"how many (default {CALIBRATION})")
    parser.add_argument("--labels", help="class names: a file with one a line, or a,b,c (default: the data set's)")
    parser.add_argument("--test", type=int, default=0, help="measure on this many test pictures of a labelled set")
    parser.add_argument("--force", action="store_true", help="write the checkpoint although the audit finds a fault")


def read_labels(text: str | None, classes: int, known: tuple[str, ...]) -> tuple[str, ...]:
    """The class names, as many as the network has."""
    if text is None:
        names = known if len(known) == classes else tuple(str(k) for k in range(classes))
    elif Path(text).is_file():
        names = tuple(line.strip() for line in Path(text).read_text().splitlines() if line.strip())
    else:
        names = tuple(part.strip() for part in text.split(","))
    if len(names) != classes:
        raise ValueError(f"{len(names)} labels for {classes} classes: give one a line, in the order of training")
    return names


def read_source(args: argparse.Namespace) -> Source:
    """The ANN of a weights file or a model folder. Raises CheckpointError."""
    if args.source.is_dir():
        network, card = load(args.source)
        return Source(as_ann(network), name_of(args.source), card.contract, card.labels, len(card.labels), card)
    state = read_state(args.source)
    name = args.network or guess_name(state)
    ann, entry = build_for(name, state), ANNS[name]
    channels = next(t for t in state.values() if t.ndim == 4).shape[1]
    contract = Contract(
        "image",
        channels,
        entry.size,
        entry.size,
        1,
        "direct",
        mean=of(entry.mean, channels),
        std=of(entry.std, channels),
    )
    return Source(ann, name, contract, (), state[entry.head].shape[0])


def of(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value a channel."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def read_pictures(args: argparse.Namespace, source: Source) -> Given:
    """Pictures to calibrate with; and, of a labelled set, to choose T and to measure with."""
    contract, count = source.contract, args.calibration
    if args.data not in IMAGES:
        size = (contract.channels, contract.height, contract.width)
        return Given(pictures_below(Path(args.data), count, size))
    if source.card is not None and source.card.training.get("recipe", {}).get("data") == args.data:
        data, held = splits_of(source.card, args.root)
        return Given(data.train.subset(count).pixels, held, data.test)
    data = load_images(args.data, args.root)
    if data.train.pixels.shape[1] != contract.channels:
        channels = data.train.pixels.shape[1]
        raise ValueError(f"{args.data} has {channels} channels, the network takes {contract.channels}")
    chosen = data.train.subset(count + HELD)
    held = Images(chosen.pixels[count:], chosen.labels[count:])
    scale = None if source.card is not None else (data.mean, data.std)
    return Given(chosen.pixels[:count], held if len(held) else None, data.test, data.classes, scale)


def measure(network: ConvertedNetwork, ann: nn.Module, test: Images, x: Tensor, steps: int) -> dict[str, object]:
    """Accuracy of the ANN and of the network at powers of two up to T, with counts and intervals."""
    found = curve(network, x, torch.from_numpy(test.labels), steps)
    low, high = interval(int(found.correct[-1]), len(test))
    top = accuracy(ann, x, test.labels)
    print(f"test: ANN {top:.2f} %, T = {steps}: {found.accuracy(steps):.2f} % ({low:.1%} to {high:.1%})")
    return {
        "test_images": len(test),
        "correct": int(found.correct[-1]),
        "ann_accuracy": round(top, 2),
        "accuracy": round(found.accuracy(steps), 2),
        "interval_95": [round(low, 2), round(high, 2)],
        "accuracy_at": {str(t): round(found.accuracy(t), 2) for t in shown_steps(steps)},
    }


def make(
    args: argparse.Namespace, source: Source, given: Given, ready: Callable[[np.ndarray], Tensor]
) -> tuple[ConvertedNetwork, int, dict[str, float]]:
    """The conversion, its T, and what was tried to choose it."""
    batches = list(ready(given.calibration).split(BATCH))
    if args.steps:
        return convert(source.ann, batches, args.method, steps=args.steps), args.steps, {}
    if given.held is None:
        raise ValueError("--steps 0 chooses T on labelled pictures: name a data set, or give --steps")
    return choose_steps(source.ann, batches, args.method, ready(given.held.pixels), given.held)


def check(args: argparse.Namespace, source: Source, network: ConvertedNetwork, x: Tensor, steps: int) -> None:
    """Print the audit; raises where it finds a fault, unless forced."""
    report = audit(network, x[:AUDITED], max(64, steps), graph_of(source.ann, x[:1]))
    print(report.table())
    for problem in report.problems:
        print(f"audit: {problem}", file=sys.stderr)
    if not args.force:
        report.raise_if_bad()


def run(args: argparse.Namespace) -> int:
    """Convert, measure against the ANN, write the checkpoint and its card; the exit code."""
    if args.steps < 0 or args.calibration < 1 or args.test < 0:
        raise ValueError("--calibration must be positive, --steps and --test not negative")
    source = read_source(args)
    given = read_pictures(args, source)
    labels = read_labels(args.labels, source.classes, source.labels or given.labels)
    mean, std = given.scale or (source.contract.mean, source.contract.std)

    def ready(pixels: np.ndarray) -> Tensor:
        return prepare(pixels, mean, std)

    network, steps, tried = make(args, source, given, ready)
    method = args.method or usual(steps)
    print(f"{source.name}: {method} on {len(given.calibration)} pictures")
    check(args, source, network, ready(given.calibration[:AUDITED]), steps)
    metrics: dict[str, object] = {"val_accuracy": tried} if tried else {}
    if given.test is not None and args.test:
        chosen = given.test.subset(args.test)
        metrics |= measure(network, source.ann, chosen, ready(chosen.pixels), steps)
    height, width = given.calibration.shape[2:]
    still = "digit" if args.data == "mnist" else source.contract.still
    contract = replace(
        source.contract, height=height, width=width, steps=steps, mean=mean, std=std, still=still,
        readout=steps - network.config.first_step(steps),
    )  # fmt: skip
    training = {
        "origin": "conversion",
        "ann": source.name,
        "weights": args.source.resolve().name,
        "method": method,
        "source": METHODS[method].source,
        "calibration": {"data": Path(args.data).name, "images": len(given.calibration)},
        "steps": steps,
    }
    save(args.to, network, Card(contract, labels, training, metrics))
    print(f"wrote {args.to}")
    return 0
