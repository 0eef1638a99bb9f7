"""Check whether a data set is complete, partial, broken or missing (`spikesight doctor --data`); count test reads."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikesight.training.config import TrainConfig
from spikesight.training.data.images import PictureRows
from spikesight.training.data.load import DATA_NAMES, list_data
from spikesight.training.data.recordings import read_item, recorded
from spikesight.training.data.sets import DataError, ImageSet, Listing, MissingDataError

EXPECTED: dict[str, tuple[int, int]] = {
    "nmnist": (60_000, 10_000),
    "dvsgesture": (1_077, 264),
    "cifar10dvs": (10_000, 0),
    "ncaltech101": (8_709, 0),
    "asldvs": (100_800, 0),
    "mnist": (60_000, 10_000),
    "fashionmnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar10-pictures": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}
"""Numbers of (training, test) samples of the complete public sets."""
OPENED = 40  # files that a quick check opens
OWN = "a folder of your own"

State = Literal["complete", "partial", "broken", "missing", "own"]


@dataclass(frozen=True)
class DataReport:
    """The state of one data set; `own` is a user's folder, whose full size is unknown."""

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
    """Check a data set, by name below `root` or as a folder; open 40 files spread evenly, or `every` file.

    Missing or damaged data raises nothing: the report says so.
    """
    try:
        listing = list_data(TrainConfig(data=data, root=str(root)))
    except DataError as error:
        state: State = "missing" if isinstance(error, MissingDataError) else "broken"
        return DataReport(data, state, 0, 0, 0, 0, (), (f"{data}: {state}. {error}",))
    if not isinstance(listing, Listing):
        sets = [part for part in (listing.train, listing.test) if part is not None]
        opened = [_open(range(len(s)), s.frames.__getitem__, every) for s in sets if isinstance(s.frames, PictureRows)]
        labels = listing.train.labels
    elif listing.val is None:
        opened = [_open([*listing.train, *listing.test], read_item, every)]
        labels = np.array([item.label for item in listing.train], int)
    else:  # a folder of own recordings: list_data has read every file
        return _own_report(listing)
    broken, count = [sentence for found, _ in opened for sentence in found], sum(n for _, n in opened)
    return _report(listing, labels, broken, count)


def _open(items: Sequence[Any], read: Callable[[Any], object], every: bool) -> tuple[list[str], int]:
    """Read `every` item or OPENED of them; return (an error for each unreadable one, how many were read)."""
    count = len(items) if every else min(len(items), OPENED)
    broken = []
    for index in np.linspace(0, len(items) - 1, count).astype(int):
        try:
            read(items[index])
        except DataError as error:
            broken.append(str(error))
    return broken, count


def _title(listing: Listing | ImageSet, words: str, test: int) -> str:
    train, classes = len(listing.train), len(listing.labels)
    return f"{listing.name}: {words}; {train} training and {test} test samples of {classes} classes"


def _own_report(listing: Listing) -> DataReport:
    train, test = len(listing.train), len(listing.test)
    opened = len({item.path for item in (*listing.train, *listing.test)})
    lines = [_title(listing, OWN, test), *(f"  {line}" for line in listing.notes)]
    return DataReport(listing.name, "own", train, test, len(listing.labels), opened, (), tuple(lines))


def _report(listing: Listing | ImageSet, labels: np.ndarray, broken: list[str], opened: int) -> DataReport:
    name, classes, full = listing.name, len(listing.labels), EXPECTED.get(listing.name)
    train, test = len(listing.train), len(listing.test or ())
    state: State = "own" if full is None else "complete" if (train, test) == full else "partial"
    lines = [_title(listing, OWN if state == "own" else state, test)]
    if full is not None and state == "partial":
        lines.append(f"  the published set has {full[0]} and {full[1]}: training works, results are not comparable")
    if test == 0:
        lines.append("  no test split of its own: one is set aside, the same for every seed")
    if np.bincount(labels, minlength=classes).min() < 2:
        lines.append("  a class has fewer than two samples: give it more, or remove its folder")
    if broken:
        state = "broken"
        lines.append(f"  {len(broken)} of {opened} opened files cannot be read: delete them or fetch them again")
        lines += [f"    {sentence}" for sentence in broken[:10]]
    elif opened:
        lines.append(f"  {opened} files opened, all readable")
    return DataReport(name, state, train, test, classes, opened, tuple(broken[:10]), tuple(lines))


READS = "reads.jsonl"  # in the data folder: one line for each time that a test split is read


def count_read(root: Path, name: str, by: str) -> int | None:
    """Record in `root` that `by` reads a set's test split; return how often it was read (None: cannot be recorded)."""
    line = json.dumps({"set": name, "by": by, "date": date.today().isoformat()}) + "\n"
    try:
        with (root / READS).open("a") as file:
            file.write(line)
        lines = (root / READS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = 0
    for one in lines:
        with suppress(ValueError, TypeError, KeyError):  # a line in another form
            found += json.loads(one)["set"] == name
    return found


def count_named_read(root: Path, data: str, by: str) -> int | None:
    """Call `count_read` if `data` is a set's name; return None for a folder."""
    return count_read(root, data, by) if data in DATA_NAMES or data in recorded() else None
