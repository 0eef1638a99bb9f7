"""`spikesight predict`: classify images and recordings on disk."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spikesight.app.recordings.progress import watched
from spikesight.encoders.words import counted

if TYPE_CHECKING:
    from spikesight.model import Model
    from spikesight.models.classifier import Classifier
    from spikesight.models.steps import Prediction

DESCRIPTION = """\
Classify images and recordings; one line a file, and what happened when where the label changed.

  spikesight predict digit.png recording.aedat4
  spikesight predict --model runs/mine/model --json *.raw
  spikesight predict --steps recording.bin              the answer after every step

An event model sees a still image as a camera that moves in three saccades would. Exit code 2 when a file was not
readable; the others are classified all the same."""


FIELDS = ("label", "top1", "in_distribution", "step", "spikes", "synops", "commitment", "objects")


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


def _show(path: Path, model: "Model", args: argparse.Namespace) -> None:
    """Run the model on a file and print its answer, or that of every step."""
    from spikesight.encoders.sample import is_image
    from spikesight.models.classifier.verdict import Verdict

    steps, verdict = list[dict[str, object]](), Verdict(model.labels, model.classifier.contract.steps)
    progress, warn = partial(watched, what=path.name), partial(print, f"{path}:", file=sys.stderr)
    for now in model.follow(path, verdict, args.error_rate, progress, warn):
        if args.steps and args.json:
            steps.append({"step": now.step, "label": now.label, "confidence": now.confidence})
        elif args.steps:
            print(_line(path, now, model.classifier))
    whole, segments = verdict.prediction, [] if is_image(path) else verdict.segments
    if args.json:
        fields = whole.fields()
        found: dict[str, object] = {"file": str(path), **{name: fields.get(name) for name in FIELDS}}
        found["probabilities"] = dict(zip(model.labels, fields["probabilities"]))
        found["segments"] = [segment._asdict() for segment in segments]
        print(json.dumps(found | ({"steps": steps} if args.steps else {})))
    elif not args.steps:
        print(_line(path, whole, model.classifier))
        if len(things := whole.objects or ()) > 1:
            print(f"  {len(things)} things: {', '.join(one.label for one in things)}")
        for segment in segments if len(segments) > 1 else []:
            sure = "" if segment.confidence is None else f" ({segment.confidence:.1%})"
            print(f"  {segment.start_us / 1e6:.2f} to {segment.end_us / 1e6:.2f} s: {segment.label}{sure}")


def _line(path: Path, p: "Prediction", classifier: "Classifier") -> str:
    """Return an answer as a line of text: the label, its probability or the best guess, and the cost."""
    label, guess = p.label, p.top1
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
    cost = ann if classifier.origin == "ann" else counted(p.spikes, "spike")
    return f"{path}: {label} after step {p.step}{committed}, {cost}"


def run(args: argparse.Namespace) -> int:
    from spikesight.model import Model
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find, first_shipped

    if args.error_rate is not None and not 0 < args.error_rate < 1:
        raise ValueError("--error-rate must lie between 0 and 1, for example 0.05")
    model = Model(Classifier.load(find(args.model or first_shipped())).at(args.bin_ms))
    failed = False
    for path in map(Path, args.files):
        try:
            _show(path, model, args)
        except BrokenPipeError:  # of the output, not of this file
            raise
        except (ValueError, OSError) as error:
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0
