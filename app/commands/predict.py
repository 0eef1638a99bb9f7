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
    from spikesight.models.steps import Answer, Prediction

DESCRIPTION = """\
Classify images and recordings; one line a file, and what happened when where the label changed.

  spikesight predict digit.png recording.aedat4
  spikesight predict --model runs/mine/model --json *.raw
  spikesight predict --steps recording.bin              the answer after every step

An event model sees a still image as a camera that moves in three saccades would. Exit code 2 when a file was not
readable; the others are classified all the same."""


FIELDS = ("label", "in_distribution", "step", "spikes", "synops")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="images (JPEG, PNG, WebP, BMP, TIFF) and recordings")
    add("--model", metavar="NAME|FOLDER", help="a shipped model or a checkpoint folder")
    add("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    rate = "stop once committed. Of all things that come into view, in each class, at most the error rate is committed "
    rate += "to wrongly, if they are like those of the calibration"
    add("--error-rate", type=float, metavar="E", help=rate)
    add("--steps", action="store_true", help="one line a step, not one for all")
    add("--json", action="store_true", help="one line of JSON a file")


def _answers(classifier: "Classifier", path: Path, error_rate: float | None) -> "Iterator[Answer]":
    """Yield an answer for each step; recordings are read in chunks, so that long ones fit in memory."""
    from spikesight.encoders.recordings.files import RecordingReader
    from spikesight.encoders.sample import IMAGE_SUFFIXES, read_sample
    from spikesight.models.classifier import InputPipeline, Stepper
    from spikesight.models.novelty.conformal import ERROR_RATE

    if path.suffix.lower() in IMAGE_SUFFIXES:
        stepper = Stepper(classifier)
        yield from stepper.steps(classifier.inputs(read_sample(path)))
        return
    rate = ERROR_RATE if error_rate is None else error_rate
    reader, stepper = RecordingReader(path), Stepper(classifier, classifier.readout(error_rate=rate))
    pipeline = InputPipeline(classifier.card, reader.size)
    for given in pipeline.recording(watched(reader.packets(), path.name)):
        yield stepper.step(given)
    for warning in [*reader.warnings(), *filter(None, [pipeline.watch.says])]:
        print(f"{path}: {warning}", file=sys.stderr)


def _show(path: Path, answers: "Iterable[Answer]", args: argparse.Namespace, classifier: "Classifier") -> None:
    from spikesight.encoders.sample import IMAGE_SUFFIXES
    from spikesight.models.classifier.verdict import Verdict

    steps, verdict = list[dict[str, object]](), Verdict(classifier.labels, classifier.contract.steps)
    for answer in answers:
        verdict.push(answer)
        now = answer.prediction
        if args.steps and args.json:
            steps.append({"step": now.step, "label": now.label, "confidence": now.confidence})
        elif args.steps:
            print(_line(path, now, classifier))
        commitment = verdict.prediction.commitment if args.error_rate is not None else None
        if commitment is not None and commitment.label is not None:
            break
    whole = verdict.prediction
    segments = verdict.segments if path.suffix.lower() not in IMAGE_SUFFIXES else []
    if args.json:
        found: dict[str, object] = {"file": str(path), **{name: getattr(whole, name) for name in FIELDS}}
        found["commitment"] = whole.commitment and whole.commitment.fields()
        found["top1"] = whole.top1
        found["probabilities"] = dict(zip(classifier.labels, whole.probabilities))
        found["objects"] = whole.objects and [one.fields() for one in whole.objects]
        found["segments"] = [segment._asdict() for segment in segments]
        print(json.dumps(found | ({"steps": steps} if args.steps else {})))
    elif not args.steps:
        print(_line(path, whole, classifier))
        if len(things := whole.objects or ()) > 1:
            print(f"  {len(things)} things: {', '.join(one.label for one in things)}")
        for segment in segments if len(segments) > 1 else []:
            sure = "" if segment.confidence is None else f" ({segment.confidence:.1%})"
            print(f"  {segment.start_us / 1e6:.2f} to {segment.end_us / 1e6:.2f} s: {segment.label}{sure}")


def _line(path: Path, p: "Prediction", classifier: "Classifier") -> str:
    """Return an answer as a line of text: the label, its probability or the best guess, and the cost."""
    label, guess = p.label, classifier.labels[p.index]
    if label == guess:
        label += f" ({p.confidence:.1%})"
    elif classifier.contract.task == "detection" and (label == "nothing" or not p.n_events):
        label += " (nothing is in view)"  # the network got no event
    elif label != "nothing":
        label += f" (best guess: {guess})"
    commitment = p.commitment
    committed = f", committed to {commitment.label}" if commitment and commitment.label is not None else ""
    committed += ", not what was calibrated" if commitment and commitment.shifted else ""
    ann = f"{p.synops / 1e6:.2f} M multiply-adds, no spikes"
    cost = ann if classifier.origin == "ann" else f"{p.spikes} spikes"
    return f"{path}: {label} after step {p.step}{committed}, {cost}"


def run(args: argparse.Namespace) -> int:
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find, shipped

    wanted = args.model or next(iter(shipped()), None)
    if wanted is None:
        raise ValueError("no model is shipped with this installation: name a checkpoint folder with --model")
    if args.error_rate is not None and not 0 < args.error_rate < 1:
        raise ValueError("--error-rate must lie between 0 and 1, for example 0.05")
    classifier = Classifier.load(find(wanted)).at(args.bin_ms)
    failed = False
    for path in map(Path, args.files):
        try:
            _show(path, _answers(classifier, path, args.error_rate), args, classifier)
        except BrokenPipeError:  # of the output, not of this file
            raise
        except (ValueError, OSError) as error:
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0
