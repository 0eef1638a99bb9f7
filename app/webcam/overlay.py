"""Draw the desktop demo's picture: what the camera sees, its events and the prediction, from arrays to one array.

Whatever an event camera sees, its picture must not flash (WCAG 2.3.1: at most three flashes in any second). It has the
web page's dim colours, of which no two differ so much in relative luminance that their change is a flash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from spikesight.encoders.events import SensorSize
from spikesight.service.page.colours import COLOURS, Colour

Picture = np.ndarray  # uint8 [H, W, 3], RGB

GROUND, BACK, INK, INK_2, FRAME = (COLOURS[name] for name in ("event-ground", "window", "ink", "ink-2", "p1"))
ON, OFF = COLOURS["event-on-dim"], COLOURS["event-off-dim"]  # within 0.09 relative luminance of the ground

DECAY_US = 600_000  # time constant of fading
LEVELS = 64

WIDTH, MARGIN, STRIP = 1120, 16, 120  # pixels


@dataclass(frozen=True)
class Surface:
    """Signed brightness changes that fade over time. Immutable: `seen` returns the next surface."""

    levels: np.ndarray  # float32 [H, W] in [-1, 1]; above 0 brighter, below darker
    now_us: int

    @classmethod
    def blank(cls, size: SensorSize, now_us: int = 0) -> "Surface":
        """Return a dark surface of the sensor's size."""
        return cls(np.zeros((size.height, size.width), np.float32), now_us)

    def seen(self, events: np.ndarray, now_us: int) -> "Surface":
        """Return the surface after these EVENTS, faded to `now_us`; events off the picture are ignored."""
        elapsed = max(0, now_us - self.now_us)
        height, width = self.levels.shape
        levels = self.levels * np.float32(np.exp(-elapsed / DECAY_US))
        x, y = events["x"].astype(np.intp), events["y"].astype(np.intp)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y, p = x[inside], y[inside], events["p"][inside]
        levels[y, x] = np.where(p, np.float32(1), np.float32(-1))
        return Surface(levels, now_us)


SHARES = np.linspace(0, 1, LEVELS + 1)[:, None]
OFF_SIDE, ON_SIDE = (np.array(GROUND) * (1 - SHARES) + np.array(full) * SHARES for full in (OFF, ON))
PALETTE = np.concatenate([OFF_SIDE[:0:-1], ON_SIDE]).round().astype(np.uint8)
"""Colours of levels -1 to 1, [2 * LEVELS + 1, 3]."""


def paint(surface: Surface) -> Picture:
    """Draw the event picture, uint8 [H, W, 3]."""
    return PALETTE[(surface.levels * LEVELS).astype(np.intp) + LEVELS]


def draw(views: Sequence[Picture], label: str, below: str) -> Picture:
    """Draw the whole picture, WIDTH pixels wide: one or two views side by side, and a label with a line below it."""
    wide = (WIDTH - (1 + len(views)) * MARGIN) // len(views)
    tall = (WIDTH - 3 * MARGIN) * 3 // 8
    canvas = np.full((tall + STRIP + 2 * MARGIN, WIDTH, 3), BACK, np.uint8)
    for n, view in enumerate(views):
        _place(canvas, view, MARGIN + n * (wide + MARGIN), MARGIN, wide, tall)
    _text(canvas, label, MARGIN, tall + MARGIN + 70, 56, INK, bold=True)
    _text(canvas, below, MARGIN, tall + MARGIN + 110, 19, INK_2)
    return canvas


def framed(view: Picture, box: tuple[float, float, float, float], label: str = "") -> Picture:
    """Return a copy with the outline of a box (left, top, width, height) and a label above it."""
    view = np.ascontiguousarray(view).copy()
    (left, top), (right, bottom) = ((round(box[0] + d * box[2]), round(box[1] + d * box[3])) for d in (0, 1))
    thick = max(1, round(max(view.shape) / 320))
    cv2.rectangle(view, (left, top), (right, bottom), FRAME, thick)
    size = max(8, round(max(view.shape) / 32))
    _text(view, label, left, top - 3 * thick if top > 2 * size else bottom + size + thick, size, FRAME, bold=True)
    return view


def _place(canvas: Picture, view: Picture, left: int, top: int, wide: int, tall: int) -> None:
    """Draw a view into a box, scaled to fit, on a dark ground; enlarged pixels stay squares."""
    scale = min(wide / view.shape[1], tall / view.shape[0])
    width, height = max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale))
    way = cv2.INTER_NEAREST if scale > 3 else cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
    x, y = left + (wide - width) // 2, top + (tall - height) // 2
    canvas[top : top + tall, left : left + wide] = GROUND
    canvas[y : y + height, x : x + width] = cv2.resize(view, (width, height), interpolation=way)


def _text(
    canvas: Picture, text: str, left: int, baseline: int, size: int, colour: Colour, *, bold: bool = False
) -> None:
    """Write in OpenCV's own letters, which are those of ASCII; for others stands "?"."""
    plain, weight = text.encode("ascii", "replace").decode(), 2 if bold else 1
    cv2.putText(canvas, plain, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, size / 30, colour, weight, cv2.LINE_AA)
