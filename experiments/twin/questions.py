"""What the twins are asked: real recordings, the same with faults, samples of the corpus that no training shows, and
sets of other objects to learn from a few examples. All see the same bins.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corpora.digits import SIDE, Corpus, Pictures, mnist_digits
from corpora.others import KINDS, Digits
from experiments.digits import SEED, on_its_box
from experiments.faults import SUITE
from experiments.near import HELD_OUT, near, print_digits
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.crop import aligned, steps_of
from spikesight.encoders.recordings.files import read_recording
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import read_item
from spikesight.training.data.cache import binned
from spikesight.training.data.tonic_sets import list_named
from spikesight.training.teach.examples import plan, read_examples

REAL, ANY_MOTION = "N-MNIST", "made, motions of the training"
NOTHING = "no digit, told from digits (AUROC)"
ASKED = (
    ("noise", "20 Hz a pixel"), ("speed", "0.5 times"), ("speed", "2 times"), ("speed", "4 times"),
    ("rotation", "30 degrees"),
)  # fmt: skip
"""Faults of the suite: name and strength."""
DRAWS, SHOTS = 20, (1, 2, 5)  # choices of examples to learn from; examples of each class
FEW_SIDE = 32  # pixels of an example's input, as `teach` has it


class Question(NamedTuple):
    """M samples that all twins are asked."""

    what: str
    frames: NDArray[np.uint8]  # [M, T, 2, 34, 34]
    truth: NDArray[np.int64]  # [M]; 10: no digit
    bins: NDArray[np.int64]  # [M], how many of the T each one lasts


class FewShots(NamedTuple):
    """Examples of objects that no twin has learnt, uint8 [T, M, 2, 32, 32] with labels [M]; `learnt` and `asked` hold
    the rows to choose examples from and the rows to ask; of one pool, those that are not chosen are asked.
    """

    what: str
    slices: int  # in time, whose features are kept apart
    x_seq: Tensor
    labels: NDArray[np.int64]
    learnt: NDArray[np.int64]
    asked: NDArray[np.int64]
    shots: tuple[int, ...]

    def draw(self, shots: int, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows of `shots` random examples of each class, rows to ask); `number`: of the draw."""
        random = np.random.default_rng([shots, number])
        order = random.permutation(self.learnt)
        kept = np.concatenate([order[self.labels[order] == k][:shots] for k in np.unique(self.labels)])
        return kept, np.setdiff1d(self.asked, kept)


def recorded(what: str, recordings: list[tuple[Events, SensorSize]], truth: list[int], contract: Contract) -> Question:
    """Ask recordings, from their first event on."""
    frames, bins = [], []
    for events, sensor in recordings:
        begin, end = int(events["t"][0]), int(events["t"][-1])
        frames.append(binned(events, sensor, begin, contract))
        bins.append(min(contract.steps, (end - begin) // contract.bin_us + 1))
    return Question(what, np.stack(frames), np.array(truth), np.array(bins))


def real(root: Path, contract: Contract) -> Iterator[Question]:
    """Yield N-MNIST's test recordings, plain and with faults, and MNIST-DVS if it is there."""
    items = list_named(TrainConfig(data="nmnist", root=str(root))).test
    recordings, truth = [read_item(item) for item in items], [item.label for item in items]
    yield recorded(REAL, recordings, truth, contract)
    for fault in (one for one in SUITE if (one.name, one.strength) in ASKED):
        random = [np.random.default_rng([20, n]) for n in range(len(recordings))]
        changed = [(fault.fault(*one, r), one[1]) for one, r in zip(recordings, random)]
        yield recorded(f"{REAL}, {fault.name} {fault.strength}", changed, truth, contract)
    if files := sorted((root / "mnist_dvs").glob("*/*.npz")):
        boxed = [(on_its_box(read_recording(file).events), SensorSize(SIDE, SIDE)) for file in files]
        yield recorded("MNIST-DVS, on its box", boxed, [int(file.parent.name) for file in files], contract)


def made(root: Path, count: int) -> Iterator[Question]:
    """Yield samples of the corpus: of MNIST's test images, of fonts and of kinds of no digit that it does not hold."""
    images, labels = mnist_digits(root, "t10k")
    written, chosen = Pictures(images, labels), np.random.default_rng(SEED).permutation(len(images))[:count]
    printed, named = print_digits(SEED)
    kinds = near(Digits(images, labels), SEED, -(-count // len(HELD_OUT)), KINDS)
    others = np.concatenate([np.stack(kinds[name]) for name in HELD_OUT])[:count]
    circle = {"circle": 1.0}
    for what, corpus in (
        (ANY_MOTION, Corpus(written, chosen, SEED)),
        ("made, motion circle", Corpus(written, chosen, SEED + 1, motions=circle)),
        ("made, OpenCV's print", Corpus(Pictures(np.stack(printed), np.array(named)), np.arange(count), SEED)),
        (NOTHING, Corpus(Pictures(others, np.full(len(others), 10)), np.arange(len(others)), SEED + 2)),
    ):
        yield Question(what, corpus[:], corpus.labels, np.full(len(corpus), corpus.steps))


def few_shots(root: Path) -> Iterator[FewShots]:
    """Yield the sets of other objects : signed words, two objects on two days, digits of another camera."""
    if (root / "sign").is_dir():
        yield _of_folders("signed words", root / "sign" / "train", root / "sign" / "test", SHOTS)
    days = [root / "two_days" / day for day in ("day1", "day2")]
    for way, (learn, ask) in (("1 to 2", days), ("2 to 1", days[::-1])):
        if learn.is_dir():
            yield _of_folders(f"two things, day {way}", learn, ask, SHOTS, window_ms=310)
    if (root / "mnist_dvs").is_dir():
        yield _of_folders("MNIST-DVS", root / "mnist_dvs", None, (1,), window_ms=200)


def _of_folders(what: str, learn: Path, ask: Path | None, shots: tuple[int, ...], window_ms: int = 0) -> FewShots:
    found = plan(learn, window_ms=window_ms)
    parts = [found] if ask is None else [found, plan(ask, window_ms=window_ms)]
    size, x, labels, begins = (FEW_SIDE, FEW_SIDE), list[NDArray[np.uint8]](), list[int](), [0]
    for part in parts:
        for example in read_examples(part):
            events = aligned(example.events, size, found.steps * found.bin_us)
            x.append(steps_of(events, size, found.bin_us, found.steps))
            labels.append(found.labels.index(example.label))
        begins.append(len(x))
    rows = [np.arange(begin, end) for begin, end in pairwise(begins)]
    return FewShots(what, found.slices, torch.from_numpy(np.stack(x, 1)), np.array(labels), rows[0], rows[-1], shots)
