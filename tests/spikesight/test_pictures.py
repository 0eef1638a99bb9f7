"""Pixels, Pillow's images and tensors that people hand in: one picture however it lies, what is none is refused."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.fit import fit_digit, fit_plain
from spikesight.encoders.sample import as_pixels
from tests.support.inputs.samples import seven
from tests.support.refusals import refusal

SIZE = SensorSize(34, 34)
load = cache(spikesight.load)

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


@pytest.mark.parametrize("fit", [fit_digit, fit_plain])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 2), (28, 28, 4), (3, 28, 28), (0, 28), (0, 28, 3), (28,)])
def test_pictures_are_fitted_as_they_are_documented(
    fit: Callable[..., object], channels: int, shape: tuple[int, ...]
) -> None:
    refusal(lambda: fit(np.zeros(shape, np.uint8), 28, 28, channels), "must be uint8")
