"""Prediction sets and their alarm where scene or camera are not those of the calibration.

    python -m benchmarks.shifts --root ../shared/data

Test recordings of N-MNIST, and MNIST's test digits before other cameras, each shown for two windows from a moment of
chance of its movement on. Coverage, commitments and those that are wrong are of every window by itself; then streams
of 20 recordings in an order of chance, 40 windows, show in how many the alarm goes off, after how many windows in the
median, and which share of their windows is committed to and wrong all the same. Clean streams of 1,000 windows show
how often it goes off for nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.common import report
from spikesight.encoders.emulator import corruptions
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.novelty.alarm import Alarm
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.training.data import list_nmnist, read_item
from spikesight.training.data.emulated import another_camera
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.progress import counted
from spikesight.training.run.conformal import ROUNDS, Run, Window, run_through, somewhere, windows_of

STREAMS, RECORDINGS = 50, 20
LONG_STREAMS, LONG = 1000, 1000  # windows
Shown = list[tuple[Events, int]]


def thinned(events: Events, _: SensorSize, random: np.random.Generator, share: float) -> Events:
    """Each event lost with a chance of `share`."""
    return events[random.random(len(events)) >= share]


SHIFTS: dict[str, corruptions.Fault | None] = {
    "none": None,
    **{f"noise, {hz} Hz a pixel": partial(corruptions.noise, hz=hz) for hz in (5, 10, 15, 20)},
    **{f"{share:.0%} of the events lost": partial(thinned, share=share) for share in (0.5, 0.8)},
    **{f"speed, {n:g} times": partial(corruptions.speed, times=n) for n in (0.5, 0.7, 2, 4)},
    **{f"rotation, {n} degrees": partial(corruptions.turned, degrees=n) for n in (10, 20, 30, 45)},
    **{f"scale, {n:g} times": partial(corruptions.turned, times=n) for n in (0.7, 0.8, 1.2, 1.3)},
}


def recordings(root: Path) -> Shown:
    """The real test recordings of N-MNIST."""
    return [(read_item(item)[0], item.label) for item in list_nmnist(root).test]


def emulated(root: Path, count: int = 300) -> Shown:
    """MNIST's first test images, each before another camera."""
    images, labels = (
        read_idx(find_idx(root, "mnist", f"t10k-{part}-ubyte")) for part in ("images-idx3", "labels-idx1")
    )
    cameras = [another_camera(np.random.default_rng([1, n])) for n in range(count)]
    return [(saccades(images[n], movement=camera, seed=n), int(labels[n])) for n, camera in enumerate(cameras)]


def runs_of(classifier: Classifier, shown: Shown, fault: corruptions.Fault | None) -> Iterator[Run]:
    """What the network makes of each, for two windows from a moment of chance on."""
    contract = classifier.contract
    span_us = ROUNDS * contract.steps * contract.bin_us
    for n, (events, _) in enumerate(shown):
        random = np.random.default_rng([77, n])
        events = events if fault is None else fault(events, NMNIST_SENSOR, random)
        part = somewhere(events, span_us, contract.trained_us, random)
        yield run_through(classifier, NMNIST_SENSOR, [part], ROUNDS * contract.steps)


Follow = Callable[[Sequence[int]], list[tuple[int, Window]]]


def following(classifier: Classifier, shown: Shown, runs: Sequence[Run], error_rate: float) -> Follow:
    """A stream of recordings by their numbers: class and course of each window."""

    def follow(numbers: Sequence[int]) -> list[tuple[int, Window]]:
        track = classifier.track(error_rate=error_rate)
        labels = [shown[n][1] for n in numbers]
        return [(k, w) for n, k in zip(numbers, labels) for w in windows_of(classifier, track, runs[n], k)]

    return follow


def wrong(windows: Sequence[tuple[int, Window]]) -> int:
    """How many were committed to another class."""
    return sum(w.committed not in (-1, k) for k, w in windows)


def measure(name: str, follow: Follow, count: int) -> None:
    """One row of the table."""
    each = [one for n in range(count) for one in follow([n])]
    held, committed, missed = sum(w.held for _, w in each), sum(w.committed >= 0 for _, w in each), wrong(each)
    random = np.random.default_rng(3)
    streams = [follow(random.integers(count, size=RECORDINGS).tolist()) for _ in range(STREAMS)]
    after = [next((n for n, (_, w) in enumerate(stream, 1) if w.shifted), 0) for stream in streams]
    off = [n for n in after if n]
    given = sum(map(wrong, streams)) / sum(map(len, streams))
    share = [100 * side for side in interval(missed, committed)] if committed else ["-", "-"]
    times = [float(median(off)) if off else "-", 100 * len(off) / STREAMS]
    row = [len(each), 100 * held / len(each), committed, missed, *share, *times, 100 * given]
    report.row(name, *(float(cell) if isinstance(cell, int) else cell for cell in row))
    print(f"{name:28}", *(cell if isinstance(cell, str) else f"{cell:.1f}" for cell in row), flush=True)


def false_alarms(classifier: Classifier, windows: Sequence[Window]) -> int:
    """How many of long streams of these windows, in an order of chance, set the alarm off."""
    trials, steps = classifier.trials, classifier.contract.steps
    assert trials is not None
    ends = [(n % ROUNDS + 1) * steps for n in range(len(windows))]
    p_values = [trials.familiarity(w.known, end) for w, end in zip(windows, ends) if w.known is not None]
    random, off = np.random.default_rng(4), 0
    for _ in range(LONG_STREAMS):
        alarm = Alarm()
        for p in random.choice(p_values, LONG).tolist():
            alarm = alarm.push(p)
            if alarm.on:
                off += 1
                break
    return off


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="where nmnist and mnist lie")
    parser.add_argument("--model", default="nmnist", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--bin-ms", type=float, help="length of a step; the model's own without")
    parser.add_argument("--error-rate", type=float, default=0.05)
    args = parser.parse_args()
    classifier = Classifier.load(find(args.model))
    classifier = classifier if args.bin_ms is None else classifier.at(args.bin_ms)
    columns = "windows", "possible, %", "committed", "wrong", "low", "high", "alarm after", "of streams, %", "given, %"
    for title, shown in (("recordings", recordings(args.root)), ("emulated", emulated(args.root))):
        report.table(f"Prediction sets under shifts: {title}", "shift", *columns)
        for name, fault in SHIFTS.items():
            runs = list(counted(runs_of(classifier, shown, fault), name, "recording", len(shown)))
            follow = following(classifier, shown, runs, args.error_rate)
            measure(name, follow, len(shown))
            if fault is None:
                off = false_alarms(classifier, [w for n in range(len(shown)) for _, w in follow([n])])
                print(f"false alarms in {LONG_STREAMS} clean streams of {LONG} windows: {off}", flush=True)
    report.write("shifts", args.json)


if __name__ == "__main__":
    main()
