"""Samples to classify, a recording of events or a still image, from a file, an upload or a Python object."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from spikesight.encoders.events import Events, EventsError, SensorSize, Size, as_events
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import to_read

if TYPE_CHECKING:  # not imported at run time: a caller who passes such an object has done so
    from PIL.Image import Image
    from torch import Tensor

SampleLike = Union[Path, str, np.ndarray, "Tensor", "Image"]
"""The types that `sample_of` converts."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Suffixes of files that `predict` and training read as images."""


@dataclass(frozen=True)
class Sample:
    """Either `pixels`, uint8 [H, W] or [H, W, 3] (RGB), or `events` (EVENTS, sorted by time) from a sensor of `size`.

    `warnings` are sentences for users about what was damaged or guessed.
    """

    pixels: np.ndarray | None = None
    events: Events | None = None
    size: SensorSize | None = None
    warnings: tuple[str, ...] = ()


def sample_of(what: SampleLike, size: Size | None = None) -> Sample:
    """Convert a path or a Python object to a Sample.

    what   the path of a recording or an image, or a shipped sample's name; pixels (`as_pixels`), a Pillow image or a
           torch tensor, channels first; or events (`as_events`), sorted by time, from a sensor of `size`
    size   of the sensor: required for events; for a recording it must equal the file's; an image has none

    Raises ValueError (EventsError, RecordingError) or OSError.
    """
    sensor = None if size is None else SensorSize.of(size)
    if isinstance(what, np.ndarray) and what.dtype.names:
        if sensor is None:
            raise EventsError("events need the sensor's size: predict(events, size=(width, height))")
        return Sample(events=as_events(what, sensor), size=sensor)
    if isinstance(what, (str, Path)):
        sample = read_sample(what)
    else:
        sample = Sample(pixels=_pixels(what))
    if sensor not in (None, sample.size):
        of = "an image has no sensor" if sample.size is None else f"the recording is of a {sample.size} sensor"
        raise EventsError(f"{of}, so its size cannot be {sensor}")
    return sample


def _pixels(what: Any) -> np.ndarray:
    """Return the pixels of an array, a tensor with channels first, or a Pillow image (upright)."""
    torch, pillow = sys.modules.get("torch"), sys.modules.get("PIL.Image")
    if torch is not None and isinstance(what, torch.Tensor):
        tensor = what.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # NumPy has no bfloat16
        return as_pixels(array.transpose(1, 2, 0) if array.ndim == 3 else array)
    if pillow is not None and isinstance(what, pillow.Image):
        from PIL import ImageOps

        if what.mode[0] in "IF":  # Pillow would clip the values to 255
            raise ValueError(f"an image of Pillow's mode {what.mode} has no 8 bits a channel: convert it first")
        clear = "transparency" in what.info or what.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        return as_pixels(np.asarray(ImageOps.exif_transpose(what).convert("RGBA" if clear else "RGB")))
    if isinstance(what, np.ndarray):
        return as_pixels(what)
    raise ValueError(
        "give a path, pixels or a structured array of events (t, x, y, p), "
        f"not {'an' if type(what).__name__[0] in 'aeiou' else 'a'} {type(what).__name__}"
    )


def as_pixels(array: np.ndarray) -> np.ndarray:
    """Convert pixels [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (RGBA, laid on white) to uint8 [H, W] or [H, W, 3].

    Values are uint8, bool, or real numbers from 0 to 1, which are rounded to 255ths. Raises ValueError.
    """
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ": channels come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"pixels are [H, W], or [H, W, C] with 1, 3 or 4 channels, not {list(array.shape)}{hint}")
    if array.dtype.kind == "f":
        if not bool(((array >= 0) & (array <= 1)).all()):  # rejects NaN as well
            raise ValueError("pixels of real numbers must all lie between 0 and 1")
        array = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    elif array.dtype.kind == "b":
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        raise ValueError(f"pixels are uint8, or real numbers from 0 to 1, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 4:
        return _on_white(array[..., :3], array[..., 3:].astype(np.float32) / 255)
    return np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend transparent pixels with white, since ink without paper is meant dark on light."""
    return np.rint(pixels * alpha + 255 * (1 - alpha)).astype(np.uint8)


def is_image(path: Path) -> bool:
    """Return whether a file is an image, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_sample(path: Path | str) -> Sample:
    """Read an image (IMAGE_SUFFIXES) or a recording of any format. Raises ValueError (RecordingError) or OSError."""
    path = to_read(path)
    if not is_image(path):
        recording = read_recording(path)
        return Sample(events=recording.events, size=recording.size, warnings=recording.warnings)
    if not path.is_file():
        raise ValueError("no such file")
    pixels = read_pixels(path.read_bytes())
    if pixels is None:
        raise ValueError("not an image that can be read")
    return Sample(pixels=pixels)


def read_pixels(data: bytes) -> np.ndarray | None:
    """Decode an image file's bytes to uint8 [H, W, 3] (RGB), upright by EXIF, on white; None if it cannot be read."""
    import cv2

    file = np.frombuffer(data, np.uint8)
    try:
        pixels = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
        if pixels is None or not may_be_transparent(data):
            return pixels
        given, kinds, metadata = cv2.imdecodeWithMetadata(file, flags=cv2.IMREAD_UNCHANGED)
        if given is None or given.ndim != 3 or given.shape[2] != 4:
            return pixels
        alpha = np.ascontiguousarray(given[..., 3])
        if len(kinds):  # OpenCV turns by EXIF, but no image that it reads unchanged
            png = cv2.imencodeWithMetadata(".png", alpha, kinds, metadata)[1]
            alpha = np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH))
    except cv2.error:
        return None
    full = 65535 if alpha.dtype == np.uint16 else 255
    return _on_white(pixels, alpha[..., None].astype(np.float32) / full)


def may_be_transparent(data: bytes) -> bool:
    """Return whether the header allows transparency: PNG of colour type 4 or 6 or with tRNS, WebP with alpha, TIFF."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25:26] in (b"\4", b"\6") or b"tRNS" in data[: data.find(b"IDAT")]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and bool(data[20:21] and data[20] & 0x10))
    return data[:4] in (b"II*\0", b"MM\0*")
