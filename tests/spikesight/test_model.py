"""The face for Python: names that cost nothing, models that predict; what people hand in, as it is or refused."""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch
from numpy.lib import recfunctions
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.binning import bin_events
from spikesight.encoders.dvs import DvsEncoder, StreamBinner
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import EVENTS, EventsError, SensorSize, as_events
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.sample import as_pixels
from spikesight.encoders.sources import chunks as sources
from spikesight.encoders.sources import samples
from spikesight.model import Model
from tests.support.inputs.samples import seven
from tests.support.processes import ROOT, in_fresh_process
from tests.support.refusals import refusal

SIZE = SensorSize(34, 34)
Events = NDArray[np.void]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the test is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logits(steps: Any) -> list[tuple[float, ...]]:
    return [step.logits for step in steps]


def test_importing_brings_none_of_the_heavy_modules() -> None:
    heavy = {"torch", "cv2", "numpy"}
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


def test_the_shipped_models_are_listed_the_default_first(model: Model) -> None:
    assert spikesight.list_models()[0] == spikesight.load().name == model.name
    assert model.labels == tuple("0123456789")
    assert "nmnist" in repr(model)


def test_a_recording_is_alike_as_a_file_an_array_and_a_stream(model: Model, events: Events, tmp_path: Path) -> None:
    path = tmp_path / "seven.npz"
    spikesight.write_recording(path, events, SIZE)
    steps = logits(model.steps(events, SIZE))
    given: list[tuple[Any, ...]] = [(path,), (str(path),), (events, SIZE)]
    assert all(model.predict(*one).logits == steps[-1] for one in given)
    streams = [logits(model.stream(*one[:1], size=SIZE if len(one) > 1 else None)) for one in given]
    assert streams[0] == streams[1] == streams[2]
    assert model.predict(path).label == "7"


def test_an_image_is_predicted_alike_as_a_file_and_as_pixels(model: Model, tmp_path: Path) -> None:
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


def test_steps_end_with_what_predict_says_and_every_call_begins_at_rest(model: Model) -> None:
    steps = model.steps(seven())
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].logits == model.predict(seven()).logits
    assert logits(model.steps(seven())) == logits(steps)


@pytest.mark.parametrize("name", [sample.name for sample in samples.listing() if sample.name.startswith("digit")])
def test_a_sample_is_a_stream_that_ends_with_its_label(model: Model, name: str) -> None:
    answers = list(model.stream(name))
    assert [answer.step for answer in answers] == list(range(1, len(answers) + 1))
    assert answers[-1].label == name.removeprefix("digit-")


def test_two_streams_of_one_model_do_not_disturb_each_other(model: Model) -> None:
    pairs = list(zip(model.stream("digit-3"), model.stream("digit-7")))
    assert logits(three for three, _ in pairs) == logits(model.stream("digit-3"))[: len(pairs)]


def test_a_stream_steps_at_the_bin_that_is_asked_for(model: Model) -> None:
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
def test_a_stream_that_cannot_be_is_refused(model: Model, source: Any, words: dict[str, Any], match: str) -> None:
    refusal(lambda: model.stream(source, **words), match)


def test_a_model_of_images_takes_no_events(events: Events) -> None:
    images = spikesight.load("mnist-direct")
    refusal(lambda: images.stream("digit-3"), "takes images")
    refusal(lambda: images.stream(events, size=SIZE), "takes images")
    refusal(lambda: images.predict(events, SIZE), "takes images")


def test_what_cannot_be_read_has_its_error(model: Model, tmp_path: Path) -> None:
    for name, error in (("a.aedat4", spikesight.RecordingError), ("a.png", ValueError)):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(error):
            model.predict(tmp_path / name)
    with pytest.raises(spikesight.CheckpointError):
        spikesight.load("no-such-model")
    with pytest.raises(spikesight.SourceError):
        model.stream("no-such-source")


@pytest.mark.parametrize("end", ["not begun", "broken off", "refused"])
def test_a_source_is_closed_however_its_stream_ends(end: str, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = MagicMock(size=SIZE, running=True)
    camera.read.side_effect = chain([events], repeat(None))
    monkeypatch.setattr(sources, "open_camera", lambda _: camera)
    source = "udp://127.0.0.1:9?size=34x34&format=t64"
    if end == "refused":
        refusal(lambda: spikesight.load("mnist-direct").stream(source), "takes images")
    else:
        stream = spikesight.load("nmnist").stream(source)
        if end == "broken off":
            next(stream)
        assert True not in (camera.close.called, camera.__exit__.called)
        del stream
    assert camera.close.called or camera.__exit__.called


def test_a_sensor_s_sides_are_numbers_that_do_not_overflow() -> None:
    size = SensorSize(np.uint8(200), np.uint8(100))  # type: ignore[arg-type]
    assert size.width * size.height == 20_000
    refusal(lambda: SensorSize(34.0, 34), "whole pixels", EventsError)  # type: ignore[arg-type]


FACES = [
    ".".join(("spikesight", *stub.parent.relative_to(ROOT).parts))
    for top in ("encoders", "models", "training")
    for stub in sorted((ROOT / top).rglob("__init__.pyi"))
]


@pytest.mark.parametrize("face", FACES)
def test_a_face_is_small_and_each_of_its_names_is_there_and_on_the_page(face: str) -> None:
    names = import_module(face).__all__
    assert 0 < len(names) <= 11
    row = re.search(rf"^\| `{re.escape(face)}` \| (.*) \|$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    assert row
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(names)
    for name in names:
        assert getattr(import_module(face), name) is not None


def test_a_face_costs_nothing_before_it_is_used() -> None:
    program = f"import sys, {', '.join(FACES)}; print(sorted({{'numpy', 'torch'}} & {{*sys.modules}}))"
    assert in_fresh_process(program) == "[]"


load = cache(spikesight.load)
Door = Callable[[Any, Any], object]
"""Takes events and a sensor's size."""

TONIC = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
METAVISION = np.dtype(
    {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16}
)
DV = np.dtype([("timestamp", "<i8"), ("x", "<i2"), ("y", "<i2"), ("polarity", "i1")])
FAERY = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
TABLE = np.dtype([("p", "<f8"), ("y", "<i4"), ("t", "<f8"), ("x", "<i8")])
BIG = np.dtype([("t", ">i4"), ("x", ">u2"), ("y", ">u2"), ("p", "u1")])


def shaped(events: Events, dtype: np.dtype, off: int = 0) -> Events:
    """The same events in another program's array; `off` is what it calls OFF."""
    out = np.zeros(len(events), dtype)
    for key, names in {"t": ("t", "timestamp"), "x": ("x",), "y": ("y",), "p": ("p", "polarity", "on")}.items():
        name = next(name for name in names if name in (dtype.names or ()))
        out[name] = events[key] if key != "p" else np.where(events["p"], 1, off)
    return out


FOREIGN: dict[str, Callable[[Events], Any]] = {
    "Tonic": lambda e: shaped(e, TONIC),
    "Metavision": lambda e: shaped(e, METAVISION),
    "dv-processing": lambda e: shaped(e, DV),
    "-1 and +1": lambda e: shaped(e, DV, -1),
    "faery": lambda e: shaped(e, FAERY),
    "a table": lambda e: shaped(e, TABLE),
    "big-endian": lambda e: shaped(e, BIG),
    "fields taken out": lambda e: e[["x", "y", "t", "p"]].copy(),
    "fields seen": lambda e: e[["x", "y", "t", "p"]],
    "aligned": lambda e: shaped(e, np.dtype(EVENTS.descr, align=True)),
    "more fields": lambda e: recfunctions.append_fields(e, "cluster", np.zeros(len(e)), usemask=False),
    "records": lambda e: e.view(np.recarray),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_arrays_of_other_programs_are_the_same_events(model: Model, events: Events, tmp_path: Path, name: str) -> None:
    given = FOREIGN[name](events)
    before = given.copy()
    assert model.predict(given, SIZE).logits == model.predict(events, SIZE).logits
    assert [p.logits for p in model.stream(given, size=SIZE)] == [p.logits for p in model.stream(events, size=SIZE)]
    spikesight.write_recording(tmp_path / "a.npz", given, SIZE)
    assert np.array_equal(spikesight.read(tmp_path / "a.npz").events, events)
    encoder = DvsEncoder(SIZE, (34, 34))
    assert np.array_equal(encoder(given), encoder(events))
    whole = [StreamBinner(encoder).push(e) for e in (given, events)]
    assert [b.x.tobytes() for b in whole[0]] == [b.x.tobytes() for b in whole[1]]
    assert np.array_equal(given, before)


def test_events_as_they_should_be_are_not_copied_and_every_other_one_is_a_view(model: Model, events: Events) -> None:
    assert as_events(events, SIZE) is events
    assert model.predict(events[::2], SIZE).logits == model.predict(events[::2].copy(), SIZE).logits


@pytest.mark.parametrize("size", [SIZE, (34, 34), [34, 34], "34x34", np.array([34, 34], np.uint8)])
def test_a_size_is_written_in_several_ways(model: Model, events: Events, tmp_path: Path, size: Any) -> None:
    assert model.predict(events, size).label == "7"
    spikesight.write_recording(tmp_path / "a.es.csv", events, size)
    assert model.predict(tmp_path / "a.es.csv", spikesight.read(tmp_path / "a.es.csv").size).label == "7"


def changed(key: str, values: Any, dtype: np.dtype = TABLE) -> Callable[[Events], Any]:
    """Events whose first values of a field are others."""

    def change(events: Events) -> Events:
        out = shaped(events, dtype)
        out[key][: len(values)] = values
        return out

    return change


WRONG: dict[str, tuple[Callable[[Events], Any], str]] = {
    "times in seconds": (lambda e: changed("t", e["t"] / 1e6)(e), r"field t .* whole microseconds: of seconds"),
    "a time that is none": (changed("t", [np.nan]), "field t .* not finite"),
    "a far time": (changed("t", [2**62], TONIC), "field t .* it may from"),
    "a time that does not fit": (changed("t", [2**63], FAERY), "field t .* it may from"),
    "a column beyond": (changed("x", [34], METAVISION), "outside the 34x34 sensor"),
    "a column that would wrap": (changed("x", [65536 + 3], TABLE), "field x .* may from 0 to 2047"),
    "a row below zero": (changed("y", [-1], TABLE), "field y .* may from 0 to 2047"),
    "half a column": (
        lambda e: recfunctions.rename_fields(shaped(e, TABLE), {"p": "x", "x": "p"}),
        "field p .* it may from -1 to 1",
    ),
    "polarity of 2": (changed("p", [2], BIG), "field p .* it may from -1 to 1"),
    "polarity of 0.5": (changed("p", [0.5]), "field p .* fractions"),
    "no polarity": (lambda e: e[["t", "x", "y"]].copy(), "need one field p"),
    "two times": (lambda e: recfunctions.append_fields(e, "ts", e["t"], usemask=False), "need one field t"),
    "dates": (lambda e: e.astype([("t", "M8[us]"), ("x", "i2"), ("y", "i2"), ("p", "?")]), "not a number each"),
    "two dimensions": (lambda e: e.reshape(-1, 1), "flat structured array"),
}
DOORS: dict[str, Door] = {
    "predict": lambda e, size: load("nmnist").predict(e, size),
    "steps": lambda e, size: load("nmnist").steps(e, size),
    "stream": lambda e, size: load("nmnist").stream(e, size=size),
    "write": lambda e, size: spikesight.write_recording("never.npz", e, size),
    "write pieces": lambda e, size: spikesight.write_recording("never.npz", [e], size),
    "encode": lambda e, size: DvsEncoder(SensorSize.of(size), (34, 34))(e),
    "bin": lambda e, size: bin_events(e, 0, 1000, 4, SensorSize.of(size)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", WRONG)
def test_events_that_are_wrong_are_refused_at_every_door(events: Events, here: Path, door: str, wrong: str) -> None:
    change, match = WRONG[wrong]
    refusal(lambda: DOORS[door](change(events), SIZE), match)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("door", ["predict", "steps", "stream", "write", "write pieces"])
@pytest.mark.usefixtures("here")
def test_events_that_are_not_sorted_are_refused(events: Events, door: str) -> None:
    for dtype in (EVENTS, TONIC):
        change = changed("t", [200_000], dtype)
        refusal(lambda change=change: DOORS[door](change(events), SIZE), "not sorted")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("size", [34, 34.0, (34,), (34, 34, 2), (34.5, 34), ("34", "34"), "34", "34x", (0, 34), {}])
@pytest.mark.usefixtures("here")
def test_sizes_that_are_none_are_refused_at_every_door(events: Events, door: str, size: Any) -> None:
    refusal(lambda: DOORS[door](events, size), "size|pixels|sensor")


GREY = seven()
SEEN: dict[str, Callable[[], Any]] = {
    "[H, W, 1]": lambda: GREY[..., None],
    "[H, W, 3]": lambda: np.repeat(GREY[..., None], 3, 2),
    "opaque RGBA": lambda: np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)]),
    "0 to 1": lambda: GREY / 255,
    "halves": lambda: (GREY / 255).astype(np.float32)[..., None],
    "every other row of a larger one": lambda: np.repeat(GREY, 2, 0)[::2],
    "a list's array": lambda: np.array(GREY.tolist(), np.uint8),
    "tensor [H, W]": lambda: torch.from_numpy(GREY),
    "tensor [1, H, W]": lambda: torch.from_numpy(GREY)[None],
    "tensor [3, H, W] of floats": lambda: (torch.from_numpy(GREY).float() / 255).expand(3, -1, -1),
    "tensor with a gradient": lambda: (torch.from_numpy(GREY).float() / 255).requires_grad_(),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("kind", ["nmnist", "mnist-direct"])
def test_one_picture_however_its_pixels_lie(name: str, kind: str) -> None:
    one = load(kind)
    assert one.predict(SEEN[name]()).logits == one.predict(GREY).logits


def test_ones_and_zeros_are_pixels() -> None:
    assert np.array_equal(as_pixels(np.eye(5, dtype=bool)), np.eye(5, dtype=np.uint8) * 255)


def test_a_tensor_of_bfloat16_is_a_picture(model: Model) -> None:
    assert model.predict(torch.from_numpy(GREY > 127).bfloat16()).logits == model.predict(GREY > 127).logits


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "LA", "turned"])
def test_an_image_of_pillow_is_seen_as_its_file(model: Model, tmp_path: Path, mode: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(cv2.resize(GREY, (56, 84))).convert("L" if mode == "turned" else mode)
    if mode == "RGBA":
        image.putalpha(pillow.fromarray(cv2.resize(GREY, (56, 84))))
    if mode == "turned":
        image = pillow.fromarray(np.rot90(GREY).copy())
        image.getexif()[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "a.png", exif=image.getexif())
    assert model.predict(image).logits == model.predict(tmp_path / "a.png").logits
    assert mode != "turned" or model.predict(image).label == "7"


NO_PICTURES: dict[str, tuple[Callable[[], Any], str]] = {
    "[3, H, W]": (lambda: np.zeros((3, 28, 28), np.uint8), "channels come last"),
    "[H, W, 2]": (lambda: np.zeros((28, 28, 2), np.uint8), "1, 3 or 4 channels"),
    "[N, H, W, C]": (lambda: np.zeros((1, 28, 28, 3), np.uint8), "pixels are"),
    "empty": (lambda: np.zeros((0, 28), np.uint8), "pixels are"),
    "NaN": (lambda: np.where(GREY > 0, np.nan, 0.0), "between 0 and 1"),
    "below 0": (lambda: GREY / 255 - 0.5, "between 0 and 1"),
    "int64": (lambda: GREY.astype(np.int64), "uint8, or real numbers"),
    "whole numbers": (lambda: torch.zeros(28, 28, dtype=torch.int64), "uint8, or real numbers"),
    "a list": (lambda: [[0, 1], [1, 0]], "not a list"),
    "nothing": (lambda: None, "not a NoneType"),
    "a number": (lambda: 3, "not an int"),
    "bytes": (lambda: b"\x89PNG", "not a bytes"),
    "no file": (lambda: "nowhere.png", "no such file"),
    "no name": (lambda: "", "cannot open"),
    "a name with a zero": (lambda: "a\0.raw", "named by its path"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
@pytest.mark.parametrize("kind", ["nmnist", "mnist-direct"])
def test_what_is_no_picture_is_refused(name: str, kind: str) -> None:
    make, match = NO_PICTURES[name]
    refusal(lambda: load(kind).predict(make()), match)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_an_image_of_pillow_with_more_than_8_bits_is_refused(model: Model, mode: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    refusal(lambda: model.predict(pillow.new(mode, (28, 28))), "8 bits a channel")


def test_a_size_that_is_not_the_file_s_is_refused(model: Model, events: Events, tmp_path: Path) -> None:
    spikesight.write_recording(tmp_path / "a.npz", events, SIZE)
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    assert model.predict(tmp_path / "a.npz", size="34x34").label == "7"
    refusal(lambda: model.predict(tmp_path / "a.npz", size=(64, 64)), "is of a 34x34 sensor, .* cannot be 64x64")
    for picture in (tmp_path / "a.png", GREY):
        refusal(lambda what=picture: model.predict(what, size=(28, 28)), "has no sensor")
