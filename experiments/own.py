"""How well a stranger's own recordings are learnt: one table of commands, sets, kernel machines and estimates.

    python -m experiments.own --root DATA --folder runs/own                    what `teach` and `train-dvs` give
    python -m experiments.own --root DATA --folder runs/own --commands teach   either alone
    python -m experiments.own --root DATA --folder runs/own --choosing --features A B
    python -m experiments.own --root DATA --pictures PHOTOS --pairs 240        what is left on another day

A row is a set and a number of examples: the mean over draws of examples (or of days). Ridge regression and the kernel
machine learn from the same examples. `--choosing` has sets on which a network to start from may be chosen; on the
others nothing is chosen. Recordings that a program makes lie in `--folder` and are made once.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import report
from corpora import things
from corpora.digits import Corpus, Pictures
from corpora.drawn import MOTIONS, motion_recording
from corpora.printed import GREEK_CYRILLIC, PICTOGRAMS, glyph
from experiments import two_days
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.crop import aligned, steps_of
from spikesight.encoders.preprocess.fit import centred
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.novelty import UNKNOWN
from spikesight.models.novelty.score import KEPT
from spikesight.models.shipped import START
from spikesight.models.teach.advice import FITTED, above_chance, another_day, log_odds
from spikesight.models.teach.advice import report as report_of
from spikesight.models.teach.few_shot import SIDE, EmbeddedExample, Example, FewShotLearner, Taught, backbone
from spikesight.training.data import read_item
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import log_counts, predictions
from spikesight.training.teach.examples import ExamplePlan, copies_for, plan, read_examples

WINDOW_MS = 310
CLOSE = 0.05  # an estimate that is as near to the accuracy is right
SECONDS = 6.0  # of a recording of an emulated day
SHAPES = ("circle", "square", "triangle", "star", "cross", "moon")
COLUMNS = (
    "draws", "asked", "right", "deviation", "kernel", "ridge", "draws ahead of the kernel", "behind",
    "taught, but unknown", "with a line", "untaught, and unknown there", "estimate for another day",
    "within 5 points", "interval holds", "either", "more of the same", "same: within 5 points", "same: interval holds",
)  # fmt: skip


@dataclass(frozen=True)
class Own:
    """Recordings to learn from and to ask, or a single pool, of which what is not drawn is asked."""

    name: str
    sessions: str
    learn: Path
    ask: Path | None
    shots: tuple[int, ...]  # examples of each class that `teach` learns
    window_ms: int = 0
    draws: int = 10
    whole: tuple[int, ...] = ()  # recordings of each class that `train-dvs` learns; 0: all

    def plans(self, shots: int, draw: int) -> tuple[ExamplePlan, ExamplePlan]:
        """Return (what is learnt from, what is asked)."""
        learnt = plan(self.learn, shots=shots, seed=draw, window_ms=self.window_ms)
        return learnt, plan(self.ask or self.learn, window_ms=self.window_ms)


class Answers(NamedTuple):
    """What one draw gave: shares of the asked examples, and the estimate before they were asked."""

    asked: int
    right: dict[str, float]  # by method; OURS is first
    unknown: float  # share of the examples of taught objects that are called unknown
    refused: float  # share of the examples of a class that is left out that are called unknown; NaN: no line is drawn
    estimates: tuple[float, float]  # of another day, of more of the same; NaN: none was told
    intervals: tuple[tuple[float, ...], tuple[float, ...]]  # empty: none was told


LOOKS = 8  # of a class on each made day
MISSED = 0.1  # share of the heads whose accuracy on another day may lie beyond the interval
TEACH, TRAIN = "teach", "train-dvs"
OURS, KERNEL, RIDGE = "ours", "RBF kernel on log counts", "ridge on log counts"


def shape_picture(name: str) -> NDArray[np.float32]:
    """Draw a light shape on dark grey, float32 [96, 96]."""
    canvas, middle = np.full((96, 96), 50, np.uint8), 48
    if name in ("circle", "moon"):
        cv2.circle(canvas, (middle, middle), 36, 220, -1, cv2.LINE_AA)
        if name == "moon":
            cv2.circle(canvas, (middle + 18, middle), 32, 50, -1, cv2.LINE_AA)
    elif name == "cross":
        cv2.rectangle(canvas, (36, 12), (60, 84), 220, -1)
        cv2.rectangle(canvas, (12, 36), (84, 60), 220, -1)
    else:
        corners = {"square": 4, "triangle": 3, "star": 10}[name]
        turns = 2 * np.pi * np.arange(corners) / corners - np.pi / 2 + (np.pi / 4) * (name == "square")
        radii = np.where(np.arange(corners) % 2 & (name == "star"), 16, 38)
        points = middle + np.stack([np.cos(turns), np.sin(turns)], 1) * radii[:, None]
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], 220, cv2.LINE_AA)
    return canvas.astype(np.float32)


def days(folder: Path, things: dict[str, NDArray[np.float32]], seed: int) -> tuple[Path, Path]:
    """Record objects on two emulated days, twice each, unless that is done."""
    made = folder / "day1", folder / "day2"
    for number, day in enumerate(made):
        if not day.exists():
            two_days.record(day.with_suffix(".part"), things, 10 * seed + number, SECONDS, 2)
            day.with_suffix(".part").rename(day)
    return made


def both_ways(name: str, made: tuple[Path, Path]) -> Iterator[Own]:
    for way, (learn, ask) in (("1 to 2", made), ("2 to 1", made[::-1])):
        yield Own(f"{name}, day {way}", "1, asked on another", learn, ask, (10, 40), WINDOW_MS, 3, (0,))


def emulated(args: argparse.Namespace, part: str, seeds: Sequence[int]) -> Iterator[Own]:
    """Yield five objects of CIFAR-10's `part` and six shapes on two emulated days of each seed."""
    shapes = {name: shape_picture(name) for name in SHAPES}
    file = args.root / "cifar10_jpeg" / f"cifar10_jpeg_{part}.npz"
    for seed in seeds:
        five = two_days.pictures(file, seed)
        yield from both_ways(f"five things, emulated {seed}", days(args.folder / f"things-{seed}", five, seed))
        yield from both_ways(f"six shapes, emulated {seed}", days(args.folder / f"shapes-{seed}", shapes, seed + 50))


def kept_back(args: argparse.Namespace) -> Iterator[Own]:
    """Yield the sets on which nothing is chosen."""
    root: Path = args.root
    made = root / "two_days" / "day1", root / "two_days" / "day2"
    yield from both_ways("two real things", made)
    yield Own("MNIST-DVS, real", "1", root / "mnist_dvs", None, (1,), 200)
    yield Own("signed words, real", "1", root / "sign" / "train", root / "sign" / "test", (5, 15), whole=(5,))
    yield Own("N-MNIST, real", "1", root / "nmnist" / "Train", root / "nmnist" / "Test", (5, 20), 0, 3, (20,))
    yield from emulated(args, "test", (0, 1, 2))


def characters(folder: Path, letters: str, seed: int) -> Path:
    """Write twelve recordings of each character in a random font, any motion, before any sensor."""
    if not folder.exists():
        random = np.random.default_rng(seed)
        images = np.stack([centred(glyph(letter, random)) for letter in letters for _ in range(12)])
        corpus = Corpus(Pictures(images, np.zeros(len(images), np.int64)), np.arange(len(images)), seed)
        for row in range(len(images)):
            path = folder.with_suffix(".part") / f"u{ord(letters[row // 12]):04x}" / f"{row:04}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_recording(path, corpus.events(row), SensorSize(34, 34))
        folder.with_suffix(".part").rename(folder)
    return folder


def motions(folder: Path) -> Path:
    """Write twelve recordings of each drawn motion."""
    if not folder.exists():
        for motion in MOTIONS:
            for number in range(12):
                path = folder.with_suffix(".part") / motion / f"{number:02}.npz"
                path.parent.mkdir(parents=True, exist_ok=True)
                sensor = SensorSize(64, 64)
                write_recording(path, motion_recording(motion, sensor, seed=3_000_000 + number), sensor)
        folder.with_suffix(".part").rename(folder)
    return folder


def choosing(args: argparse.Namespace) -> Iterator[Own]:
    """Yield the sets on which a network may be chosen; no network has learnt them."""
    for name, letters, seed in (("Greek, Cyrillic", GREEK_CYRILLIC[::4], 91), ("pictograms", PICTOGRAMS[::2], 92)):
        folder = characters(args.folder / f"characters-{seed}", letters, seed)
        yield Own(f"{name}, made", "1", folder, None, (1, 5))
    yield Own("drawn motions", "1", motions(args.folder / "motions"), None, (5,), 0, 5)
    yield from emulated(args, "train", (101, 102, 103))


def examples_of(found: ExamplePlan) -> list[Example]:
    return [example for example in read_examples(found) if len(example.events) > 1]


def taught(one: Own, shots: int, draw: int, features: str) -> Answers:
    """Teach a head on a draw of examples, as `teach` does, and ask it and the machines."""
    learnt, asked = one.plans(shots, draw)
    if one.ask is None:
        chosen = {(item.path, item.begin_us) for item in learnt.items}
        rest = tuple(item for item in asked.items if (item.path, item.begin_us) not in chosen)
        asked = ExamplePlan(asked.labels, rest, asked.sensor, asked.steps, asked.slices, asked.bin_us, {})
    copies = copies_for(len(learnt.items))
    learner = FewShotLearner(backbone(features), learnt.sensor, learnt.steps, learnt.bin_us, learnt.slices, copies)
    counts = log_counts(np.stack([learner.show(example) for example in examples_of(learnt)]))
    head = learner.learn()
    questions = FewShotLearner(learner.network.backbone, learnt.sensor, learnt.steps, learnt.bin_us, learnt.slices)
    seen = log_counts(np.stack([questions.show(example) for example in examples_of(asked)]))
    truth = np.array([head.labels.index(shown.label) for shown in questions.shown])
    logits, known = answered(head, questions.shown)
    right = {OURS: float((logits.argmax(1) == truth).mean())}
    for name, answers in predictions(counts, head.truth, seen).items():
        right[name] = float((answers == truth).mean())
    found, refused = report_of(head), float("nan")
    if len(head.labels) > 3:
        other = head.labels[draw % len(head.labels)]
        without = learner.learn(None, [shown for shown in learner.shown if shown.label != other])
        if without.unknown and without.unknown.noticed:
            others = [shown for shown in questions.shown if shown.label == other]
            refused = float(1 - answered(without, others)[1].mean())
    nothing = float("nan")
    estimates = (found["another_day"] or nothing, nothing if found["accuracy"] is None else found["accuracy"])
    intervals = tuple(found["another_day_interval"] or ()), tuple(found["interval"] or ())
    return Answers(len(truth), right, float(1 - known.mean()), refused, estimates, intervals)


def answered(head: Taught, asked: list[EmbeddedExample]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (logits [M, K], which examples are known [M]) of what a head is asked."""
    features = np.stack([shown.features[:1] for shown in asked])
    x = (features if head.with_input else head.learner._without_input(features))[:, 0] * head.scale
    fitted = head.regression.head(head.judged.temperature)
    logits = x @ fitted.weight.T + fitted.bias
    if head.unknown is None:
        return logits, np.full(len(x), True)
    detector, network = head.unknown.detector, head.learner.network
    rates = network.watched(torch.from_numpy(features[:, 0])[None], detector.layers)[0].double().numpy()
    lit = [1e3]  # never nothing
    windows = [np.concatenate([one, rate, lit]) for one, rate in zip(logits, rates)]
    return logits, np.array([detector.judge(one, len(head.labels), 1).in_distribution >= KEPT for one in windows])


class Pair(NamedTuple):
    """What a head that was taught on one made day showed, and what became of it on the other."""

    number: int  # of the pair; both ways have the same
    classes: int
    shots: int
    correct: int  # of so many examples that were held out
    held_out: int
    right: float  # share on the other day
    unknown: float  # share of the taught classes' examples of the other day that are called unknown; NaN: no line
    told: float  # of the head without a class: the share of left-out classes that it tells to refuse; NaN: no line
    same_day: float  # share of that class's examples of the same day, and of the other, that are called unknown
    other_day: float


def pairs(args: argparse.Namespace, features: str) -> list[Pair]:
    """Teach heads on made days, of kinds of objects that no network has learnt, and ask them on the other day. What
    the folder has already is not made again.
    """
    kinds, network = things.pictures(args.root, args.pictures, held_out=True), backbone(features)
    file = args.folder / f"pairs-{Path(features).name}.csv"
    rows = np.loadtxt(file, delimiter=",", ndmin=2) if file.exists() else ()
    found = [Pair(int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]), *row[5:].tolist()) for row in rows]
    for number in with_progress(range(args.pairs), "pairs of days", "pair"):
        if found and number <= found[-1].number:
            continue
        random = np.random.default_rng([15, number])
        ways, shots = int(random.integers(2, 11)), round(float(np.exp(random.uniform(np.log(2), np.log(LOOKS)))))
        x = things.episode(kinds, (4 << 40) + number, "", ways, LOOKS)[0].numpy()
        learner = FewShotLearner(network, SensorSize(34, 34), things.STEPS, things.BIN_US)
        shown = [learner.embed(f"{n // (2 * LOOKS)}", f"{n}", x[:, n : n + 1]) for n in range(x.shape[1])]
        days = [[one for n, one in enumerate(shown) if n // LOOKS % 2 == day] for day in (0, 1)]
        found += [asked_of(learner, number, shots, *both) for both in (days, days[::-1])]
        np.savetxt(file, np.array(found), "%.4f", ",", header=",".join(Pair._fields))
    return found


def asked_of(
    learner: FewShotLearner, number: int, shots: int, learnt: list[EmbeddedExample], asked: list[EmbeddedExample]
) -> Pair:
    """Teach a head `shots` examples of each class of a day, and one without the first class; ask both on the other."""
    few = [one for n, one in enumerate(learnt) if n % LOOKS < shots]
    head, nothing = learner.learn(shown=few), float("nan")
    logits, known = answered(head, asked)
    right = float((logits.argmax(1) == np.array([head.labels.index(one.label) for one in asked])).mean())
    score, lined = report_of(head), bool(head.unknown and head.unknown.noticed)
    unknown = float(1 - known.mean()) if lined else nothing
    row = Pair(number, len(head.labels), shots, score["correct"], score["count"], right, unknown, *[nothing] * 3)
    if row.classes < 4:
        return row
    without = learner.learn(shown=few[shots:])
    if not without.unknown or not without.unknown.noticed:
        return row
    same, other = (float(1 - answered(without, day[:LOOKS])[1].mean()) for day in (learnt, asked))
    return row._replace(told=without.unknown.noticed, same_day=same, other_day=other)


def fitted_to(found: list[Pair]) -> dict[str, float]:
    """Fit the regression to the first third of the pairs, and its interval to the second (split conformal)."""
    third = (found[-1].number + 1) / 3
    first, second = ([one for one in found if one.number // third == part] for part in (0, 1))
    here, there = np.array([odds_of(one) for one in first]).T
    slope, start = np.polyfit(here, there, 1)
    rest = np.sort([after - start - slope * before for before, after in map(odds_of, second)])
    at = min(len(rest), math.ceil((len(rest) + 1) * (1 - MISSED / 2))) - 1
    values = start, slope, rest[len(rest) - 1 - at], rest[at]
    return {name: round(float(value), 2) for name, value in zip(FITTED, values)}


def odds_of(one: Pair) -> tuple[float, float]:
    """Return how far the log odds lie above chance's: of the held-out examples' accuracy, of that on the other day."""
    return above_chance(one.correct, one.held_out, one.classes), log_odds(one.right) - log_odds(1 / one.classes)


def tell_pairs(found: list[Pair], features: str) -> None:
    """Print the regression, and what it and the line of what is unknown are worth on the pairs that chose neither."""
    fitted = fitted_to(found)
    tried = [one for one in found if one.number // ((found[-1].number + 1) / 3) == 2]
    told = [another_day(one.correct, one.held_out, one.classes, fitted) for one in tried]
    close = [abs(expected - one.right) <= CLOSE for (expected, _), one in zip(told, tried)]
    holds = [low <= one.right <= high for (_, (low, high)), one in zip(told, tried)]
    same = [abs(one.correct / one.held_out - one.right) <= CLOSE for one in tried]
    lined = [one for one in found if one.told > 0]
    rows = {
        "pairs": found[-1].number + 1,
        **{f"regression: {name}": value for name, value in fitted.items()},
        "heads tried": len(tried),
        "within 5 points, % of those": 100 * float(np.mean(close)),
        "interval holds, %": 100 * float(np.mean(holds)),
        "either, %": 100 * float(np.mean(np.array(close) | holds)),
        "width of the interval, points": 100 * float(np.mean([high - low for _, (low, high) in told])),
        "held-out examples' accuracy within 5 points, %": 100 * float(np.mean(same)),
    }
    if lined:
        taught_ = [one.unknown for one in found if not np.isnan(one.unknown)]
        shares = {
            "taught, unknown on the other day": taught_,
            "told to be refused": [one.told for one in lined],
            "untaught, refused on the same day": [one.same_day for one in lined],
            "untaught, refused on the other": [one.other_day for one in lined],
        }
        rows["heads with a line, %"] = 100 * len(lined) / sum(one.classes > 3 for one in found)
        rows |= {f"with a line: {what}, %": 100 * float(np.mean(of or np.nan)) for what, of in shares.items()}
    report.table(f"made pairs of days, {Path(features).name}", "what", "value")
    for what, value in rows.items():
        report.row(what, value)
        print(f"{what:50} {value:.4g}")
    print(fitted)


def drawn(one: Own, shots: int, draw: int, folder: Path) -> tuple[Path, Path]:
    """Return (folder to learn from, folder to ask): of whole recordings, `shots` of each class are drawn as links, and
    of a single pool the others are asked.
    """
    if not shots:
        assert one.ask is not None
        return one.learn, one.ask
    parts, random = (folder / "learn", folder / "ask"), np.random.default_rng(draw)
    for of_class in sorted(path for path in one.learn.iterdir() if path.is_dir()):
        files = sorted(of_class.iterdir())
        order = random.permutation(len(files))
        for part, rows in zip(parts, (order[:shots], order[shots:])):
            to = part / of_class.name
            to.mkdir(parents=True, exist_ok=True)
            for row in rows:
                (to / files[row].name).unlink(missing_ok=True)
                (to / files[row].name).symlink_to(files[row].resolve())
    return parts[0], one.ask or parts[1]


def trained(one: Own, shots: int, draw: int, args: argparse.Namespace) -> tuple[Answers, str]:
    """Run `train-dvs` on the recordings of a draw, with the draw as its seed, and ask what it makes, and the machines,
    about the examples of the others; return the answers, and what the model is in words.
    """
    folder = args.folder / "runs"
    learn, ask = drawn(one, shots, draw, folder / f"{one.name}, {shots}, {draw}")
    window = ["--window-ms", str(one.window_ms)] if one.window_ms else []
    words = ["--output", str(folder), "--cache", str(folder / "cache"), "--minutes", str(args.minutes), *window]
    made = json.loads(two_days.command("train", "--data", str(learn), *words, "--seed", str(draw), "--json"))
    classifier = Classifier.load(Path(made["run"]) / "model")
    learnt, asked = (plan(of, window_ms=one.window_ms) for of in (learn, ask))
    truth = np.array([item.label for item in asked.items])
    answers = [
        Stepper(classifier).verdict(classifier.event_inputs(*read_item(item))).prediction for item in asked.items
    ]
    counts = [np.stack([log_counts_of(example, learnt) for example in read_examples(of)]) for of in (learnt, asked)]
    machines = predictions(counts[0], np.array([item.label for item in learnt.items]), counts[1])
    right = {OURS: float(np.mean([answer.index == k for answer, k in zip(answers, truth)]))}
    right |= {name: float((chosen == truth).mean()) for name, chosen in machines.items()}
    unknown, nothing = float(np.mean([answer.label == UNKNOWN for answer in answers])), float("nan")
    test = made["test"]["best_guess"]
    estimates, intervals = (nothing, test["accuracy"]), ((), tuple(test["interval"]))
    return Answers(len(truth), right, unknown, nothing, estimates, intervals), made["made"]


def log_counts_of(example: Example, of: ExamplePlan) -> NDArray[np.float32]:
    """Return what the machines see of an example, [F]: its events aligned as the network sees them."""
    events = aligned(example.events, (SIDE, SIDE), of.steps * of.bin_us)
    return log_counts(steps_of(events, (SIDE, SIDE), of.bin_us, of.steps)[None])[0]


def judged(found: list[Answers], which: int) -> tuple[float, int, int, int]:
    """Return the mean estimate, and how many are near, have an interval that holds, or either; `which`: 0: for another
    day, 1: for more of the same.
    """
    told, ours = (np.array(each) for each in zip(*((one.estimates[which], one.right[OURS]) for one in found)))
    near = abs(told - ours) <= CLOSE
    holds = [
        bool(one.intervals[which]) and one.intervals[which][0] <= one.right[OURS] <= one.intervals[which][1]
        for one in found
    ]
    mean = 100 * float(np.nanmean(told)) if np.isfinite(told).any() else float("nan")
    return mean, int(near.sum()), sum(holds), int((near | holds).sum())


def rows_of(args: argparse.Namespace, command: str) -> dict[tuple[str, int], list[tuple[Own, int]]]:
    """Return the runs, (recordings, draw), of each row, (set, examples of each class); emulated days are one set."""
    sets: Callable[[argparse.Namespace], Iterator[Own]] = choosing if args.choosing else kept_back
    rows = dict[tuple[str, int], list[tuple[Own, int]]]()
    for one in sets(args):
        what, *made = one.name.split(", emulated")
        what += ", emulated days" * len(made)
        for shots in one.shots if command == TEACH else one.whole:
            draws = 1 if made else min(args.draws, one.draws if command == TEACH else 3)
            rows.setdefault((what, shots), []).extend((one, draw) for draw in range(draws))
    return {row: runs for row, runs in rows.items() if args.only in row[0]}


def tell_all(args: argparse.Namespace) -> None:
    """Tell what each command gives on each set."""
    for command in args.commands:
        for (what, shots), runs in rows_of(args, command).items():
            of, bar = replace(runs[0][0], name=what), with_progress(runs, what, "run")
            if command == TRAIN:
                found, made = zip(*(trained(one, shots, draw, args) for one, draw in bar))
                only = sum(one.startswith("head only") for one in made)
                tell(f"{TRAIN}, {only} of {len(runs)} head only", of, shots, list(found))
                continue
            for features in args.features:
                found = [taught(one, shots, draw, features) for one, draw in bar]
                tell(f"{TEACH} ({Path(features).name})", of, shots, found)


def tell(command: str, one: Own, shots: int, found: list[Answers]) -> None:
    """Add a row and print it."""
    ours, kernel, ridge = (np.array([each.right[name] for each in found]) for name in (OURS, KERNEL, RIDGE))
    spread = float(ours.std(ddof=1)) if len(ours) > 1 else 0.0
    refused = [each.refused for each in found if np.isfinite(each.refused)]
    unknown, others = 100 * float(np.mean([each.unknown for each in found])), 100 * float(np.mean(refused or np.nan))
    what = f"{one.name}, {shots or 'all'} a class"
    ahead, behind = int((ours > kernel).sum()), int((ours < kernel).sum())
    shares = [100 * float(value) for value in (ours.mean(), spread, kernel.mean(), ridge.mean())]
    there, same = judged(found, 0), judged(found, 1)
    cells = (*shares, ahead, behind, unknown, len(refused), others, *there, *same[:3])
    report.row(
        command, what, one.sessions, len(found), found[0].asked, *("" if np.isnan(value) else value for value in cells)
    )
    print(
        f"| {command} | {what} | {len(found)} | {shares[0]:.1f} +- {shares[1]:.1f} | {shares[2]:.1f} | {shares[3]:.1f} "
        f"| {ahead} : {behind} | {unknown:.0f}; {len(refused)}, {others:.0f} "
        f"| {there[0]:.1f}, {there[1]}, {there[2]}, {there[3]} | {same[0]:.1f}, {same[1]}, {same[2]} |",
        flush=True,
    )


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where sign, two_days, mnist_dvs, nmnist lie")
    parser.add_argument("--folder", type=Path, default=Path("runs/own"), help="of recordings that are made")
    parser.add_argument("--features", nargs="+", default=[START], help="networks to start from")
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--draws", type=int, default=10, help="at most so many of each row")
    parser.add_argument("--choosing", action="store_true", help="the sets on which networks are chosen")
    parser.add_argument("--pairs", type=int, default=0, help="made pairs of days: what becomes of heads there, alone")
    parser.add_argument("--pictures", type=Path, help="of pairs: folder of photographs, .jpg")
    parser.add_argument("--commands", nargs="+", default=[TEACH, TRAIN], choices=[TEACH, TRAIN])
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    args: argparse.Namespace = parser.parse_args(argv)
    if args.pairs:
        for features in args.features:
            tell_pairs(pairs(args, features), features)
        report.write("own", args.json)
        return
    report.table("own recordings, %" + ", choosing" * args.choosing, "command", "set", "sessions", *COLUMNS)
    print(
        "| command | set | draws | ours | kernel | ridge | ahead, behind | unknown; lines, untaught there "
        "| another day, within 5, holds, either | more of the same, within 5, holds |"
    )
    tell_all(args)
    report.write("own" + "-choosing" * args.choosing, args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
