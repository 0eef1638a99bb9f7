"""`spikesight convert`: a trained ANN's weights to a checkpoint of a spiking network that the service serves."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.ann import ANNS, AnnEntry, build_for, guess_name, read_state
from models.checkpoint import Card, Contract, save
from models.convert import METHODS, convert, graph_of
from models.convert_audit import audit
from models.convert_graph import ConversionError
from models.convert_network import ConvertedNetwork
from models.simulate import curve, interval
from training.ann import accuracy, prepare
from training.data.images import IMAGES
from training.images import Images, load_images, pictures_below

DESCRIPTION = """Convert a trained ANN (a state dictionary: .safetensors, .pt, .pth, .th) to a spiking network.

  spikesight convert resnet20.th --to models/cifar --data cifar10 --root DATA
  spikesight convert resnet18.pth --to models/imagenet --data PICTURES --labels names.txt

Only unlabelled pictures are needed; with labelled ones the accuracy is measured too."""

CALIBRATION, BATCH, AUDITED = 512, 64, 32


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    served = [name for name, method in METHODS.items() if method.streams]
    parser.add_argument("source", type=Path, help="the ANN's weights")
    parser.add_argument("--to", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument(
        "--network", choices=list(ANNS), help="what the weights belong to (default: found by their names)"
    )
    parser.add_argument("--method", choices=served, default="ours", help="way of conversion (default ours)")
    parser.add_argument("--steps", type=int, default=32, help="T the network is made for (default 32)")
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


def read_data(
    args: argparse.Namespace, entry: AnnEntry, channels: int
) -> tuple[np.ndarray, Images | None, tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """(calibration pictures, labelled test pictures or None, class names, mean, std)."""
    fits = entry.mean if len(entry.mean) == channels else (sum(entry.mean) / len(entry.mean),) * channels
    spread = entry.std if len(entry.std) == channels else (sum(entry.std) / len(entry.std),) * channels
    if args.data in IMAGES:
        data = load_images(args.data, args.root)
        if data.train.pixels.shape[1] != channels:
            raise ValueError(f"{args.data} has {data.train.pixels.shape[1]} channels, the network takes {channels}")
        return data.train.some(args.calibration).pixels, data.test, data.classes, data.mean, data.std
    pixels = pictures_below(Path(args.data), args.calibration, (channels, entry.size, entry.size))
    return pixels, None, (), fits, spread


def measure(network: ConvertedNetwork, ann: nn.Module, test: Images, x: Tensor, steps: int) -> dict[str, object]:
    """Accuracy of the ANN and of the network at powers of two up to T, with counts and intervals."""
    found = curve(network, x, torch.from_numpy(test.labels), steps)
    at = sorted({*(2**k for k in range(12) if 2**k <= steps), steps})
    low, high = interval(int(found.correct[-1]), len(test))
    top = accuracy(ann, x, test.labels)
    print(f"test: ANN {top:.2f} %, T = {steps}: {found.accuracy(steps):.2f} % ({low:.1f} to {high:.1f})")
    return {
        "test_images": len(test),
        "ann_accuracy": round(top, 2),
        "accuracy": round(found.accuracy(steps), 2),
        "interval_95": [round(low, 2), round(high, 2)],
        "accuracy_at": {str(t): round(found.accuracy(t), 2) for t in at},
    }


def run(args: argparse.Namespace) -> int:
    """The command."""
    if args.steps < 1 or args.calibration < 1 or args.test < 0:
        raise ValueError("--steps and --calibration must be positive, --test not negative")
    state = read_state(args.source)
    name = args.network or guess_name(state)
    ann, entry = build_for(name, state), ANNS[name]
    channels = next(t for t in state.values() if t.ndim == 4).shape[1]
    pixels, test, classes, mean, std = read_data(args, entry, channels)
    labels = read_labels(args.labels, state[entry.head].shape[0], classes)
    x = prepare(pixels, mean, std)
    print(f"{name}: {args.method} on {len(x)} pictures, T = {args.steps}")
    network = convert(ann, list(x.split(BATCH)), args.method, steps=args.steps)
    report = audit(network, x[:AUDITED], max(64, args.steps), graph_of(ann, x[:1]))
    print(report.table())
    for problem in report.problems:
        print(f"audit: {problem}", file=sys.stderr)
    if not args.force:
        report.raise_if_bad()
    metrics: dict[str, object] = {}
    if test is not None and args.test:
        chosen = test.some(args.test)
        metrics = measure(network, ann, chosen, prepare(chosen.pixels, mean, std), args.steps)
    height, width = pixels.shape[2:]
    still = "digit" if args.data == "mnist" else "plain"
    contract = Contract("image", channels, height, width, args.steps, "direct", mean=mean, std=std, still=still)
    training = {
        "road": "conversion",
        "ann": name,
        "weights": args.source.name,
        "method": args.method,
        "source": METHODS[args.method].source,
        "calibration": {"data": Path(args.data).name, "images": len(x)},
        "steps": args.steps,
    }
    save(args.to, network, Card(contract, labels, training, metrics))
    print(f"wrote {args.to}")
    return 0


__all__ = ["ConversionError", "configure", "run"]
