"""Divide a folder's recordings into training, validation and test intervals without leakage.

Neighbouring windows of a recording are nearly identical, so they never lie in two parts. Whole sessions are held out if
there are several, else whole recordings; of a class with a single recording, its end is held out, after a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from spikesight.encoders.words import some_of
from spikesight.training.data.folders import FolderRecording, Part, common_sessions
from spikesight.training.data.sets import DataError, split_by_name, split_indices
from spikesight.training.data.windows import Scan

LEAST_GAP_US, GAP_SHARE = 1_000_000, 0.05  # gap between intervals of one recording: the longer of 1 s and this share
LEAST_WINDOW_MS = 50  # that is advised
TEST_FRACTION = 0.15  # share that is held out for the test if a set has no test split


NAMES = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Interval:
    """An interval of a recording, in microseconds from its first event."""

    recording: int  # index of the recording
    begin_us: int
    end_us: int


@dataclass
class Separation:
    """The intervals of each part, and notes in sentences on how they were divided."""

    train: list[Interval] = field(default_factory=list)
    val: list[Interval] = field(default_factory=list)
    test: list[Interval] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    short: list[tuple[FolderRecording, float]] = field(
        default_factory=list
    )  # too short to be divided; microseconds of a piece

    def of(self, part: Part) -> list[Interval]:
        """Return the intervals (spans of recordings) of training, validation or test."""
        return getattr(self, part)


def separate(
    recordings: Sequence[FolderRecording], scans: Sequence[Scan], window_us: int, fraction: float = 0.15, seed: int = 0
) -> Separation:
    """Divide recordings into training, validation and test; parts that the folder itself names stay as they are.

    `fraction` of the recordings or sessions, at least one, is for validation. Raises DataError if a class is too short
    to be divided.
    """
    found = Separation()
    whole = [Interval(index, 0, scan.length_us) for index, scan in enumerate(scans)]
    for index, recording in enumerate(recordings):
        if recording.part != "train":
            found.of(recording.part).append(whole[index])
    needed: list[Part] = [part for part in ("test", "val") if not found.of(part)]
    pool = [index for index, recording in enumerate(recordings) if recording.part == "train"]
    sessions = common_sessions([recordings[index] for index in pool])
    if not needed:
        found.train += [whole[index] for index in pool]
        found.notes.append("validation and test: the folder's own val/ and test/")
    elif len(sessions) > len(needed):
        pool = _by_session(found, recordings, whole, pool, sessions, needed, fraction)
        found.train += [whole[index] for index in pool]
    elif len(sessions) > 1:
        _by_two_sessions(found, recordings, whole, pool, sessions[-1], fraction, seed, window_us)
    else:
        _by_class(found, recordings, whole, pool, needed, fraction, seed, window_us)
    if found.short:
        raise DataError(_too_short(found.short, window_us))
    if found.test and "test" not in needed and needed:
        found.notes.append("test: the folder's own test split")
    return found


def _by_session(
    found: Separation, recordings: Sequence[FolderRecording], whole: Sequence[Interval], pool: Sequence[int],
    sessions: list[str], needed: list[Part], fraction: float,
) -> list[int]:  # fmt: skip
    """Hold out the last sessions for the parts needed; return the recordings of the others."""
    rest, held = sessions, dict[str, Part]()
    for n, part in enumerate(needed):
        share = TEST_FRACTION if part == "test" else fraction
        count = min(max(1, round(share * len(sessions))), len(rest) - len(needed) + n)
        rest, chosen = rest[:-count], rest[-count:]
        held |= dict.fromkeys(chosen, part)
        found.notes.insert(0, f"{NAMES[part]}: session {', '.join(chosen)}, of which training sees nothing")
    for index in pool:
        if part := held.get(recordings[index].session):
            found.of(part).append(whole[index])
    return [index for index in pool if recordings[index].session not in held]


def _by_two_sessions(
    found: Separation, recordings: Sequence[FolderRecording], whole: Sequence[Interval], pool: Sequence[int],
    last: str, fraction: float, seed: int, window_us: int,
) -> None:  # fmt: skip
    """Divide the last of two sessions into validation and test: each class by whole recordings, or its only recording
    in time. If one is too short for that, all of the session is the test, and the first is divided for validation.
    """
    of_last = [index for index in pool if recordings[index].session == last]
    divided, halved = Separation(), list[str]()
    for label, mine in _by_label(recordings, of_last):
        if len(mine) > 1:
            val, test = _hashed(recordings, mine, 0.5)
            divided.val += [whole[mine[n]] for n in val]
            divided.test += [whole[mine[n]] for n in test]
        else:
            halved.append(label)
            _halve(divided, recordings[mine[0]], whole[mine[0]], window_us)
    rest = [index for index in pool if recordings[index].session != last]
    if divided.short:
        found.test += [whole[index] for index in of_last]
        found.notes.append(f"test: session {last}, of which training sees nothing")
        _by_class(found, recordings, whole, rest, ["val"], fraction, seed, window_us)
        return
    found.val, found.test = divided.val, divided.test
    found.train += [whole[index] for index in rest]
    how = f"; its only recording divided in time ({some_of(halved, 6)})" if halved else ", by whole recordings"
    found.notes.append(f"validation and test: session {last}, of which training sees nothing{how}")


def _by_label(recordings: Sequence[FolderRecording], pool: Sequence[int]) -> list[tuple[str, list[int]]]:
    labels = sorted({recordings[index].label for index in pool})
    return [(label, [index for index in pool if recordings[index].label == label]) for label in labels]


def _halve(found: Separation, recording: FolderRecording, whole: Interval, window_us: int) -> None:
    """Add the first half of a recording to validation and the second, after a gap, to the test."""
    val, test = _divided(found, recording, whole, (1.0, 1.0), window_us)
    found.val.append(val)
    found.test.append(test)


def _by_class(
    found: Separation, recordings: Sequence[FolderRecording], whole: Sequence[Interval], pool: Sequence[int],
    needed: list[Part], fraction: float, seed: int, window_us: int,
) -> None:  # fmt: skip
    """Divide each class by whole recordings if it has enough of them, else one of its recordings in time."""
    what = " and ".join(NAMES[part] for part in reversed(needed))
    by_recording, shared, alone = [], [], []
    for label, mine in _by_label(recordings, pool):
        if len(mine) == 1:
            alone.append(label)
            shares = (0.8, 0.2) if len(needed) == 1 else (0.7, 0.15, 0.15)
            parts = _divided(found, recordings[mine[0]], whole[mine[0]], shares, window_us)
            found.train.append(parts[0])
            for part, interval in zip(reversed(needed), parts[1:]):
                found.of(part).append(interval)
        elif len(mine) == len(needed):  # two, for validation and test: one of them for both
            shared.append(label)
            last = mine[_hashed(recordings, mine, 0.5)[1][0]]
            _halve(found, recordings[last], whole[last], window_us)
            found.train += [whole[index] for index in mine if index != last]
        else:
            by_recording.append(label)
            for part in needed:
                if part == "test":
                    kept, chosen = _hashed(recordings, mine, TEST_FRACTION)
                else:
                    kept, chosen = split_indices(np.zeros(len(mine), int), fraction, seed)
                found.of(part).extend(whole[mine[n]] for n in chosen)
                mine = [mine[n] for n in kept]
            found.train += [whole[index] for index in mine]
    if by_recording:
        found.notes.append(f"{what}: whole recordings, none of which is trained on ({some_of(by_recording, 6)})")
    if shared:
        found.notes.append(f"{what}: one recording of two, divided in time, not trained on ({some_of(shared, 6)})")
    if alone:
        found.notes.append(
            f"{what}: the end of the only recording, after a gap ({some_of(alone, 6)}). Another day will be harder: "
            "record each class a second time, and give both, or try the model on it with spikesight evaluate"
        )


def _hashed(
    recordings: Sequence[FolderRecording], mine: Sequence[int], fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    names = [f"{recordings[index].path.parent.name}/{recordings[index].path.name}" for index in mine]
    return split_by_name(names, np.zeros(len(mine), int), fraction)


def _divided(
    found: Separation, recording: FolderRecording, whole: Interval, shares: tuple[float, ...], window_us: int
) -> list[Interval]:
    """Divide a recording by `shares`, with gaps between; note it as `short` if a piece is shorter than a window."""
    length = whole.end_us
    gap = round(max(window_us, LEAST_GAP_US, GAP_SHARE * length))
    room = length - gap * (len(shares) - 1)
    pieces, begin = [], 0.0
    for share in shares:
        end = begin + room * share / sum(shares)
        pieces.append(Interval(whole.recording, round(begin), round(end)))
        begin = end + gap
    least = min(piece.end_us - piece.begin_us for piece in pieces)
    if least < window_us:
        gap = round(max(LEAST_GAP_US, GAP_SHARE * length))  # as it is with shorter windows
        found.short.append((recording, (length - gap * (len(shares) - 1)) * min(shares) / sum(shares)))
    return pieces


def _too_short(short: Sequence[tuple[FolderRecording, float]], window_us: int) -> str:
    """Return the error for recordings that are too short to be divided, with what will do."""
    names = some_of([f"{recording.path.parent.name}/{recording.path.name}" for recording, _ in short], 6)
    fits_ms = int(min(piece for _, piece in short) / 1000)
    fits_ms = fits_ms // 4 if fits_ms >= 4 * LEAST_WINDOW_MS else fits_ms  # several windows are better than one
    return (
        f"too short to validate their classes apart from training in windows of {window_us / 1000:g} ms: {names}. Give "
        "every class three recordings, which are then divided whole"
        + (f"; or take --window-ms {fits_ms}" if fits_ms >= LEAST_WINDOW_MS else "")
        + "; or use spikesight teach, which holds out each recording in turn"
    )
