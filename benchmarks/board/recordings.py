"""The real recordings of N-MNIST at hand, by a list of their SHA-256: five parts to learn from and ask, one unread.

A recording's part follows from its hash, so that nobody chose it: a sixth is held back, and neither this program nor
any choice reads it. Who wrote a digit is not in the files, so parts share writers.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikesight.models.contract import Contract
from spikesight.training.data import Frames, list_nmnist
from spikesight.training.data.cache import bin_items
from spikesight.training.data.sets import DataError, Item

LIST = Path(__file__).with_name("nmnist.sha256")  # as `sha256sum --check` reads it, in N-MNIST's folder
FOLDS = 5
LABELS = tuple("0123456789")
CONTRACT = Contract(
    kind="events", channels=2, height=17, width=17, steps=10, encoding="binary", sensor_width=34, sensor_height=34,
    bin_us=31_000,
)  # fmt: skip
"""What every method sees of a recording: ten bins, and a fourth of the places, for its training's time."""


def part_of(sha256: str) -> int:
    """0: held back; 1 to FOLDS: asked by the model that learnt from the others.

    >>> part_of("0000000c" + 56 * "0"), part_of("00000005" + 56 * "0")
    (0, 5)
    """
    return int(sha256[:8], 16) % (FOLDS + 1)


def listed(split: str) -> list[tuple[str, str]]:
    """(SHA-256, name) of the listed files of Train or Test, but for those held back of Train."""
    rows = [tuple(line.split("  ")) for line in LIST.read_text().splitlines()]
    return [(sha, name) for sha, name in rows if name.startswith(split) and (split == "Test" or part_of(sha))]


def hash_of(rows: list[tuple[str, str]]) -> str:
    """By which a row of the board says what it was asked."""
    return hashlib.sha256("".join(f"{sha}  {name}\n" for sha, name in rows).encode()).hexdigest()[:16]


def items(root: Path, rows: list[tuple[str, str]]) -> list[Item]:
    """The files, each the one that is listed. Raises DataError where one is another or missing."""
    folder = next(iter(list_nmnist(root).train)).path.parents[2]
    for sha, name in rows:
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha:
            raise DataError(f"{name} of N-MNIST is missing or not the listed one: the figures would be of other data")
    return [Item(folder / name, int(Path(name).parent.name), "nmnist") for _, name in rows]


@dataclass(frozen=True)
class Round:
    """One of the five: what is learnt from, what is asked."""

    seed: int
    learnt: tuple[Item, ...]
    asked: tuple[Item, ...]
    rows: np.ndarray  # of the asked ones among all that are listed


def rounds(root: Path) -> list[Round]:
    """Every recording that is not held back is asked once, by what has not learnt from it."""
    rows = listed("Train")
    found, parts = items(root, rows), [part_of(sha) for sha, _ in rows]
    made = []
    for number in range(1, FOLDS + 1):
        asked = [n for n, part in enumerate(parts) if part == number]
        learnt = [item for item, part in zip(found, parts) if part != number]
        made.append(Round(number, tuple(learnt), tuple(found[n] for n in asked), np.array(asked)))
    return made


def frames(recordings: tuple[Item, ...], cache: Path) -> Frames:
    """Their windows, uint8 [M, T, 2, H, W]."""
    return bin_items(recordings, CONTRACT, cache, "binning")
