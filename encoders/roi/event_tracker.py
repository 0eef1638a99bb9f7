"""An event camera's events as those of small sensors that each show one drawing, found in where events were lately.

A drawing that trembles fires along its strokes while the sheet around it is silent, so a map of the latest events
(`EventMap`) shows light strokes on an even dark ground, which `preprocess.drawing` finds like ink on paper. What is
found again in one form near its place is followed (`Tracks`), and the events near its strokes are kept. What goes
somewhere leaves a trail there, and no events along its way: it is found in how much lighter or darker it became, one
of them in each search, and shown as what is drawn in frames; it moves as events come, at the first of each step of
its path.

A search takes some milliseconds, for which no event must wait: it goes on a little with each packet, and what it found
is taken some steps of the events' clock later, however far it has come.
"""

from itertools import compress
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import SEARCH_SIDE, Candidate, Floats, Pieces, Search, dark
from spikesight.encoders.preprocess.values import Values, array, part, time_us, under
from spikesight.encoders.roi.candidates import distinct, likeliest, overlap
from spikesight.encoders.roi.event_map import EventMap
from spikesight.encoders.roi.frame_tracker import STEP_US as PATH_US
from spikesight.encoders.roi.frame_tracker import DrawingEmulator
from spikesight.encoders.roi.tracks import CROSSED, MOST, Seen, Tracks, boxes_of
from spikesight.encoders.roi.window import around, through

STEP_US = 10_000  # of the events' clock: a search goes on at least so often
SEARCH_STEPS = 5  # between two searches
SEARCH_US = SEARCH_STEPS * STEP_US
PIECES = 6  # of a search that lasts longer, in each step at least
LEVELS = (0.24, 0.4, 0.7, 0.9)  # of white, what may be strokes: what they have left is grey, and joins them to others
FAINT = 0.12  # the edge of a sheet beyond its liveliest part
LONGEST = 0.75  # of the picture's shorter side: a sheet's outline is longer than what is written on it
CLOSE = 5  # cells between a stroke's two edges
LIKELY = 0.6  # likeness of a drawing that is taken up where there is one window
CHANGE_US = 500_000  # time constant with which it is forgotten how light or dark it became
DARKER = 0.24  # than its ground: what may be strokes of what goes somewhere
CONTRAST = 0.2  # how much lighter it becomes by an event, in log intensity


class Found(NamedTuple):
    """Of a search, the likeliest first."""

    still: list[Seen]
    going: list[Seen]


class EventTracker:
    """Packets of a `sensor` in, events of `places` sensors of `size` out, one below the other, however they are cut.

    Without `places` there is one, for the likeliest drawing of all. With `drawn` what goes somewhere is looked for,
    too. Searches begin at whole SEARCH_US of the events' clock. While nothing is followed, events of cells where much
    goes on are missed: a scene that is no drawing is not an empty one.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int = 0, *, drawn: bool = False) -> None:
        self._map = EventMap(sensor)
        self._maps = (self._map, *[EventMap(sensor, SEARCH_SIDE, CHANGE_US, off=-1)] * drawn)
        self._steps = SEARCH_STEPS if drawn else 1
        self._step: int | None = None  # of the events' clock
        self._search: Search[Found] | None = None  # under way
        self._searched: list[Floats] | None = None  # its maps
        self._search_us = 0  # when it began
        self._emulator = DrawingEmulator(size, places or 1)
        self.size, self.tall = size, self._emulator.sensor
        self.tracks = Tracks(places) if places else Tracks(1, LIKELY)
        self._going = [Tracks(places) for _ in range(2 * drawn)]  # what became darker, and lighter
        self._kept = np.zeros(self._map.shape, np.uint8)  # cells near the strokes of what trembles, a bit each
        self._seen, self._light = 0, self._lit()  # the step of the path, and what is moved on it

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Of a packet [N] the events in the windows, and the times of those that are missed."""
        kept, missed, begin = list[Events](), [NO_TIMES], 0
        while begin < len(events):
            step = int(events["t"][begin]) // STEP_US
            if self._step is not None and step != self._step:
                self._go_on(self._step, step, int(events["t"][begin]))
            self._step = step
            end = max(one.count(events, begin, STEP_US) for one in self._maps)
            if self.tracks.ids.any():
                kept.append(self._shown(events[begin:end]))
            else:
                missed.append(self._map.bright(events[begin:end], LEVELS[0]))
            begin = end
        if self._search is not None and len(events):
            self._search.go_on()
        return joined(kept) if kept else events[:0], np.concatenate(missed)

    def _go_on(self, step: int, now: int, now_us: int) -> None:
        """From one step to a later one: take what a search found; begin another where an interval has ended."""
        if now < step:
            self.tracks.begin()
        self._take(now, now_us)
        ended, interval = step // SEARCH_STEPS, now // SEARCH_STEPS
        if interval == ended:
            return
        self._searched, self._search_us = [one.update() for one in self._maps], (ended + 1) * SEARCH_US
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
        self._follow(found, now_us)

    def find(self, *maps: Floats) -> Pieces[Found]:
        """Search maps [H, W] of events, and of how much lighter it became, in pieces."""
        still, *changes = maps
        picture = cv2.morphologyEx(self._map.picture(still), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        found = yield from dark(np.asarray(255 - picture, np.uint8), LEVELS, LONGEST, FAINT)
        best = distinct(found, alone=self.tracks.alone)
        trembling, going = (yield from _seen(best, self._map.cell)), list[Seen]()
        for change in changes:
            light = np.exp((-1) ** self._turn * CONTRAST / self._maps[1].cell ** 2 * change)
            found = yield from dark(np.minimum(255 * light, 255).astype(np.uint8), (DARKER,))
            going = yield from _seen(distinct(found, MOST), self._maps[1].cell)
        return Found(trembling, going)

    @property
    def _turn(self) -> int:
        """Whether what became darker is searched, or lighter."""
        return self._search_us // SEARCH_US % 2

    def _follow(self, found: Found, now_us: int) -> None:
        """Take what a search found."""
        if self._going:
            self._going[self._turn].update(found.going, self._search_us, since_us=now_us)
            self._going[self._turn].begin()
        both = [seen for one in self._going for seen in one.gone(self._search_us)]
        going = [both[n] for n in likeliest(boxes_of(both), [seen.drawing.likeness for seen in both], MOST)]
        free = overlap(boxes_of(found.still), boxes_of(going)).max(1, initial=0) < CROSSED
        shown = [*going, *compress(found.still, free)]
        before = self.tracks.ids.copy(), self._drawn()
        for place, index in enumerate(self.tracks.update(shown, self._search_us, since_us=now_us).tolist()):
            bit = np.uint8(1 << place)
            if index >= 0 or not self.tracks.ids[place]:
                self._kept &= ~bit
            if index >= 0 and not shown[index].going:
                self._kept |= bit * self._map.near(shown[index].drawing)
        self._light = self._lit()
        for place in np.flatnonzero((self.tracks.ids != before[0]) | (self._drawn() != before[1])).tolist():
            self._emulator.restart(place, self._light, now_us)

    def _drawn(self) -> NDArray[np.bool_]:
        """Which places show what goes somewhere."""
        return self.tracks.going & (self.tracks.ids > 0)

    def _lit(self) -> Floats:
        return self._emulator.light(self.tracks.drawings * self._drawn()[:, None, None])

    def _shown(self, events: Events) -> Events:
        """Of events [N] those near the strokes of each window, in its sensor's pixels, and those of what is drawn."""
        kept = through(events, around(self.tracks.boxes), self._kept, self._map.cell, self.size)
        if not self._going:
            return kept
        steps = events["t"] // PATH_US
        begins = np.flatnonzero(steps != np.append(self._seen, steps[:-1])) if self._drawn().any() else steps[:0]
        self._seen, times = int(steps[-1]), events["t"][begins]
        parts = np.split(kept, np.searchsorted(kept["t"], times))
        for n, t_us in enumerate((times // PATH_US * PATH_US).tolist()):
            moved = self._emulator.pixels.push(self._emulator.view(self._light, t_us), t_us)
            moved["t"] = times[n]
            parts[n] = joined([parts[n], moved])
        return joined(parts)

    def state(self) -> Values:
        """The state that is carried from packet to packet; of a search under way, the maps that are searched."""
        values: Values = {
            "search_us": self._search_us,
            "step": self._step,
            "kept": self._kept.copy(),
            "seen": self._seen,
        }
        for n, one in enumerate(self._maps):
            searched = None if self._searched is None else self._searched[n].copy()
            values |= under(f"map{n}", one.state() | {"lately": searched})
        for n, tracks in enumerate([self.tracks, *self._going]):
            values |= under(f"tracks{n}", tracks.state())
        return values | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Go on from the state of a tracker of the same sensors and places. Raises ValueError."""
        parts, step = [part(f"map{n}", values) for n in range(len(self._maps))], values["step"]
        for one, carried in zip(self._maps, parts):
            one.restore(carried)
        for n, tracks in enumerate([self.tracks, *self._going]):
            tracks.restore(part(f"tracks{n}", values))
        self._emulator.pixels.restore(part("pixels", values))
        kept = array(values["kept"], self._map.shape, np.uint8, 0, 255)
        if (kept & ~np.uint8(sum(1 << int(place) for place in np.flatnonzero(self.tracks.ids)))).any():
            raise ValueError("cells are kept for windows that are not there")
        self._kept, self._seen, self._light = kept, time_us(values["seen"]), self._lit()
        self._search_us, self._step = time_us(values["search_us"]), None if step is None else time_us(step)
        self._search = self._searched = None
        if parts[0]["lately"] is not None:
            self._searched = [one.checked(carried["lately"]) for one, carried in zip(self._maps, parts)]
            self._search = Search(self.find(*self._searched))


def _seen(found: list[Candidate], cell: int) -> Pieces[list[Seen]]:
    """What candidates look like, found in cells of so many pixels."""
    seen = list[Seen]()
    for one in found:
        yield
        seen.append(Seen.of(one.drawing().scaled(cell)))
    return seen
