"""Measure a model under corruptions of scene and camera (experiments/faults.py).

    python -m experiments.corruptions MODEL DATA --root FOLDER [--to corruptions.json]

Each row is of whole recordings, answered as `spikesight predict` answers them: right (the label), best guess right, and
how many are called unknown or nothing.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpora.digits import mnist_digits
from experiments.faults import SUITE, Corruption, mirrored
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import Events, SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.shipped import find
from spikesight.training.data.sets import MissingDataError
from spikesight.training.run.assessment import assess
from spikesight.training.run.readings import Change, LabelledItem, read_recordings, read_set

SEED = 20
MIRRORED = "mirrored"
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the emulated camera, in log intensity
FIRST_TEST = 60_001  # N-MNIST numbers its test recordings from here, in the order of MNIST's test images


class Row(NamedTuple):
    """A corruption at one strength."""

    name: str
    strength: str
    change: Change


def rows(data: str, root: str, sources: Sequence[LabelledItem]) -> list[Row]:
    """Return the suite of corruptions; for N-MNIST with MNIST's images available, also cameras of other thresholds."""
    found = [Row(c.name, c.strength, _seeded(c)) for c in SUITE]
    if data != "nmnist":
        return found
    return [*_emulated(Path(root), sources), *found, Row(MIRRORED, "", _seeded(Corruption(MIRRORED, "", mirrored)))]


def _seeded(corruption: Corruption) -> Change:
    """Return the corruption with random numbers seeded by a recording's number."""
    return lambda number, events, sensor: corruption.fault(events, sensor, np.random.default_rng([SEED, number]))


def _emulated(root: Path, sources: Sequence[LabelledItem]) -> list[Row]:
    """Return rows that show the MNIST images of N-MNIST's test recordings to cameras of other thresholds, if MNIST is
    available.
    """
    try:
        images = mnist_digits(root, "t10k")[0]
    except MissingDataError:
        return []
    names = [source.item.path.stem for source in sources]
    numbers = [int(name) - FIRST_TEST if name.isdecimal() else -1 for name in names]
    if not all(0 <= number < len(images) for number in numbers):
        return []
    shown = images[numbers]

    def at(threshold: float) -> Change:
        camera = replace(NMNIST, threshold_on=threshold, threshold_off=threshold)
        return lambda number, _, sensor: saccades(shown[number], sensor, movement=camera, seed=number)

    return [Row("emulated threshold", f"{threshold:g}", at(threshold)) for threshold in THRESHOLDS]


def unchanged(number: int, events: Events, sensor: SensorSize) -> Events:  # noqa: ARG001
    """Return the events unchanged: the clean row, with which all others are compared."""
    return events


def corrupted(
    classifier: Classifier, sources: Sequence[LabelledItem], suite: Sequence[Row]
) -> Iterator[dict[str, Any]]:
    """Yield figures for the clean recordings, then for each corruption: name, strength, `right` and `best_guess` of
    whole recordings, and the shares labelled `unknown` and `nothing`.
    """
    for row in (Row("none", "", unchanged), *suite):
        readings = read_recordings(classifier, sources, row.change)
        found, labels = assess(readings), [answer.label for answer in readings.answers]
        shares = {label: labels.count(label) / len(labels) for label in (UNKNOWN, NOTHING)}
        yield {"name": row.name, "strength": row.strength, **{c: found[c] for c in ("right", "best_guess")}, **shares}


def summary(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return `mean_loss` of right answers, in percentage points against the first row, the clean one, `guess_loss` of
    best guesses, and the `worst` row.

    Most mirrored digits are no digits: their row shows how many are unknown, and counts in neither.
    """
    clean, rows = figures[0], [row for row in figures[1:] if row["name"] != MIRRORED]
    worst = min(rows, key=lambda row: row["right"]["accuracy"])
    lost = [
        100 * float(clean[column]["accuracy"] - np.mean([row[column]["accuracy"] for row in rows]))
        for column in ("right", "best_guess")
    ]
    said = {key: worst[key] for key in ("name", "strength")} | {"accuracy": worst["right"]["accuracy"]}
    return {"mean_loss": round(lost[0], 2), "guess_loss": round(lost[1], 2), "worst": said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("data", help="a folder, or a data set's name")
    parser.add_argument("--root", default="data", help="where named data sets lie (default data)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the rows as JSON")
    args = parser.parse_args()
    classifier, measured = Classifier.load(find(args.model)), list[dict[str, Any]]()
    sources = read_set(classifier, args.data, args.root).sources
    own = [source for source in sources if source.label in classifier.labels]
    if not own:
        raise SystemExit("corruptions are of recordings of the model's classes; there are none")
    for row in corrupted(classifier, own, rows(args.data, args.root, own)):
        measured.append(row)
        shares = f"right {row['right']['accuracy']:7.1%}  best guess {row['best_guess']['accuracy']:7.1%}"
        print(f"{row['name']:20} {row['strength']:15} {shares}  unknown {row[UNKNOWN]:.1%}", flush=True)
    found = {"corruptions": measured, **summary(measured)}
    print(f"lost by a corruption, mean: {found['mean_loss']:.1f} points right, {found['guess_loss']:.1f} best guess")
    if args.to:
        args.to.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
