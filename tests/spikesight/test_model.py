"""The face for Python: names that cost nothing until used, and a model that predicts files, arrays and streams."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.sources import samples
from tests.support.inputs.samples import seven
from tests.support.processes import ROOT, in_fresh_process

SIZE = SensorSize(34, 34)
HEAVY = ("torch", "cv2", "numpy", "numba")


def test_importing_brings_none_of_the_heavy_modules() -> None:
    code = f"import sys, spikesight; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_for_people_and_for_star_imports() -> None:
    names: dict[str, object] = {}
    exec("from spikesight import *", names)
    assert {"load", "list_models", "read", "teach", "Model"} < {*dir(spikesight)} == names.keys() - {"__builtins__"}
    assert names["read"] is read_recording
    with pytest.raises(AttributeError, match="train"):
        spikesight.train  # type: ignore[attr-defined]  # noqa: B018


def test_a_stream_brings_no_service_no_command_and_no_training_along() -> None:
    program = "import sys, spikesight; list(spikesight.load('nmnist').stream('digit-3')); print(*sys.modules)"
    loaded = {name for name in in_fresh_process(program).split() if name.startswith("spikesight.")}
    assert "spikesight.models.classifier.session" in loaded
    assert not {name for name in loaded if name.split(".")[1] in ("app", "service", "training")}


def test_the_shipped_models_are_listed_the_default_first(model: spikesight.Model) -> None:
    assert spikesight.list_models()[0] == spikesight.load().name == model.name
    assert model.labels == tuple("0123456789")
    assert "nmnist" in repr(model)


def test_a_recording_is_predicted_alike_as_a_file_and_as_an_array(model: spikesight.Model, tmp_path: Path) -> None:
    events = saccades(seven())
    path = tmp_path / "seven.npz"
    spikesight.write_recording(path, events, SIZE)
    answers = [
        model.predict(path),
        model.predict(str(path)),
        model.predict(events, SIZE),
        model.predict(events, (34, 34)),
    ]
    assert {answer.logits for answer in answers} == {answers[0].logits}
    assert answers[0].label == "7"


def test_an_image_is_predicted_alike_as_a_file_and_as_pixels(model: spikesight.Model, tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    cv2.imwrite(str(path), seven())
    colours = np.repeat(seven()[..., None], 3, axis=2)
    for one in (model, spikesight.load("mnist-direct")):
        answers = [one.predict(path), one.predict(colours)]
        assert answers[0].logits == answers[1].logits
        assert answers[0].label == one.predict(seven()).label == "7"


def test_steps_end_with_what_predict_says_and_every_call_begins_at_rest(model: spikesight.Model) -> None:
    steps = model.steps(seven())
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].logits == model.predict(seven()).logits
    assert [step.logits for step in model.steps(seven())] == [step.logits for step in steps]


@pytest.mark.parametrize("name", [sample.name for sample in samples.listing() if sample.name.startswith("digit")])
def test_a_sample_is_a_stream_that_ends_with_its_label(model: spikesight.Model, name: str) -> None:
    answers = list(model.stream(name))
    assert [answer.step for answer in answers] == list(range(1, len(answers) + 1))
    assert answers[-1].label == name.removeprefix("digit-")


def test_two_streams_of_one_model_do_not_disturb_each_other(model: spikesight.Model) -> None:
    alone = [answer.logits for answer in model.stream("digit-3")]
    pairs = zip(model.stream("digit-3"), model.stream("digit-7"))
    assert [three.logits for three, _ in pairs] == alone


def test_what_cannot_be_taken_is_said(model: spikesight.Model, tmp_path: Path) -> None:
    events = saccades(seven())
    with pytest.raises(ValueError, match="need the sensor's size"):
        model.predict(events)
    with pytest.raises(ValueError, match="takes images"):
        spikesight.load("mnist-direct").predict(events, SIZE)
    with pytest.raises(ValueError, match="takes images"):
        list(spikesight.load("mnist-direct").stream("digit-3"))
    with pytest.raises(spikesight.CheckpointError):
        spikesight.load("no-such-model")
    with pytest.raises(spikesight.SourceError, match="no source"):
        list(model.stream("no-such-source"))
    broken = tmp_path / "broken.aedat4"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(spikesight.RecordingError):
        model.predict(broken)
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="not an image"):
        model.predict(picture)


def test_a_stream_steps_at_the_bin_that_is_asked_for(model: spikesight.Model) -> None:
    assert model.bins_ms == (1, 31)
    fine, own = list(model.stream("digit-3", bin_ms=5)), list(model.stream("digit-3"))
    assert {p.end_us - p.start_us for p in fine} == {5000}
    assert len(fine) > 5 * len(own)
    assert fine[-1].label == own[-1].label == "3"
    with pytest.raises(ValueError, match="whole milliseconds from 1 to 31"):
        list(model.stream("digit-3", bin_ms=40))
