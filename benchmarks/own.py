"""How well a stranger's own recordings are learnt: one table of commands, sets, kernel machines and estimates.

    python -m benchmarks.own --root DATA --folder runs/own                          what `teach` gives
    python -m benchmarks.own --root DATA --folder runs/own --trained                what `train-dvs` gives, alone
    python -m benchmarks.own --root DATA --folder runs/own --choosing --features A B

A row is a set and a number of examples: the mean over draws of examples (or of days). Ridge regression and the kernel
machine learn from the same examples. `--choosing` has sets on which a network to start from may be chosen; on the
others nothing is chosen. Recordings that a program makes lie in `--folder` and are made once.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import two_days
from benchmarks.common import report
from benchmarks.common.drawn import MOTIONS, motion_recording
from benchmarks.corpora import things
from benchmarks.corpora.digits import Corpus, Pictures
from benchmarks.corpora.printed import glyph
from benchmarks.real_input.near import GREEK_CYRILLIC, PICTOGRAMS
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.fit import centred
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.roi.alignment import aligned, steps_of
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.novelty import UNKNOWN
from spikesight.models.novelty.score import KEPT
from spikesight.models.shipped import START
from spikesight.models.teach.advice import report as report_of
from spikesight.models.teach.few_shot import SIDE, EmbeddedExample, Example, FewShotLearner, Taught, backbone
from spikesight.models.teach.unknown import REFUSED
from spikesight.training.data import read_item
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import log_counts, predictions
from spikesight.training.teach.examples import Plan, copies_for, plan, read_examples

WINDOW_MS = 310
CLOSE = 0.05  # an estimate that is as near to the accuracy is right
SECONDS = 6.0  # of a recording of an emulated day
SHAPES = ("circle", "square", "triangle", "star", "cross", "moon")
COLUMNS = (
    "draws", "asked", "right", "deviation", "kernel", "ridge", "draws ahead of the kernel", "behind",
    "taught, but unknown", "untaught, and unknown", "estimate", "estimates within 5 points", "intervals that hold",
)  # fmt: skip


@dataclass(frozen=True)
class Own:
    """Recordings to learn from and to ask, or a single pool, of which what is not drawn is asked."""

    name: str
    sessions: str
    learn: Path
    ask: Path | None
    shots: tuple[int, ...]  # examples of each class; 0: all
    window_ms: int = 0
    draws: int = 10
    whole: tuple[int, ...] = ()  # recordings of each class that `train-dvs` learns; 0: all

    def plans(self, shots: int, draw: int) -> tuple[Plan, Plan]:
        """Return (what is learnt from, what is asked)."""
        learnt = plan(self.learn, shots=shots, seed=draw, window_ms=self.window_ms)
        return learnt, plan(self.ask or self.learn, window_ms=self.window_ms)


class Answers(NamedTuple):
    """What one draw gave: shares of the asked examples, and the estimate before they were asked."""

    asked: int
    right: dict[str, float]  # by method; OURS is first
    unknown: float  # share of the examples of taught things that are called unknown
    refused: float  # share of the examples of a class that is left out that are called unknown; NaN: of two classes
    estimate: float  # NaN: none was told
    interval: tuple[float, float]


LEFT = (10, 25, 50, 75, 90)  # percentiles of what is left on another day
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
    """Record things on two emulated days, twice each, unless that is done."""
    made = folder / "day1", folder / "day2"
    for number, day in enumerate(made):
        if not day.exists():
            two_days.record(day.with_suffix(".part"), things, 10 * seed + number, SECONDS, 2)
            day.with_suffix(".part").rename(day)
    return made


def both_ways(name: str, made: tuple[Path, Path]) -> Iterator[Own]:
    for way, (learn, ask) in (("1 to 2", made), ("2 to 1", made[::-1])):
        yield Own(f"{name}, day {way}", "1, asked on another", learn, ask, (10, 0), WINDOW_MS, 3, (0,))


def emulated(args: argparse.Namespace, part: str, seeds: Sequence[int]) -> Iterator[Own]:
    """Yield five things of CIFAR-10's `part` and six shapes on two emulated days of each seed."""
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
    yield Own("signed words, real", "1", root / "sign" / "train", root / "sign" / "test", (5, 0), whole=(5,))
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


def examples_of(found: Plan) -> list[Example]:
    return [example for example in read_examples(found) if len(example.events) > 1]


def taught(one: Own, shots: int, draw: int, features: str) -> Answers:
    """Teach a head on a draw of examples, as `teach` does, and ask it and the machines."""
    learnt, asked = one.plans(shots, draw)
    if one.ask is None:
        chosen = {(item.path, item.begin_us) for item in learnt.items}
        rest = tuple(item for item in asked.items if (item.path, item.begin_us) not in chosen)
        asked = Plan(asked.labels, rest, asked.sensor, asked.steps, asked.slices, asked.bin_us, {})
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
        refused = float(1 - answered(without, [shown for shown in questions.shown if shown.label == other])[1].mean())
    low, high = found["interval"] or (float("nan"),) * 2
    estimate = float("nan") if found["accuracy"] is None else float(found["accuracy"])
    return Answers(len(truth), right, float(1 - known.mean()), refused, estimate, (low, high))


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
    return logits, np.array([detector.judge(one, len(head.labels), 1).known >= KEPT for one in windows])


def pairs(args: argparse.Namespace, features: str) -> None:
    """Tell what becomes of heads on other made days, of kinds of things that no network has learnt: what part of the
    accuracy above chance is left, and how many taught and untaught things are called unknown.
    """
    kinds, random = things.pictures(args.root, args.pictures, held_out=True), np.random.default_rng(15)
    found = list[tuple[float, ...]]()
    for number in with_progress(range(args.pairs), "pairs of days", "pair"):
        ways, looks = int(random.integers(3, 9)), int(random.integers(5, 11))
        x = things.episode(kinds, (2 << 40) + number, "", ways, looks)[0].numpy()
        learner = FewShotLearner(backbone(features), SensorSize(34, 34), things.STEPS, things.BIN_US)
        shown = [learner.embed(f"{n // (2 * looks)}", f"{n}", x[:, n : n + 1]) for n in range(x.shape[1])]
        days = [[one for n, one in enumerate(shown) if n // looks % 2 == day] for day in (0, 1)]
        for learnt, asked in (days, days[::-1]):
            head, without = learner.learn(shown=learnt), learner.learn(shown=learnt[looks:])
            truth, chance = np.array([int(one.label) for one in asked]), 1 / ways
            logits, known = answered(head, asked)
            right, told = (logits.argmax(1) == truth).mean(), report_of(head)["accuracy"]
            refused = 1 - answered(without, asked[:looks])[1].mean()
            noticed = without.unknown.noticed if without.unknown else 0.0
            left = (right - chance) / max(told - chance, 0.05)
            found.append((told, right, left, 1 - known.mean(), refused, noticed, ways, looks))
    np.savetxt(args.folder / f"pairs-{Path(features).name}.csv", found, "%.4f", ",")
    columns = np.array(found).T
    for name, values in zip(("told", "right", "part above chance", "taught, unknown", "untaught, unknown"), columns):
        spread = ", ".join(f"{share} % {np.percentile(values, share):.3f}" for share in LEFT)
        print(f"{name:20} mean {values.mean():.3f}; {spread}")
    if (line := columns[5] >= REFUSED).any():
        taught_, untaught = (columns[n][line].mean() for n in (3, 4))
        print(f"with a line {line.mean():.2f}: taught, unknown {taught_:.3f}; untaught, unknown {untaught:.3f}")


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
    unknown = float(np.mean([answer.label == UNKNOWN for answer in answers]))
    low, high = made["test"]["interval"]
    found = Answers(len(truth), right, unknown, float("nan"), made["test"]["accuracy"], (low, high))
    return found, made["made"]


def log_counts_of(example: Example, of: Plan) -> NDArray[np.float32]:
    """Return what the machines see of an example, [F]: its events aligned as the network sees them."""
    events = aligned(example.events, (SIDE, SIDE), of.steps * of.bin_us)
    return log_counts(steps_of(events, (SIDE, SIDE), of.bin_us, of.steps)[None])[0]


def tell_trained(args: argparse.Namespace) -> None:
    """Tell what `train-dvs` gives on each set; made pairs of days are one."""
    runs = dict[str, list[tuple[Own, int, int]]]()
    for one in kept_back(args):
        what, *made = one.name.split(", emulated")
        for shots in one.whole:
            runs.setdefault(what + ", emulated days" * len(made), []).extend(
                (one, shots, draw) for draw in range(1 if made else min(3, args.draws))
            )
    for what, of in runs.items():
        if args.only in what:
            found, made = zip(*(trained(*run, args) for run in with_progress(of, what, "run")))
            only = sum(one.startswith("head only") for one in made)
            tell(f"train-dvs, {only} of {len(of)} head only", replace(of[0][0], name=what), of[0][1], list(found))


def tell(command: str, one: Own, shots: int, found: list[Answers]) -> None:
    """Add a row and print it."""
    ours, kernel, ridge = (np.array([each.right[name] for each in found]) for name in (OURS, KERNEL, RIDGE))
    told = np.array([each.estimate for each in found])
    close = int((abs(told - ours) <= CLOSE).sum())
    holds = int(sum(each.interval[0] <= right <= each.interval[1] for each, right in zip(found, ours)))
    spread = float(ours.std(ddof=1)) if len(ours) > 1 else 0.0
    unknown, refused = (100 * float(np.mean(of)) for of in zip(*((each.unknown, each.refused) for each in found)))
    what = f"{one.name}, {shots or 'all'} a class"
    ahead, behind = int((ours > kernel).sum()), int((ours < kernel).sum())
    shares = [100 * float(value) for value in (ours.mean(), spread, kernel.mean(), ridge.mean())]
    told_share = 100 * float(np.nanmean(told)) if np.isfinite(told).any() else float("nan")
    report.row(
        command, what, one.sessions, len(found), found[0].asked,
        *("" if np.isnan(value) else value for value in (*shares, ahead, behind, unknown, refused, told_share)),
        close, holds,
    )  # fmt: skip
    print(
        f"| {command} | {what} | {len(found)} | {shares[0]:.1f} +- {shares[1]:.1f} | {shares[2]:.1f} | {shares[3]:.1f} "
        f"| {ahead} : {behind} | {unknown:.0f}; {refused:.0f} | {told_share:.1f}, {close}, {holds} |",
        flush=True,
    )


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where sign, two_days, mnist_dvs, nmnist lie")
    parser.add_argument("--folder", type=Path, default=Path("runs/own"), help="of recordings that are made")
    parser.add_argument("--features", nargs="+", default=[START, "nmnist"], help="networks to start from")
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--draws", type=int, default=10, help="at most so many of each row")
    parser.add_argument("--choosing", action="store_true", help="the sets on which networks are chosen")
    parser.add_argument("--pairs", type=int, default=0, help="made pairs of days: what becomes of heads there, alone")
    parser.add_argument("--pictures", type=Path, help="of pairs: folder of photographs, .jpg")
    parser.add_argument("--trained", action="store_true", help="train-dvs in place of teach, at most three draws")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    args: argparse.Namespace = parser.parse_args(argv)
    if args.pairs:
        for features in args.features:
            pairs(args, features)
        return
    name = "trained" if args.trained else "own" + "-choosing" * args.choosing
    title = "own recordings, %" + ", trained" * args.trained + ", choosing" * args.choosing
    report.table(title, "command", "set", "sessions", *COLUMNS)
    print("| command | set | draws | ours | kernel | ridge | ahead, behind | unknown | estimate, within 5, holds |")
    if args.trained:
        tell_trained(args)
        report.write(name, args.json)
        return
    sets: Callable[[argparse.Namespace], Iterator[Own]] = choosing if args.choosing else kept_back
    for one in (one for one in sets(args) if args.only in one.name):
        for shots in one.shots:
            draws = range(min(args.draws, one.draws) if shots else 1)
            for features in args.features:
                found = [taught(one, shots, draw, features) for draw in with_progress(draws, one.name, "draw")]
                tell(f"teach ({Path(features).name})", one, shots, found)
    report.write(name, args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
