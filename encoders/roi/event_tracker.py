"""Tracking of drawings in an event camera's stream, and mapping of their events to small sensors.

A drawing that trembles fires along its strokes while the sheet around it is silent, so a map of recent events
(`EventMap`) shows light strokes on an even dark background, which `preprocess.drawing` finds like ink on paper. What is
found again in one form near its place is tracked (`Tracks`), and events near its strokes are kept. A stroke darkens as
many pixels as it leaves, a sheet's edge darkens or lightens all that it passes: the more ON and OFF events of a
candidate are apart, the less it is like a drawing. A travelling drawing leaves a trail in that map, and its strokes
along the path fire no events: it is found in a map of brightness changes (searches alternate between darker and
lighter) and shown like a drawing in frames, moved by saccades at the first event of each step of the saccade path.
While nothing is tracked, events in active cells count as missed: a scene without a drawing is not an empty scene.

A search takes some milliseconds, and events must not wait for it. So each packet advances the search a little, and the
result is used a fixed number of steps of the events' clock later; a search not done by then is finished at once.
"""

from itertools import compress

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import NO_TIMES, Times
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import SEARCH_SIDE, Candidate, Floats, Pieces, Search, dark
from spikesight.encoders.preprocess.values import TIME, Part, Values, number
from spikesight.encoders.roi.candidates import distinct, likeliest, overlap
from spikesight.encoders.roi.event_map import EventMap
from spikesight.encoders.roi.frame_tracker import STEP_US as PATH_US
from spikesight.encoders.roi.frame_tracker import DrawingEmulator
from spikesight.encoders.roi.tracks import CROSSED, MOST, Seen, Tracks, boxes_of
from spikesight.encoders.roi.window import around, through

STEP_US = 10_000  # a step of the events' clock
SEARCH_STEPS = 5  # from the start of a search to that of the next
SEARCH_US = SEARCH_STEPS * STEP_US
PIECES = 6  # least number of search pieces run per step, if a search may take several steps
LEVELS = (0.24, 0.4, 0.7, 0.9)  # stroke thresholds, relative to white; at low ones grey trails join strokes
FAINT = 0.12  # threshold, relative to white, for the continuation of a sheet's edge beyond its most active part
LONGEST = 0.75  # longest drawing by the picture's shorter side; a sheet's outline is longer
CLOSE = 5  # cells: gaps up to this width between a stroke's two edges are filled
LIKELY = 0.6  # likeness that a single new drawing exceeds; a drawing that is held may fall below
CHANGE_US = 500_000  # time constant with which changes of brightness decay
DARKER = 0.24  # least contrast with the background of a travelling drawing's strokes
CONTRAST = 0.2  # change in log intensity per event

Found = tuple[list[Seen], list[Seen]]  # drawings, the likeliest first: trembling in one place, and travelling


class EventTracker(Part, step=(*TIME, None), search_us=TIME, kept=(0, 255), seen=TIME):
    """Tracks drawings in packets of a `sensor`; returns their events on `places` sensors of `size` stacked vertically.

    Without `places`, the single likeliest drawing is tracked. `drawn`: search for travelling drawings, too. Searches
    begin at multiples of SEARCH_US of the events' clock; packet borders do not matter.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int = 0, *, drawn: bool = False) -> None:
        self._map = EventMap(sensor)
        changes = [EventMap(sensor, SEARCH_SIDE, CHANGE_US, off=-1)] * drawn
        self._maps = (self._map, EventMap(sensor, off=-1), *changes)
        self._steps = SEARCH_STEPS if drawn else 1
        self.step: int | None = None  # of the newest events, in STEP_US
        self._search: Search[Found] | None = None  # the search in progress
        self.search_us = 0  # when it began, or the last one did
        self._emulator = DrawingEmulator(size, places or 1)
        self.size, self.tall = size, self._emulator.sensor
        self.tracks = Tracks(places) if places else Tracks(1, LIKELY)
        self._going = [Tracks(places) for _ in range(2 * drawn)]  # travelling drawings: darker, and lighter ones
        self.kept = np.zeros(self._map.shape, np.uint8)  # bit n: the cell is near place n's strokes
        self.seen, self._light = 0, self._lit()  # last step of the saccade path, and the light that it moves
        self.parts = {f"map{n}": one for n, one in enumerate(self._maps)} | {"pixels": self._emulator}
        self.parts |= {f"tracks{n}": one for n, one in enumerate([self.tracks, *self._going])}

    def kept_and_missed(self, events: Events) -> tuple[Events, Times]:
        """Return a packet's events in the windows, and times of missed events: in active cells, without a window."""
        kept, missed, begin = list[Events](), [NO_TIMES], 0
        while begin < len(events):
            step = int(events["t"][begin]) // STEP_US
            if self.step is not None and step != self.step:
                self._go_on(self.step, step, int(events["t"][begin]))
            self.step = step
            end = max(one.count(events, begin, STEP_US) for one in self._maps)
            if self.tracks.ids.any():
                kept.append(self._shown(events[begin:end]))
            else:
                missed.append(self._map.bright(events[begin:end], LEVELS[0], self._passed_us(step)))
            begin = end
        if self._search is not None and len(events):
            self._search.go_on()
        return joined(kept) if kept else events[:0], np.concatenate(missed)

    def _go_on(self, step: int, now: int, now_us: int) -> None:
        """Move from `step` to step `now`: use a due search's result; begin a search if an interval has ended."""
        if now < step:
            self.tracks.begin()
        self._take(now, now_us)
        ended, interval = step // SEARCH_STEPS, now // SEARCH_STEPS
        if interval == ended:
            return
        passed_us, self.search_us = self._passed_us(step), (ended + 1) * SEARCH_US
        self._search = Search(self.find(*(one.update(passed_us) for one in self._maps)))
        self._take(now, now_us)

    def _passed_us(self, step: int) -> int:
        """Return the time, in whole intervals, by which the maps decay from the last search to the one after `step`."""
        return max(1, step // SEARCH_STEPS + 1 - self.search_us // SEARCH_US) * SEARCH_US  # else the clock restarted

    def _take(self, now: int, now_us: int) -> None:
        """Finish the search and use its result if it is due or the clock restarted; else run some pieces of it."""
        if self._search is None:
            return
        passed = now - self.search_us // STEP_US
        if 0 <= passed < self._steps:
            while self._search.done < PIECES * passed:
                self._search.go_on()
            return
        found, self._search = self._search.result(), None
        self._follow(found, now_us)

    def find(self, *maps: Floats) -> Pieces[Found]:
        """Search maps [H, W] of events, and of brightness changes, for drawings, yielding between pieces of work."""
        still, signed, *changes = maps
        picture = cv2.morphologyEx(self._map.picture(still), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        found = yield from dark(np.asarray(255 - picture, np.uint8), LEVELS, LONGEST, FAINT)
        best = yield from _balanced(distinct(found, alone=self.tracks.alone), still, signed)
        trembling, going = (yield from _seen(best, self._map.cell)), list[Seen]()
        for change in changes:
            light = np.exp((-1) ** self._turn * CONTRAST / self._maps[-1].cell ** 2 * change)
            found = yield from dark(np.minimum(255 * light, 255).astype(np.uint8), (DARKER,))
            going = yield from _seen(distinct(found, MOST), self._maps[-1].cell)
        return trembling, going

    @property
    def _turn(self) -> int:
        """0 if this search looks for travelling drawings in what became darker, 1 for lighter."""
        return self.search_us // SEARCH_US % 2

    def _follow(self, found: Found, now_us: int) -> None:
        """Update the tracks by the result of a search; `now_us`: time of the event at which it is used."""
        still, travelling = found
        if self._going:
            self._going[self._turn].update(travelling, self.search_us, since_us=now_us)
            self._going[self._turn].begin()
        both = [seen for one in self._going for seen in one.gone(self.search_us)]
        going = [both[n] for n in likeliest(boxes_of(both), [seen.drawing.likeness for seen in both], MOST)]
        free = overlap(boxes_of(still), boxes_of(going)).max(1, initial=0) < CROSSED
        shown = [*going, *compress(still, free)]
        ids, drawn = self.tracks.ids.copy(), self._drawn()
        for place, index in enumerate(self.tracks.update(shown, self.search_us, since_us=now_us).tolist()):
            bit = np.uint8(1 << place)
            if index >= 0 or not self.tracks.ids[place]:
                self.kept &= ~bit
            if index >= 0 and not shown[index].going:
                self.kept |= bit * self._map.near(shown[index].drawing)
        self._light = self._lit()
        self._emulator.restart((self.tracks.ids != ids) | (self._drawn() != drawn), self._light, now_us)

    def _drawn(self) -> NDArray[np.bool_]:
        """Return which places [N] show a travelling drawing."""
        return self.tracks.going & (self.tracks.ids > 0)

    def _lit(self) -> Floats:
        return self._emulator.light(self.tracks.drawings * self._drawn()[:, None, None])

    def _shown(self, events: Events) -> Events:
        """Return the events near the strokes of each window, in its sensor's pixels, and those of what is drawn."""
        kept = through(events, around(self.tracks.boxes), self.size, self.kept, self._map.cell)
        if not self._going:
            return kept
        steps = events["t"] // PATH_US
        begins = np.flatnonzero(steps != np.append(self.seen, steps[:-1])) if self._drawn().any() else steps[:0]
        self.seen, times = int(steps[-1]), events["t"][begins]
        parts = np.split(kept, np.searchsorted(kept["t"], times))
        for n, t_us in enumerate((times // PATH_US * PATH_US).tolist()):
            moved = self._emulator.pixels.push(self._emulator.view(self._light, t_us), t_us)
            moved["t"] = times[n]
            parts[n] = joined([parts[n], moved])
        return joined(parts)

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, and whether a search is in progress."""
        return super().state() | {"searching": self._search is not None}

    def restore(self, values: Values) -> None:
        super().restore(values)
        if (self.kept & ~np.uint8(sum(1 << int(place) for place in np.flatnonzero(self.tracks.ids)))).any():
            raise ValueError("cells are kept for windows that are not there")
        searching, self._light = number(values["searching"], False, True), self._lit()
        self._search = Search(self.find(*(one.events for one in self._maps))) if searching else None


def _balanced(found: list[Candidate], events: Floats, signed: Floats) -> Pieces[list[Candidate]]:
    """Return candidates rated also by how much of their `events` [H, W] cancels where OFF counts -1 (`signed`)."""
    rated, tilt = list[Candidate](), signed.sum() / max(1.0, events.sum())  # of the camera, or of its light
    for one in found:
        yield
        box = one.around()
        strokes = one.strokes(box) > 0
        rest = abs((signed[box] - tilt * events[box])[strokes].sum()) / max(1.0, events[box][strokes].sum())
        rated.append(one._replace(likeness=one.likeness * max(0.0, 1 - float(rest))))
    return sorted(rated, key=lambda one: -one.likeness)


def _seen(found: list[Candidate], cell: int) -> Pieces[list[Seen]]:
    """Return candidates as drawings, scaled from map cells of `cell` pixels to the sensor's pixels."""
    seen = list[Seen]()
    for one in found:
        yield
        seen.append(Seen.of(one.drawing(cell)))
    return seen
