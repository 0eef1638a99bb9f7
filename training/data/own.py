"""Divide a user's folder of recordings into windows for training, validation and test, with notes on how."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikesight.models.checkpoint import sha256_of
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import Folder, FolderRecording, Part, read_folder
from spikesight.training.data.separate import Interval, separate
from spikesight.training.data.sets import DataError, Item, Listing, WindowShape
from spikesight.training.data.windows import SLOT_US, Scan, median_slot_events, scan, suitable_window, window_starts
from spikesight.training.progress import with_progress

CROP_SIDE = 32  # pixels
SPARSE_BIN = 0.01  # warn if a smaller share of a bin's cells holds an event
WARN_BELOW = 0.85  # warn if a smaller share of the events is used
FILLED = 0.5  # warn if the median recording fills less of a window: right were 5 of 37 at 0.4, 76 of 81 at 0.5 to 0.7
SPARSE = 0.05  # windows with fewer events than this share of the median are left out


def list_own(config: TrainConfig, path: Path) -> Listing:
    """List all windows of a folder's recordings, divided into training, validation and test. Raises DataError."""
    folder, scans, found, left_out = usable(read_folder(path, config.layout), skip_bad=config.skip_bad)
    labels = folder.labels
    if len(labels) < 2:
        raise DataError(
            f"every recording in {path} is of one class, {', '.join(labels)!r} (layout {folder.layout}): a classifier "
            "needs two. Record something else or an empty scene as the second, or read the names by another --layout"
        )
    recordings = folder.recordings
    window = window_for(config, recordings, scans)
    length_us = window.steps * window.bin_us
    divided = separate(recordings, scans, length_us, config.val_fraction, config.seed)
    hop_us = -(-length_us // 2)
    apart_us = max(hop_us, length_us)  # windows that are counted must not overlap
    hops: dict[Part, int] = {"train": hop_us, "val": apart_us, "test": apart_us}
    typical = _typical(divided.train, scans, length_us)
    parts: dict[Part, list[Item]] = {
        part: _items(divided.of(part), recordings, scans, labels, length_us, hop, typical) for part, hop in hops.items()
    }
    for label in range(len(labels)):
        if not any(item.label == label for item in parts["train"]):
            raise DataError(f"class {labels[label]!r} has no window to train on: its recordings hold next to no events")
    notes = (
        *_summary(folder, scans, window, hop_us, parts),
        *divided.notes,
        *found,
        *_coverage(folder, scans, [item for items in parts.values() for item in items]),
    )
    train, val, test = (tuple(parts[part]) for part in parts)
    return Listing(path.resolve().name, labels, train, test, scans[0].sensor, window, val, True, notes, left_out)


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
        raise DataError("\n  ".join([f"{len(problems)} faults in {folder.path.name}; {advice}:", *problems]))
    recordings = tuple(
        recording for recording in folder.recordings if recording.path in scans and recording.path not in copies
    )
    if not any(recording.part == "train" for recording in recordings):
        raise DataError(f"none of the recordings in {folder.path} can be read: {bad[0]}")
    remarks: dict[str, list[str]] = {}
    for recording in recordings:
        for remark in scans[recording.path].remarks:
            remarks.setdefault(remark, []).append(named(recording))
    notes = [f"WARNING: {remark} ({_few(names)})" for remark, names in remarks.items()]
    if bad:
        notes.insert(0, f"WARNING: {len(bad)} files are left out: {'; '.join(bad)}")
    if copies:
        twice = _few([named(recording) for recording in folder.recordings if recording.path in copies])
        notes.append(f"copies of other files are used once: {twice}")
    return Usable(
        replace(folder, recordings=recordings),
        [scans[recording.path] for recording in recordings],
        tuple(notes),
        tuple(bad),
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def window_for(config: TrainConfig, recordings: Sequence[FolderRecording], scans: Sequence[Scan]) -> WindowShape:
    """Return the window that the settings ask for; what they leave open is chosen from the recordings."""
    fewest = min(Counter(recording.label for recording in recordings if recording.part == "train").values())
    window = suitable_window([s for s, recording in zip(scans, recordings) if recording.part == "train"], fewest)
    steps, bin_us = config.steps or window.steps, config.bin_us
    if config.window_ms and bin_us and not config.steps:
        steps = max(1, config.window_ms * 1000 // bin_us)
    elif config.window_ms and not bin_us:
        bin_us = max(1, config.window_ms * 1000 // steps)
    elif config.window_ms and not _rounds(steps, bin_us, config.window_ms * 1000):
        raise ValueError(
            f"--window-ms {config.window_ms} is not --steps {steps} times --bin-us {bin_us}: leave one out"
        )
    return replace(with_crop(window, config), steps=steps, bin_us=bin_us or window.bin_us)


def _rounds(steps: int, bin_us: int, window_us: int) -> bool:
    """Return whether one of the two follows from the other, as in the settings of a run that goes on."""
    return bin_us == max(1, window_us // steps) or steps == max(1, window_us // bin_us)


def with_crop(window: WindowShape, config: TrainConfig) -> WindowShape:
    """Return `window` with its crop as the settings say: "object", a square around what moves, or "none", the whole
    sensor. If they leave it open, the window's own crop is kept where the other settings allow it.
    """
    whole = config.encoding not in (None, "binary")
    crop = config.crop or ("none" if whole else window.crop)
    size = {"height": CROP_SIDE, "width": CROP_SIDE} if crop == "object" else {}
    return replace(window, crop=crop, **size)


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
    folder: Folder, scans: Sequence[Scan], window: WindowShape, hop_us: int, parts: dict[Part, list[Item]]
) -> list[str]:
    """Describe the folder's contents and its windows, one line a class; warn of nearly empty bins."""
    recordings, labels = folder.recordings, folder.labels
    seconds = sum(s.length_us for s in scans) / 1e6
    millions = sum(s.n_events for s in scans) / 1e6
    length_ms = window.steps * window.bin_us / 1000
    lines = [
        f"layout {folder.layout}: {len(labels)} classes, {len(recordings)} recordings, {seconds:.0f} s, "
        f"{millions:.2f} M events",
        f"windows of {length_ms:g} ms ({window.steps} bins of {window.bin_us / 1000:g} ms), every "
        f"{hop_us / 1000:g} ms in training (--window-ms)"
        + (", cropped to what moves (--crop none: where its place tells)" if window.crop == "object" else ""),
    ]
    for number, label in enumerate(labels):
        mine = [index for index, recording in enumerate(recordings) if recording.label == label]
        counts = [sum(item.label == number for item in parts[part]) for part in ("train", "val", "test")]
        length = sum(scans[i].length_us for i in mine)
        rate = sum(scans[i].n_events for i in mine) / max(1, length) * 1000
        lines.append(
            f"  {label}: {len(mine)} recordings, {length / 1e6:.0f} s, {rate * length_ms:.0f} events a window; windows "
            f"for training {counts[0]}, validation {counts[1]}, test {counts[2]}"
        )
    shown_ms = float(np.median([s.length_us for s in scans])) / 1000
    if shown_ms < FILLED * length_ms:
        lines.append(
            f"WARNING: recordings last {shown_ms:g} ms, much less than a window: what reads a whole window here will "
            f"answer at a recording's end, and often be wrong (--window-ms {shown_ms:g} suits them)"
        )
    fill = median_slot_events(scans) * window.bin_us / SLOT_US / (2 * window.height * window.width)
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
        names = _few([str(file.relative_to(folder.path)) for file in folder.left_out])
        lines.append(f"not read, being no recordings in this layout: {names}")
    return lines
