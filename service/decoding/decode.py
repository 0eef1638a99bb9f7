"""Decode uploaded bytes to pixels or events safely: magic bytes and sizes are checked before any decoder runs.

`decode` is called in a process of its own (`processes`) for everything that can be made expensive, so this
module imports nothing heavy.
"""

import importlib
import re
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import (
    EXAMPLES,
    FORMATS,
    LIBRARIES,
    Recording,
    detect_format,
    formats,
    read_recording,
    recognised,
    write_recording,
)
from spikesight.encoders.recordings.format import HEAD_BYTES, NoEventsKnown, RecordingError
from spikesight.encoders.recordings.hdf5 import load_filters, rows_of
from spikesight.encoders.sample import Sample, read_pixels
from spikesight.service.http.errors import ServiceError

INLINE_BYTES = 65536  # larger payloads and forms are parsed in a thread
Size = tuple[int, int]  # width, height
Kind = Literal["image", "recording"]

IMAGES = frozenset({"jpeg", "png", "webp", "bmp"})
WEB_IMAGES = frozenset({"jpeg", "png", "webp"})
UNMARKED = "nmnist"  # the format without magic bytes: recognised by its suffix only

MAX_EVENTS = 2**23  # events of one upload; 16 MiB of EVT2 hold half as many
MAX_SCANS = 64  # scans of a JPEG; encoders write about ten
MAX_SCANNED = 2**28  # pixels times scans
MAX_READS = 512  # pieces of a head; a JPEG of a camera has about 100
CHEAP_BYTES, CHEAP_PIXELS, CHEAP_SCANS = 2**16, 2**18, 4  # see `decodes_fast`

DAMAGED = "the recording is damaged or cut off: send it again"
NO_EVENTS = "the recording holds no events, or writes them in a way that this service does not read"
NO_ROOM = "there is no room for temporary files: free space in the service's temporary folder, or set TMPDIR to another"


def kind_of(data: bytes, name: str) -> Kind:
    """Return what an upload is, by its magic bytes or else by the suffix of `name`. Raises ServiceError 400 or 415."""
    if not data:
        raise ServiceError(400, "the upload is empty: send an image or a recording")
    if image_format(data) is not None:
        return "image"
    if suffix_of(name) in FORMATS[UNMARKED].suffixes or format_of(data) not in (None, UNMARKED):
        return "recording"
    raise ServiceError(
        415, f"this is neither an image (JPEG, PNG, WebP, BMP) nor a recording ({', '.join(formats())}): send one"
    )


def format_of(data: bytes) -> str | None:
    """Return the recording format whose magic bytes match, including formats of plug-ins; None if there is none."""
    return recognised(data[:HEAD_BYTES], len(data))


def suffix_of(name: str) -> str:
    """Return the suffix of a client's file name if it is alphanumeric, else "". Nothing else of the name is used."""
    match = re.search(r"\.[A-Za-z0-9]{1,8}\Z", name[-64:])
    return match.group().lower() if match else ""


def decode(data: bytes, name: str, max_pixels: int = 2**24) -> Sample:
    """Decode an uploaded image or recording.

    Raises ServiceError: 415 for neither and for a ROS bag without events, 413 above `max_pixels`, MAX_EVENTS, or the
    memory of the process, 400 if it is empty or damaged, 507 if there is no room for a temporary file.
    """
    if kind_of(data, name) == "image":
        return Sample(pixels=decode_image(data, max_pixels, formats=IMAGES))
    with stored(data) as path:
        try:
            recording = read_limited(path)
        except RecordingError as error:
            if isinstance(error.__cause__, MemoryError):
                raise ServiceError(413, "the recording asks for more memory than an upload may take") from None
            if isinstance(error.__cause__, NoEventsKnown):
                raise ServiceError(415, NO_EVENTS) from None
            raise ServiceError(400, DAMAGED) from None
    return Sample(events=recording.events, size=recording.size, warnings=tuple(map(str, recording.warnings)))


@contextmanager
def stored(data: bytes) -> Iterator[Path]:
    """Write a recording to a temporary file and yield its path. Raises ServiceError 507."""
    name = format_of(data)
    suffix = FORMATS[name].suffixes[0] if name else ""  # faery, and perhaps a plug-in's reader, needs the suffix
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / f"upload{suffix}"
            path.write_bytes(data)
        except OSError:
            raise ServiceError(507, NO_ROOM) from None
        yield path


def read_limited(path: Path) -> Recording:
    """Read a recording. Raises ServiceError 413 above MAX_EVENTS, before reading if the header gives the count."""
    claimed = 0
    with suppress(Exception):  # the reader below reports a damaged file
        match detect_format(path):
            case "hdf5":
                claimed = rows_of(path)
            case "npz":
                with zipfile.ZipFile(path) as archive:
                    claimed = max(member.file_size for member in archive.infolist()) // 8
    if claimed <= MAX_EVENTS:
        recording = read_recording(path)
        claimed = len(recording.events)
        if claimed <= MAX_EVENTS:
            return recording
    most = f"this service takes at most {MAX_EVENTS} in one upload: cut it"
    raise ServiceError(413, f"the recording has {claimed} events; {most}")


def warm_up() -> None:
    """Read an image and a recording of each format, so that imports and the kernels are loaded before the first
    upload, and before file access is cut off.
    """
    read_pixels(b"P5 1 1 255 0")
    t = np.arange(100)
    events, size = make_events(t, t % 34, t % 34, t % 2), SensorSize(34, 34)
    for name, kind in formats().items():
        with suppress(Exception), tempfile.TemporaryDirectory() as folder:  # a plug-in may raise anything
            path = Path(folder) / f"warm{kind.suffixes[0]}"
            path.write_bytes(EXAMPLES.get(name, b""))
            if kind.write:
                write_recording(path, events, size, name)
            read_recording(path)
    load_filters()
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)


def image_format(data: bytes) -> str | None:
    """Return jpeg, png, webp or bmp by the magic bytes; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":
        return "bmp"
    return None


def decodes_fast(data: bytes) -> bool:
    """Return whether an upload is an image that decodes in milliseconds whatever it holds, so needs no process.

    That is a PNG, or JPEG of few scans, of at most CHEAP_PIXELS in CHEAP_BYTES. The bytes bound what a PNG can unpack,
    in pixels or in other chunks: deflate grows at most 1,032-fold (258 bytes from two bits).
    """
    kind = image_format(data)
    if len(data) > CHEAP_BYTES or kind not in ("jpeg", "png") or scans(kind, data) > CHEAP_SCANS:
        return False
    width, height = size_of(kind, data)
    return width * height <= CHEAP_PIXELS


def scans(kind: str, data: bytes) -> int:
    """Return an upper bound of a JPEG's scans: in coded data 0xff is never followed by 0xda (ITU T.81 B.1.1.5)."""
    return data.count(b"\xff\xda") if kind == "jpeg" else 1


def decode_image(data: bytes, max_pixels: int, *, formats: frozenset[str] = WEB_IMAGES) -> NDArray[np.uint8]:
    """Decode an image to uint8 [H, W, 3] in RGB order, turned upright (EXIF), transparency laid on white.

    Raises ServiceError: 415 for another format, 413 above `max_pixels` or MAX_SCANS, 400 if it is empty or damaged.
    """
    if not data:
        raise ServiceError(400, "the image is empty: send the bytes of a JPEG, PNG or WebP file")
    kind = image_format(data)
    if kind is None or kind not in formats:
        raise ServiceError(415, f"not an image this service reads: send {', '.join(sorted(formats)).upper()}")
    check_size(kind, data, max_pixels)
    pixels = read_pixels(data)
    if pixels is None:
        raise ServiceError(400, f"the {kind.upper()} image is damaged or cut off: send it again")
    return pixels


def check_size(kind: str, data: bytes, max_pixels: int) -> None:
    """Raise ServiceError if the header promises no pixels, more than `max_pixels`, or too many scans of them."""
    width, height = size_of(kind, data)
    if width < 1 or height < 1:
        raise ServiceError(400, f"the {kind.upper()} image is damaged or cut off: send it again")
    if width * height > max_pixels:
        raise ServiceError(413, f"the image has {width} x {height} pixels: make it smaller, at most {max_pixels}")
    n = scans(kind, data)
    if n > MAX_SCANS or n * width * height > MAX_SCANNED:
        raise ServiceError(413, f"the JPEG has {n} scans of {width} x {height} pixels: save it as baseline")


class HeadBytes(BytesIO):
    """The bytes of an image, of which MAX_READS pieces may be read: some heads are a hundred thousand pieces long."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size if self.reads <= MAX_READS else 0)


def size_of(kind: str, data: bytes) -> Size:
    """Return the (width, height) that an image's head promises, without decoding any of it; (0, 0) if it is damaged."""
    try:
        if kind == "png":  # at a fixed place; Pillow would first unpack the texts before the pixels
            return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else (0, 0)
        with HEADS[kind](HeadBytes(data)) as image:
            packed = image.info.get("compression") not in (None, 0, 3)  # run lengths in a BMP
            return (0, 0) if packed else image.size
    except Exception:  # the libraries raise anything
        return 0, 0


HEADS = {"jpeg": JpegImageFile, "webp": WebPImageFile, "bmp": BmpImageFile}
