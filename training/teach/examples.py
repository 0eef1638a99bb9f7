"""Make few-shot examples of a folder of recordings: short recordings whole, long ones in windows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from spikesight.encoders.events import SensorSize
from spikesight.encoders.words import counted
from spikesight.models.teach.few_shot import Example
from spikesight.training.data.folders import has_complete_sessions, read_folder
from spikesight.training.data.own import SPARSE, usable
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Item
from spikesight.training.data.windows import CLIPS, LONGEST_CLIP_US, cut_windows, suitable_window, window_starts

MOST, MOST_WINDOWS = 1000, 500  # examples; of more, an even selection is used: copies add more than neighbours
CLIP_STEPS, CLIP_SLICES = 64, 4  # of a whole recording; slices keep the order of events in time
COPIES, MOST_WITH_COPIES = 5, 2000  # augmented copies of an example; examples and copies in total, to learn in seconds
WINDOW_STEPS, WINDOW_SLICES = 10, 1  # of a window of a continuous recording


@dataclass(frozen=True)
class ExamplePlan:
    """The examples of a folder, and how each is binned for the network."""

    labels: tuple[str, ...]
    items: tuple[Item, ...]  # in the order of files and time
    sensor: SensorSize
    steps: int
    slices: int
    bin_us: int
    sessions: dict[Path, str]  # session of each file; empty unless every session holds every class
    notes: tuple[str, ...] = ()  # on damaged files and copies
    left_out: tuple[str, ...] = ()  # files that cannot be read, each with its reason


def copies_for(count: int) -> int:
    """Return how many augmented copies to learn of each of `count` examples: the fewer examples, the more copies.

    >>> [copies_for(count) for count in (10, 400, 500, 1000, 3000)]
    [5, 4, 3, 1, 0]
    """
    return max(0, min(COPIES, MOST_WITH_COPIES // count - 1))


def plan(
    path: Path | str, layout: str = "auto", shots: int = 0, seed: int = 0, window_ms: int = 0, *, skip_bad: bool = False
) -> ExamplePlan:
    """Choose the examples of a folder: all, or `shots` random ones of each class. Raises DataError."""
    folder = read_folder(path, layout)
    folder = replace(
        folder, recordings=tuple(recording for recording in folder.recordings if recording.part == "train")
    )
    folder, scans, notes, left_out = usable(folder, skip_bad=skip_bad)
    recordings, labels = folder.recordings, folder.labels
    if len(labels) < 2:
        raise DataError(f"{path} holds one class, {', '.join(labels)!r}: a second is needed, if only of an empty scene")
    fewest = min(Counter(recording.label for recording in recordings).values())
    length = float(np.median([scan.length_us for scan in scans]))
    if not window_ms and fewest >= CLIPS and length <= LONGEST_CLIP_US:
        steps, slices = CLIP_STEPS, CLIP_SLICES
        bin_us = max(1, round(length / steps))
        items = [Item(recording.path, labels.index(recording.label)) for recording in recordings]
    else:
        steps, slices = WINDOW_STEPS, WINDOW_SLICES
        bin_us = window_ms * 1000 // steps if window_ms else suitable_window(scans, fewest).bin_us
        window_us = steps * bin_us
        found = [
            (Item(recording.path, labels.index(recording.label), begin_us=begin, length_us=window_us), scan)
            for recording, scan in zip(recordings, scans)
            for begin in window_starts(0, scan.length_us, window_us, window_us)
        ]
        counts = [scan.count_between(item.begin_us, item.begin_us + window_us) for item, scan in found]
        least = max(1.0, SPARSE * float(np.median(counts)))
        items = [item for (item, _), count in zip(found, counts) if count >= least]
    items = _chosen(items, labels, shots, seed, MOST_WINDOWS if any(item.length_us for item in items) else MOST)
    chosen = {item.path for item in items}
    used = [recording for recording in recordings if recording.path in chosen]
    sessions = {recording.path: recording.session for recording in used} if has_complete_sessions(used) else {}
    return ExamplePlan(labels, tuple(items), scans[0].sensor, steps, slices, bin_us, sessions, notes, left_out)


def _chosen(items: list[Item], labels: tuple[str, ...], shots: int, seed: int, most: int) -> list[Item]:
    """Return `shots` random items of each class; with 0, an even selection of at most `most` items in total."""
    random, kept = np.random.default_rng(seed), []
    for number, label in enumerate(labels):
        mine = [item for item in items if item.label == number]
        if len(mine) < max(1, shots):
            raise DataError(f"class {label!r} has {counted(len(mine), 'example')}, of {max(1, shots)} needed")
        room = most // len(labels) or 1
        if shots:
            mine = [mine[n] for n in sorted(random.permutation(len(mine))[:shots])]
        elif len(mine) > room:
            mine = [mine[round(n)] for n in np.linspace(0, len(mine) - 1, room)]
        kept += mine
    return kept


def read_examples(found: ExamplePlan) -> Iterator[Example]:
    """Yield the examples; each names its session, or its file where sessions are unknown. Raises DataError."""
    for (path, length_us, label), group in groupby(found.items, lambda i: (i.path, i.length_us, i.label)):
        items = list(group)
        if length_us:
            parts = cut_windows(path, [item.begin_us for item in items], length_us)
        else:
            parts = (read_item(replace(item, begin_us=0)) for item in items)
        for events, sensor in parts:
            yield Example(found.labels[label], found.sessions.get(path, str(path)), events, sensor)
