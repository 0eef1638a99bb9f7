"""Hostile uploads: forms that break the rules, images and recordings whose headers promise too much."""

import io
import struct
import zlib

import cv2
import h5py
import numpy as np

from tests.support.inputs.samples import picture


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    """A multipart body of raw parts."""
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n'
FORMS = {
    "1001 parts": form(*[b'Content-Disposition: form-data; name="a"\r\n\r\nb'] * 1001),
    "1001 files": form(*[FILE + b"b"] * 1001),
    "100 KB part header": form(b"X: " + b"a" * 100_000 + b"\r\n" + FILE + b"b"),
    "preamble": b"p" * 190_000 + b"\r\n" + form(FILE + b"b"),
    "semicolons": form(b"Content-Disposition: form-data" + b"; a=b" * 20_000 + b"\r\n\r\nb"),
    "no end": b"--b\r\n" + FILE + b"b",
    "no boundary in body": b"hello",
    "two files": form(FILE + picture(), FILE + picture()),
    "text field": form(b'Content-Disposition: form-data; name="file"\r\n\r\nabc'),
}


def png(width: int, height: int, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG whose header promises a size; its data is a few compressed zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_with_size(width: int, height: int) -> bytes:
    """A JPEG whose header promises a size."""
    data = bytearray(picture(".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_with_size(width: int, height: int) -> bytes:
    """A WebP whose header promises a size."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas + picture(".webp")[12:]
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


BOMBS = {
    "30000 x 30000, 1 bit": png(30_000, 30_000),
    "16000 x 16000 RGB": png(16_000, 16_000, 8, 2),
    "2^31 x 1": png(2**31 - 1, 1),
    "JPEG 65500 x 65500": jpeg_with_size(65_500, 65_500),
    "WebP 16383 x 16383": webp_with_size(16_383, 16_383),
    "BMP 40000 x 40000": picture(".bmp")[:18] + struct.pack("<ii", 40_000, 40_000) + picture(".bmp")[26:],
    "PNG 0 x 0": png(0, 0),
}


def with_scans(side: int, n: int) -> bytes:
    """A small progressive JPEG whose last scan is there `n` times more."""
    data = cv2.imencode(".jpg", np.full((side, side), 128, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * n + data[-2:]


def claimed(n: int) -> bytes:
    """HDF5 of a few kilobytes that claims to hold `n` events."""
    file = io.BytesIO()
    with h5py.File(file, "w") as table:
        group = table.create_group("events")
        for name, kind in (("x", "u2"), ("y", "u2"), ("p", "u1"), ("t", "i8")):
            group.create_dataset(name, shape=(n,), dtype=kind, chunks=(10**6,), compression="gzip", fillvalue=1)
    return file.getvalue()


def zeros(n: int) -> bytes:
    """npz of `n` events at time 0."""
    file = io.BytesIO()
    none = np.zeros(n, np.int64)
    np.savez_compressed(file, t=none, x=none, y=none, p=none)
    return file.getvalue()
