"""The suite of corruptions on recordings: a row each, against the recordings as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.faults import SUITE
from benchmarks.corruptions import Row, corrupted, rows, summary, unchanged
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import NMNIST_SENSOR, empty_events
from spikesight.models.classifier import Classifier
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.data.sets import Item
from spikesight.training.run.readings import Source
from tests.support.inputs.data_sets import write_idx, write_takes
from tests.support.models import tiny


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = write_takes(tmp_path_factory.mktemp("takes"), ["one.npz", "two-1.npz", "two-2.npz"], 0.5)
    return [Source(Item(path, 0), path.name.split(".")[0].split("-")[0]) for path in sorted(folder.glob("*.npz"))]


def test_the_first_row_is_the_recordings_as_they_are_and_every_fault_has_one(sources: list[Source]) -> None:
    classifier: Classifier = tiny()
    suite = [Row("nothing at all", "", unchanged), *rows("a folder", "nowhere", sources)[:2]]
    clean, same, *others = corrupted(classifier, sources, suite)
    assert (clean["name"], clean["right"]["count"], clean["best_guess"]["count"]) == ("none", 3, 3)
    assert {**same, "name": "none"} == clean
    assert [row["strength"] for row in others] == [fault.strength for fault in SUITE[:2]]


def test_what_a_corruption_costs_is_counted_in_both_columns() -> None:
    def row(name: str, right: float, guess: float) -> dict:
        return {"name": name, "strength": "", "right": {"accuracy": right}, "best_guess": {"accuracy": guess}}

    figures = [row("none", 0.9, 1.0), row("noise", 0.1, 0.9), row("shake", 0.5, 0.7), row("mirrored", 0.0, 0.0)]
    worst = {"name": "noise", "strength": "", "accuracy": 0.1}
    assert summary(figures) == {"mean_loss": 60.0, "guess_loss": 20.0, "worst": worst}


def test_digits_are_emulated_anew_where_their_images_are(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", test=6)
    test = [Source(Item(tmp_path / f"{60_001 + n}.bin", 0), "0") for n in (4, 2)]
    found = [row for row in rows("nmnist", str(tmp_path), test) if row.name == "emulated threshold"]
    assert [row.strength for row in found] == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    counts = [len(row.change(0, empty_events(), NMNIST_SENSOR)) for row in found]
    assert counts == sorted(counts, reverse=True), "the higher the threshold, the fewer the events"
    image = read_idx(find_idx(tmp_path, "mnist", "t10k-images-idx3-ubyte"))[4]
    camera = replace(NMNIST, threshold_on=0.3, threshold_off=0.3)
    expected = saccades(image, NMNIST_SENSOR, movement=camera, seed=0)
    assert np.array_equal(found[2].change(0, empty_events(), NMNIST_SENSOR), expected), "60005.bin is the fifth image"
    assert not [row for row in rows("nmnist", str(tmp_path / "none"), test) if row.name == "emulated threshold"]
    odd = [Source(Item(tmp_path / "mine.bin", 0), "0")]
    assert not [row for row in rows("nmnist", str(tmp_path), odd) if row.name == "emulated threshold"]
