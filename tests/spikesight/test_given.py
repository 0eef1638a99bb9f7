"""Events and pictures that people hand in: other libraries' are taken as they are, what is wrong is refused."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.lib import recfunctions
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.binning import bin_events
from spikesight.encoders.dvs import DvsEncoder, StreamBinner
from spikesight.encoders.events import EVENTS, SensorSize, as_events
from spikesight.encoders.sample import as_pixels
from tests.support.inputs.samples import seven
from tests.support.refusals import refusal

SIZE = SensorSize(34, 34)
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


def shaped(events: NDArray[np.void], dtype: np.dtype, off: int = 0) -> NDArray[np.void]:
    """The same events in another program's array; `off` is what it calls OFF."""
    out = np.zeros(len(events), dtype)
    for key, names in {"t": ("t", "timestamp"), "x": ("x",), "y": ("y",), "p": ("p", "polarity", "on")}.items():
        name = next(name for name in names if name in (dtype.names or ()))
        out[name] = events[key] if key != "p" else np.where(events["p"], 1, off)
    return out


FOREIGN: dict[str, Callable[[NDArray[np.void]], Any]] = {
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
def test_the_arrays_of_other_programs_are_the_same_events(
    model: spikesight.Model, events: NDArray[np.void], tmp_path: Path, name: str
) -> None:
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


def test_events_as_they_should_be_are_not_copied_and_every_other_one_is_a_view(
    model: spikesight.Model, events: NDArray[np.void]
) -> None:
    assert as_events(events, SIZE) is events
    assert model.predict(events[::2], SIZE).logits == model.predict(events[::2].copy(), SIZE).logits


@pytest.mark.parametrize("size", [SIZE, (34, 34), [34, 34], "34x34", np.array([34, 34], np.uint8)])
def test_a_size_is_written_in_several_ways(
    model: spikesight.Model, events: NDArray[np.void], tmp_path: Path, size: Any
) -> None:
    assert model.predict(events, size).label == "7"
    spikesight.write_recording(tmp_path / "a.es.csv", events, size)
    assert model.predict(tmp_path / "a.es.csv", spikesight.read(tmp_path / "a.es.csv").size).label == "7"


def changed(key: str, values: Any, dtype: np.dtype = TABLE) -> Callable[[NDArray[np.void]], Any]:
    """Events whose first values of a field are others."""

    def change(events: NDArray[np.void]) -> NDArray[np.void]:
        out = shaped(events, dtype)
        out[key][: len(values)] = values
        return out

    return change


WRONG: dict[str, tuple[Callable[[NDArray[np.void]], Any], str]] = {
    "times in seconds": (lambda e: changed("t", e["t"] / 1e6)(e), r"field t .* whole microseconds: of seconds"),
    "a time that is none": (changed("t", [np.nan]), "field t .* not finite"),
    "an endless time": (changed("t", [np.inf]), "field t .* not finite"),
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
def test_events_that_are_wrong_are_refused_at_every_door(
    events: NDArray[np.void], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    change, match = WRONG[wrong]
    refusal(lambda: DOORS[door](change(events), SIZE), match)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("door", ["predict", "steps", "stream", "write", "write pieces"])
def test_events_that_are_not_sorted_are_refused(
    events: NDArray[np.void], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for dtype in (EVENTS, TONIC):
        change = changed("t", [200_000], dtype)
        refusal(lambda change=change: DOORS[door](change(events), SIZE), "not sorted")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("size", [34, 34.0, (34,), (34, 34, 2), (34.5, 34), ("34", "34"), "34", "34x", (0, 34), {}])
def test_sizes_that_are_none_are_refused_at_every_door(
    events: NDArray[np.void], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, size: Any
) -> None:
    monkeypatch.chdir(tmp_path)
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


def test_a_tensor_of_bfloat16_is_a_picture(model: spikesight.Model) -> None:
    assert model.predict(torch.from_numpy(GREY > 127).bfloat16()).logits == model.predict(GREY > 127).logits


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "LA", "turned"])
def test_an_image_of_pillow_is_seen_as_its_file(model: spikesight.Model, tmp_path: Path, mode: str) -> None:
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
    "[H]": (lambda: np.zeros(28, np.uint8), "pixels are"),
    "[N, H, W, C]": (lambda: np.zeros((1, 28, 28, 3), np.uint8), "pixels are"),
    "empty": (lambda: np.zeros((0, 28), np.uint8), "pixels are"),
    "NaN": (lambda: np.where(GREY > 0, np.nan, 0.0), "between 0 and 1"),
    "above 1": (lambda: GREY.astype(np.float32), "between 0 and 1"),
    "below 0": (lambda: GREY / 255 - 0.5, "between 0 and 1"),
    "int64": (lambda: GREY.astype(np.int64), "uint8, or real numbers"),
    "uint16": (lambda: GREY.astype(np.uint16), "uint8, or real numbers"),
    "objects": (lambda: GREY.astype(object), "uint8, or real numbers"),
    "a batch": (lambda: torch.zeros(1, 1, 28, 28), "pixels are"),
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
def test_an_image_of_pillow_with_more_than_8_bits_is_refused(model: spikesight.Model, mode: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    refusal(lambda: model.predict(pillow.new(mode, (28, 28))), "8 bits a channel")


def test_a_size_that_is_not_the_file_s_is_refused(
    model: spikesight.Model, events: NDArray[np.void], tmp_path: Path
) -> None:
    spikesight.write_recording(tmp_path / "a.npz", events, SIZE)
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    assert model.predict(tmp_path / "a.npz", size="34x34").label == "7"
    refusal(lambda: model.predict(tmp_path / "a.npz", size=(64, 64)), "is of a 34x34 sensor, .* cannot be 64x64")
    for picture in (tmp_path / "a.png", GREY):
        refusal(lambda what=picture: model.predict(what, size=(28, 28)), "has no sensor")
