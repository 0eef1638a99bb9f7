"""Image bytes -> pixels, safely: magic bytes, size from the header, pixel limit, and only then the decoder."""

import os
import struct
from collections.abc import Callable, Iterator

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**24))  # read by OpenCV at import: the second lock

import cv2
import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]  # width, height


class UploadError(ValueError):
    """A sample that cannot be classified, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def image_format(data: bytes) -> str | None:
    """jpeg, png, webp or bmp by the magic bytes; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0" and data[14:18] in BMP_HEADERS:
        return "bmp"
    return None


def decode(data: bytes, max_pixels: int, *, formats: frozenset[str] = frozenset({"jpeg", "png", "webp"})) -> NDArray:
    """Pixels uint8 [H, W, 3] in RGB order, upright (EXIF), 8 bit, no alpha.

    Raises UploadError: 415 for another format, 413 above `max_pixels`, 400 when it is empty or broken.
    """
    if not data:
        raise UploadError(400, "the image is empty: send the bytes of a JPEG, PNG or WebP file")
    kind = image_format(data)
    if kind is None or kind not in formats:
        raise UploadError(415, f"not an image this service reads: send {', '.join(sorted(formats)).upper()}")
    check_size(kind, data, max_pixels)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UploadError(400, f"the {kind.upper()} image is damaged or cut off: send it again")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def check_size(kind: str, data: bytes, max_pixels: int) -> None:
    """Raise UploadError when the header promises no pixels, more than `max_pixels`, or cannot be read."""
    try:
        sizes = list(SIZES[kind](data))
    except (struct.error, IndexError):
        sizes = []
    if not sizes or any(width < 1 or height < 1 for width, height in sizes):
        raise UploadError(400, f"the {kind.upper()} image is damaged or cut off: send it again")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if width * height > max_pixels:
        raise UploadError(413, f"the image has {width} x {height} pixels; this service takes at most {max_pixels}")


def jpeg_sizes(data: bytes) -> Iterator[Size]:
    """Every frame header before the first scan (SOF0 to SOF15, ITU T.81 B.2.2)."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA or marker == 0xD9:  # start of scan, end of image
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            yield width, height
        at += 2 + length


def png_sizes(data: bytes) -> Iterator[Size]:
    """The IHDR chunk, which must come first."""
    if data[12:16] == b"IHDR":
        yield struct.unpack_from(">II", data, 16)


def webp_sizes(data: bytes) -> Iterator[Size]:
    """The canvas (VP8X) and each picture chunk (VP8 or VP8L) that follows it."""
    at = 12
    while at + 8 <= len(data):
        name = data[at : at + 4]
        (length,) = struct.unpack_from("<I", data, at + 4)
        body = at + 8
        if name == b"VP8X":
            yield (
                1 + int.from_bytes(data[body + 4 : body + 7], "little"),
                1 + int.from_bytes(data[body + 7 : body + 10], "little"),
            )
        elif name == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, body + 6)
            yield width & 0x3FFF, height & 0x3FFF
        elif name == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, body + 1)
            yield 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        at = body + length + (length & 1)


BMP_HEADERS = tuple(struct.pack("<I", size) for size in (12, 40, 52, 56, 108, 124))


def bmp_sizes(data: bytes) -> Iterator[Size]:
    """The OS/2 core header (16-bit sizes) or the Windows one; a negative height means top row first."""
    if data[14:18] == BMP_HEADERS[0]:
        yield struct.unpack_from("<HH", data, 18)
        return
    width, height = struct.unpack_from("<ii", data, 18)
    (compression,) = struct.unpack_from("<I", data, 30)
    if compression in (0, 3):  # plain or bit fields; run lengths are refused
        yield width, abs(height)


SIZES: dict[str, Callable[[bytes], Iterator[Size]]] = {
    "jpeg": jpeg_sizes,
    "png": png_sizes,
    "webp": webp_sizes,
    "bmp": bmp_sizes,
}
