"""Draw stills of drawings on paper before a webcam, found and fitted as a digit model gets them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikesight.encoders.emulator.handheld import RATE_HZ, draw_sheet, frames
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.drawing import Drawing, find_drawing
from spikesight.encoders.preprocess.fit import fit_digit
from spikesight.training.data.cache import cached
from spikesight.training.data.sets import Frames

WEBCAM = SensorSize(320, 240)
NEAR, LONG = 0.2, (0.7, 1.4)  # largest distance of what is found from the drawing, of its size; range of its length


def digits_on_paper(written: Frames, folder: Path) -> Frames:
    """Hold digits, frames uint8 [M, 1, 1, 28, 28], before a webcam each; return those that are found, fitted again."""
    stills = paper_stills(written.frames[:, 0, 0], folder, "drawing digits on paper")
    found = stills.any((1, 2))
    return Frames(stills[found][:, None, None], written.labels[found])


def paper_stills(drawings: np.ndarray, folder: Path, what: str) -> np.ndarray:
    """Hold each drawing, uint8 [M, 28, 28], before a webcam and fit what is found in a frame, uint8 [M, 28, 28].

    A still is blank if something else was found, or nothing; of a blank drawing whatever is found is kept. The index
    seeds the sheet. `folder`: the cache's; `what`: the title of the progress bar.
    """
    key = {"stills on paper": hashlib.sha256(drawings.tobytes()).hexdigest(), "version": 1}
    stills: Iterator[np.ndarray] = (still(drawing, seed) for seed, drawing in enumerate(drawings))
    return cached(folder, key, len(drawings), drawings.shape[1:], stills, what)


def still(drawing: np.ndarray, seed: int) -> np.ndarray:
    """Hold one drawing, uint8 [28, 28], before a webcam; see `paper_stills`."""
    random = np.random.default_rng(seed)
    sheet = draw_sheet(drawing, WEBCAM, random)
    _, frame = next(frames(sheet, 1.5 / RATE_HZ, random))
    found = find_drawing(frame)
    if found is None or (drawing.any() and not _is_it(found, drawing, sheet.size)):
        return np.zeros_like(drawing)
    return fit_digit(frame, *drawing.shape)[0]


def _is_it(found: Drawing, drawing: np.ndarray, size: int) -> bool:
    """Return whether what was found is the drawing, which is shown `size` pixels large in the middle of the frame."""
    ink = np.nonzero(drawing > 64)
    long = size * max(np.ptp(places) + 1 for places in ink) / len(drawing) if len(ink[0]) else 0.0
    x, y = found.left + found.width / 2 - WEBCAM.width / 2, found.top + found.height / 2 - WEBCAM.height / 2
    return max(abs(x), abs(y)) < NEAR * size and LONG[0] * long < max(found.width, found.height) < LONG[1] * long
