"""Divide a user's folder of recordings into windows for training, validation and test, with notes on how."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikesight.encoders.words import counted, some_of
from spikesight.models.checkpoint import sha256_of
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import Folder, FolderRecording, Part, read_folder
from spikesight.training.data.separate import Interval, separate
from spikesight.training.data.sets import DataError, Item, Listing
from spikesight.training.data.windows import SLOT_US, Scan, median_slot_events, scan, suitable_window, window_starts
from spikesight.training.progress import with_progress
from spikesight.training.resolve import WindowShape

SPARSE_BIN = 0.01  # warn if a smaller share of a bin's cells holds an event
WARN_BELOW = 0.85  # warn if a smaller share of the events is used
FILLED = 0.5  # warn if the median recording fills less of a window: right were 5 of 37 at 0.4, 76 of 81 at 0.5 to 0.7
SPARSE = 0.05  # windows with fewer events than this share of the median are left out


def list_own(config: TrainConfig, path: Path) -> Listing:
    """List a folder's recordings. `fitted` lists all windows, divided into training, validation and test.

    Raises DataError.
    """
    folder, scans, found, left_out = usable(read_folder(path, config.layout), skip_bad=config.skip_bad)
    recordings, labels = folder.recordings, folder.labels
    if len(labels) < 2:
        raise DataError(
            f"every recording in {path} is of one class, {', '.join(labels)!r} (layout {folder.layout}): a classifier "
            "needs two. Record something else or an empty scene as the second, or read the names by another --layout"
        )

    @cache
    def divided(length_us: int, fraction: float, seed: int) -> tuple[dict[Part, tuple[Item, ...]], list[str]]:
        """Return the windows of each part, and notes on how they were divided."""
        apart = separate(recordings, scans, length_us, fraction, seed)
        typical = _typical(apart.train, scans, length_us)
        hops: dict[Part, int] = {"train": _hop(length_us), "val": length_us, "test": length_us}  # the counted: apart
        parts: dict[Part, tuple[Item, ...]] = {
            part: tuple(_items(apart.of(part), recordings, scans, labels, length_us, hop, typical))
            for part, hop in hops.items()
        }
        shown = {item.label for item in parts["train"]}
        if empty := [label for number, label in enumerate(labels) if number not in shown]:
            raise DataError(f"class {empty[0]!r} has no window to train on: its recordings hold next to no events")
        return parts, apart.notes

    def of(config: TrainConfig) -> tuple[dict[Part, tuple[Item, ...]], list[str]]:
        return divided(config.steps * config.bin_us, config.val_fraction, config.seed)

    def fitted(config: TrainConfig) -> Listing:
        parts, how = of(config)
        items = [item for part in parts.values() for item in part]
        notes = (*_summary(folder, scans, config, parts), *how, *found, *_coverage(folder, scans, items))
        return replace(listing, train=parts["train"], val=parts["val"], test=parts["test"], notes=notes)

    listing = Listing(
        path.resolve().name, labels, (), (), scans[0].sensor, suited_window(recordings, scans), own=True,
        left_out=left_out, samples=lambda config: len(of(config)[0]["train"]), fitted=fitted,
    )  # fmt: skip
    return listing


def _hop(length_us: int) -> int:
    """Return the time between the beginnings of two windows of the training."""
    return -(-length_us // 2)


class Usable(NamedTuple):
    """What can be used of a folder."""

    folder: Folder
    scans: list[Scan]  # of its takes
    notes: tuple[str, ...]  # on damaged files and copies, in sentences
    left_out: tuple[str, ...]  # files that cannot be read, each with its reason


def usable(folder: Folder, *, skip_bad: bool) -> Usable:
    """Scan a folder's recordings; leave out copies of a file and, with `skip_bad`, what cannot be read.

    Raises DataError that lists every file that cannot be read, unless they are skipped, and every file that is in two
    classes.
    """

    def named(recording: FolderRecording) -> str:
        return str(recording.path.relative_to(folder.path))

    scans, bad = dict[Path, Scan](), list[str]()
    for recording in with_progress(folder.recordings, "reading", "file"):
        try:
            scans[recording.path] = scan(recording.path)
        except DataError as error:
            bad.append(str(error))
    first, copies, in_two = dict[tuple[int, str], FolderRecording](), set[Path](), list[str]()
    sizes = Counter(path.stat().st_size for path in scans)
    for recording in folder.recordings:
        if recording.path in scans and sizes[size := recording.path.stat().st_size] > 1:
            other = first.setdefault((size, sha256_of(recording.path)), recording)
            if other.label != recording.label:
                in_two.append(f"{named(other)} and {named(recording)} are one file in two classes")
            elif other is not recording:
                copies.add(recording.path)
    problems = [*in_two, *([] if skip_bad else bad)]
    if problems:
        advice = "mend or remove them" + ("" if in_two else ", or go on without them by --skip-bad")
        raise DataError("\n  ".join([f"{counted(len(problems), 'fault')} in {folder.path.name}; {advice}:", *problems]))
    recordings = tuple(
        recording for recording in folder.recordings if recording.path in scans and recording.path not in copies
    )
    if not any(recording.part == "train" for recording in recordings):
        raise DataError(f"none of the recordings in {folder.path} can be read: {bad[0]}")
    remarks: dict[str, list[str]] = {}
    for recording in recordings:
        for remark in scans[recording.path].remarks:
            remarks.setdefault(remark, []).append(named(recording))
    notes = [f"WARNING: {remark} ({some_of(names)})" for remark, names in remarks.items()]
    if bad:
        notes.insert(0, f"WARNING: {counted(len(bad), 'file')} left out: {'; '.join(bad)}")
    if copies:
        twice = some_of([named(recording) for recording in folder.recordings if recording.path in copies])
        notes.append(f"copies of other files are used once: {twice}")
    return Usable(
        replace(folder, recordings=recordings),
        [scans[recording.path] for recording in recordings],
        tuple(notes),
        tuple(bad),
    )


def suited_window(recordings: Sequence[FolderRecording], scans: Sequence[Scan]) -> WindowShape:
    """Return the window that suits the training recordings."""
    fewest = min(Counter(recording.label for recording in recordings if recording.part == "train").values())
    return suitable_window([s for s, recording in zip(scans, recordings) if recording.part == "train"], fewest)


def _typical(intervals: Sequence[Interval], scans: Sequence[Scan], length_us: int) -> float:
    """Return the median number of events in a window."""
    counts = [
        scans[s.recording].count_between(begin, begin + length_us)
        for s in intervals
        for begin in window_starts(s.begin_us, s.end_us, length_us, length_us)
    ]
    return float(np.median(counts))


def _items(
    intervals: Sequence[Interval], recordings: Sequence[FolderRecording], scans: Sequence[Scan],
    labels: Sequence[str], length_us: int, hop_us: int, typical: float,
) -> list[Item]:  # fmt: skip
    """List the windows in the order of files and time; a recording as short as one window stays whole."""
    items = []
    for s in sorted(intervals, key=lambda s: (s.recording, s.begin_us)):
        recording, seen = recordings[s.recording], scans[s.recording]
        label, begins = labels.index(recording.label), window_starts(s.begin_us, s.end_us, length_us, hop_us)
        if begins == [0] and s.end_us == seen.length_us:
            items.append(Item(recording.path, label))
            continue
        for begin in begins:
            if seen.count_between(begin, begin + length_us) >= max(1.0, SPARSE * typical):
                items.append(Item(recording.path, label, begin_us=begin, length_us=length_us))
    return items


def _summary(
    folder: Folder, scans: Sequence[Scan], config: TrainConfig, parts: Mapping[Part, Sequence[Item]]
) -> list[str]:
    """Describe the folder's contents and its windows, one line a class; warn of nearly empty bins."""
    recordings, labels = folder.recordings, folder.labels
    seconds = sum(s.length_us for s in scans) / 1e6
    millions = sum(s.n_events for s in scans) / 1e6
    length_us = config.steps * config.bin_us
    length_ms = length_us / 1000
    lines = [
        f"layout {folder.layout}: {counted(len(labels), 'class')}, {counted(len(recordings), 'recording')}, "
        f"{seconds:.0f} s, {millions:.2f} M events",
        f"windows of {length_ms:g} ms ({counted(config.steps, 'bin')} of {config.bin_us / 1000:g} ms), every "
        f"{_hop(length_us) / 1000:g} ms in training (--window-ms)"
        + (", cropped to what moves (--crop none: where its place tells)" if config.crop == "object" else ""),
    ]
    for number, label in enumerate(labels):
        mine = [index for index, recording in enumerate(recordings) if recording.label == label]
        counts = [sum(item.label == number for item in parts[part]) for part in ("train", "val", "test")]
        length = sum(scans[i].length_us for i in mine)
        rate = sum(scans[i].n_events for i in mine) / max(1, length) * 1000
        lines.append(
            f"  {label}: {counted(len(mine), 'recording')}, {length / 1e6:.0f} s, {rate * length_ms:.0f} events a "
            f"window; windows for training {counts[0]}, validation {counts[1]}, test {counts[2]}"
        )
    shown_ms = float(np.median([s.length_us for s in scans])) / 1000
    if shown_ms < FILLED * length_ms:
        lines.append(
            f"WARNING: recordings last {shown_ms:g} ms, much less than a window: what reads a whole window here will "
            f"answer at a recording's end, and often be wrong (--window-ms {shown_ms:g} suits them)"
        )
    fill = median_slot_events(scans) * config.bin_us / SLOT_US / (2 * config.height * config.width)
    if fill < SPARSE_BIN:
        longer = round(length_ms * SPARSE_BIN / max(fill, 1e-6) / 10) * 10
        lines.append(
            f"WARNING: bins are nearly empty, at most {fill:.2%} of their cells hold an event: layers may stay silent; "
            f"longer windows (--window-ms {longer}) or fewer pixels (--height 32 --width 32) help"
        )
    return lines


def _coverage(folder: Folder, scans: Sequence[Scan], items: Sequence[Item]) -> list[str]:
    """Report the share of events that any window covers, and the files that are not read."""
    by_path = {recording.path: seen for recording, seen in zip(folder.recordings, scans)}
    covered = {path: np.zeros(len(seen.counts), bool) for path, seen in by_path.items()}
    for item in items:
        end = item.begin_us + item.length_us if item.length_us else None
        covered[item.path][item.begin_us // SLOT_US : end and -(-end // SLOT_US)] = True
    used = sum(int(by_path[path].counts[slots].sum()) for path, slots in covered.items())
    share = used / max(1, sum(s.n_events for s in scans))
    why = "" if share > 0.99 else "; the rest lies in gaps, in windows with next to no events or between windows"
    lines = [f"{'' if share > WARN_BELOW else 'WARNING: '}{share:.0%} of the events are used{why}"]
    if folder.left_out:
        names = some_of([str(file.relative_to(folder.path)) for file in folder.left_out])
        lines.append(f"not read, being no recordings in this layout: {names}")
    return lines
