"""Teach the network from which `teach` and `train-dvs` start: objects of many kinds, in few-shot episodes across days.

    python -m corpora.things --root DATA --pictures PHOTOS --to runs/things --minutes 45

An episode has a few classes of one kind: handwriting, printed characters, drawings, objects of photographs, or motions,
of which any object may be the one that moves. Half of the samples are of one day, half of another: sensor, light,
speed, size, contrast and ground of a day are alike. A ridge regression on the rates of all layers, as `teach` fits it,
learns from each day and is asked about the other (R2-D2; Bertinetto et al. 2019); the gradient goes through its
solution. The network begins with the digit network's weights, whose normalisation stays as it is.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from corpora.digits import COLUMNS, Corpus, Pictures, mnist_digits
from corpora.motion import table
from corpora.others import KINDS, LETTERS, SYMBOLS, Digits
from corpora.printed import GREEK_CYRILLIC, PICTOGRAMS, glyph
from spikesight.encoders.events import Events, make_events
from spikesight.encoders.preprocess.crop import aligned, steps_of
from spikesight.encoders.preprocess.fit import centred
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import LEAST_RATE, in_places
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.models.shipped import find
from spikesight.models.teach.few_shot import PLACES, augmented
from spikesight.models.teach.few_shot import SIDE as INPUT
from spikesight.models.teach.head import RIDGE
from spikesight.training.run.loop import update_average

START = "nmnist"
WAYS, LOOKS = 8, 4  # classes of an episode; samples of a class on each of its two days
STEPS, BIN_US = 10, 31_000
SHARES = {"photographs": 0.3, "characters": 0.2, "drawings": 0.2, "handwriting": 0.15, "motions": 0.15}
DRAWN = ("scribbles", "edges", "figures", "faces", "textures")  # each drawing is a class of its own
DRAWINGS, FONTS = 400, 24  # of each kind; of each character
KEPT = 0.15  # share of the photographs that choose
SAME_DAY = 0.6  # share of a table's columns that samples of one day have in common, nearly
NEARLY = 0.06  # largest difference in such a column
MOVING = slice(2, 19)  # columns of a table of draws that make the motion
LIGHT = 26  # the column by which an object is lighter or darker than its ground, the same on both days
LARGE = 0.6  # share of the episodes before a sensor of twice as many pixels a side
VARIED = 0.5  # share of the samples that are turned, resized and thinned as `teach` does it
RATE, DECAY, WARM, AVERAGE = 1e-3, 0.01, 50, 0.995  # of the optimiser: warm-up in steps
SPIKES = 1.0  # weight of the mean rate in the loss
SHARPNESS = 8.0  # of the answers, at first


class Kind(NamedTuple):
    """Pictures uint8 [M, 28, 28] of one kind, and the class of each, [M]."""

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]


def photographs(files: Sequence[Path]) -> Kind:
    """Return objects cut from photographs to a soft outline: each is a class."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    images = []
    for number, file in enumerate(files):
        random = np.random.default_rng([11, number])
        grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        power, across, down = random.choice([2, 4, 8]), *random.uniform(0.6, 0.95, 2)
        outline = 1 / (1 + np.exp(np.minimum(abs(x / across) ** power + abs(y / down) ** power - 1, 5) * 12))
        small = cv2.resize(grey, (28, 28), interpolation=cv2.INTER_AREA).astype(np.float32)
        low, high = np.percentile(small, (2, 98))
        images.append(255 * ((small - low) / max(high - low, 1.0)).clip(0, 1) * outline)
    return Kind(np.stack(images).astype(np.uint8), np.arange(len(images)))


def pictures(root: Path, folder: Path, *, held_out: bool = False) -> dict[str, Kind]:
    """Return the pictures of each kind; `held_out`: others, of characters, photographs, writers and drawings that no
    training shows. No image of MNIST that calibrates the digit model is among them.
    """
    images, labels = mnist_digits(root)
    files, rows = sorted(folder.glob("*.jpg")), slice(42_000, 44_000) if held_out else slice(0, 40_000)
    written, random = Kind(images[rows], labels[rows]), np.random.default_rng(14 if held_out else 12)
    letters = GREEK_CYRILLIC + PICTOGRAMS if held_out else LETTERS + SYMBOLS
    kept = max(1, round(KEPT * len(files)))
    characters = [centred(glyph(one, random)) for one in letters for _ in range(FONTS)]
    drawn = [KINDS[kind](Digits(*written), random) for kind in DRAWN for _ in range(40 if held_out else DRAWINGS)]
    return {
        "handwriting": written,
        "characters": Kind(np.stack(characters), np.arange(len(characters)) // FONTS),
        "drawings": Kind(np.stack(drawn), np.arange(len(drawn))),
        "photographs": photographs(files[-kept:] if held_out else files[:-kept]),
    }


@dataclass(frozen=True)
class Days(Corpus):
    """A corpus of an episode, whose samples come class by class, `looks` of the first day and as many of the other."""

    looks: int = LOOKS
    grounds: tuple[float, float] = (0.1, 0.12)
    calm: int = 4
    moving: bool = False  # whether the motion is the class

    def table(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the draws of samples [n]: most of those of a day, and those of a class that is a motion, are alike."""
        own, shared = table(self.seed, rows, COLUMNS), table(self.seed + 1, rows // self.looks % 2, COLUMNS)
        common = table(self.seed + 2, np.array([0]), COLUMNS) < SAME_DAY
        mixed = torch.where(common, (shared + NEARLY * (own - 0.5)).clamp(0, 0.9999), own)
        if self.moving:
            of_class = table(self.seed + 3, rows // (2 * self.looks), COLUMNS)
            mixed[:, MOVING] = (of_class + NEARLY * (own - 0.5)).clamp(0, 0.9999)[:, MOVING]
        else:
            mixed[:, MOVING] = own[:, MOVING]
        mixed[:, LIGHT] = table(self.seed + 4, np.array([0]), COLUMNS)[0, LIGHT]
        return mixed


def episode(
    kinds: dict[str, Kind], seed: int, name: str = "", ways: int = WAYS, looks: int = LOOKS
) -> tuple[Tensor, str]:
    """Return an episode's input [T, ways * 2 * looks, 2, 32, 32] as `teach` makes it, and its kind; `name`: that kind,
    else any.
    """
    random = np.random.default_rng([13, seed])
    name = name or str(random.choice(list(SHARES), p=list(SHARES.values())))
    each = 2 * looks
    if name == "motions":
        source = kinds[str(random.choice(list(kinds)))]
        chosen = random.integers(len(source.images), size=ways * each)
    else:
        source = kinds[name]
        classes = random.permutation(np.unique(source.classes))[:ways]
        chosen = np.concatenate([random.choice(np.flatnonzero(source.classes == one), each) for one in classes])
    shown = Pictures(source.images[chosen], np.zeros(len(chosen), np.int64))
    corpus = Days(shown, np.arange(len(chosen)), int(random.integers(1 << 30)), looks=looks, moving=name == "motions")
    pool = 2 if random.random() < LARGE else 1
    seen = corpus.seen(np.arange(len(chosen)), pool)[0].numpy()
    x = np.stack([_input(one, random) for one in seen], 1)
    return torch.from_numpy(x), name


def _input(seen: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.uint8]:
    """Align a sample [T, 2, R, R] as `teach` does, often varied; return steps [T, 2, 32, 32]."""
    bins, p, y, x = np.nonzero(seen)
    size, length = (INPUT, INPUT), STEPS * BIN_US
    times = ((bins + random.random(len(bins))) * BIN_US).astype(np.int64)
    order = np.argsort(times, kind="stable")
    events: Events = aligned(make_events(*(each[order] for each in (times, x, y, p))), size, length)
    if len(events) and random.random() < VARIED:
        events = augmented(events, size, length, random)
        events = events[np.argsort(events["t"], kind="stable")]
    return steps_of(events, size, BIN_US, STEPS)


class Rates:
    """The rates of a network's layers by place, and of all neurons, with gradients."""

    def __init__(self, network: SpikingResNet) -> None:
        self.network, self._rates, self._means = network, list[Tensor](), list[Tensor]()
        for module in network.modules():
            if isinstance(module, Neuron):
                module.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, spikes: Tensor) -> None:
        self._rates.append(in_places(spikes.float(), PLACES).mean(0))
        self._means.append(spikes.float().mean())

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a head is taught on, [N, F], of x [T, N, 2, H, W], and the mean rate."""
        self._rates, self._means = [], []
        with torch.autocast("cpu", torch.bfloat16):
            self.network.features(x.float(), State())
        return torch.sqrt(torch.cat(self._rates, 1).clamp(min=0) + LEAST_RATE), torch.stack(self._means).mean()


def answers(learnt: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Return what a ridge regression on features [M, F] with labels [M] answers for [N, F]: scores [N, K]."""
    targets = F.one_hot(labels, WAYS).float()
    middle = learnt.mean(0)
    rows = learnt - middle
    kernel = rows @ rows.T
    level = kernel.diagonal().mean().clamp(min=1e-6)
    inverse = torch.linalg.solve(kernel + RIDGE * level * torch.eye(len(rows)), targets - targets.mean(0))
    return (asked - middle) @ rows.T @ inverse + targets.mean(0)


def judged(features: Tensor, sharpness: Tensor, shots: int) -> tuple[Tensor, float]:
    """Return (loss, share that is right) of an episode's features; each day is learnt and the other asked."""
    by_day = features.view(WAYS, 2, LOOKS, -1)
    every = torch.arange(WAYS)
    loss, right = [], []
    for day in (0, 1):
        learnt, asked = by_day[:, day, :shots].flatten(0, 1), by_day[:, 1 - day].flatten(0, 1)
        scores = answers(learnt, every.repeat_interleave(shots), asked)
        truth = every.repeat_interleave(LOOKS)
        loss.append(F.cross_entropy(sharpness.exp() * scores, truth))
        right.append((scores.argmax(1) == truth).float().mean())
    return torch.stack(loss).mean(), float(torch.stack(right).mean())


def train(args: argparse.Namespace) -> None:
    """Train for `minutes`, and save the moving average of the weights."""
    kinds = pictures(args.root, args.pictures)
    network, card = load(find(args.start))
    assert isinstance(network, SpikingResNet)
    network.eval()  # normalisation by what the digit network has seen: an episode's own would be another's
    for parameter in network.readout.parameters():
        parameter.requires_grad_(False)
    rates, sharpness = Rates(network), nn.Parameter(torch.tensor(SHARPNESS).log())
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [{"params": trained, "weight_decay": DECAY}, {"params": [sharpness], "weight_decay": 0.0}]
    optimiser, average = torch.optim.AdamW(groups, lr=RATE), {k: v.clone() for k, v in network.state_dict().items()}
    others = pictures(args.root, args.pictures, held_out=True)
    choosing = [episode(others, (1 << 40) + n, list(SHARES)[n % len(SHARES)]) for n in range(args.episodes)]
    before = asked(rates, choosing)
    print(f"held out, one shot and {LOOKS}: {before}", flush=True)
    begin, step, rows = time.monotonic(), 0, list[dict[str, Any]]()
    random = np.random.default_rng(args.seed)
    while (spent := (time.monotonic() - begin) / 60 / args.minutes) < 1 and step < args.steps:
        x, kind = episode(kinds, (args.seed << 24) + step)
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM) * 0.5 * (1 + np.cos(np.pi * spent))
        features, rate = rates.features(x)
        loss, right = judged(features, sharpness, int(random.integers(1, LOOKS + 1)))
        optimiser.zero_grad()
        (loss + SPIKES * rate).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        update_average(average, network, AVERAGE, step)
        rows.append({"kind": kind, "loss": float(loss.detach()), "right": right, "rate": float(rate.detach())})
        step += 1
        if step % 25 == 0:
            told(rows[-100:], step, begin)
    network.load_state_dict(average)
    after = asked(rates, choosing)
    print(f"held out, one shot and {LOOKS}: {after}")
    figures = {"held_out_one_shot_and_four": after, "of_the_start": before}
    write(network, card, {"steps": step, "seed": args.seed}, figures, args.to)


def write(network: SpikingResNet, card: Card, made: dict[str, Any], figures: dict[str, Any], to: Path) -> None:
    """Save the network without a read-out of its own: it has one class, and is there to be started from."""
    shipped = SpikingResNet(replace(network.config, classes=1))
    kept = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("readout.")}
    shipped.load_state_dict(kept, strict=False)
    nn.init.zeros_(shipped.readout.weight)
    contract = replace(card.contract, still="plain", window="")
    training = {"recipe": card.training["recipe"] | {"data": "things", "name": "things"}, **made}
    save(to, shipped, Card(contract, ("thing",), training, figures))


@torch.no_grad()
def asked(rates: Rates, episodes: Sequence[tuple[Tensor, str]]) -> dict[str, list[float]]:
    """Return the share that is right with one shot and with all, by kind, of episodes."""
    found = dict[str, list[list[float]]]()
    for x, name in episodes:
        features, _ = rates.features(x)
        both = [judged(features, torch.tensor(0.0), shots)[1] for shots in (1, LOOKS)]
        found.setdefault(name, []).append(both)
    return {name: [round(float(value), 4) for value in np.mean(of, 0)] for name, of in found.items()}


def told(rows: Sequence[dict[str, Any]], step: int, begin: float) -> None:
    """Print how the last episodes went, by kind."""
    of = {kind: [row["right"] for row in rows if row["kind"] == kind] for kind in SHARES}
    shares = "  ".join(f"{kind} {np.mean(right):.3f}" for kind, right in of.items() if right)
    loss, rate = (np.mean([row[key] for row in rows]) for key in ("loss", "rate"))
    print(f"{step} {(time.monotonic() - begin) / 60:.1f} min  loss {loss:.3f}  rate {rate:.4f}  {shares}", flush=True)


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where mnist/ lies")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of photographs, .jpg")
    parser.add_argument("--to", type=Path, default=Path("runs/things"))
    parser.add_argument("--start", default=START)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--steps", type=int, default=1_000_000, help="at most")
    parser.add_argument("--episodes", type=int, default=60, help="that choose")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args(argv))


if __name__ == "__main__":
    main(sys.argv[1:])
