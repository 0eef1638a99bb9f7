"""The available N-MNIST recordings, listed with their SHA-256, divided into five folds and a reserved sixth part.

The hash of a recording decides its part, so that nobody chooses. The reserved part is never read, neither by this
program nor for any decision. The files do not say who wrote a digit, so folds share writers.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import Frames
from spikesight.training.data.cache import bin_items
from spikesight.training.data.sets import DataError, Item
from spikesight.training.data.tonic_sets import list_named

LIST = Path(__file__).with_name("nmnist.sha256")  # as `sha256sum --check` reads it, in N-MNIST's folder
FOLDS = 5
LABELS = tuple("0123456789")
CONTRACT = Contract(
    kind="events", channels=2, height=17, width=17, steps=10, encoding="binary", sensor_width=34, sensor_height=34,
    bin_us=31_000,
)  # fmt: skip
"""Input of every method: ten bins and a fourth of the pixels, to shorten training."""


def part_of(sha256: str) -> int:
    """Return the part of a recording: 0 (reserved), or the fold from 1 to FOLDS.

    >>> part_of("0000000c" + 56 * "0"), part_of("00000005" + 56 * "0")
    (0, 5)
    """
    return int(sha256[:8], 16) % (FOLDS + 1)


def listed(split: str) -> list[tuple[str, str]]:
    """Return (SHA-256, name) of the listed files of Train or Test, without the reserved part of Train."""
    rows = [tuple(line.split("  ")) for line in LIST.read_text().splitlines()]
    return [(sha, name) for sha, name in rows if name.startswith(split) and (split == "Test" or part_of(sha))]


def hash_of(rows: list[tuple[str, str]]) -> str:
    """Return a hash of the listed files, by which a row of the leaderboard names its test data."""
    return hashlib.sha256("".join(f"{sha}  {name}\n" for sha, name in rows).encode()).hexdigest()[:16]


def items(root: Path, rows: list[tuple[str, str]]) -> list[Item]:
    """Return the listed files as samples. Raises DataError if one is missing or has another hash."""
    folder = next(iter(list_named(TrainConfig(data="nmnist", root=str(root))).train)).path.parents[2]
    for sha, name in rows:
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha:
            raise DataError(f"{name} of N-MNIST is missing or not the listed one: the figures would be of other data")
    return [Item(folder / name, int(Path(name).parent.name)) for _, name in rows]


@dataclass(frozen=True)
class Round:
    """One fold of the cross-validation: recordings to learn from and to test on."""

    seed: int
    learnt: tuple[Item, ...]
    asked: tuple[Item, ...]
    rows: np.ndarray  # indices of the test recordings among all listed ones


def rounds(root: Path) -> list[Round]:
    """Return the folds: each recording outside the reserved part is tested once, by a model trained on other folds."""
    rows = listed("Train")
    found, parts = items(root, rows), [part_of(sha) for sha, _ in rows]
    made = []
    for number in range(1, FOLDS + 1):
        asked = [n for n, part in enumerate(parts) if part == number]
        learnt = [item for item, part in zip(found, parts) if part != number]
        made.append(Round(number, tuple(learnt), tuple(found[n] for n in asked), np.array(asked)))
    return made


def frames(recordings: tuple[Item, ...], cache: Path) -> Frames:
    """Bin recordings into windows, uint8 [M, T, 2, H, W]."""
    return bin_items(recordings, CONTRACT, cache, "binning")
