"""`spikesight evaluate`: measure a model's accuracy on recordings or images that it was not trained on."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = """\
How often a model is right on a folder of recordings, or on a named set's test split.

  spikesight evaluate runs/mine/model another_day/       flat files, classes or sessions, as train-dvs takes them
  spikesight evaluate nmnist nmnist --root data          a shipped model on a named set
  spikesight evaluate nmnist nmnist --root data --bin-ms 2         the same weights at steps of 2 ms
  spikesight evaluate runs/mine/model another_day/ --to report    confusion.csv, evaluation.json

Every recording is answered once, as `spikesight predict` answers it. It is right if that label is its class: "unknown"
and "nothing" are not right. The best guess is the likeliest class, whatever the label. Recordings of classes that the
model does not have are counted apart."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="a shipped model's name or a checkpoint folder")
    add("data", metavar="DATA", help="a folder, or a data set's name")
    add("--root", default="data", metavar="FOLDER", help="where named data sets lie (default data)")
    add("--layout", default="auto", choices=("auto", "classes", "sessions", "flat"), help="of a folder's names")
    add("--skip-bad", action="store_true", help="go on without files that cannot be read")
    add("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    add("--to", type=Path, metavar="FOLDER", help="write confusion.csv, evaluation.json")
    add("--json", action="store_true", help="one line of JSON in place of the table")


def _line(name: str, figures: dict[str, Any]) -> str:
    """Return a row of the table: `right` with its interval, then `best_guess`."""
    right, guess = figures["right"], figures["best_guess"]
    (low, high), of = right["interval"], f"{right['correct']} of {right['count']}"
    return f"{name:20} {right['accuracy']:8.2%}   {low:.2%} to {high:.2%}   {of:14} {guess['accuracy']:8.2%}"


def _print(found: dict[str, Any]) -> None:
    if found["right"]["count"]:
        print(f"{'':20} {'right':>8}   95 % interval      {'':14} best guess right")
        print(_line("all", found))
        for label, figures in found["per_class"].items():
            print(_line(f"  {label}", figures))
    if "calibration_error" in found:
        print(f"calibration error    {found['calibration_error']:8.2%}")
    for p in found.get("commitments", ()):
        share = "{:.2%} ({:.2%} to {:.2%})".format(p["wrong"] / p["count"], *p["interval"])
        label, (wrong, of) = max(p["by_class"].items(), key=lambda one: one[1][0] / one[1][1])
        soon = "" if p["median_ms"] is None else f", half of all within {p['median_ms']:.0f} ms"
        print(
            f"error rate {p['error_rate']:.0%}: of {p['count']} things that come into view one after another {share} "
            f"were committed to wrongly, at most {wrong} of {of} in a class ({label})\n"
            f"  {p['committed']} were committed to rightly{soon}; the thing before until {p['stale_ms']:.0f} ms (99 %)"
        )
    if "unknown" in found:
        u = found["unknown"]
        shown = ", ".join(f"{label} {count}" for label, count in u["shown"].items())
        separated = "" if u["auroc"] is None else f"; told apart by {u['score']} with AUROC {u['auroc']:.3f}"
        print(f"not a class: {u['count']} of {', '.join(u['classes'])}, shown as {shown}{separated}")


def _write(folder: Path, found: dict[str, Any]) -> None:
    import numpy as np

    from spikesight.models.novelty import NOTHING, UNKNOWN
    from spikesight.training.run.report import write_confusion

    folder.mkdir(parents=True, exist_ok=True)
    write_confusion(folder / "confusion.csv", np.array(found["confusion"]), [*found["labels"], UNKNOWN, NOTHING])
    (folder / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")


def run(args: argparse.Namespace) -> int:
    """Evaluate the model, warn about doubtful data, print the figures; return the exit code."""
    from spikesight.encoders.words import some_of
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find
    from spikesight.training.run.assessment import assess
    from spikesight.training.run.conformal import held_out
    from spikesight.training.run.readings import read_set

    classifier = Classifier.load(find(args.model)).at(args.bin_ms)
    readings = read_set(classifier, args.data, args.root, args.layout, skip_bad=args.skip_bad)
    found: dict[str, Any] = assess(readings)
    if tables := held_out(classifier, readings.sources):
        found["commitments"] = tables
    for line in readings.notes:
        print(line, file=sys.stderr)
    if readings.shared:
        shared = f"{len(readings.shared)} of these files trained or chose the model ({some_of(readings.shared)})"
        print(f"WARNING: {shared}: this says nothing of others", file=sys.stderr)
    if not found["right"]["count"] and "unknown" in found:
        print(f"{classifier.name} has none of these classes; it has {', '.join(classifier.labels)}", file=sys.stderr)
    if not args.json:
        _print(found)
    if args.to:
        _write(args.to, found)
    if args.json:
        asked = {"model": classifier.name, "data": args.data, "bin_ms": classifier.contract.bin_us / 1000}
        print(json.dumps(asked | found))
    return 0
