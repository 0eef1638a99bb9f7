"""What a person shows: recordings and images from files, the same for everybody who reads them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.encoders.sample import IMAGE_SUFFIXES, may_be_transparent, read_pixels, read_sample
from tests.support.inputs.samples import written


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_of_the_list_is_read_as_an_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix.upper()}"
    cv2.imwrite(str(path), np.full((30, 40) if suffix == ".pgm" else (30, 40, 3), 90, np.uint8))
    pixels = read_sample(path).pixels
    assert pixels is not None
    assert (pixels.shape, pixels.dtype) == ((30, 40, 3), np.uint8)


def test_recordings_come_with_their_sensor(tmp_path: Path) -> None:
    path, events, size = written(tmp_path, "evt3")
    sample = read_sample(path)
    assert sample.size == size
    assert sample.events is not None
    assert len(sample.events) == len(events)


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    for name in ("text.png", "missing.png"):
        with pytest.raises(ValueError, match=r"no such file|not an image"):
            read_sample(tmp_path / name)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
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


def png(colour: int, *chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(9) + bytes([colour]) + b"".join(chunks)


def webp(kind: bytes, flags: int = 0) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + bytes([flags]) + bytes(9)


@pytest.mark.parametrize(
    ("data", "may"),
    [
        *((png(colour, b"IDAT"), colour in (4, 6)) for colour in range(8)),
        (png(3, b"tRNS", b"IDAT"), True),
        (png(3, b"IDAT", b"tRNS"), False),
        (png(4)[:25], False),
        (webp(b"VP8L"), True),
        (webp(b"VP8 ", 0x10), False),
        (webp(b"VP8X", 0x10), True),
        (webp(b"VP8X", 0x1F), True),
        (webp(b"VP8X", 0xEF), False),
        (webp(b"VP8X", 0x10)[:20], False),
        (webp(b"VP8X", 0x10)[:21], True),
        (b"RIFX" + webp(b"VP8L")[4:], False),
        (b"RIFF    WEBQVP8L", False),
        (b"\xff\xd8\xff", False),
        (b"", False),
    ],
)
def test_what_may_be_transparent(data: bytes, may: bool) -> None:
    assert may_be_transparent(data) == may


def test_half_a_transparency_is_half_white() -> None:
    for depth, alpha, expected in (
        (np.uint8, 51, 204),
        (np.uint16, 13107, 204),
        (np.uint8, 255, 0),
        (np.uint8, 0, 255),
    ):
        ink = np.zeros((3, 4, 4), depth)
        ink[..., 3] = alpha
        pixels = read_pixels(cv2.imencode(".png", ink)[1].tobytes())
        assert pixels is not None
        assert (pixels == expected).all()
    assert read_pixels(b"") is None
    assert read_pixels(b"\x89PNG\r\n\x1a\n" + bytes(17) + b"\6") is None
