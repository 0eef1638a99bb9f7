"""`spikesight predict`: classify images and recordings on disk."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spikesight.app.recordings.progress import watched

if TYPE_CHECKING:
    from spikesight.models.classifier import Classifier
    from spikesight.models.steps import Answer, Prediction, Segment

DESCRIPTION = """\
Classify images and recordings; one line a file, and what happened when in a recording of more than two windows.

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


def _answers(classifier: "Classifier", path: Path, error_rate: float | None) -> "Iterator[Answer]":
    """One a step, as they come: of a recording no more than a piece is in memory."""
    from spikesight.encoders.recordings.files import RecordingReader
    from spikesight.encoders.sample import IMAGE_SUFFIXES, read_sample
    from spikesight.models.classifier import Stepper
    from spikesight.models.novelty.conformal import ERROR_RATE

    if path.suffix.lower() in IMAGE_SUFFIXES:
        stepper = Stepper(classifier)
        yield from map(stepper.step, classifier.inputs(read_sample(path)))
        return
    rate = ERROR_RATE if error_rate is None else error_rate
    reader, stepper = RecordingReader(path), Stepper(classifier, classifier.track(error_rate=rate))
    for given in classifier.packet_inputs(watched(reader.packets(), path.name), reader.size):
        answer = stepper.step(given)
        yield answer
        if error_rate is not None and answer.prediction.committed is not None:
            return
    for warning in reader.warnings():
        print(f"{path}: {warning}", file=sys.stderr)


def _cost(prediction: "Prediction", origin: str) -> str:
    if origin == "ann":
        return f"{prediction.synops / 1e6:.2f} M multiply-adds in it, no spikes"
    return f"{prediction.spikes} spikes in it"


def _show(path: Path, answers: "Iterable[Answer]", args: argparse.Namespace, classifier: "Classifier") -> None:
    from spikesight.encoders.sample import IMAGE_SUFFIXES
    from spikesight.models.classifier import LONGEST_SAMPLE
    from spikesight.models.steps import Timeline

    spikes = synops = count = 0
    steps: list[dict[str, object]] = []
    timeline, last = Timeline(classifier.labels), None
    for answer in answers:
        last, count = answer.prediction, count + 1
        spikes, synops = spikes + last.spikes, synops + last.synops
        timeline.push(answer)
        if args.steps and args.json:
            steps.append({"step": last.step, "label": last.label, "confidence": max(last.probabilities)})
        elif args.steps:
            print(_line(path, last, classifier))
    if last is None:
        return
    segments = timeline.segments if path.suffix.lower() not in IMAGE_SUFFIXES else []
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
            "segments": [segment._asdict() for segment in segments],
        }
        if args.steps:
            answer["steps"] = steps
        print(json.dumps(answer))
    elif not args.steps:
        print(_line(path, last, classifier))
        if count > LONGEST_SAMPLE * classifier.contract.steps:
            print(*map(_segment_line, segments), sep="\n")


def _segment_line(segment: "Segment") -> str:
    """A segment's times and label, for people."""
    sure = "" if segment.confidence is None else f" ({segment.confidence:.1%})"
    return f"  {segment.start_us / 1e6:.2f} to {segment.end_us / 1e6:.2f} s: {segment.label}{sure}"


def _line(path: Path, p: "Prediction", classifier: "Classifier") -> str:
    label = _label(p, classifier.labels, classifier.contract.window)
    committed = f", committed to {p.committed}" if p.committed is not None else ""
    return f"{path}: {label} after step {p.step}{committed}, {_cost(p, classifier.origin)}"


def _label(p: "Prediction", labels: tuple[str, ...], window: str) -> str:
    """The label and how sure it is; of what is no class of the model, the class that is nearest to it."""
    if p.label == labels[p.index]:
        return f"{p.label} ({max(p.probabilities):.1%})"
    if window == "drawing" and (p.label == "nothing" or not p.n_events):  # no event of this step was looked at
        return f"{p.label} (no drawing is in view)"
    if p.label == "nothing":
        return p.label
    return f"{p.label} (nearest: {labels[p.index]})"


def run(args: argparse.Namespace) -> int:
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find, shipped

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
            _show(path, _answers(classifier, path, args.error_rate), args, classifier)
        except (ValueError, OSError) as error:
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0
