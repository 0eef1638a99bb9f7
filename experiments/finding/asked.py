"""Ask a model about films of several digits, and of none; print and note what it says."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.common import report
from experiments.finding.films import (
    HEIGHT,
    SENSOR,
    WIDTH,
    Box,
    Film,
    Grey,
    Layer,
    Written,
    card,
    desk,
    nothings,
    sheet,
    straight,
    swaying,
    whole,
)
from spikesight.app.webcam.demo import Counting
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.statistics import interval
from spikesight.models.steps import Object
from spikesight.training.progress import with_progress

TASKS = ("sheets", "crossing", "counting", "none")
SETTLED_US = 1_000_000  # labels before this time do not count
OVERLAP, NEAR = 0.5, 0.25  # least intersection over union of a box that is a digit's, and of one that is at its place
COLUMNS, TILES = 4, 16  # of the picture of films that failed


class Step(NamedTuple):
    """What a model says in a step, and what is there."""

    label: str
    things: tuple[Object, ...]
    shown: list[Box]
    frame: Grey


@dataclass
class Asked:
    """A model that watches films as `frames` or `events`, and pictures of films in which it failed."""

    classifier: Classifier
    seen: str
    written: Written
    photos: list[Path]
    seed: int
    count: int
    failed: list[Grey] = field(default_factory=list)  # [HEIGHT, WIDTH, 3]

    def watch(self, film: Film) -> Iterator[Step]:
        """Yield the steps after the first second."""
        session = Session(self.classifier, SENSOR)
        stepper, eye = Stepper(self.classifier, session.track), Emulator(SENSOR, seed=film.seed)
        truth = dict[int, tuple[list[Box], Grey]]()
        for t_us, grey, shown in film.frames():
            truth[t_us] = shown, grey
            if self.seen == "events":
                inputs = [*session.push(eye.push(grey, t_us)), *session.tick(t_us)]
            else:
                inputs = session.frame(np.repeat(grey[..., None], 3, 2), t_us)
            for given in inputs:
                answer, at = stepper.step(given), min(truth, key=lambda t: abs(t - given.end_us))
                if given.end_us >= SETTLED_US:
                    yield Step(answer.steady, answer.prediction.objects or (), *truth[at])

    def films(self, what: str) -> Iterator[tuple[int, np.random.Generator]]:
        for n in with_progress(range(self.count), f"{what}, {self.seen}"):
            yield n, np.random.default_rng((self.seed, n, *what.encode()))

    def fails(self, what: str, step: Step | None) -> None:
        """Keep the frame of a step in which a film has failed, with what was said."""
        if step is None or len(self.failed) >= TILES:
            return
        tile = cv2.cvtColor(step.frame, cv2.COLOR_GRAY2RGB)
        for one in step.things:
            left, top, width, height = map(round, one.box)
            cv2.rectangle(tile, (left, top), (left + width, top + height), (230, 60, 40), 2)
            cv2.putText(tile, one.label, (left + 3, top + 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (230, 60, 40), 2)
        said = f"{what}, {self.seen}" + (f": {step.label}" if not step.things else "")
        cv2.rectangle(tile, (0, HEIGHT - 24), (WIDTH, HEIGHT), (0, 0, 0), cv2.FILLED)
        cv2.putText(tile, said, (4, HEIGHT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        self.failed.append(np.asarray(tile, np.uint8))

    def sheets(self) -> None:
        """Two to six digits on paper: how many are right most of the time."""
        for name, amounts in (("moved", (5, 14)), ("nearly still", (0.4, 1.2))):
            digits = right = wrong = false = steps = 0
            for n, random in self.films(f"sheets, {name}"):
                images, labels = self.written.draw(random, int(random.integers(2, 7)))
                page, places = sheet(images, labels, int(random.integers(34, 56)), min(3, len(images)), random)
                path = swaying(WIDTH / 2, HEIGHT / 2, random.uniform(*amounts), random, 5)
                film = Film([Layer(page, whole(page), path, places)], 4, self.seed + n, desk(random))
                said, present, step = defaultdict[int, Counter[str]](Counter), Counter[int](), None
                for step in self.watch(film):
                    steps += 1
                    present.update(one.number for one in step.shown)
                    for thing in step.things:
                        near = [one for one in step.shown if overlap(thing.box, one) > NEAR]
                        false += not near
                        for one in near[:1]:
                            said[one.number][thing.label] += 1
                those = [number for number in range(len(labels)) if present[number]]
                good = [number for number in those if said[number][labels[number]] > present[number] / 2]
                digits, right = digits + len(those), right + len(good)
                wrong += sum(said[k].total() - said[k][labels[k]] > present[k] / 2 for k in those)
                if 2 * len(good) < len(those):
                    self.fails(f"sheet, {name}", step)
            low, high = (100 * side for side in interval(right, digits))
            report.row(f"sheets, {name}", self.seen, digits, right, wrong, low, high, false / steps)
            print(f"sheets, {name}, {self.seen}: {right} of {digits} digits right ({low:.0f} to {high:.0f} %), {wrong} "
                  f"wrong, {false / steps:.3f} false boxes a step", flush=True)  # fmt: skip

    def crossing(self) -> None:
        """Two cards that cross: 2 TP / (boxes + digits) of the best assignment of numbers to digits."""
        matched = boxes = present = 0
        for n, random in self.films("crossing"):
            speed, side = random.uniform(50, 110), int(random.integers(44, 64))
            y, apart = random.uniform(90, 150), random.uniform(10, 40) * random.choice([-1, 1])
            film = Film(
                [
                    card(
                        self.written,
                        random,
                        straight((WIDTH / 2, y + way * apart / 2), (way * speed, 0), 2.0, random.uniform(-8, 8)),
                        side,
                    )
                    for way in (1, -1)
                ],
                4, self.seed + n, desk(random),
            )  # fmt: skip
            met = Counter[tuple[int, int]]()
            for step in self.watch(film):
                boxes, present = boxes + len(step.things), present + len(step.shown)
                met.update((t.id, o.number) for t, o in product(step.things, step.shown) if overlap(t.box, o) > OVERLAP)
            ids, numbers = sorted({a for a, _ in met}), sorted({b for _, b in met})
            table = np.array([[met[a, b] for b in numbers] for a in ids]).reshape(len(ids), len(numbers))
            matched += int(table[linear_sum_assignment(-table)].sum())
        score = 2 * matched / max(boxes + present, 1)
        report.row("crossing, IDF1 in %", self.seen, present, matched, boxes - matched, 100 * score, "", "")
        print(f"crossing, {self.seen}: IDF1 {score:.2f} ({self.count} films)", flush=True)

    def counting(self) -> None:
        """Three to six cards that pass a line: in how many films each label's count is exact."""
        exact = passed = counted = 0
        for n, random in self.films("counting"):
            layers, true, begin = list[Layer](), Counter[str](), 0.2
            for _ in range(int(random.integers(3, 7))):
                way, speed, side = random.choice([-1, 1]), random.uniform(60, 130), int(random.integers(44, 64))
                path = straight((WIDTH / 2 - way * 210, random.uniform(80, 160)), (way * speed, 0), begin, 0)
                layers.append(card(self.written, random, path, side))
                true[layers[-1].digits[0][0]] += 1
                begin += random.uniform(1.5, 3) if random.random() < 0.8 else 420 / speed
            film, line = Film(layers, begin + 5, self.seed + n, desk(random)), Counting((160, 0), (160, 240))
            for number, step in enumerate(self.watch(film)):
                line.push(step.things, number)
            got = Counter[str]()
            for (label, _), times in line.counts.items():
                got[label] += times
            exact, passed, counted = exact + (got == true), passed + true.total(), counted + got.total()
        low, high = (100 * side for side in interval(exact, self.count))
        report.row("counting, films", self.seen, self.count, exact, self.count - exact, low, high, "")
        print(f"counting, {self.seen}: exact in {exact} of {self.count} films", flush=True)

    def none(self) -> None:
        """What is no digit: the share of steps in which something has a label."""
        for kind, draw in nothings(self.written, self.photos).items():
            steps, labels, films = 0, Counter[str](), 0
            for n, random in self.films(kind):
                said = list(self.watch(replace(draw(random), seed=self.seed + n)))
                wrong = [step for step in said if step.things or step.label.isdecimal()]
                steps, films = steps + len(said), films + (len(wrong) > len(said) / 2)
                labels.update(step.things[0].label if step.things else step.label for step in wrong)
                if len(wrong) > len(said) / 2 and kind != "photographs":  # which are not ours to publish
                    self.fails(kind, wrong[-1])
            report.row(f"none: {kind}", self.seen, steps, "", labels.total(), 100 * labels.total() / steps, "", "")
            print(f"none: {kind}, {self.seen}: {labels.total() / steps:.1%} of {steps} steps labelled, most of them in "
                  f"{films} of {self.count} films {dict(labels.most_common(3))}", flush=True)  # fmt: skip


def overlap(box: Sequence[float], one: Box) -> float:
    """Return the intersection over union of a box (left, top, width, height) and a digit's."""
    across = min(box[0] + box[2], one.left + one.side) - max(box[0], one.left)
    down = min(box[1] + box[3], one.top + one.side) - max(box[1], one.top)
    common = max(across, 0) * max(down, 0)
    return common / (box[2] * box[3] + one.side**2 - common)


def write_failed(path: Path, failed: Sequence[Grey]) -> None:
    """Write pictures of failed films in rows."""
    blank = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    tiles = [*failed, *[blank] * (-len(failed) % COLUMNS)]
    rows = [np.hstack(tiles[n : n + COLUMNS]) for n in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 70])
