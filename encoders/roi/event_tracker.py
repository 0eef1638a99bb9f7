"""An event camera's events as those of a small sensor that shows the drawing: tracked in where events were lately.

A drawing that moves a little fires along its strokes while the sheet around it is silent, so a map of the latest
events (`EventMap`) shows light strokes on an even dark ground, which `preprocess.drawing` finds like ink on paper. What
is found again in one form (`FormConfirmation`) is held in a window (`Hysteresis`). Events near its strokes are kept, in
the small sensor's pixels. While there is no drawing, events of cells where much goes on are missed: a scene that is no
drawing is not an empty one.

A search takes some milliseconds, for which no event must wait: it goes on a little with each packet, and what it found
is taken one step of the events' clock later, however far it has come.
"""

from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np

from spikesight.encoders import kernels
from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import EVENTS, Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import Drawing, Floats, Picture, Pieces, Search, dark_drawing
from spikesight.encoders.preprocess.values import Values, array, part, real, time_us, under
from spikesight.encoders.roi.confirmation import FormConfirmation, form_of
from spikesight.encoders.roi.event_map import EventMap
from spikesight.encoders.roi.window import Hysteresis, Window

STEP_US = 10_000  # from the beginning of a search until what it found is taken
SEARCH_STEPS = 5  # between two searches
SEARCH_US = SEARCH_STEPS * STEP_US
PIECES = 6  # of a search that lasts longer, in each step at least
LEVELS = (0.24, 0.4, 0.7, 0.9)  # of white, what may be strokes: what they have left is grey, and joins them to others
FAINT = 0.12  # the edge of a sheet beyond its liveliest part
LONGEST = 0.75  # of the picture's shorter side: a sheet's outline is longer than what is written on it
CLOSE = 5  # cells between a stroke's two edges
LIKELY = 0.6  # likeness of a drawing that is taken up; one that is held may look less like one for a while


T = TypeVar("T")


class Found(NamedTuple):
    """What a search found: a drawing, in the sensor's pixels, and its form [28, 28]."""

    drawing: Drawing
    form: Floats


class EventSearch(Generic[T]):
    """Packets of a `sensor` in, searched for a T in where events were lately, whichever way the stream is cut.

    Searches begin at whole SEARCH_US of the events' clock, and what they found is taken so many `steps` later.
    """

    def __init__(self, sensor: SensorSize, *others: EventMap, steps: int = 1) -> None:
        self.sensor, self._steps = sensor, steps
        self._map = EventMap(sensor)
        self._maps = (self._map, *others)
        self._step: int | None = None  # of the events' clock
        self._search: Search[T] | None = None  # under way
        self._searched: list[Floats] | None = None  # its maps
        self._search_us = 0  # when it began

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Of a packet [N] the events in the windows, and the times of those that are missed."""
        kept, missed, begin = list[Events](), [NO_TIMES], 0
        while begin < len(events):
            step = int(events["t"][begin]) // STEP_US
            if self._step is not None and step != self._step:
                self._go_on(self._step, step, int(events["t"][begin]))
            self._step = step
            end = max(one.count(events, begin, STEP_US) for one in self._maps)
            kept.append(self._cropped(events[begin:end]))
            if self._empty():
                missed.append(self._map.bright(events[begin:end], LEVELS[0]))
            begin = end
        if self._search is not None and len(events):
            self._search.go_on()
        return joined(kept) if kept else events, np.concatenate(missed)

    def state(self) -> Values:
        """The state that is carried from packet to packet; of a search under way, the map that is searched."""
        values: Values = {"search_us": self._search_us, "step": self._step}
        for n, one in enumerate(self._maps):
            searched = None if self._searched is None else self._searched[n].copy()
            values |= under(f"map{n}", one.state() | {"lately": searched})
        return values

    def restore(self, values: Values) -> None:
        """Go on from the state of a search on the same sensor. Raises ValueError."""
        parts, step = [part(f"map{n}", values) for n in range(len(self._maps))], values["step"]
        for one, carried in zip(self._maps, parts):
            one.restore(carried)
        self._searched = None
        if parts[0]["lately"] is not None:
            self._searched = [one.checked(carried["lately"]) for one, carried in zip(self._maps, parts)]
        self._search = None if self._searched is None else Search(self.find(*self._searched))
        self._search_us, self._step = time_us(values["search_us"]), None if step is None else time_us(step)

    def find(self, *maps: Floats) -> Pieces[T]:
        """Search maps [H, W] of events, in pieces."""
        raise NotImplementedError

    def _begun(self, searched: Floats) -> None:
        """A search of this map begins."""

    def _found(self, found: T, now_us: int) -> None:
        """Take what a search found."""
        raise NotImplementedError

    def _empty(self) -> bool:
        """Whether there is no window."""
        raise NotImplementedError

    def _cropped(self, events: Events) -> Events:
        """Of events [N] those in the windows, in the small sensors' pixels."""
        raise NotImplementedError

    def _anew(self) -> None:
        """The events' clock begins anew."""

    def _go_on(self, step: int, now: int, now_us: int) -> None:
        """From one step to a later one: take what a search found; begin another where an interval has ended."""
        if now < step:
            self._anew()
        self._take(now, now_us)
        ended, interval = step // SEARCH_STEPS, now // SEARCH_STEPS
        if interval == ended:
            return
        self._searched, self._search_us = [one.update() for one in self._maps], (ended + 1) * SEARCH_US
        self._begun(self._searched[0])
        self._search = Search(self.find(*self._searched))
        for one in self._maps:
            one.fade(max(1, interval - ended) * SEARCH_US)  # a clock may have begun anew
        self._take(now, now_us)

    def _take(self, now: int, now_us: int) -> None:
        """End a search, if it is time, or another clock; else go on with it."""
        if self._search is None:
            return
        passed = now - self._search_us // STEP_US
        if 0 <= passed < self._steps:
            while self._search.done < PIECES * passed:
                self._search.go_on()
            return
        found, self._search, self._searched = self._search.result(), None, None
        self._found(found, now_us)

    def _dark(self, events: Floats) -> Picture:
        """A map as a picture in which strokes are dark."""
        picture = cv2.morphologyEx(self._map.picture(events), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        return np.asarray(255 - picture, np.uint8)


class EventTracker(EventSearch["Found | None"]):
    """Packets of a `sensor` in, events of a sensor of `size` out.

    `fixed` is a window of the user's: everything in it is kept.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, fixed: Window | None = None) -> None:
        super().__init__(sensor)
        self.size, self.fixed = size, fixed
        self._confirmation, self._held = FormConfirmation(), Hysteresis()
        self._kept = np.full(self._map.shape, fixed is not None)  # cells near the strokes
        self._moving = 0.0  # events in the map that is searched

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None where there is no drawing."""
        return self.fixed or self._held.window

    def __call__(self, events: Events) -> Events:
        return self.kept_and_missed(events)[0]

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Of a packet [N] the events in the window, and the times of those that are missed."""
        return (self._cropped(events), NO_TIMES) if self.fixed is not None else super().kept_and_missed(events)

    def state(self) -> Values:
        """The state that is carried from packet to packet."""
        values: Values = {"kept": self._kept.copy(), "moving": self._moving}
        return values | super().state() | self._confirmation.state() | under("hold", self._held.state())

    def restore(self, values: Values) -> None:
        """Go on from the state of a tracker of the same sensor. Raises ValueError."""
        super().restore(values)
        self._confirmation.restore(values)
        self._held.restore(part("hold", values))
        self._kept = array(values["kept"], self._map.shape, bool)
        self._moving = real(values["moving"], 0, 1e15)

    def _empty(self) -> bool:
        return self.window is None

    def _begun(self, searched: Floats) -> None:
        self._moving = float(searched.sum())

    def _found(self, found: Found | None, now_us: int) -> None:
        """Take up or hold what a search found, and drop a drawing that is lost or silent."""
        self._confirmation.add(found and found.form, self._moving)
        if found is None or not self._may_hold(found.drawing):
            self._held.drop_if_silent(self._search_us)
        elif self._held.see(found.drawing, self._search_us):
            self._kept = self._map.near(found.drawing)
        if self._confirmation.lost:
            self._held.window = None
        self._held.drop_if_silent(now_us // SEARCH_US * SEARCH_US)

    def _may_hold(self, drawing: Drawing) -> bool:
        return self._held.holds(drawing) or (self._confirmation.confirmed and drawing.likeness >= LIKELY)

    def find(self, *maps: Floats) -> Pieces[Found | None]:
        """Search a map [H, W] of events for the drawing, in pieces."""
        drawing = yield from dark_drawing(self._dark(maps[0]), LEVELS, FAINT, largest=LONGEST)
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
