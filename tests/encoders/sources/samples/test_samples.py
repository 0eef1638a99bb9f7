"""The shipped recordings: small, whole, and made by the committed script."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from corpora import draw_samples
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import SAMPLES
from spikesight.encoders.sources import samples
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.shipped import find

CLASSIFIERS = tuple(Classifier.load(find(name)) for name in ("nmnist", "motions"))
NAMES = [sample.name for sample in samples.listing()]


def test_script_makes_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_samples, "SAMPLES", tmp_path)
    draw_samples.main()
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.raw" for name in NAMES} | {"index.json"}
    for name in NAMES:
        made, shipped = (cells(read_recording(folder / f"{name}.raw").events) for folder in (tmp_path, SAMPLES))
        assert np.abs(made - shipped).sum() < 0.02 * shipped.sum(), "run draw_samples.py again"
    made, shipped = (json.loads((folder / "index.json").read_text()) for folder in (tmp_path, SAMPLES))
    for line in (*made, *shipped):
        line["duration_us"] = pytest.approx(line["duration_us"], abs=2_000)
    assert made == shipped


def cells(events: Events) -> np.ndarray:
    """How many events lie in each 20 ms, 4 x 4 pixels and polarity."""
    places = [events["t"] // 20_000, events["x"] // 4, events["y"] // 4, events["p"].astype(int)]
    return np.histogramdd(np.stack(places, 1), bins=(50, 16, 16, 2), range=((0, 50), (0, 16), (0, 16), (0, 2)))[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_right_from_the_first_label_shown_through_its_loop(name: str) -> None:
    sample = next(sample for sample in samples.listing() if sample.name == name)
    words = set(re.split(r"\W+", sample.label))
    classifier = next(c for c in CLASSIFIERS if words & set(c.labels))
    session, events = Session(classifier, SensorSize(sample.width, sample.height)), samples.events_of(name)
    stepper, shown = Stepper(classifier, session.readout), []
    for _ in range(4):
        shown += [stepper.step(given).prediction.label for given in session.push(events)]
        session.reset()  # as the page does at the recording's end
    labels = set(shown) - {""}
    assert labels <= words
    assert labels or classifier.novelty is None, "a model that was never calibrated may lack the evidence"
