"""An event camera's events as those of a small sensor that looks at the drawing: found in where events were lately.

A drawing that moves a little fires along its strokes while the sheet around it is silent, so a picture of the latest
events shows light strokes on an even dark ground, which `preprocess.drawing` finds like ink on paper. Events near the
strokes are kept, in a window that is held (`roi.window`), and brought to the small sensor's pixels. While there is no
drawing, events of places where much goes on are missed: a scene that is no drawing is not an empty one.

A search takes some milliseconds, for which no event must wait: it goes on a little with each packet, and what it found
is looked at one step of the events' clock later, however far it has come.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import EVENTS, Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import Drawing, Floats, Pieces, Search, dark_drawing
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred
from spikesight.encoders.preprocess.values import Values, array, integer, part, real, time_us, under
from spikesight.encoders.roi.window import Hold, Window

STEP_US = 10_000  # from a look for the drawing until what it found is looked at
LOOK_STEPS = 5  # between two looks
LOOK_US = LOOK_STEPS * STEP_US
MEMORY_US = 150_000  # time constant of the picture of the latest events
MAP_SIDE = 160  # cells of the picture's longer side, at most
FULL_HZ = 15.0  # events a pixel a second that make a cell white
LEVELS = (0.24, 0.4, 0.7, 0.9)  # of that, what may be strokes: what they have left is grey, and joins them to others
FAINT = 0.12  # the edge of a sheet beyond its liveliest part
LONGEST = 0.75  # of the picture's shorter side: a sheet's outline is longer than what is written on it
CLOSE = 5  # cells between a stroke's two edges
LIKELY = 0.6  # likeness of a drawing that is looked at anew; one that is held may look less like one for a while
LOOKS = 3  # in a row that find the same drawing before it is looked at: what moves as a whole keeps its form
ALIKE = 0.6  # correlation of two looks' drawings
MISSES = 8  # looks in a row that do not find it again, though as much moves, before it is forgotten
MOST = 2**31 - 1  # events in a cell
BESIDE = 0.05  # of the drawing's length: how far from its strokes events are kept


class Found(NamedTuple):
    """What a look found."""

    drawing: Drawing
    form: Floats  # [28, 28], by which it is compared with another


class EventTracker:
    """Packets of a `sensor` in, events of a sensor of `size` out, and the same however the stream is cut.

    `fixed` is a window of the user's: everything in it is kept. Looks happen at whole LOOK_US of the events' clock.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, fixed: Window | None = None) -> None:
        self.sensor, self.size, self.fixed = sensor, size, fixed
        self._hold = Hold()
        self._search: Search[Found | None] | None = None  # under way
        self._lately: Floats | None = None  # the map that is searched
        self._search_us = 0  # when it began
        self._moving = 0.0  # how much moved then
        self._before: Floats | None = None  # the form that the look before found
        self._alike = 0  # looks in a row that found the same
        self._misses, self._moved = 0, 0.0  # looks in a row that did not; how much moved when one did
        self._cell = -(-max(sensor.width, sensor.height) // MAP_SIDE)
        self._shape = (-(-sensor.height // self._cell), -(-sensor.width // self._cell))
        self._map = np.zeros(self._shape, np.float32)  # events lately, up to the last look
        self._fresh = np.zeros(self._shape, np.int32)  # events since then
        self._full = FULL_HZ * (MEMORY_US / 1e6) * self._cell**2  # of a white cell
        self._kept = np.full(self._shape, fixed is not None)  # cells near the strokes
        self._step: int | None = None  # of the events' clock

    @property
    def window(self) -> Window | None:
        """What is looked at, in the sensor's pixels."""
        return self.fixed or self._hold.window

    def __call__(self, events: Events) -> Events:
        return self.look(events)[0]

    def look(self, events: Events) -> tuple[Events, Times]:
        """What is seen of a packet, and the times of what is missed."""
        if self.fixed is not None or not len(events):
            return self._seen(events), NO_TIMES
        seen, missed, begin = list[Events](), NO_TIMES, 0
        while begin < len(events):
            step = int(events["t"][begin]) // STEP_US
            if self._step is not None and step != self._step:
                self._pass(self._step, step)
            self._step = step
            end = kernels.compiled("roi").gather(events, begin, STEP_US, self._cell, self._fresh)
            some, begin = events[begin:end], end
            seen.append(self._seen(some))
            if self.window is None:  # missed is what came where strokes would be bright enough
                lately = self._map[some["y"] // self._cell, some["x"] // self._cell]
                missed = np.concatenate([missed, some["t"][lately > LEVELS[0] * self._full]])
        if self._search is not None:
            self._search.go_on()
        return joined(seen), missed

    def state(self) -> Values:
        """What is carried from packet to packet; of a search under way, the picture that is searched."""
        forms = {
            "lately": self._lately,
            "before": self._before,
            "map": self._map,
            "fresh": self._fresh,
            "kept": self._kept,
        }
        counts = {"alike": self._alike, "misses": self._misses, "moved": self._moved, "moving": self._moving}
        copies: Values = {name: None if one is None else one.copy() for name, one in forms.items()}
        return copies | counts | {"search_us": self._search_us, "step": self._step} | under("hold", self._hold.state())

    def restore(self, values: Values) -> None:
        """Go on from the state of a window of the same sensor. Raises ValueError."""
        lately, before, step = values["lately"], values["before"], values["step"]
        fresh = array(values["fresh"], self._shape, np.int32, 0, MOST)
        self._map = array(values["map"], self._shape, np.float32, 0, MOST)
        self._fresh, self._kept = fresh, array(values["kept"], self._shape, bool)
        self._lately = None if lately is None else array(lately, self._shape, np.float32, 0, MOST)
        self._search = None if self._lately is None else Search(self._found(self._lately))
        self._before = None if before is None else array(before, (DIGIT_SIZE, DIGIT_SIZE), np.float32, 0, 255)
        self._alike, self._misses = integer(values["alike"]), integer(values["misses"])
        self._moved, self._moving = (real(values[name], 0, 1e15) for name in ("moved", "moving"))
        self._search_us, self._step = time_us(values["search_us"]), None if step is None else time_us(step)
        self._hold.restore(part("hold", values))

    def _pass(self, step: int, now: int) -> None:
        """From one step to a later one: take what was searched for; look anew where an interval has ended."""
        self._take(now)
        ended, look = step // LOOK_STEPS, now // LOOK_STEPS
        if look == ended:
            return
        self._begin((ended + 1) * LOOK_US)
        passed = max(1, look - ended) * LOOK_US  # a clock may have begun anew
        self._map *= np.float32(np.exp(-passed / MEMORY_US))
        if now != (ended + 1) * LOOK_STEPS:
            self._take(now)

    def _begin(self, t_us: int) -> None:
        """Search for the drawing in the picture of the latest events."""
        self._map += self._fresh
        self._fresh[:] = 0
        self._search_us, self._moving = t_us, float(self._map.sum())
        self._lately = self._map.copy()
        self._search = Search(self._found(self._lately))

    def _take(self, now: int) -> None:
        """Look at what was searched for, if it is a drawing; forget one that was not seen for long."""
        if self._search is None:
            return
        found, before = self._search.result(), self._before
        same = found is not None and before is not None and alike(found.form, before)
        self._alike = self._alike + 1 if same else 0
        self._search, self._lately, self._before = None, None, found and found.form
        least = LIKELY if self._alike >= LOOKS - 1 else math.inf
        if self._hold.see(found and found.drawing, self._search_us, least) and found:
            self._kept = self._near(found.drawing)
        self._count_misses()
        self._hold.see(None, now // LOOK_STEPS * LOOK_US)

    def _count_misses(self) -> None:
        """After a look: what was not found again in its form was a miss if things moved as they did when it was."""
        if self._alike:
            self._misses, self._moved = 0, self._moving
        elif self._moving > self._moved / 2:
            self._misses += 1
        if self._misses >= MISSES:
            self._hold.window = None

    def _found(self, lately: Floats) -> Pieces[Found | None]:
        """The drawing in events of each cell lately, in the sensor's pixels."""
        picture = (lately * (255 / self._full)).clip(0, 255).astype(np.uint8)
        picture = cv2.morphologyEx(picture, cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        drawing = yield from dark_drawing(np.asarray(255 - picture, np.uint8), LEVELS, FAINT, largest=LONGEST)
        return drawing and Found(drawing.scaled(self._cell), form(drawing))

    def _near(self, drawing: Drawing) -> NDArray[np.bool_]:
        """The cells near a drawing's strokes."""
        top, left = (round(v / self._cell) for v in (drawing.top, drawing.left))
        height, width = drawing.ink.shape
        strokes = np.zeros(self._shape, np.uint8)
        part = strokes[top : top + height, left : left + width]
        part[:] = drawing.ink[: part.shape[0], : part.shape[1]] > 0
        reach = max(1, round(BESIDE * max(height, width)))
        return cv2.dilate(strokes, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0

    def _seen(self, events: Events) -> Events:
        """The events in the window, in the small sensor's pixels."""
        window = self.window
        if window is None:
            return events[:0]
        side = min(self.size.width, self.size.height)
        beside = (self.size.width - side) // 2, (self.size.height - side) // 2
        place = window.left, window.top, side / window.side, *beside
        seen, size = np.empty(len(events), EVENTS), (self.size.width, self.size.height)
        return seen[: kernels.compiled("roi").look(events, self._kept, self._cell, *place, *size, seen)]


def form(drawing: Drawing) -> Floats:
    """A drawing's form, [28, 28], wherever it is and whatever its size."""
    return cv2.GaussianBlur(centred(drawing.ink * 255), (0, 0), 1.0).astype(np.float32)


def alike(one: Floats, other: Floats) -> bool:
    """Whether two forms are the same."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) > ALIKE
