"""`spikesight convert`: convert a trained ANN to a checkpoint of a spiking network that the service can serve."""

import argparse
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.encoders.words import counted
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, CheckpointError, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import METHODS, PATIENT, usual
from spikesight.models.conversion.simulate import Curve, curve, shown_steps
from spikesight.models.conversion.trace import left_alone
from spikesight.models.networks.ann import ANNS, IMAGENET, as_ann, build_for, guess_name, read_state
from spikesight.models.networks.converted.graph import ConversionError
from spikesight.models.shipped import name_of
from spikesight.models.statistics import interval
from spikesight.training.conversion import accuracy, pictures_of, prepare
from spikesight.training.data.images import IMAGES, Images, load_images, pictures_below

DESCRIPTION = """Convert a trained ANN to a spiking network: a state dictionary (.safetensors, .pt, .pth, .th) of a
network known here or of any torch module of your own, or a model folder that train-dvs --neuron relu --steps 1 made.

  spikesight convert resnet20.th --to models/cifar --data cifar10 --root DATA
  spikesight convert resnet18.pth --to models/imagenet --data PICTURES --labels names.txt
  spikesight convert mine.pt --network nets:Mine --size 64 --to models/mine --data PICTURES
  spikesight convert runs/mnist-ann/model --to models/mnist --data mnist --root DATA --steps 16

--network nets:Mine calls the class (or function) Mine of nets.py in this folder, or of an installed package, without
arguments. It may have convolutions, linear layers, batch norms, ReLU, pools, sums and dropout; what has no part in the
spiking network is listed, and what cannot be converted is named. Only unlabelled pictures are needed; with a labelled
set the accuracy before and after is printed, else how often both networks give the same answer."""

CALIBRATION, BATCH, TEST = 512, 64, 1000


@dataclass(frozen=True)
class ConversionSource:
    """An ANN and the input that it takes."""

    ann: nn.Module
    name: str
    contract: Contract  # the ANN's input: one step
    labels: tuple[str, ...] = ()  # () for a file of weights
    card: Card | None = None  # None for a file of weights


@dataclass(frozen=True)
class Given:
    """Pictures for calibration; from a labelled set also pictures to test, and the set's scaling."""

    calibration: np.ndarray  # uint8 [N, C, H, W]
    test: Images | None = None
    labels: tuple[str, ...] = ()
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and std


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: what to convert, by which method, and the pictures that calibrate and measure it."""
    add = parser.add_argument
    add("source", type=Path, help="the ANN's weights, or its model folder")
    add("--to", type=Path, required=True, help="folder of the new checkpoint")
    networks = (
        f"what the weights belong to: {', '.join(ANNS)}, or package.module:function (default: found by their names)"
    )
    add("--network", help=networks)
    add("--size", type=int, help="pixels, height and width of the input of a network of your own (default: the set's)")
    method = f"way of conversion (default {usual(1)}, from T = {PATIENT} on {usual(PATIENT)})"
    add("--method", choices=list(METHODS), help=method)
    add("--steps", type=int, default=32, help="T the network is made for (default 32)")
    add("--data", required=True, help=f"calibration pictures: a folder, or one of {', '.join(IMAGES)}")
    add("--root", type=Path, default=Path("data"), help="where named data sets lie (default data)")
    add("--calibration", type=int, default=CALIBRATION, help=f"how many (default {CALIBRATION})")
    add("--labels", help="class names: a file with one a line, or a,b,c (default: the data set's)")
    add(
        "--test",
        type=int,
        default=TEST,
        help=f"test pictures of a labelled set to measure on (default {TEST}; 0: none)",
    )


def read_labels(text: str | None, classes: int, own: tuple[str, ...]) -> tuple[str, ...]:
    """Return class names from a file or list; None: the data's, or numbers. Raises ValueError for a wrong count."""
    if text is None:
        return own if len(own) == classes else tuple(map(str, range(classes)))
    parts = Path(text).read_text().splitlines() if Path(text).is_file() else text.split(",")
    names = tuple(part.strip() for part in parts if part.strip())
    if len(names) != classes:
        found = f"{counted(len(names), 'label')} for {counted(classes, 'class')}"
        raise ValueError(f"{found}: give one a line, in the order of training")
    return names


def read_source(folder: Path, network: str | None, size: int | None = None) -> ConversionSource:
    """Read the ANN from a file of weights or a model folder. Raises CheckpointError, and ValueError for `network`."""
    if folder.is_dir():
        trained, card = load(folder)
        return ConversionSource(as_ann(trained), name_of(folder), card.contract, card.labels, card)
    state = read_state(folder)
    name = network or guess_name(state)
    if ":" not in name and name not in ANNS:
        raise ValueError(f"--network {name}: known are {', '.join(ANNS)}, and package.module:function")
    ann = own_network(name, state) if ":" in name else build_for(name, state)
    (mean, std), side = (IMAGENET, size) if ":" in name else ((ANNS[name].mean, ANNS[name].std), ANNS[name].size)
    channels = next((t for t in state.values() if t.ndim == 4), torch.empty(0, 1)).shape[1]
    mean, std = (scale if len(scale) == channels else (fmean(scale),) * channels for scale in (mean, std))
    return ConversionSource(
        ann, name, Contract("image", channels, side or 1, side or 1, 1, "direct", mean=mean, std=std)
    )


def own_network(name: str, state: dict[str, Tensor]) -> nn.Module:
    """Return the network that `package.module:function` makes, with these weights.

    Raises ValueError and CheckpointError.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        ann = attrgetter(function)(import_module(module))
        ann = ann if isinstance(ann, nn.Module) else ann()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"--network {name} is not made: {error}") from None
    finally:
        sys.path.pop(0)
    if not isinstance(ann, nn.Module):
        raise ValueError(f"--network {name} makes a {type(ann).__name__}, which is no torch module")
    try:
        ann.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"these weights do not fit {name}: {str(error).splitlines()[1].strip()[:200]}") from None
    return ann.eval()


def read_pictures(args: argparse.Namespace, source: ConversionSource) -> Given:
    """Read the pictures for calibration; from a labelled set also those to measure accuracy."""
    contract, count = source.contract, args.calibration
    if args.data not in IMAGES:
        if contract.height == 1:
            raise ValueError("--size says how large the pictures of a folder are made for a network of your own")
        return Given(pictures_below(Path(args.data), count, (contract.channels, contract.height, contract.width)))
    if source.card is not None and source.card.training.get("recipe", {}).get("data") == args.data:
        data = pictures_of(source.card, args.root)
        return Given(data.train.subset(count).pixels, data.test)
    data = load_images(args.data, args.root)
    if (channels := data.train.pixels.shape[1]) != contract.channels:
        raise ValueError(f"{args.data} has {channels} channels, the network takes {contract.channels}")
    scale = None if source.card is not None else (data.mean, data.std)  # a model folder has its own scaling
    return Given(data.train.subset(count).pixels, data.test, data.classes, scale)


def by_steps(found: Curve, steps: int) -> dict[str, float]:
    """Return the accuracy in per cent at powers of two up to T, and at T."""
    return {str(t): round(found.accuracy(t), 2) for t in shown_steps(steps)}


def shown(shares: dict[str, float]) -> str:
    """Return per cent by T as words."""
    return ", ".join(f"T = {t}: {share:.2f} %" for t, share in shares.items())


def measure(found: Curve, top: float, steps: int) -> dict[str, object]:
    """Print the accuracy of the ANN (`top`, per cent) and of the network; return them with counts and interval."""
    correct = int(found.correct[-1])
    low, high = interval(correct, found.images)
    after = by_steps(found, steps)
    print(f"before: the ANN is right on {top:.2f} % of {counted(found.images, 'test picture')}")
    print(f"after: {shown(after)} ({low:.1%} to {high:.1%})")
    return {
        "test_images": found.images,
        "correct": correct,
        "ann_accuracy": round(top, 2),
        "accuracy": round(found.accuracy(steps), 2),
        "interval_95": [round(low, 2), round(high, 2)],
        "accuracy_at": after,
    }


def run(args: argparse.Namespace) -> int:
    """Convert, measure against the ANN, write the checkpoint and its card; return the exit code."""
    if min(args.steps, args.calibration) < 1 or args.test < 0:
        raise ValueError("--steps and --calibration must be positive, --test not negative")
    source = read_source(args.source, args.network, args.size)
    given = read_pictures(args, source)
    mean, std = given.scale or (source.contract.mean, source.contract.std)
    x = prepare(given.calibration, mean, std)
    try:
        with torch.no_grad():
            answers = torch.cat([source.ann(part) for part in x.split(BATCH)])
    except RuntimeError as error:
        raise ConversionError(f"the ANN does not take these images: {str(error).splitlines()[0]}") from None
    labels = read_labels(args.labels, answers.shape[-1], source.labels or given.labels)
    metrics: dict[str, object] = {}
    steps = args.steps
    network = convert(source.ann, list(x.split(BATCH)), args.method, steps=steps)
    method = args.method or usual(steps)
    print(f"{source.name}: {method} on {counted(len(x), 'picture')}")
    if left := left_alone(source.ann):
        print(f"left alone: {', '.join(left)}")
    if given.test is not None and args.test:
        chosen = given.test.subset(args.test)
        test, known = prepare(chosen.pixels, mean, std), torch.from_numpy(chosen.labels)
        metrics = measure(curve(network, test, known, steps), accuracy(source.ann, test, chosen.labels), steps)
    else:
        same = by_steps(curve(network, x, answers.argmax(1), steps), steps)
        print(f"the ANN's answer on {len(x)} calibration pictures: {shown(same)}")
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
    print(f"wrote {args.to}; serve it with: spikesight serve --model {args.to}")
    return 0
