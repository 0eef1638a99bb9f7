"""The face for Python: names that cost nothing until used; models that predict files, arrays and streams."""

import re
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import EventsError, SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.sources import chunks as sources
from spikesight.encoders.sources import samples
from tests.support.inputs.samples import seven
from tests.support.processes import ROOT, in_fresh_process
from tests.support.refusals import refusal

SIZE = SensorSize(34, 34)
Events = NDArray[np.void]


def logits(steps: Any) -> list[tuple[float, ...]]:
    return [step.logits for step in steps]


def test_importing_brings_none_of_the_heavy_modules() -> None:
    heavy = {"torch", "cv2", "numpy", "numba"}
    assert in_fresh_process(f"import sys, spikesight; print({heavy} & {{*sys.modules}})") == "set()"


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
    assert not {name for name in loaded if name.split(".")[1] in ("app", "service", "training")}


def test_the_shipped_models_are_listed_the_default_first(model: spikesight.Model) -> None:
    assert spikesight.list_models()[0] == spikesight.load().name == model.name
    assert model.labels == tuple("0123456789")
    assert "nmnist" in repr(model)


def test_a_recording_is_seen_alike_as_a_file_an_array_and_a_stream(
    model: spikesight.Model, events: Events, tmp_path: Path
) -> None:
    path = tmp_path / "seven.npz"
    spikesight.write_recording(path, events, SIZE)
    steps = logits(model.steps(events, SIZE))
    given: list[tuple[Any, ...]] = [(path,), (str(path),), (events, SIZE)]
    assert all(model.predict(*one).logits == steps[-1] for one in given)
    streams = [logits(model.stream(*one[:1], size=SIZE if len(one) > 1 else None)) for one in given]
    assert streams[0] == streams[1] == streams[2]
    assert model.predict(path).label == "7"


def test_an_image_is_predicted_alike_as_a_file_and_as_pixels(model: spikesight.Model, tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    cv2.imwrite(str(path), seven())
    for one in (model, spikesight.load("mnist-direct")):
        assert one.predict(path).logits == one.predict(np.repeat(seven()[..., None], 3, axis=2)).logits
        assert one.predict(path).label == one.predict(seven()).label == "7"


@pytest.mark.parametrize("name", ["nmnist", "mnist-ann", "mnist-converted"])
def test_a_caller_who_computes_in_float64_gets_the_same_answers(name: str) -> None:
    answer, ours = spikesight.load(name).predict(seven()), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        again = spikesight.load(name).predict(seven())
    finally:
        torch.set_default_dtype(ours)
    assert (again.logits, again.probabilities) == (answer.logits, answer.probabilities)


def test_steps_end_with_what_predict_says_and_every_call_begins_at_rest(model: spikesight.Model) -> None:
    steps = model.steps(seven())
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].logits == model.predict(seven()).logits
    assert logits(model.steps(seven())) == logits(steps)


@pytest.mark.parametrize("objects", [0, 2])
def test_without_events_there_is_one_step_and_nothing_seen(
    model: spikesight.Model, events: Events, objects: int
) -> None:
    for few in (events[:0], events[:1]):
        assert [step.label for step in model.steps(few, (34, 34), objects=objects)] == ["nothing"]


@pytest.mark.parametrize("name", [sample.name for sample in samples.listing() if sample.name.startswith("digit")])
def test_a_sample_is_a_stream_that_ends_with_its_label(model: spikesight.Model, name: str) -> None:
    answers = list(model.stream(name))
    assert [answer.step for answer in answers] == list(range(1, len(answers) + 1))
    assert answers[-1].label == name.removeprefix("digit-")


def test_two_streams_of_one_model_do_not_disturb_each_other(model: spikesight.Model) -> None:
    pairs = list(zip(model.stream("digit-3"), model.stream("digit-7")))
    assert logits(three for three, _ in pairs) == logits(model.stream("digit-3"))[: len(pairs)]


def test_a_stream_steps_at_the_bin_that_is_asked_for(model: spikesight.Model) -> None:
    assert model.bins_ms == (1, 31)
    fine, own = list(model.stream("digit-3", bin_ms=5)), list(model.stream("digit-3"))
    assert {p.end_us - p.start_us for p in fine} == {5000}
    assert len(fine) > 5 * len(own)
    assert fine[-1].label == own[-1].label == "3"


@pytest.mark.parametrize("name", [3, None, 1.5, b"a.raw", ["a.raw"]])
def test_what_names_no_file_is_refused(events: Events, name: Any) -> None:
    refusal(lambda: spikesight.read(name), "named by its path")
    refusal(lambda: spikesight.write_recording(name, events, SIZE), "named by its path")
    refusal(lambda: spikesight.teach(name, "model"), "named by its path")
    refusal(lambda: spikesight.teach("folder", name), "named by its path")


@pytest.mark.parametrize(
    ("source", "words", "match"),
    [
        *((source, {}, "no source") for source in ("nosuch.raw", 3.5, ["digit-3"])),
        *(("digit-3", {"error_rate": rate}, "error_rate must lie") for rate in (2, 0, 1, float("nan"), "0.1")),
        *(("digit-3", {"bin_ms": bin_ms}, "bin_ms is a number") for bin_ms in ("5", [5])),
        *(("digit-3", {"bin_ms": bin_ms}, "bin_ms must be") for bin_ms in (float("nan"), -1, 40)),
        ("digit-3", {"size": SIZE}, "has its own"),
        (saccades(seven()), {}, "need the sensor's size"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_when_it_is_asked_for(
    model: spikesight.Model, source: Any, words: dict[str, Any], match: str
) -> None:
    refusal(lambda: model.stream(source, **words), match)


def test_a_model_of_images_takes_no_events(events: Events) -> None:
    images = spikesight.load("mnist-direct")
    refusal(lambda: images.stream("digit-3"), "takes images")
    refusal(lambda: images.stream(events, size=SIZE), "takes images")
    refusal(lambda: images.predict(events, SIZE), "takes images")


def test_what_cannot_be_read_has_its_error(model: spikesight.Model, tmp_path: Path) -> None:
    for name, error in (("a.aedat4", spikesight.RecordingError), ("a.png", ValueError)):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(error):
            model.predict(tmp_path / name)
    with pytest.raises(spikesight.CheckpointError):
        spikesight.load("no-such-model")
    with pytest.raises(spikesight.SourceError):
        model.stream("no-such-source")


@pytest.mark.parametrize("end", ["not begun", "broken off", "refused"])
def test_a_source_is_closed_when_its_stream_is_not_begun_broken_off_or_refused(
    end: str, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Camera(AbstractContextManager):
        size, running, packets = SIZE, True, iter([events])

        def close(self) -> None:
            closed.append("closed")

        def __exit__(self, *_: object) -> None:
            self.close()

        def read(self, _: float) -> Events | None:
            return next(self.packets, None)

    monkeypatch.setattr(sources, "open_camera", lambda _: Camera())
    source = "udp://127.0.0.1:9?size=34x34&format=t64"
    if end == "refused":
        refusal(lambda: spikesight.load("mnist-direct").stream(source), "takes images")
    else:
        stream = spikesight.load("nmnist").stream(source)
        if end == "broken off":
            next(stream)
        assert closed == []
        del stream
    assert closed


def test_a_sensor_s_sides_are_numbers_that_do_not_overflow() -> None:
    size = SensorSize(np.uint8(200), np.uint8(100))  # type: ignore[arg-type]
    assert size.width * size.height == 20_000
    with pytest.raises(EventsError, match="whole pixels"):
        SensorSize(34.0, 34)  # type: ignore[arg-type]


FACES = [
    ".".join(("spikesight", *stub.parent.relative_to(ROOT).parts))
    for top in ("encoders", "models", "training")
    for stub in sorted((ROOT / top).rglob("__init__.pyi"))
]


@pytest.mark.parametrize("face", FACES)
def test_a_face_is_small_and_each_of_its_names_is_there_and_on_the_page(face: str) -> None:
    names = import_module(face).__all__
    assert 0 < len(names) <= 10
    row = re.search(rf"^\| `{re.escape(face)}` \| (.*) \|$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    assert row
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(names)
    for name in names:
        assert getattr(import_module(face), name) is not None


def test_a_face_costs_nothing_before_it_is_used() -> None:
    program = f"import sys, {', '.join(FACES)}; print(sorted({{'numba', 'numpy', 'torch'}} & {{*sys.modules}}))"
    assert in_fresh_process(program) == "[]"
