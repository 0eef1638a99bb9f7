"""Uploaded bytes -> pixels or events, safely: magic bytes and sizes are checked before any decoder runs."""

import asyncio
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Literal

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**24))  # read by OpenCV at import: the second lock

import cv2
import numpy as np
from numpy.typing import NDArray

from encoders.dvs import StreamBinner, progress_us
from encoders.events import EVENTS, SensorSize
from encoders.recordings.files import read_recording_bytes
from encoders.recordings.format import RecordingError
from models.classifier import Classifier, encoder_for
from models.steps import Input
from service.http.errors import ServiceError

INLINE_BYTES = 65536  # larger payloads are decoded apart from the event loop
Size = tuple[int, int]  # width, height


class UploadError(ServiceError):
    """A sample that cannot be classified, with the HTTP status that says why."""


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

IMAGES = frozenset({"jpeg", "png", "webp", "bmp"})
VENDOR_MAGIC = (b"#!AER-DAT", b"%", b"\x89HDF\r\n\x1a\n", b"Event Stream")
READ_S = 20  # seconds a vendor's format may take to decode
READERS = asyncio.Semaphore(1)  # one such process at a time
DAMAGED = "the recording is damaged or cut off: send it again"
UNKNOWN = "neither an image (JPEG, PNG, WebP, BMP) nor a recording (AEDAT4, EVT2, EVT3, DAT, N-MNIST .bin)"

Kind = Literal["image", "recording"]


def kind_of(data: bytes, name: str) -> Kind:
    """What an upload is, by content; `name` matters only for N-MNIST's .bin, which has no magic. Raises UploadError."""
    if not data:
        raise UploadError(400, "the upload is empty: send an image or a recording")
    if image_format(data) is not None:
        return "image"
    if data.startswith(VENDOR_MAGIC) or suffix_of(name) == ".bin":
        return "recording"
    raise UploadError(415, f"the upload is {UNKNOWN}")


def suffix_of(name: str) -> str:
    """The last suffix of a client's file name, if it is a plain one; nothing else of the name is used."""
    match = re.search(r"\.[A-Za-z0-9]{1,8}\Z", name[-64:])
    return match.group().lower() if match else ""


def image_inputs(classifier: Classifier, data: bytes, max_pixels: int, formats: frozenset[str] = IMAGES) -> list[Input]:
    """The steps that show an encoded still image to the network. Raises UploadError."""
    return classifier.image_inputs(decode(data, max_pixels, formats=formats))


def event_inputs(classifier: Classifier, events: NDArray, sensor: SensorSize, max_steps: int) -> list[Input]:
    """The bins of a recording. Raises UploadError: 400 for a model of images, 413 for more than `max_steps` bins."""
    contract = classifier.contract
    if contract.kind != "events":
        raise UploadError(400, "this model takes images: send one, or name another model")
    if len(events):
        binner = StreamBinner(encoder_for(contract, sensor))
        steps = int(progress_us(events, contract.bin_us, binner.gap_us, binner.back_us)[-1]) // contract.bin_us + 1
        if steps > max_steps:
            raise UploadError(413, f"the recording has {steps} steps; this service takes at most {max_steps}")
    return classifier.event_inputs(events, sensor)


async def read_upload(data: bytes, name: str) -> tuple[NDArray, SensorSize]:
    """The events of an uploaded recording and its sensor. Raises UploadError.

    Vendors' formats are decoded in a process of their own, with a limit on memory and time: a hostile file can only end
    that process.
    """
    if not data.startswith(VENDOR_MAGIC):
        try:
            recording = read_recording_bytes(data, f"upload{suffix_of(name)}")
        except RecordingError:
            raise UploadError(400, DAMAGED) from None
        return recording.events, recording.size
    async with READERS:
        answer = await decoded_apart(data, suffix_of(name))
    width, height = np.frombuffer(answer[:8], "<u4").tolist()
    return np.frombuffer(answer[8:], EVENTS), SensorSize(width, height)


async def decoded_apart(data: bytes, suffix: str) -> bytes:
    """What the decoding process answers. Raises UploadError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "service.upload.decoder_process", suffix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        answer, _ = await asyncio.wait_for(process.communicate(data), READ_S)
    except TimeoutError:
        raise UploadError(413, "the recording takes too long to decode: send a shorter one") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise UploadError(400, DAMAGED)
    return answer


def tensor_inputs(x: NDArray[np.float32]) -> list[Input]:
    """x [T, C, H, W] as inputs; a step is one unit of time."""
    return [Input(step, t, t + 1, 0, False) for t, step in enumerate(np.ascontiguousarray(x))]
