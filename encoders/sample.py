"""What a person shows: a recording of events, or a still image, the same for a file, an upload and a Python array."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.events import Events, SensorSize
from encoders.recordings.files import read_recording

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


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
    """An image (JPEG, PNG, WebP, BMP) or a recording of any format. Raises ValueError (RecordingError) or OSError."""
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        recording = read_recording(path)
        return Sample(events=recording.events, size=recording.size, warnings=recording.warnings)
    import cv2

    if not path.is_file():
        raise ValueError("no such file")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError("not an image that can be read")
    return Sample(pixels=np.asarray(picture, np.uint8))
