"""What a person shows: a recording of events, or a still image, the same for a file, an upload and a Python array."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.events import Events, SensorSize
from encoders.recordings.files import read_recording

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Names of files that are read as images, by `predict` and by training."""


@dataclass(frozen=True)
class Sample:
    """Either `pixels`, uint8 [H, W] or [H, W, 3] (RGB), or `events` (EVENTS, sorted by time) on a sensor of `size`.

    `warnings` are sentences for people about what was damaged or guessed.
    """

    pixels: np.ndarray | None = None
    events: Events | None = None
    size: SensorSize | None = None
    warnings: tuple[str, ...] = ()


def read_sample(path: Path | str) -> Sample:
    """An image (IMAGE_SUFFIXES) or a recording of any format. Raises ValueError (RecordingError) or OSError."""
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        recording = read_recording(path)
        return Sample(events=recording.events, size=recording.size, warnings=recording.warnings)
    if not path.is_file():
        raise ValueError("no such file")
    pixels = read_pixels(path.read_bytes())
    if pixels is None:
        raise ValueError("not an image that can be read")
    return Sample(pixels=pixels)


def read_pixels(data: bytes) -> np.ndarray | None:
    """Pixels uint8 [H, W, 3] (RGB) of an image file's bytes; None where they are not one that can be read.

    Upright by EXIF. What is transparent is laid on white: ink without a paper is dark on light, as on paper.
    """
    import cv2

    file = np.frombuffer(data, np.uint8)
    try:
        pixels = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
        given = cv2.imdecode(file, cv2.IMREAD_UNCHANGED) if may_be_transparent(data) else None
    except cv2.error:
        return None
    if pixels is None or given is None or given.ndim != 3 or given.shape[2] != 4:
        return pixels
    if given.shape[:2] != pixels.shape[:2]:  # turned by EXIF: `given` is not
        return pixels
    full = 65535 if given.dtype == np.uint16 else 255
    alpha = given[..., 3:].astype(np.float32) / full
    return np.rint(pixels * alpha + 255 * (1 - alpha)).astype(np.uint8)


def may_be_transparent(data: bytes) -> bool:
    """Whether the header allows for it: PNG of colour type 4 or 6 or with tRNS, WebP with alpha."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25:26] in (b"\4", b"\6") or b"tRNS" in data[: data.find(b"IDAT")]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and bool(data[20:21] and data[20] & 0x10))
    return False
