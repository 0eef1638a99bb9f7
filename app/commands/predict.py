"""`spikesight predict`: classify images and recordings on disk."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    parser.add_argument("--steps", action="store_true", help="one line a step, not only the last")
    parser.add_argument("--json", action="store_true", help="one line of JSON a file")


def _predictions(classifier: "Classifier", path: Path) -> "list[Prediction]":
    from encoders.sample import read_sample

    sample = read_sample(path)
    for warning in sample.warnings:
        print(f"{path}: {warning}", file=sys.stderr)
    return classifier.predict(classifier.inputs(sample))


def _cost(prediction: "Prediction", origin: str) -> str:
    if origin == "ann":
        return f"{prediction.synops / 1e6:.2f} M multiply-adds in it, no spikes"
    return f"{prediction.spikes} spikes in it"


def _show(path: Path, predictions: "Sequence[Prediction]", args: argparse.Namespace, classifier: "Classifier") -> None:
    last = predictions[-1]
    if args.json:
        answer = {
            "file": str(path),
            "label": last.label,
            "known": last.known,
            "probabilities": dict(zip(classifier.labels, last.probabilities)),
            "step": last.step,
            "spikes": sum(p.spikes for p in predictions),
            "synops": sum(p.synops for p in predictions),
        }
        if args.steps:
            answer["steps"] = [
                {"step": p.step, "label": p.label, "confidence": max(p.probabilities)} for p in predictions
            ]
        print(json.dumps(answer))
        return
    for p in predictions if args.steps else [last]:
        print(f"{path}: {p.label} ({max(p.probabilities):.1%}) after step {p.step}, {_cost(p, classifier.origin)}")


def run(args: argparse.Namespace) -> int:
    from models.classifier import Classifier
    from models.shipped import find, shipped

    wanted = args.model or next(iter(shipped()), None)
    if wanted is None:
        raise ValueError("no model is shipped with this installation: name a checkpoint folder with --model")
    classifier = Classifier.load(find(wanted))
    failed = False
    for path in map(Path, args.files):
        try:
            _show(path, _predictions(classifier, path), args, classifier)
        except (ValueError, OSError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0
