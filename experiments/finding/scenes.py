"""Digits found in scenes that the program makes, and in MNIST-DVS as streams.

Scenes are those of corpora/scenes, of 1.5 s before 128 x 128 pixels, with up to three things: MNIST's
test images and OpenCV's print, letters, scribbles, blank cards and what else is no digit, textures. After half a
second a digit counts that is 16 to 100 pixels long and neither hidden nor cut off for half of the time; it is right if
its label is shown, in a box at its place, for most of that time. A box is false where no digit is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common import report
from corpora.digits import Pictures
from corpora.others import Digits
from corpora.scenes import NONE, Scenes, Things
from experiments.near import near, print_digits
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import Held, pyramid_of
from spikesight.encoders.recordings.files import read_recording
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.statistics import interval
from spikesight.models.steps import Input, Object
from spikesight.training.progress import with_progress

SEED, SIDE, STEPS, SETTLED, AT_ONCE = 53_000, 128, 48, 16, 4
LENGTHS = 16.0, 100.0  # pixels, of digits that count


class Shown(NamedTuple):
    """A digit in a scene at one step: its number and label, its middle and length, and whether it counts."""

    number: int
    label: str
    x: float
    y: float
    length: float
    counts: bool


def truth_of(things: Sequence[Things], n: int, step: int) -> Iterator[Shown]:
    """Yield the digits of scene n in a step."""
    at = step * things[0].length.shape[1] // STEPS
    for number, one in enumerate(things):
        if not one.of[n] or one.label[n] >= NONE:
            continue
        (x, y), length = (one.place[n, at] + SIDE / 2).tolist(), float(one.length[n, at])
        above = [other for other in things[number + 1 :] if other.of[n]]
        apart = [float((other.place[n, at] - one.place[n, at]).abs().max()) for other in above]
        free = all(a > 0.45 * (length + float(o.length[n, at])) for a, o in zip(apart, above))
        within = all(length / 2 - 4 < v < SIDE - length / 2 + 4 for v in (x, y))
        yield Shown(
            number, str(int(one.label[n])), x, y, length, free and within and LENGTHS[0] <= length <= LENGTHS[1]
        )


def answers(classifier: Classifier, x_seq: Tensor, bin_us: int) -> list[tuple[Object, ...]]:
    """Return what is found in each step of a scene, x_seq uint8 [T, 2, SIDE, SIDE]."""
    pyramid, inputs = pyramid_of(SensorSize(SIDE, SIDE)), list[Input]()
    held = Held((2, pyramid.height, pyramid.width))
    for t, x in enumerate(x_seq.numpy()):
        atlas = held.push(pyramid.atlas(x))
        inputs.append(Input(atlas, t * bin_us, (t + 1) * bin_us, int(x.sum()), False, pyramid=pyramid))
    return [answer.prediction.objects or () for answer in Stepper(classifier).steps(inputs)]


def scenes(classifier: Classifier, images: NDArray[np.uint8], labels: NDArray[np.int64], count: int) -> None:
    """Print and note how many digits of `count` scenes are right, wrong, and how many boxes are false. `images` uint8
    [N, 28, 28] and `labels`: written digits, beside which there are printed ones.
    """
    printed, named = print_digits(SEED)
    digits = Pictures(np.concatenate([images, np.stack(printed)]), np.concatenate([labels, named]))
    none = np.stack([one for drawn in near(Digits(images, labels), SEED, 200, ()).values() for one in drawn])
    made = Scenes(digits, Pictures(none, np.full(len(none), NONE)), SEED, steps=STEPS, view=SIDE)
    report.table(
        "digits found in a view", "what", "of", "right or false", "wrong or labelled", "low or share", "high or empty"
    )
    digits = right = wrong = false = steps = one_id = empty = labelled = 0
    for batch in with_progress(range(-(-count // AT_ONCE)), "looking"):
        x_seq, things, _ = made.filmed(batch, AT_ONCE)
        for n in range(AT_ONCE):
            present, said, ids = (
                Counter[tuple[int, str]](),
                defaultdict[int, Counter[str]](Counter),
                defaultdict[int, set](set),
            )
            found = answers(classifier, x_seq[:, n], made.bin_us)
            for step in range(SETTLED, STEPS):
                shown = list(truth_of(things, n, step))
                present.update((one.number, one.label) for one in shown if one.counts)
                steps, empty = steps + 1, empty + (not shown)
                labelled += not shown and bool(found[step])
                for thing in found[step]:
                    left, top, side, _ = thing.box
                    x, y = left + side / 2, top + side / 2
                    near_it = [o for o in shown if max(abs(o.x - x), abs(o.y - y)) < 0.5 * max(o.length, side)]
                    false += not near_it
                    for o in near_it:
                        said[o.number][thing.label] += 1
                        ids[o.number].add(thing.id)
            for (number, label), times in present.items():
                if times >= (STEPS - SETTLED) / 2:
                    digits += 1
                    right += said[number][label] > times / 2
                    wrong += said[number].total() - said[number][label] > times / 2
                    one_id += said[number][label] > times / 2 and len(ids[number]) == 1
    low, high = (100 * side for side in interval(right, digits))
    report.row("digits in scenes", digits, right, wrong, low, high)
    report.row("false boxes in steps", steps, false, labelled, 100 * false / steps, empty)
    print(f"digits in scenes: {right} of {digits} right most of the time ({low:.0f} to {high:.0f} %), {wrong} wrong")
    print(f"of those that are right {one_id} have one number all the time")
    print(f"false boxes: {false / steps:.3f} a step; without a digit {labelled} of {empty} steps have a label")


def streams(classifier: Classifier, root: Path) -> None:
    """Print and note which label is shown for most of each MNIST-DVS recording, as a live stream."""
    files = sorted((root / "mnist_dvs").glob("*/*.npz"))
    report.table("MNIST-DVS as streams", "what", "of", "right", "wrong", "low", "high")
    right = wrong = 0
    for file in with_progress(files, "streaming"):
        recording = read_recording(file)
        session = Session(classifier, recording.size)
        stepper = Stepper(classifier, session.track)
        given = [one for part in np.array_split(recording.events, 20) for one in session.push(part)]
        label = [stepper.step(one).steady for one in [*given, *session.flush()]][-1]
        right, wrong = right + (label == file.parent.name), wrong + (label.isdecimal() and label != file.parent.name)
    low, high = (100 * side for side in interval(right, len(files)))
    report.row("MNIST-DVS, as streams", len(files), right, wrong, low, high)
    print(f"MNIST-DVS as streams, shown at the end: {right} of {len(files)} right, {wrong} wrong")
