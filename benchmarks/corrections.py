"""How many corrections a taught model needs on other days, if they are chosen by uncertainty or at random.

    python -m benchmarks.corrections --pictures ../shared/data/cifar10_jpeg/cifar10_jpeg_test.npz --seeds 0 1 2 3

The objects of `benchmarks/two_days.py` are taught on one day, in windows of 310 ms. Then the camera sees them on two
other days. After every --windows windows a person labels one: the least confident that the service keeps, or a random
one. The head is fitted again after every label. The result is the number of labels until 90 % of other recordings of
those days are classified correctly; the days repeat when all their windows have been seen.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report
from benchmarks.two_days import SENSOR, filmed, pictures
from spikesight.encoders.events import Events
from spikesight.models.statistics import softmax
from spikesight.models.steps import Prediction
from spikesight.models.teach.few_shot import EmbeddedExample, Example, FewShotLearner, backbone
from spikesight.service.teach.moments import Moment, Moments
from spikesight.service.teach.windows import BIN_US, STEPS

WINDOW_US = STEPS * BIN_US
SECONDS, DAYS, TAKES = 5.0, 2, 2  # length of a recording; other days; recordings a day to label, and as many to test on
STRIP, MOST, RIGHT = 12, 60, 0.9


def windows(thing: NDArray[np.float32], day: int, seed: int) -> Iterator[Events]:
    """Yield the windows of one emulated recording of an object."""
    parts = [part for part in filmed(thing, SECONDS, day, seed) if len(part)]
    events = np.concatenate(parts)
    for begin in range(0, int(SECONDS * 1e6) - WINDOW_US, WINDOW_US):
        part = events[np.searchsorted(events["t"], begin) : np.searchsorted(events["t"], begin + WINDOW_US)].copy()
        part["t"] -= begin
        if len(part) > 100:
            yield part


Sets = dict[str, list[EmbeddedExample]]


def embedded(learner: FewShotLearner, file: Path, seed: int) -> Sets:
    """Embed all windows: "taught" ones, those "seen" on other days, and those "asked", which test the head."""
    found: Sets = {"taught": [], "seen": [], "asked": []}
    for name, thing in pictures(file, seed).items():
        plan = [("taught", 0, 0)]
        plan += [(part, day, take) for day in range(1, 1 + DAYS) for part in ("seen", "asked") for take in range(TAKES)]
        for part, day, take in plan:
            for events in windows(thing, 10 * seed + day, 2 * take + (part == "asked")):
                learner.show(Example(name, f"{part} {day} {take}", events, SENSOR))
                found[part].append(learner.shown[-1])
    return found


class Pupil:
    """A few-shot head that is fitted again with every new example."""

    def __init__(self, learner: FewShotLearner, taught: list[EmbeddedExample]) -> None:
        self._learner, self._known = learner, list(taught)
        self.learn()

    def learn(self, *more: EmbeddedExample) -> None:
        self._known += more
        found = self._learner.learn(shown=self._known)
        self.labels, self._scale = found.labels, found.scale
        self._head = found.regression.head(found.judged.temperature)

    def says(self, asked: list[EmbeddedExample]) -> NDArray[np.float64]:
        """Return the class probabilities of examples, [M, K]."""
        x = np.stack([one.features[0] for one in asked]) * self._scale
        return np.array([softmax(row) for row in x @ self._head.weight.T + self._head.bias])

    def right(self, asked: list[EmbeddedExample]) -> float:
        best = self.says(asked).argmax(1)
        return float(np.mean([self.labels[k] == one.label for k, one in zip(best, asked)]))


def prediction(probabilities: NDArray[np.float64]) -> Prediction:
    return Prediction(
        step=STEPS, start_us=0, end_us=1, label="", index=int(probabilities.argmax()),
        probabilities=tuple(probabilities), n_events=1, spikes=0, synops=0, logits=(), latency_ms=0.0,
    )  # fmt: skip


def shown(moment: Moment) -> EmbeddedExample:
    return moment.inputs[0]  # type: ignore[return-value]


def names_needed(learner: FewShotLearner, sets: Sets, seed: int, at_a_time: int, *, by_doubt: bool) -> int:
    """Count the labels until the accuracy on "asked" windows is RIGHT, or after MOST rounds."""
    random, pupil, moments = np.random.default_rng(seed), Pupil(learner, sets["taught"]), Moments(STRIP)
    takes = sorted({(one.label, one.piece) for one in sets["seen"]})
    order = [takes[n] for n in random.permutation(len(takes))]
    stream = [one for take in order for one in sets["seen"] if (one.label, one.piece) == take]
    names = 0
    for look in range(MOST):
        if pupil.right(sets["asked"]) >= RIGHT:
            break
        piece = [stream[n % len(stream)] for n in range(look * at_a_time, (look + 1) * at_a_time)]
        chosen = piece[random.integers(len(piece))]
        if by_doubt:
            for one, probabilities in zip(piece, pupil.says(piece)):
                moments.offer("0", [one], prediction(probabilities))  # type: ignore[list-item]
            if not (waiting := moments.all()):
                continue
            chosen = shown(waiting[0])
            moments.drop(waiting[0].number)
        names += 1
        pupil.learn(replace(chosen, piece=f"named {names}"))
        if rest := moments.all():
            said = pupil.says([shown(moment) for moment in rest])
            moments.update({moment.number: prediction(row) for moment, row in zip(rest, said)})
    return names


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--pictures", type=Path, required=True, metavar="FILE", help="CIFAR-10 as JPEG in an npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="of things, days and paths")
    parser.add_argument("--orders", type=int, default=5, help="orders that the camera sees the takes in, a seed")
    parser.add_argument("--windows", type=int, nargs="+", default=[10, 100], help="seen between two names")
    args = parser.parse_args()
    title = "Names until 90 % of other days' windows are right (correct), five things taught on one day"
    report.table(
        title,
        "seed",
        "windows between",
        "right before, %",
        "by doubt, mean",
        "at random, mean",
        "share",
        "orders",
        "asked",
    )
    for seed in args.seeds:
        learner = FewShotLearner(backbone("nmnist"), SENSOR, STEPS, BIN_US)
        sets = embedded(learner, args.pictures, seed)
        before = 100 * Pupil(learner, sets["taught"]).right(sets["asked"])
        for between in args.windows:
            doubt, chance = (
                [names_needed(learner, sets, order, between, by_doubt=by_doubt) for order in range(args.orders)]
                for by_doubt in (True, False)
            )
            means = float(np.mean(doubt)), float(np.mean(chance))
            share = means[0] / max(1e-9, means[1])
            print(
                f"seed {seed}, {between}: {before:.1f} % before; by doubt {doubt}, at random {chance}: {share:.2f}",
                flush=True,
            )
            report.row(str(seed), str(between), before, *means, share, float(args.orders), float(len(sets["asked"])))
    report.write("corrections", args.json)


if __name__ == "__main__":
    main()
