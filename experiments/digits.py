"""The digit model in motions, before sensors and on objects that it was not trained on, and on those that it was.

    python -m experiments.digits --root shared/data [--model MODEL] [--count 200]

Digits are MNIST's test images, print is OpenCV's. What a user is shown counts: `right` is the label, `wrong` another
digit's label; the rest is "unknown" or "nothing". Hidden from the training: the motion "circle", OpenCV's fonts, the
kinds of experiments/near, MNIST-DVS with its camera and its motion.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import report
from corpora.digits import SIDE, Corpus, Pictures, mnist_digits
from corpora.motion import PATHS
from corpora.others import Digits
from experiments.faults import SUITE
from experiments.near import near, print_digits
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.models.steps import Input, Prediction
from spikesight.training.config import TrainConfig
from spikesight.training.data import read_item
from spikesight.training.data.tonic_sets import list_named
from spikesight.training.progress import with_progress

SEED = 40_000
BINS_MS = (31, 10, 5, 2, 1)
FAULTS = ("noise", "rotation", "speed")
INK = 20  # pixels of the view that the longer side of what is active takes, on its box


def shown(classifier: Classifier, corpus: Corpus) -> list[Prediction]:
    """Return the answers to all samples of a corpus, each alone."""
    answers = []
    for frames in (corpus[n : n + 50] for n in range(0, len(corpus), 50)):
        for one in frames:
            bin_us = corpus.bin_us
            inputs = [Input(x, t * bin_us, (t + 1) * bin_us, int(x.sum()), False) for t, x in enumerate(one)]
            answers.append(Stepper(classifier).verdict(inputs).prediction)
    return answers


def recorded(classifier: Classifier, recordings: Sequence[tuple[Events, SensorSize]]) -> list[Prediction]:
    """Return the answers to recordings, as `predict` gives them."""
    return [
        Stepper(classifier).verdict(classifier.event_inputs(events, sensor)).prediction
        for events, sensor in with_progress(recordings, "asking", "recording")
    ]


def tell(what: str, answers: Sequence[Prediction], truth: Sequence[str | None]) -> None:
    """Add and print a row: of digits, or (without a truth) of what is none."""
    n = len(answers)
    labels, guesses = [one.label for one in answers], [str(np.argmax(one.probabilities)) for one in answers]
    right = sum(label == true for label, true in zip(labels, truth))
    wrong = sum(label.isdecimal() and label != true for label, true in zip(labels, truth))
    guessed = sum(guess == true for guess, true in zip(guesses, truth))
    kind, counted = ("digits", right) if truth[0] is not None else ("no digit", wrong)
    low, high = (100 * side for side in interval(counted, n))
    report.row(what, kind, n, right, wrong, guessed, low, high)
    print(f"| {what} | {n} {kind} | {right} | {wrong} | {guessed} | {low:.1f} to {high:.1f} |", flush=True)


def on_its_box(events: Events) -> Events:
    """Return the events of a recording on the square of what is active, INK of SIDE pixels."""
    x, y = events["x"].astype(float), events["y"].astype(float)
    (left, right), (top, bottom) = np.percentile(x, [2, 98]), np.percentile(y, [2, 98])
    pixel = max(right - left, bottom - top, 1) / INK
    column = np.floor((x - (left + right) / 2) / pixel + SIDE / 2).astype(int)
    row = np.floor((y - (top + bottom) / 2) / pixel + SIDE / 2).astype(int)
    seen = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
    return make_events(events["t"][seen], column[seen], row[seen], events["p"][seen])


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--model", default="nmnist")
    parser.add_argument("--count", type=int, default=200, help="samples of a row that are made")
    args: argparse.Namespace = parser.parse_args(argv)
    classifier = Classifier.load(find(args.model))
    report.table("digits in any motion", "what", "kind", "count", "right", "wrong", "best guess right", "low", "high")
    print(
        "| what | of | right | labelled wrong | best guess right | 95 % of what counts, % |\n|---|---|---|---|---|---|"
    )

    listing = list_named(TrainConfig(data="nmnist", root=str(args.root)))
    truth = [listing.labels[item.label] for item in listing.test]
    recordings = [read_item(item) for item in listing.test]
    for ms in BINS_MS:
        tell(f"N-MNIST, bins of {ms} ms", recorded(classifier.at(ms), recordings), truth)
    for fault in SUITE:
        if fault.name in FAULTS:
            random = [np.random.default_rng([20, n]) for n in range(len(recordings))]
            changed = [(fault.fault(*one, r), one[1]) for one, r in zip(recordings, random)]
            tell(f"N-MNIST, {fault.name} {fault.strength}", recorded(classifier, changed), truth)

    images, labels = mnist_digits(args.root, "t10k")
    chosen = np.random.default_rng(SEED).permutation(len(images))[: args.count]
    for number, motion in enumerate(PATHS):
        corpus = Corpus(Pictures(images, labels), chosen, SEED + number, motions={motion: 1.0})
        tell(f"motion: {motion}", shown(classifier, corpus), [str(label) for label in corpus.labels])
    printed, named = print_digits(SEED)
    corpus = Corpus(Pictures(np.stack(printed), np.array(named)), np.arange(args.count), SEED)
    tell("OpenCV's print, any motion", shown(classifier, corpus), [str(label) for label in corpus.labels])
    learnt = classifier.card.training.get("outliers", ())
    for number, (kind, drawn) in enumerate(near(Digits(images, labels), SEED, args.count, learnt).items()):
        pictures = Pictures(np.stack(drawn), np.full(len(drawn), 10))
        tell(kind, shown(classifier, Corpus(pictures, np.arange(len(drawn)), SEED + 100 + number)), [None] * len(drawn))
    nothing = Corpus(Pictures(images[:1], labels[:1]), np.full(args.count, -1), SEED)
    tell("nothing but its ground", shown(classifier, nothing), [None] * args.count)

    if (args.root / "mnist_dvs").is_dir():
        files = sorted((args.root / "mnist_dvs").glob("*/*.npz"))
        truth = [file.parent.name for file in files]
        recordings = [(one.events, one.size) for one in map(read_recording, files)]
        tell("MNIST-DVS, whole sensor", recorded(classifier, recordings), truth)
        boxed = [(on_its_box(events), SensorSize(SIDE, SIDE)) for events, _ in recordings]
        tell("MNIST-DVS, on the box of what is active", recorded(classifier, boxed), truth)
    report.write("digits", args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
