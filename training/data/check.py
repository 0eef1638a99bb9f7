"""The state of a data set: complete, partial, broken or missing. `spikesight doctor --data` prints it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikesight.training.config import TrainConfig
from spikesight.training.data.load import DATA_NAMES, list_data
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Frames, ImageSet, Listing, MissingDataError

EXPECTED: dict[str, tuple[int, int]] = {
    "nmnist": (60_000, 10_000),
    "dvsgesture": (1_077, 264),
    "cifar10dvs": (10_000, 0),
    "ncaltech101": (8_709, 0),
    "asldvs": (100_800, 0),
    "mnist": (60_000, 10_000),
    "fashionmnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar10-jpeg": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}
"""(training, test) samples of the complete public sets."""
LOOKED_AT = 40  # files opened unless every one is asked for

State = Literal["complete", "partial", "broken", "missing", "own"]


@dataclass(frozen=True)
class DataReport:
    """The state of one data set; `own` is a folder whose full size nobody knows."""

    name: str
    state: State
    train: int
    test: int
    classes: int
    opened: int  # files that were opened
    broken: tuple[str, ...]  # one sentence a file, the first ten
    lines: tuple[str, ...]  # the report in words

    @property
    def usable(self) -> bool:
        """Whether a training could start."""
        return self.state in ("complete", "partial", "own") and not self.broken


def check_data(data: str, root: str | Path = "data", *, every: bool = False) -> DataReport:
    """Look at a data set, by name below `root` or as a folder; opens 40 files spread evenly, or every one.

    Never raises for missing or damaged data: that is its answer.
    """
    config = TrainConfig(data=data, root=str(root))
    try:
        listing = list_data(config)
    except DataError as error:
        state: State = "missing" if isinstance(error, MissingDataError) else "broken"
        return DataReport(data, state, 0, 0, 0, 0, (), (f"{data}: {state}. {error}",))
    if isinstance(listing, Listing):
        items = [*listing.train, *listing.test]
        broken, opened = _open(items, read_item, every) if listing.val is None else ([], len({i.path for i in items}))
        train, test = len(listing.train), len(listing.test)
        labels = np.array([i.label for i in listing.train], int)
    else:
        broken, opened = _open_images(listing, every)
        train, test = len(listing.train), len(listing.test or ())
        labels = listing.train.labels
    return _report(listing, train, test, labels, broken, opened)


def check_sets(root: str | Path) -> list[tuple[str, bool, str]]:
    """(name, whether a training could start, the report in words) of every known set that lies in `root`."""
    reports = [check_data(name, root) for name in DATA_NAMES]
    found = [(r.name, r.usable, "\n".join(r.lines)) for r in reports if r.state != "missing"]
    return found or [("data", False, f"none of {', '.join(DATA_NAMES)} lies in {root}")]


def _spread(items: Sequence[Any], every: bool) -> list[Any]:
    count = len(items) if every else min(len(items), LOOKED_AT)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def _open(items: Sequence[Any], read: Callable[[Any], object], every: bool) -> tuple[list[str], int]:
    broken, chosen = [], _spread(items, every)
    for item in chosen:
        try:
            read(item)
        except DataError as error:
            broken.append(str(error))
    return broken, len(chosen)


def _open_images(images: ImageSet, every: bool) -> tuple[list[str], int]:
    broken: list[str] = []
    opened = 0
    for frames in (images.train, images.test):
        if isinstance(frames, Frames) and not isinstance(frames.frames, np.ndarray):
            found, count = _open(range(len(frames)), frames.frames.__getitem__, every)
            broken, opened = broken + found, opened + count
    return broken, opened


def _report(
    listing: Listing | ImageSet, train: int, test: int, labels: np.ndarray, broken: list[str], opened: int
) -> DataReport:
    name, classes = listing.name, len(listing.labels)
    full = EXPECTED.get(name)
    state: State = "own" if full is None else "complete" if (train, test) == full else "partial"
    counts = Counter(labels.tolist())
    words = {"own": "a folder of your own", "complete": "complete", "partial": "partial"}[state]
    lines = [f"{name}: {words}; {train} training and {test} test samples of {classes} classes"]
    if isinstance(listing, Listing) and listing.val is not None:  # divided already, every file read
        sparse = [f"  {line}" for line in listing.notes]
        return DataReport(name, state, train, test, classes, opened, (), (*lines, *sparse))
    if full is not None and state == "partial":
        lines.append(f"  the published set has {full[0]} and {full[1]}: training works, results are not comparable")
    if test == 0:
        lines.append("  no test split of its own: one is set aside, the same for every seed")
    if any(counts[n] < 2 for n in range(classes)):
        lines.append("  a class has fewer than two samples: give it more, or remove its folder")
    if broken:
        state = "broken"
        lines.append(f"  {len(broken)} of {opened} opened files cannot be read: delete them or fetch them again")
        lines += [f"    {sentence}" for sentence in broken[:10]]
    elif opened:
        lines.append(f"  {opened} files opened, all readable")
    return DataReport(name, state, train, test, classes, opened, tuple(broken[:10]), tuple(lines))


__all__ = ["EXPECTED", "DataReport", "check_data", "check_sets"]
