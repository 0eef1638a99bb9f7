"""Digits found anywhere in a camera's full frame, and what is taken for one.

    python -m experiments.finding --root shared/data --seed 31 [--only none]

scenes     made scenes (corpora/scenes) of 1.5 s before 128 x 128 pixels, with up to five things. After half a second a
           digit counts that is 16 to 100 pixels long and neither hidden nor cut off for half of the time; it is right
           if its label is shown, in a box at its place, for most of that time. A box is false where no digit is
streams    MNIST-DVS as live streams: the label at the end
pictures   one digit on paper and on other objects, as a picture; also by `mnist-direct`
clips      the same as films of five seconds, by the label that is shown after the first second
sheets     two to six digits on paper in a hand, moved or nearly still; a digit is right if its label is shown in a box
           at its place for most of the time after the first second
crossing   two cards pass each other: IDF1 (Ristani et al. 2016) of boxes with their numbers
counting   cards pass a line in the middle: exact if each label's count is
none       no digit: the share of steps after the first second in which something has a label

Films (`films`) are seen as events and as frames. Digits are MNIST's test images and OpenCV's print, photographs those
below <root>/imagenet_1perclass. Choose nothing on a seed that is reported.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchmarks.common import report
from corpora.digits import Pictures, mnist_digits
from corpora.films import Box, Film, Layer
from corpora.others import Digits
from corpora.scenes import NONE, Scenes, Things
from experiments import films
from experiments.near import near, print_digits
from spikesight.app.webcam.demo import Counting
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import AdaptiveAccumulation, pyramid_of
from spikesight.encoders.recordings.files import read_recording
from spikesight.model import Model
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.models.steps import Detection, Input
from spikesight.training.progress import with_progress

TASKS = ("scenes", "streams", "pictures", "clips", "sheets", "crossing", "counting", "none")
FILMED, SEEN = TASKS[3:], ("events", "frames")
SETTLED_US = 1_000_000  # labels of films before this time do not count
OVERLAP, NEAR = 0.5, 0.25  # least intersection over union of a box that is a digit's, and of one that is at its place
STEADY = 0.8  # share of the time with the right label that counts as steady
SEED, SIDE, STEPS, SETTLED, AT_ONCE = 53_000, 128, 48, 16, 4  # of scenes
LENGTHS = 16.0, 100.0  # pixels, of digits in scenes that count


def between(right: int, count: int) -> list[float]:
    """Return the 95 % interval in per cent."""
    return [100 * side for side in interval(right, count)]


def tell(*cells: report.Cell) -> None:
    """Add a row and print it."""
    report.row(*cells)
    print(" | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells), flush=True)


@dataclass
class Asked:
    """A model that watches films as `frames` or `events`."""

    classifier: Classifier
    seen: str
    written: films.Written
    photos: list[Path]
    seed: int
    count: int

    def drawn(self, what: str) -> Iterator[tuple[int, np.random.Generator]]:
        for n in with_progress(range(self.count), f"{what}, {self.seen}"):
            yield n, np.random.default_rng((self.seed, n, *what.encode()))

    def watch(self, film: Film) -> Iterator[films.Step]:
        """Yield the steps after the first second."""
        return (step for step in films.watch(self.classifier, film, self.seen) if step.end_us >= SETTLED_US)

    def clips(self) -> None:
        """Ask for the most frequent label of films of one digit."""
        for kind, styles in films.STYLES.items():
            right, steady, changes = 0, 0, list[int]()
            for n, random in self.drawn(kind):
                row = int(random.integers(len(self.written.labels)))
                truth = str(self.written.labels[row])
                film = films.clip(styles[n % len(styles)], self.written.images[row], int(truth), self.photos, random)
                labels = [step.shown_label for step in self.watch(film)]
                right += max(set(labels), key=labels.count, default="") == truth
                steady += labels.count(truth) >= STEADY * max(len(labels), 1)
                changes.append(sum(a != b for a, b in pairwise(labels)))
            share, mean = 100 * steady / self.count, float(np.mean(changes))
            name = f"on paper and things: {', '.join(styles)}"
            shares = self.count, 100 * right / self.count, *between(right, self.count)
            tell(name, self.seen, mean, share, *shares)

    def sheets(self) -> None:
        """Two to six digits on paper: how many are right most of the time."""
        for name, amount in (("moved", (5, 14)), ("nearly still", (0.4, 1.2))):
            digits = right = wrong = false = steps = 0
            for _, random in self.drawn(f"sheets, {name}"):
                images, labels = self.written.draw(random, int(random.integers(2, 7)))
                page, marks = films.sheet(images, labels, int(random.integers(34, 56)), min(3, len(images)), random)
                path = films.swaying(page.shape, random.uniform(*amount), random, 5)
                said, present = defaultdict[int, Counter[str]](Counter), Counter[int]()
                for step in self.watch(films.before_camera([Layer(page, films.whole(page), path, marks)], 4, random)):
                    steps += 1
                    present.update(one.number for one in step.shown)
                    for thing in step.things:
                        near_it = [one for one in step.shown if overlap(thing.box, one) > NEAR]
                        false += not near_it
                        for one in near_it[:1]:
                            said[one.number][thing.label] += 1
                digits += len(present)
                right += sum(said[k][labels[k]] > times / 2 for k, times in present.items())
                wrong += sum(said[k].total() - said[k][labels[k]] > times / 2 for k, times in present.items())
            tell(f"sheets, {name}", self.seen, digits, right, wrong, *between(right, digits), false / steps)

    def crossing(self) -> None:
        """Two cards that cross: 2 TP / (boxes + digits) of the best assignment of numbers to digits."""
        matched = boxes = present = 0
        for _, random in self.drawn("crossing"):
            speed, side = random.uniform(50, 110), int(random.integers(44, 64))
            y, apart = random.uniform(90, 150), random.uniform(10, 40) * random.choice([-1, 1])
            begins = [((films.VIEW.width / 2, y + way * apart / 2), way * speed) for way in (1, -1)]
            cards = [films.card(self.written, random, begin, way, 2.0, side) for begin, way in begins]
            met = Counter[tuple[int, int]]()
            for step in self.watch(films.before_camera(cards, 4, random)):
                boxes, present = boxes + len(step.things), present + len(step.shown)
                met.update((t.id, o.number) for t, o in product(step.things, step.shown) if overlap(t.box, o) > OVERLAP)
            ids, numbers = sorted({a for a, _ in met}), sorted({b for _, b in met})
            table = np.array([[met[a, b] for b in numbers] for a in ids]).reshape(len(ids), len(numbers))
            matched += int(table[linear_sum_assignment(-table)].sum())
        score = 200 * matched / max(boxes + present, 1)
        tell("crossing, IDF1 in %", self.seen, present, matched, boxes - matched, score, "", "")

    def counting(self) -> None:
        """Three to six cards that pass a line: in how many films each label's count is exact."""
        exact = 0
        for _, random in self.drawn("counting"):
            layers, true, begin_s = list[Layer](), Counter[str](), 0.2
            for _ in range(int(random.integers(3, 7))):
                way, speed, side = random.choice([-1, 1]), random.uniform(60, 130), int(random.integers(44, 64))
                begin = films.VIEW.width / 2 - way * 210, random.uniform(80, 160)
                layers.append(films.card(self.written, random, begin, way * speed, begin_s, side))
                true[layers[-1].marks[0][0]] += 1
                begin_s += random.uniform(1.5, 3) if random.random() < 0.8 else 420 / speed
            line = Counting((160, 0), (160, 240))
            for number, step in enumerate(self.watch(films.before_camera(layers, begin_s + 5, random))):
                line.push(step.things, number)
            got = Counter[str]()
            for (label, _), times in line.counts.items():
                got[label] += times
            exact += got == true
        tell("counting, films", self.seen, self.count, exact, self.count - exact, *between(exact, self.count), "")

    def none(self) -> None:
        """What is no digit: the share of steps in which something has a label."""
        for kind, draw in films.nothings(self.written, self.photos).items():
            said = [step for _, random in self.drawn(kind) for step in self.watch(draw(random))]
            wrong = sum(bool(step.things) or step.shown_label.isdecimal() for step in said)
            tell(f"none: {kind}", self.seen, len(said), "", wrong, 100 * wrong / len(said), "", "")


def overlap(box: Sequence[float], one: Box) -> float:
    """Return the intersection over union of a box (left, top, width, height) and a digit's."""
    across = min(box[0] + box[2], one.left + one.side) - max(box[0], one.left)
    down = min(box[1] + box[3], one.top + one.side) - max(box[1], one.top)
    common = max(across, 0) * max(down, 0)
    return common / (box[2] * box[3] + one.side**2 - common)


def pictures(classifier: Classifier, written: films.Written, photos: Sequence[Path], seed: int, count: int) -> None:
    """Ask for pictures of one digit of each style."""
    for kind, styles in films.STYLES.items():
        right = 0
        for n in range(count):
            random = np.random.default_rng((seed, n, *kind.encode()))
            row = int(random.integers(len(written.labels)))
            film = films.clip(styles[n % len(styles)], written.images[row], int(written.labels[row]), photos, random)
            label = Model(classifier).predict(next(film.frames())[1]).label
            right += label == str(written.labels[row])
        tell(kind, classifier.name, count, 100 * right / count, *between(right, count))


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
        counts = free and within and LENGTHS[0] <= length <= LENGTHS[1]
        yield Shown(number, str(int(one.label[n])), x, y, length, counts)


def answers(classifier: Classifier, x_seq: Tensor, bin_us: int) -> list[tuple[Detection, ...]]:
    """Return what is found in each step of a scene, x_seq uint8 [T, 2, SIDE, SIDE]."""
    pyramid, inputs = pyramid_of(SensorSize(SIDE, SIDE)), list[Input]()
    held = AdaptiveAccumulation((2, pyramid.height, pyramid.width))
    for t, x in enumerate(x_seq.numpy()):
        canvas = held.push(pyramid.canvas(x))
        inputs.append(Input(canvas, t * bin_us, (t + 1) * bin_us, int(x.sum()), False, pyramid=pyramid))
    return [answer.prediction.objects or () for answer in Stepper(classifier).steps(inputs)]


def scenes(classifier: Classifier, written: films.Written, count: int) -> None:
    """Tell how many digits of `count` scenes are right, wrong, and how many boxes are false."""
    printed, named = print_digits(SEED)
    digits = Pictures(np.concatenate([written.images, np.stack(printed)]), np.concatenate([written.labels, named]))
    none = np.stack([one for drawn in near(Digits(*written), SEED, 200, ()).values() for one in drawn])
    made = Scenes(digits, Pictures(none, np.full(len(none), NONE)), SEED, steps=STEPS, view=SIDE)
    counted = right = wrong = false = steps = empty = labelled = 0
    for batch in with_progress(range(-(-count // AT_ONCE)), "looking"):
        x_seq, things, _ = made.filmed(batch, AT_ONCE)
        for n in range(AT_ONCE):
            present, said = Counter[tuple[int, str]](), defaultdict[int, Counter[str]](Counter)
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
            for (number, label), times in present.items():
                if times >= (STEPS - SETTLED) / 2:
                    counted += 1
                    right += said[number][label] > times / 2
                    wrong += said[number].total() - said[number][label] > times / 2
    tell("digits in scenes", counted, right, wrong, *between(right, counted))
    tell("false boxes in steps", steps, false, labelled, 100 * false / steps, empty)


def streams(classifier: Classifier, root: Path) -> None:
    """Tell which label is shown at the end of each MNIST-DVS recording, as a live stream."""
    files, right, wrong = sorted((root / "mnist_dvs").glob("*/*.npz")), 0, 0
    for file in with_progress(files, "streaming"):
        recording = read_recording(file)
        session = Session(classifier, recording.size)
        stepper = Stepper(classifier, session.readout)
        given = [one for part in np.array_split(recording.events, 20) for one in session.push(part)]
        label = [stepper.step(one).prediction.label for one in [*given, *session.flush()]][-1]
        right, wrong = right + (label == file.parent.name), wrong + (label.isdecimal() and label != file.parent.name)
    tell("MNIST-DVS, as streams", len(files), right, wrong, *between(right, len(files)))


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--model", default="nmnist")
    parser.add_argument("--seed", type=int, default=0, help="of films and pictures")
    parser.add_argument("--count", type=int, default=20, help="films of each kind; five times as many scenes")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument(
        "--seen", nargs="+", choices=("events", "frames"), default=("events", "frames"), help="of films"
    )
    args = parser.parse_args(argv)
    classifier = Classifier.load(find(args.model))
    written = films.Written(*mnist_digits(args.root, "t10k"))
    photos = sorted((args.root / "imagenet_1perclass").glob("*.jpg"))
    if "scenes" in args.only:
        columns = "of", "right or false", "wrong or labelled", "low or share", "high or empty"
        report.table("digits found in a view", "what", *columns)
        scenes(classifier, written, 5 * args.count)
    if "streams" in args.only and (args.root / "mnist_dvs").is_dir():
        report.table("MNIST-DVS as streams", "what", "of", "right", "wrong", "low", "high")
        streams(classifier, args.root)
    if "pictures" in args.only:
        report.table("digits on paper and things", "input", "model", "of", "right, %", "low", "high")
        for one in (classifier, Classifier.load(find("mnist-direct"))):
            pictures(one, written, photos, args.seed, args.count)
    asked = [Asked(classifier, seen, written, photos, args.seed, args.count) for seen in args.seen]
    if "clips" in args.only:
        columns = "changes in 5 s", "steady, %", "of", "right, %", "low", "high"
        report.table("clips of digits on paper", "input", "seen as", *columns)
        for one in asked:
            one.clips()
    if set(FILMED[1:]) & set(args.only):
        columns = "of", "right", "wrong", "low", "high", "false"
        report.table("films of several, and of none", "what", "seen as", *columns)
        for one, task in product(asked, FILMED[1:]):
            if task in args.only:
                getattr(one, task)()
    report.write("finding", args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
