"""Measure a model's accuracy under corruptions of scene and camera (encoders/emulator/corruptions.py)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spikesight.encoders.emulator.corruptions import SUITE, Corruption, mirrored
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import Events, SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import KEPT
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.data.sets import MissingDataError
from spikesight.training.run.assessment import assess
from spikesight.training.run.readings import Change, Source, read_recordings

SEED = 20
MIRRORED = "mirrored"
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the emulated camera, in log intensity
FIRST_TEST = 60_001  # N-MNIST numbers its test recordings from here, in the order of MNIST's test images


class Row(NamedTuple):
    """A corruption at one strength."""

    name: str
    strength: str
    change: Change


def rows(data: str, root: str, sources: Sequence[Source]) -> list[Row]:
    """Return the suite of corruptions; for N-MNIST with MNIST's images available, also cameras of other thresholds."""
    found = [Row(c.name, c.strength, _seeded(c)) for c in SUITE]
    if data != "nmnist":
        return found
    return [*_emulated(Path(root), sources), *found, Row(MIRRORED, "", _seeded(Corruption(MIRRORED, "", mirrored)))]


def _seeded(corruption: Corruption) -> Change:
    """Return the corruption with random numbers seeded by a recording's number."""
    return lambda number, events, sensor: corruption.fault(events, sensor, np.random.default_rng([SEED, number]))


def _emulated(root: Path, sources: Sequence[Source]) -> list[Row]:
    """Return rows that show the MNIST images of N-MNIST's test recordings to cameras of other thresholds, if MNIST is
    available.
    """
    try:
        images = read_idx(find_idx(root, "mnist", "t10k-images-idx3-ubyte"))
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


def corrupted(classifier: Classifier, sources: Sequence[Source], suite: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield figures for the clean recordings, then for each corruption.

    Each row has name, strength, accuracy, correct, count and interval of whole recordings, and `refused`, the share of
    the windows that `known` rejects as unknown (None if the model has no score).
    """
    for row in (Row("none", "", unchanged), *suite):
        readings = read_recordings(classifier, sources, row.change)
        known = readings.known
        refused = None if known is None else float((known < KEPT).mean())
        yield {"name": row.name, "strength": row.strength, **assess(readings)["recordings"], "refused": refused}


def summary(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return `mean_loss`, in percentage points against the first row, the clean one, and the `worst` row.

    Most mirrored digits are no digits: their row shows how many are rejected, and counts in neither.
    """
    clean, rows = figures[0], [row for row in figures[1:] if row["name"] != MIRRORED]
    loss = 100 * (clean["accuracy"] - float(np.mean([row["accuracy"] for row in rows])))
    worst = min(rows, key=lambda row: row["accuracy"])
    return {"mean_loss": round(loss, 2), "worst": {key: worst[key] for key in ("name", "strength", "accuracy")}}
