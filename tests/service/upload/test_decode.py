"""Image bytes to pixels: sizes from headers, upright, 8 bit RGB, and nothing but DecodeError."""

import contextlib
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spikesight.service.upload.decode import SIZES, DecodeError, decode_image, image_format
from tests.support.inputs.samples import picture
from tests.support.serving.hostile import webp_with_size

SUFFIXES = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp"}
ALL = frozenset(SUFFIXES.values())


@pytest.mark.parametrize(("suffix", "kind"), SUFFIXES.items())
@pytest.mark.parametrize("size", [(40, 30), (1, 1), (7, 201)])
def test_sizes_are_read_from_headers(suffix: str, kind: str, size: tuple[int, int]) -> None:
    data = picture(suffix, size)
    assert image_format(data) == kind
    assert set(SIZES[kind](data)) == {size}
    assert decode_image(data, 10_000, formats=ALL).shape == (size[1], size[0], 3)


def test_progressive_and_lossless_sizes() -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    progressive = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    lossless = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert set(SIZES["jpeg"](progressive)) == set(SIZES["webp"](lossless)) == {(40, 30)}
    assert set(SIZES["webp"](webp_with_size(300, 1000))) == {(300, 1000), (40, 30)}


def test_colours_are_rgb() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    assert decode_image(cv2.imencode(".png", red)[1].tobytes(), 100)[0, 0].tolist() == [255, 0, 0]


def test_grey_deep_and_alpha_become_eight_bit_rgb() -> None:
    deep = np.full((5, 6), 65535, np.uint16)
    alpha = np.dstack([np.full((5, 6), 9, np.uint8)] * 4)
    for pixels in (deep, alpha, deep.astype(np.uint8)):
        got = decode_image(cv2.imencode(".png", pixels)[1].tobytes(), 100)
        assert (got.shape, got.dtype) == ((5, 6, 3), np.uint8)


def exif_turned(data: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.attack("images", "EXIF-rotated", "200, upright")
def test_exif_rotation_is_applied() -> None:
    data = picture(".jpg", (40, 30))
    assert decode_image(exif_turned(data, 6), 10_000).shape == (40, 30, 3)
    assert decode_image(exif_turned(data, 1), 10_000).shape == (30, 40, 3)


def test_the_limit_is_on_pixels() -> None:
    data = picture(size=(40, 30))
    assert decode_image(data, 1200).shape == (30, 40, 3)
    with pytest.raises(DecodeError, match="40 x 30") as caught:
        decode_image(data, 1199)
    assert caught.value.status == 413


def test_bmp_is_for_uploads_only() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_image(picture(".bmp"), 10_000)
    assert caught.value.status == 415


@hypothesis_settings(max_examples=80)
@given(
    suffix=st.sampled_from(list(SUFFIXES)),
    cut=st.integers(0, 400),
    at=st.integers(0, 200),
    put=st.binary(max_size=8),
)
def test_damage_is_an_upload_error_or_pixels(suffix: str, cut: int, at: int, put: bytes) -> None:
    data = picture(suffix, (12, 9))
    data = data[: max(0, len(data) - cut)]
    data = data[:at] + put + data[at + len(put) :]
    with contextlib.suppress(DecodeError):
        assert decode_image(data, 1000, formats=ALL).shape[2] == 3
