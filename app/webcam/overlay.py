"""Draw the desktop demo's picture: events, prediction and meters, from arrays to one array.

Whatever an event camera sees, its picture must not flash (WCAG 2.3.1: at most three flashes in any second). It has the
web page's dim colours, of which no two differ so much in relative luminance that their change is a flash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.window import Window
from spikesight.models.novelty import UNKNOWN
from spikesight.models.steps import Object, Prediction
from spikesight.service.page.colours import COLOURS, Colour

Picture = np.ndarray  # uint8 [H, W, 3], RGB

GROUND, BACK, PANEL, LINE, BAR, INK, INK_2 = (
    COLOURS[name] for name in ("event-ground", "window", "window-panel", "window-line", "window-bar", "ink", "ink-2")
)
ON, OFF = COLOURS["event-on-dim"], COLOURS["event-off-dim"]  # within 0.09 relative luminance of the ground
TONES = tuple(COLOURS[f"p{number}"] for number in range(1, 6))

DECAY_US = 600_000  # time constant of fading
LEVELS = 64

WIDTH, MARGIN, STRIP, FOOT = 1120, 16, 176, 58  # pixels


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


def linear(values: np.ndarray) -> np.ndarray:
    """Convert sRGB values in [0, 255] to linear light in [0, 1] (IEC 61966-2-1)."""
    c = np.asarray(values, np.float64) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def palette() -> np.ndarray:
    """Return the colours of levels -1 to 1, uint8 [2 * LEVELS + 1, 3], mixed in linear light."""
    ground = linear(np.array(GROUND))
    share = np.linspace(0, 1, LEVELS + 1)[:, None]
    sides = []
    for full in (OFF, ON):
        light = ground + (linear(np.array(full)) - ground) * share
        sides.append(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))
    return np.round(255 * np.concatenate([sides[0][:0:-1], sides[1]])).astype(np.uint8)


PALETTE = palette()


def paint(surface: Surface) -> Picture:
    """Draw the event picture, uint8 [H, W, 3]."""
    return PALETTE[(surface.levels * LEVELS).astype(np.intp) + LEVELS]


class Box(NamedTuple):
    """A rectangle on the picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


def draw(
    surface: Surface,
    prediction: Prediction | None,
    labels: Sequence[str],
    *,
    steady: str = "",
    camera: Picture | None = None,
    meters: Sequence[tuple[str, str]] = (),
    keys: str = "",
    window: Window | None = None,
    objects: Sequence[Object] = (),
) -> Picture:
    """Draw the whole picture, WIDTH pixels wide: the input and the prediction.

    `camera` RGB [H, W, 3] is shown beside the events; `meters`: (name, value) pairs; `keys`: the line of
    key hints; `window`: the region of interest, in pixels of the camera's picture, or without one of the events, as are
    the boxes of `objects`.
    """
    full, side = WIDTH - 2 * MARGIN, (WIDTH - 3 * MARGIN) // 2
    tall = side * 3 // 4
    canvas = np.full((tall + STRIP + FOOT + 4 * MARGIN, WIDTH, 3), BACK, np.uint8)
    views = [paint(surface)] if camera is None else [camera, paint(surface)]
    if window is not None:
        views[0] = framed(views[0], (window.left, window.top, window.side, window.side))
    for one in objects:
        views[0] = framed(views[0], one.box, f"{one.label} {one.confidence:.0%}")
    wide = full if len(views) == 1 else side
    for n, view in enumerate(views):
        _place(canvas, view, Box(MARGIN + n * (side + MARGIN), MARGIN, wide, tall))
    top = tall + 2 * MARGIN
    cv2.rectangle(canvas, (MARGIN, top), (MARGIN + full, top + STRIP), PANEL, -1)
    cv2.rectangle(canvas, (MARGIN, top), (MARGIN + full, top + STRIP), LINE, 1)
    if prediction is not None:
        best = labels.index(steady) if steady in labels else prediction.index
        several = " ".join(one.label for one in objects) if len(objects) > 1 else ""
        label = several or steady or prediction.label
        size = 72 if len(label) <= 3 else max(22, min(52, int(1.55 * (WIDTH // 4 - MARGIN) / len(label))))
        _text(canvas, label, 2 * MARGIN, top + 96, size, INK, bold=True)
        below = f"{len(objects)} at once" if several else note(label, labels, best, prediction)
        _text(canvas, below, 2 * MARGIN, top + 134, 19, INK_2)
        bars = Box(WIDTH // 4 + MARGIN, top + 14, WIDTH * 3 // 4 - 3 * MARGIN, STRIP - 28)
        _bars(canvas, prediction.probabilities, labels, best, bars)
    for n, (name, value) in enumerate(meters):
        left = MARGIN + n * (full // len(meters))
        _text(canvas, name, left, top + STRIP + MARGIN + 6, 12, INK_2)
        _text(canvas, value, left, top + STRIP + MARGIN + 26, 17, INK, bold=True)
    _text(canvas, keys, MARGIN, canvas.shape[0] - 14, 13, INK_2)
    return canvas


def framed(view: Picture, box: tuple[float, float, float, float], label: str = "") -> Picture:
    """Return a copy with the outline of a box (left, top, width, height) and a label above it."""
    view = np.ascontiguousarray(view).copy()
    (left, top), (right, bottom) = ((round(box[0] + d * box[2]), round(box[1] + d * box[3])) for d in (0, 1))
    thick = max(1, round(max(view.shape) / 320))
    cv2.rectangle(view, (left, top), (right, bottom), TONES[0], thick)
    if label:
        size = max(8, round(max(view.shape) / 32))
        _text(
            view, label, left, top - 3 * thick if top > 2 * size else bottom + size + thick, size, TONES[0], bold=True
        )
    return view


def _place(canvas: Picture, view: Picture, box: Box) -> None:
    """Draw a view into a box, scaled to fit, on a dark ground; enlarged pixels stay squares."""
    scale = min(box.width / view.shape[1], box.height / view.shape[0])
    width, height = max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale))
    way = cv2.INTER_NEAREST if scale > 3 else cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
    x, y = box.left + (box.width - width) // 2, box.top + (box.height - height) // 2
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = GROUND
    canvas[y : y + height, x : x + width] = cv2.resize(view, (width, height), interpolation=way)


def note(label: str, labels: Sequence[str], best: int, prediction: Prediction) -> str:
    """Return the text below a label: how sure the prediction is, or for an unknown input the nearest class."""
    if label in labels:
        return f"{prediction.probabilities[best]:.0%} sure"
    return f"nearest: {labels[best]}" if label == UNKNOWN else ""


def _bars(canvas: Picture, probabilities: Sequence[float], labels: Sequence[str], best: int, box: Box) -> None:
    """Draw a bar for each class (at most the ten most likely), the best one in full tone."""
    order = list(range(len(labels)))
    if len(order) > 10:
        order = sorted(order, key=lambda k: -probabilities[k])[:10]
    pitch = box.height / max(len(order), 1)
    name_width = min(box.width // 3, 10 + max((_width(labels[k], 13) for k in order), default=0))
    start, length = box.left + name_width, box.width - name_width - 52
    for row, k in enumerate(order):
        chosen, middle, share = k == best, int(box.top + pitch * (row + 0.5)), probabilities[k]
        _text(canvas, labels[k], box.left, middle + 5, 13, INK if chosen else INK_2, bold=chosen)
        cv2.rectangle(canvas, (start, middle - 3), (start + length, middle + 3), LINE, -1)
        if share >= 0.005:
            tone = TONES[0] if chosen else BAR
            cv2.rectangle(canvas, (start, middle - 3), (start + int(length * share), middle + 3), tone, -1)
        _text(canvas, f"{share:.0%}", start + length + 10, middle + 5, 13, INK if chosen else INK_2)


FACE = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None  # OpenCV 5 has outline fonts


def _text(
    canvas: Picture, text: str, left: int, baseline: int, size: int, colour: Colour, *, bold: bool = False
) -> None:
    if FACE is not None:
        cv2.putText(canvas, text, (left, baseline), colour, FACE, size, 700 if bold else 400)
    else:
        plain = text.encode("ascii", "replace").decode()
        weight = 2 if bold else 1
        cv2.putText(canvas, plain, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, size / 30, colour, weight, cv2.LINE_AA)


def _width(text: str, size: int) -> int:
    if FACE is not None:
        return cv2.getTextSize((9999, 99), text, (0, 0), FACE, size, 700)[2]
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 30, 2)[0][0]
