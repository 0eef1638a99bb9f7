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
  spikesight evaluate nmnist nmnist --root data --baselines nmnist  and ridge and RBF on counts, learnt from its Train
  spikesight evaluate runs/mine/model another_day/ --to report    confusion.csv, confusion.png, evaluation.json

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
    add(
        "--baselines",
        metavar="TRAIN",
        help="beside ridge and an RBF kernel on log counts or pixels, learnt from this set or folder",
    )
    add("--to", type=Path, metavar="FOLDER", help="write confusion.csv, confusion.png, evaluation.json")
    add("--json", action="store_true", help="one line of JSON in place of the table")


def _line(name: str, figures: dict[str, Any]) -> str:
    """Return a row of the table: `right` with its interval, then `best_guess`."""
    right, guess = figures["right"], figures["best_guess"]
    (low, high), of = right["interval"], f"{right['correct']} of {right['count']}"
    return f"{name:20} {right['accuracy']:8.2%}   {low:.2%} to {high:.2%}   {of:14} {guess['accuracy']:8.2%}"


def _print(found: dict[str, Any]) -> None:
    from spikesight.training.run.baselines import sentences

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
    if "baselines" in found:
        print(f"best guess at the ends of windows: {found['windows']['correct']} of {found['windows']['count']} right")
    for line in sentences(found.get("baselines", [])):
        print(line)
    if found["reads"]:
        print(f"read {found['reads']} times by this program: the more often a test split is read, the less it says")
    if "unknown" in found:
        u = found["unknown"]
        shown = ", ".join(f"{label} {count}" for label, count in u["shown"].items())
        separated = "" if u["auroc"] is None else f"; told apart by {u['score']} with AUROC {u['auroc']:.3f}"
        print(f"not a class: {u['count']} of {', '.join(u['classes'])}, shown as {shown}{separated}")


def _write(folder: Path, found: dict[str, Any]) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    from spikesight.models.novelty import NOTHING, UNKNOWN
    from spikesight.training.run.report import draw_confusion, write_confusion

    folder.mkdir(parents=True, exist_ok=True)
    labels, confusion = [*found["labels"], UNKNOWN, NOTHING], np.array(found["confusion"])
    write_confusion(folder / "confusion.csv", confusion, labels)
    (folder / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    side = 2.5 + 0.4 * min(len(labels), 40)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, confusion, labels, f"{found['right']['correct']} of {found['right']['count']} right")
    for y, x in zip(*confusion.nonzero()) if len(labels) <= 20 else ():
        colour = "w" if 2 * confusion[y, x] > confusion.max() else "k"
        axes.text(x, y, str(confusion[y, x]), ha="center", va="center", color=colour)
    figure.savefig(folder / "confusion.png", dpi=110)


def run(args: argparse.Namespace) -> int:
    """Evaluate the model, warn about doubtful data, print the figures; return the exit code."""
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find
    from spikesight.training.data.load import count_named_read
    from spikesight.training.run.assessment import assess, beside_model
    from spikesight.training.run.conformal import held_out
    from spikesight.training.run.readings import read_set

    classifier = Classifier.load(find(args.model)).at(args.bin_ms)
    readings = read_set(classifier, args.data, args.root, args.layout, skip_bad=args.skip_bad)
    found: dict[str, Any] = assess(readings) | {"reads": count_named_read(Path(args.root), args.data, classifier.name)}
    if tables := held_out(classifier, readings.sources):
        found["commitments"] = tables
    if args.baselines:
        learnt = read_set(classifier, args.baselines, args.root, args.layout, "train", skip_bad=args.skip_bad)
        found["baselines"] = beside_model(learnt, readings)
    for line in readings.notes:
        print(line, file=sys.stderr)
    if readings.quiet:
        print(f"{readings.quiet} windows with next to no events are left out", file=sys.stderr)
    if readings.shared:
        names = ", ".join(readings.shared[:3]) + (", ..." if len(readings.shared) > 3 else "")
        shared = f"{len(readings.shared)} of these files were trained on or chose the model ({names})"
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
