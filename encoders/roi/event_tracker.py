"""An event camera's events as those of a small sensor that shows the drawing: tracked in where events were lately.

A drawing that moves a little fires along its strokes while the sheet around it is silent, so a map of the latest
events (`EventMap`) shows light strokes on an even dark ground, which `preprocess.drawing` finds like ink on paper. What
is found again in one form (`FormConfirmation`) is held in a window (`Hysteresis`). Events near its strokes are kept, in
the small sensor's pixels. While there is no drawing, events of cells where much goes on are missed: a scene that is no
drawing is not an empty one.

A search takes some milliseconds, for which no event must wait: it goes on a little with each packet, and what it found
is taken one step of the events' clock later, however far it has come.
"""

from typing import NamedTuple

import cv2
import numpy as np

from spikesight.encoders import kernels
from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import EVENTS, Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import Drawing, Floats, Pieces, Search, dark_drawing
from spikesight.encoders.preprocess.values import Values, array, part, real, time_us, under
from spikesight.encoders.roi.confirmation import FormConfirmation, form_of
from spikesight.encoders.roi.event_map import EventMap
from spikesight.encoders.roi.window import Hysteresis, Window

STEP_US = 10_000  # from the beginning of a search until what it found is taken
SEARCH_STEPS = 5  # between two searches
SEARCH_US = SEARCH_STEPS * STEP_US
LEVELS = (0.24, 0.4, 0.7, 0.9)  # of white, what may be strokes: what they have left is grey, and joins them to others
FAINT = 0.12  # the edge of a sheet beyond its liveliest part
LONGEST = 0.75  # of the picture's shorter side: a sheet's outline is longer than what is written on it
CLOSE = 5  # cells between a stroke's two edges
LIKELY = 0.6  # likeness of a drawing that is taken up; one that is held may look less like one for a while


class Found(NamedTuple):
    """What a search found: a drawing, in the sensor's pixels, and its form [28, 28]."""

    drawing: Drawing
    form: Floats


class EventTracker:
    """Packets of a `sensor` in, events of a sensor of `size` out, whichever way the stream is cut.

    `fixed` is a window of the user's: everything in it is kept. Searches begin at whole SEARCH_US of the events' clock.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, fixed: Window | None = None) -> None:
        self.sensor, self.size, self.fixed = sensor, size, fixed
        self._map, self._confirmation, self._held = EventMap(sensor), FormConfirmation(), Hysteresis()
        self._kept = np.full(self._map.shape, fixed is not None)  # cells near the strokes
        self._step: int | None = None  # of the events' clock
        self._search: Search[Found | None] | None = None  # under way
        self._searched: Floats | None = None  # its map
        self._search_us = 0  # when it began
        self._moving = 0.0  # events in its map

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None where there is no drawing."""
        return self.fixed or self._held.window

    def __call__(self, events: Events) -> Events:
        return self.kept_and_missed(events)[0]

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Of a packet [N] the events in the window, and the times of those that are missed."""
        if self.fixed is not None or not len(events):
            return self._cropped(events), NO_TIMES
        kept, missed, begin = list[Events](), list[Times](), 0
        while begin < len(events):
            step = int(events["t"][begin]) // STEP_US
            if self._step is not None and step != self._step:
                self._go_on(self._step, step)
            self._step = step
            end = self._map.count(events, begin, STEP_US)
            kept.append(self._cropped(events[begin:end]))
            if self.window is None:
                missed.append(self._map.bright(events[begin:end], LEVELS[0]))
            begin = end
        if self._search is not None:
            self._search.go_on()
        return joined(kept), np.concatenate([NO_TIMES, *missed])

    def state(self) -> Values:
        """The state that is carried from packet to packet; of a search under way, the map that is searched."""
        searched = None if self._searched is None else self._searched.copy()
        values: Values = {"kept": self._kept.copy(), "lately": searched, "moving": self._moving}
        values |= {"search_us": self._search_us, "step": self._step}
        return values | self._map.state() | self._confirmation.state() | under("hold", self._held.state())

    def restore(self, values: Values) -> None:
        """Go on from the state of a tracker of the same sensor. Raises ValueError."""
        searched, step = values["lately"], values["step"]
        self._map.restore(values)
        self._confirmation.restore(values)
        self._held.restore(part("hold", values))
        self._kept = array(values["kept"], self._map.shape, bool)
        self._searched = None if searched is None else self._map.checked(searched)
        self._search = None if self._searched is None else Search(self.find(self._searched))
        self._moving, self._search_us = real(values["moving"], 0, 1e15), time_us(values["search_us"])
        self._step = None if step is None else time_us(step)

    def _go_on(self, step: int, now: int) -> None:
        """From one step to a later one: take what a search found; begin another where an interval has ended."""
        self._take(now)
        ended, interval = step // SEARCH_STEPS, now // SEARCH_STEPS
        if interval == ended:
            return
        self._searched = self._map.update()
        self._search_us, self._moving = (ended + 1) * SEARCH_US, float(self._searched.sum())
        self._search = Search(self.find(self._searched))
        self._map.fade(max(1, interval - ended) * SEARCH_US)  # a clock may have begun anew
        if now != (ended + 1) * SEARCH_STEPS:
            self._take(now)

    def _take(self, now: int) -> None:
        """End a search: take up or hold what it found, and drop a drawing that is lost or silent."""
        if self._search is None:
            return
        found, self._search, self._searched = self._search.result(), None, None
        self._confirmation.add(found and found.form, self._moving)
        if found is None or not self._may_hold(found.drawing):
            self._held.drop_if_silent(self._search_us)
        elif self._held.see(found.drawing, self._search_us):
            self._kept = self._map.near(found.drawing)
        if self._confirmation.lost:
            self._held.window = None
        self._held.drop_if_silent(now // SEARCH_STEPS * SEARCH_US)

    def _may_hold(self, drawing: Drawing) -> bool:
        return self._held.holds(drawing) or (self._confirmation.confirmed and drawing.likeness >= LIKELY)

    def find(self, events: Floats) -> Pieces[Found | None]:
        """Search a map [H, W] of events for the drawing, in pieces."""
        picture = cv2.morphologyEx(self._map.picture(events), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        drawing = yield from dark_drawing(np.asarray(255 - picture, np.uint8), LEVELS, FAINT, largest=LONGEST)
        return drawing and Found(drawing.scaled(self._map.cell), form_of(drawing))

    def _cropped(self, events: Events) -> Events:
        """The events in the window and near the strokes, in the small sensor's pixels."""
        window = self.window
        if window is None:
            return events[:0]
        side = min(self.size.width, self.size.height)
        beside = (self.size.width - side) // 2, (self.size.height - side) // 2
        scaled = window.left, window.top, side / window.side, *beside
        out, size = np.empty(len(events), EVENTS), (self.size.width, self.size.height)
        return out[: kernels.compiled("roi").crop(events, self._kept, self._map.cell, *scaled, *size, out)]
