"""`spikesight predict`: classify images and recordings on disk."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.recordings.progress import watched

if TYPE_CHECKING:
    from models.classifier import Classifier
    from models.steps import Prediction

DESCRIPTION = """\
Classify images and recordings; one line a file.

  spikesight predict digit.png recording.aedat4
  spikesight predict --model runs/mine/model --json *.raw
  spikesight predict --steps recording.bin              the answer after every step

An event model sees a still image as a camera that moves in three saccades would. Exit code 2 when a file was not
readable; the others are classified all the same."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="images (JPEG, PNG, WebP, BMP, TIFF) and recordings")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a shipped model or a checkpoint folder")
    parser.add_argument("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    parser.add_argument(
        "--error-rate", type=float, metavar="E", help="stop once committed: wrong at most for this share of recordings"
    )
    parser.add_argument("--steps", action="store_true", help="one line a step, not only the last")
    parser.add_argument("--json", action="store_true", help="one line of JSON a file")


def _predictions(classifier: "Classifier", path: Path, error_rate: float | None) -> "Iterator[Prediction]":
    """One a step, as they come: of a recording no more than a piece is in memory."""
    from encoders.recordings.files import RecordingReader
    from encoders.sample import IMAGE_SUFFIXES, read_sample
    from models.classifier import Stepper
    from models.known.conformal import ERROR_RATE

    if path.suffix.lower() in IMAGE_SUFFIXES:
        yield from classifier.predict(classifier.inputs(read_sample(path)))
        return
    rate = ERROR_RATE if error_rate is None else error_rate
    reader, stepper = RecordingReader(path), Stepper(classifier, classifier.track(error_rate=rate))
    for given in classifier.packet_inputs(watched(reader.packets(), path.name), reader.size):
        prediction = stepper.step(given).prediction
        yield prediction
        if error_rate is not None and prediction.committed is not None:
            return
    for warning in reader.warnings():
        print(f"{path}: {warning}", file=sys.stderr)


def _cost(prediction: "Prediction", origin: str) -> str:
    if origin == "ann":
        return f"{prediction.synops / 1e6:.2f} M multiply-adds in it, no spikes"
    return f"{prediction.spikes} spikes in it"


def _show(path: Path, predictions: "Iterable[Prediction]", args: argparse.Namespace, classifier: "Classifier") -> None:
    spikes = synops = 0
    steps: list[dict[str, object]] = []
    last = None
    for last in predictions:
        spikes, synops = spikes + last.spikes, synops + last.synops
        if args.steps and args.json:
            steps.append({"step": last.step, "label": last.label, "confidence": max(last.probabilities)})
        elif args.steps:
            print(_line(path, last, classifier))
    if last is None:
        return
    if args.json:
        answer = {
            "file": str(path),
            "label": last.label,
            "known": last.known,
            "committed": last.committed,
            "set": last.set,
            "risk": last.risk,
            "probabilities": dict(zip(classifier.labels, last.probabilities)),
            "step": last.step,
            "spikes": spikes,
            "synops": synops,
        }
        if args.steps:
            answer["steps"] = steps
        print(json.dumps(answer))
    elif not args.steps:
        print(_line(path, last, classifier))


def _line(path: Path, p: "Prediction", classifier: "Classifier") -> str:
    said = _said(p, classifier.labels, classifier.contract.window)
    held = f", committed to {p.committed}" if p.committed is not None else ""
    return f"{path}: {said} after step {p.step}{held}, {_cost(p, classifier.origin)}"


def _said(p: "Prediction", labels: tuple[str, ...], window: str) -> str:
    """The label and how sure it is; of what is no class of the model, the class that is nearest to it."""
    if p.label == labels[p.index]:
        return f"{p.label} ({max(p.probabilities):.1%})"
    if window == "drawing" and (p.label == "nothing" or not p.n_events):  # no event of this step was looked at
        return f"{p.label} (no drawing is in view)"
    if p.label == "nothing":
        return p.label
    return f"{p.label} (nearest: {labels[p.index]})"


def run(args: argparse.Namespace) -> int:
    from models.classifier import Classifier
    from models.shipped import find, shipped

    wanted = args.model or next(iter(shipped()), None)
    if wanted is None:
        raise ValueError("no model is shipped with this installation: name a checkpoint folder with --model")
    if args.error_rate is not None and not 0 < args.error_rate < 1:
        raise ValueError("--error-rate must lie between 0 and 1, for example 0.05")
    classifier = Classifier.load(find(wanted))
    classifier = classifier if args.bin_ms is None else classifier.at(args.bin_ms)
    failed = False
    for path in map(Path, args.files):
        try:
            _show(path, _predictions(classifier, path, args.error_rate), args, classifier)
        except (ValueError, OSError) as error:
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0
