"""`spikesight evaluate`: measure a model's accuracy on recordings or images that it was not trained on."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikesight.models.classifier import Classifier
    from spikesight.training.data import Frames
    from spikesight.training.run.baselines import Answers
    from spikesight.training.run.readings import Readings

DESCRIPTION = """\
How often a model is right on a folder of recordings, or on a named set's test split.

  spikesight evaluate runs/mine/model another_day/       flat files, classes or sessions, as train-dvs takes them
  spikesight evaluate nmnist nmnist --root data          a shipped model on a named set
  spikesight evaluate nmnist nmnist --root data --bin-ms 2         the same weights at steps of 2 ms
  spikesight evaluate nmnist nmnist --root data --baselines nmnist  and ridge and RBF on counts, learnt from its Train
  spikesight evaluate nmnist nmnist --root data --corrupt          what is left when a camera shakes, flickers, ...
  spikesight evaluate runs/mine/model another_day/ --to report    confusion.csv, confusion.png, evaluation.json

Every window of the model's own length counts by itself, from zero state; then the mean over a second, one answer for
each recording, and the answers within a stream of all recordings that is never reset. Neighbouring windows are alike:
the interval of the recordings is the one to trust. Classes that the model does not have are counted as unknown."""

ROWS = {"windows": "", "one second": "seconds", "recordings": "recordings", "as a stream": "stream"}


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="a shipped model's name or a checkpoint folder")
    add("data", metavar="DATA", help="a folder, or a data set's name")
    add("--root", default="data", metavar="FOLDER", help="where named data sets lie (default data)")
    add("--layout", default="auto", choices=("auto", "classes", "sessions", "flat"), help="of a folder's names")
    add("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    add(
        "--baselines",
        metavar="TRAIN",
        help="beside ridge and an RBF kernel on log counts or pixels, learnt from this set or folder",
    )
    add("--anns", action="store_true", help="with --baselines, of events: and two ANNs of its shape, in minutes")
    add("--corrupt", action="store_true", help="whole recordings, and again under each of a suite of corruptions")
    add("--to", type=Path, metavar="FOLDER", help="write confusion.csv, confusion.png, evaluation.json")
    add("--json", action="store_true", help="one line of JSON in place of the table")


def _line(name: str, figures: dict[str, Any], width: int = 20) -> str:
    low, high = figures["interval"]
    right = f"{figures['correct']} of {figures['count']}"
    return f"{name:{width}} {figures['accuracy']:8.2%}   {low:.2%} to {high:.2%}   {right}"


def _print(found: dict[str, Any]) -> None:
    from spikesight.training.run.baselines import sentences

    rows = {name: found[key] if key else found for name, key in ROWS.items() if not key or key in found}
    if found["count"]:
        print(f"{'':20} {'accuracy':>8}   95 % interval      right")
        for name, figures in rows.items():
            print(_line(name, figures))
        for label, figures in found["per_class"].items():
            print(_line(f"  {label}", figures))
        print(f"calibration error    {found['calibration_error']:8.2%}")
    for p in found.get("commitments", ()):
        share = "{:.2%} ({:.2%} to {:.2%})".format(p["coverage"], *p["interval"])
        label, least = min(p["by_class"].items(), key=lambda one: one[1])
        usual = "{:.1%} to {:.1%}".format(*p["of_calibrations"])
        soon = "" if p["median_ms"] is None else f", half of all within {p['median_ms']:g} ms"
        doubt = " ({:.2%} to {:.2%} of them)".format(*p["wrong_of_committed"]) if p["committed"] else ""
        print(
            f"error rate {p['error_rate']:.0%}: the true label stayed possible in {share} of {p['count']} recordings, "
            f"in {least:.1%} of {label}, the least; 95 of 100 such calibrations give {usual}\n"
            f"  {p['committed']} were committed to{soon}, {p['wrong']} wrong{doubt}"
        )
    for line in sentences(found.get("baselines", [])):
        print(line)
    if found["reads"]:
        print(f"read {found['reads']} times by this program: the more often a test split is read, the less it says")
    if "unknown" in found:
        u = found["unknown"]
        taken = ", ".join(f"{label} {count}" for label, count in u["taken_for"].items())
        separated = "" if u["auroc"] is None else f"; told apart by {u['score']} with AUROC {u['auroc']:.3f}"
        print(f"unknown: {u['count']} windows of {', '.join(u['classes'])}, taken for {taken}{separated}")


def _corrupt(classifier: "Classifier", args: argparse.Namespace, readings: "Readings") -> dict[str, Any]:
    """Measure the accuracy under each corruption of the suite, printing rows as they are measured."""
    from spikesight.training.progress import say
    from spikesight.training.run.corruptions import corrupted, rows, summary

    own = [source for source in readings.sources if source.label in classifier.labels]
    if not own:
        raise ValueError("--corrupt is for recordings of events of the model's classes; there are none")
    measured: list[dict[str, Any]] = []
    for row in corrupted(classifier, own, rows(args.data, args.root, own)):
        measured.append(row)
        if not args.json:
            refused = "" if row["refused"] is None else f"   {row['refused']:.1%} unknown"
            say(_line(f"{row['name']} {row['strength']}", row, 36) + refused)
    found = summary(measured)
    if not args.json:
        lost, worst = found["mean_loss"], found["worst"]
        print(f"lost by a corruption, mean: {lost:.1f} points; most by {worst['name']} {worst['strength']}")
    return {"corruptions": measured, **found}


def _write(folder: Path, found: dict[str, Any]) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    from spikesight.training.run.report import draw_confusion, write_confusion

    folder.mkdir(parents=True, exist_ok=True)
    labels, confusion = found["labels"], np.array(found["confusion"])
    write_confusion(folder / "confusion.csv", confusion, labels)
    (folder / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    side = 2.5 + 0.4 * min(len(labels), 40)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, confusion, labels, f"{found['correct']} of {found['count']} windows")
    for y, x in zip(*confusion.nonzero()) if len(labels) <= 20 else ():
        colour = "w" if 2 * confusion[y, x] > confusion.max() else "k"
        axes.text(x, y, str(confusion[y, x]), ha="center", va="center", color=colour)
    figure.savefig(folder / "confusion.png", dpi=110)


def _anns(classifier: "Classifier", folder: Path) -> "Callable[[Frames, Frames], Answers]":
    """Return a function that trains ANNs of the model's shape as baselines."""
    from spikesight.training.network import network_names
    from spikesight.training.run.fit import anns_on

    shape = next(iter(network_names(folder)), "")
    return partial(anns_on, labels=classifier.labels, contract=classifier.contract, network=shape)


def run(args: argparse.Namespace) -> int:
    """Evaluate the model, warn about doubtful data, print the figures; return the exit code."""
    from spikesight.models.classifier import Classifier
    from spikesight.models.shipped import find
    from spikesight.training.data.check import count_named_read
    from spikesight.training.run.assessment import assess, beside_model
    from spikesight.training.run.conformal import held_out
    from spikesight.training.run.readings import read_set

    if args.anns and not args.baselines:
        raise ValueError("--anns learn from what --baselines names")
    classifier = Classifier.load(find(args.model)).at(args.bin_ms)
    if args.anns and classifier.contract.kind == "image":
        raise ValueError("--anns stand beside models of events, not of images")
    readings = read_set(classifier, args.data, args.root, args.layout, keep=args.anns)
    found = assess(readings) | {"reads": count_named_read(Path(args.root), args.data, classifier.name)}
    if tables := held_out(classifier, readings.sources):
        found["commitments"] = tables
    if args.baselines:
        learnt = read_set(classifier, args.baselines, args.root, args.layout, "train", args.anns)
        found["baselines"] = beside_model(learnt, readings, _anns(classifier, find(args.model)) if args.anns else None)
    for line in readings.notes:
        print(line, file=sys.stderr)
    if readings.quiet:
        print(f"{readings.quiet} windows with next to no events are left out", file=sys.stderr)
    if readings.shared:
        names = ", ".join(readings.shared[:3]) + (", ..." if len(readings.shared) > 3 else "")
        shared = f"{len(readings.shared)} of these files were trained on or chose the model ({names})"
        print(f"WARNING: {shared}: this says nothing of others", file=sys.stderr)
    if not found["count"] and "unknown" in found:
        print(f"{classifier.name} has none of these classes; it has {', '.join(classifier.labels)}", file=sys.stderr)
    if not args.json:
        _print(found)
    if args.corrupt:
        found |= _corrupt(classifier, args, readings)
    if args.to:
        _write(args.to, found)
    if args.json:
        asked = {"model": classifier.name, "data": args.data, "bin_ms": classifier.contract.bin_us / 1000}
        print(json.dumps(asked | found))
    return 0
