"""What a person shows: recordings and images from files, the same for everybody who reads them."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from spikesight.encoders.sample import IMAGE_SUFFIXES, read_pixels, read_sample


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_of_the_list_is_read_as_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix.upper()}"
    cv2.imwrite(str(path), np.full((30, 40) if suffix == ".pgm" else (30, 40, 3), 90, np.uint8))
    pixels = read_sample(path).pixels
    assert pixels is not None
    assert (pixels.shape, pixels.dtype) == ((30, 40, 3), np.uint8)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_ink_on_a_transparent_ground_is_laid_on_white(suffix: str, depth: type) -> None:
    if suffix == ".webp" and depth is np.uint16:
        pytest.skip("WebP has eight bits")
    full = np.iinfo(depth).max
    ink = np.zeros((8, 9, 4), depth)
    ink[2:6, 4] = 0, 0, full, full  # red, in OpenCV's order
    ink[2:6, 7] = 0, 0, 0, full // 2
    data = cv2.imencode(suffix, ink, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])[1].tobytes()
    pixels = read_pixels(data)
    assert pixels is not None
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[3, 4].tolist() == [255, 0, 0]
    assert abs(int(pixels[3, 7, 0]) - 128) <= 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(("kind", "shape"), [("PNG", (5, 5)), ("PNG", (5, 7)), ("WEBP", (5, 5))])
def test_a_turned_photograph_has_its_transparency_where_it_was(kind: str, shape: tuple[int, int], turn: int) -> None:
    ink = np.zeros((*shape, 4), np.uint8)  # black, seen where it is opaque
    ink[:2, 1:, 3] = 255
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = turn
    Image.fromarray(ink).save(file, kind, exif=exif, lossless=True)
    shown = ImageOps.exif_transpose(Image.open(file))
    pixels = read_pixels(file.getvalue())
    assert pixels is not None
    assert np.array_equal(pixels[..., 0], 255 - np.asarray(shown)[..., 3])
