"""Tracking of a drawing in an event camera's stream, and mapping of its events to a small sensor.

A drawing that moves a little fires along its strokes while the sheet around it is silent, so a map of recent events
(`EventMap`) shows light strokes on an even dark background, which `preprocess.drawing` finds like ink on paper. A
drawing found repeatedly in one form (`FormConfirmation`) is held in a window (`Hysteresis`). Events near its strokes
are kept, in the small sensor's pixels. While no drawing is held, events in active cells count as missed: a scene
without a drawing is not an empty scene.

A search takes some milliseconds, and events must not wait for it. So each packet advances the search a little, and the
result is used a fixed number of steps of the events' clock later; a search not done by then is finished at once.
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

STEP_US = 10_000  # a step of the events' clock
SEARCH_STEPS = 5  # from the start of a search to that of the next
SEARCH_US = SEARCH_STEPS * STEP_US
PIECES = 6  # least number of search pieces run per step, if a search may take several steps
LEVELS = (0.24, 0.4, 0.7, 0.9)  # stroke thresholds, relative to white; at low ones grey trails join strokes
FAINT = 0.12  # threshold, relative to white, for the continuation of a sheet's edge beyond its most active part
LONGEST = 0.75  # longest drawing by the picture's shorter side; a sheet's outline is longer
CLOSE = 5  # cells: gaps up to this width between a stroke's two edges are filled
LIKELY = 0.6  # least likeness of a new drawing; a drawing that is held may fall below


T = TypeVar("T")


class Found(NamedTuple):
    """The result of a search: a drawing, in the sensor's pixels, and its form [28, 28]."""

    drawing: Drawing
    form: Floats


class EventSearch(Generic[T]):
    """Base of trackers that search maps of recent events; a search's result is a T. Packet borders do not matter.

    Searches begin at multiples of SEARCH_US of the events' clock; results are used `steps` steps (STEP_US) later.
    """

    def __init__(self, sensor: SensorSize, *others: EventMap, steps: int = 1) -> None:
        self.sensor, self._steps = sensor, steps
        self._map = EventMap(sensor)
        self._maps = (self._map, *others)
        self._step: int | None = None  # of the newest events, in STEP_US
        self._search: Search[T] | None = None  # the search in progress
        self._searched: list[Floats] | None = None  # the maps that it searches
        self._search_us = 0  # when it began, or the last one did

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Return a packet's events in the windows, and times of missed events: in active cells, without a window."""
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
        """Return the state that is carried from packet to packet; for a search in progress, the maps it searches."""
        values: Values = {"search_us": self._search_us, "step": self._step}
        for n, one in enumerate(self._maps):
            searched = None if self._searched is None else self._searched[n].copy()
            values |= under(f"map{n}", one.state() | {"lately": searched})
        return values

    def restore(self, values: Values) -> None:
        """Continue from the state of a search on the same sensor. Raises ValueError if a value is invalid."""
        parts, step = [part(f"map{n}", values) for n in range(len(self._maps))], values["step"]
        for one, carried in zip(self._maps, parts):
            one.restore(carried)
        self._searched = None
        if parts[0]["lately"] is not None:
            self._searched = [one.checked(carried["lately"]) for one, carried in zip(self._maps, parts)]
        self._search = None if self._searched is None else Search(self.find(*self._searched))
        self._search_us, self._step = time_us(values["search_us"]), None if step is None else time_us(step)

    def find(self, *maps: Floats) -> Pieces[T]:
        """Search maps [H, W] of events, yielding between pieces of work; return the result."""
        raise NotImplementedError

    def _begun(self, searched: Floats) -> None:
        """Called when a search of this map begins."""

    def _found(self, found: T, now_us: int) -> None:
        """Use the result of a search; `now_us`: time of the event at which it is used."""
        raise NotImplementedError

    def _empty(self) -> bool:
        """Return whether there is no window."""
        raise NotImplementedError

    def _cropped(self, events: Events) -> Events:
        """Return the events in the windows, mapped to the small sensors' pixels."""
        raise NotImplementedError

    def _anew(self) -> None:
        """Called when the events' clock restarts."""

    def _go_on(self, step: int, now: int, now_us: int) -> None:
        """Move from `step` to step `now`: use a due search's result; begin a search if an interval has ended."""
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
            one.fade(max(1, interval - ended) * SEARCH_US)  # negative if the clock restarted
        self._take(now, now_us)

    def _take(self, now: int, now_us: int) -> None:
        """Finish the search and use its result if it is due or the clock restarted; else run some pieces of it."""
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
        """Return a map as a picture in which strokes are dark, with gaps between a stroke's edges filled."""
        picture = cv2.morphologyEx(self._map.picture(events), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        return np.asarray(255 - picture, np.uint8)


class EventTracker(EventSearch["Found | None"]):
    """Tracks one drawing in packets of a `sensor`; returns its events, mapped to a sensor of `size`.

    `fixed`: a window that the user set; then all events in it are kept and nothing is searched.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, fixed: Window | None = None) -> None:
        super().__init__(sensor)
        self.size, self.fixed = size, fixed
        self._confirmation, self._held = FormConfirmation(), Hysteresis()
        self._kept = np.full(self._map.shape, fixed is not None)  # cells whose events are kept: near the strokes
        self._moving = 0.0  # events in the map that is searched

    @property
    def window(self) -> Window | None:
        """The window in the sensor's pixels; None if no drawing is held."""
        return self.fixed or self._held.window

    def __call__(self, events: Events) -> Events:
        return self.kept_and_missed(events)[0]

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Return a packet's events in the window, and the times of missed events: in active cells, without a window."""
        return (self._cropped(events), NO_TIMES) if self.fixed is not None else super().kept_and_missed(events)

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, by name."""
        values: Values = {"kept": self._kept.copy(), "moving": self._moving}
        return values | super().state() | self._confirmation.state() | under("hold", self._held.state())

    def restore(self, values: Values) -> None:
        """Continue from the state of a tracker of the same sensor. Raises ValueError if a value is invalid."""
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
        """Update the window by the drawing that a search found; drop a drawing that is lost or long unseen."""
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
        """Search a map [H, W] of events for a drawing, yielding between pieces of work."""
        drawing = yield from dark_drawing(self._dark(maps[0]), LEVELS, FAINT, largest=LONGEST)
        return drawing and Found(drawing.scaled(self._map.cell), form_of(drawing))

    def _cropped(self, events: Events) -> Events:
        """Return the events in the window and near the strokes, mapped to the small sensor's pixels."""
        window = self.window
        if window is None:
            return events[:0]
        side = min(self.size.width, self.size.height)
        beside = (self.size.width - side) // 2, (self.size.height - side) // 2
        scaled = window.left, window.top, side / window.side, *beside
        out, size = np.empty(len(events), EVENTS), (self.size.width, self.size.height)
        return out[: kernels.compiled("roi").crop(events, self._kept, self._map.cell, *scaled, *size, out)]
