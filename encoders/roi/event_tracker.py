"""Tracking of drawings in an event camera's stream, and mapping of their events to small sensors.

A drawing that trembles fires along its strokes while the sheet around it is silent, so a map of recent events
(`EventMap`) shows light strokes on an even dark background, which `preprocess.drawing` finds like ink on paper. What is
found again in one form near its place is tracked (`Tracks`), and events near its strokes are kept. A stroke darkens as
many pixels as it leaves, a sheet's edge darkens or lightens all that it passes: the more ON and OFF events of a
candidate are apart, the less it is like a drawing. A travelling drawing leaves a trail in that map, and its strokes
along the path fire no events: it is found in a map of brightness changes (searches alternate between darker and
lighter) and shown like a drawing in frames, moved by saccades at the first event of each step of the saccade path.
While nothing is tracked, events in active cells count as missed: a scene without a drawing is not an empty scene.
"""

from collections.abc import Iterator
from itertools import compress

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import NO_TIMES, Stretch, Times
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.encoders.preprocess.drawing import SEARCH_SIDE, Candidate, Drawing, Floats, dark
from spikesight.encoders.roi.candidates import distinct, likeliest, overlap
from spikesight.encoders.roi.frame_tracker import STEP_US as PATH_US
from spikesight.encoders.roi.frame_tracker import DrawingEmulator
from spikesight.encoders.roi.tracks import CROSSED, MOST, Seen, Tracks, boxes_of
from spikesight.encoders.roi.window import around, through

MEMORY_US = 150_000  # time constant with which event counts decay
MAP_SIDE = 160  # most cells along the sensor's longer side
WHITE_HZ = 15.0  # event rate, per pixel, of a cell that is white in the picture
BESIDE = 0.05  # in drawing lengths: cells up to this distance from a stroke are near it
SEARCH_US = 50_000  # from a search to the next, by the events' clock
LEVELS = (0.24, 0.4, 0.7, 0.9)  # stroke thresholds, relative to white; at low ones grey trails join strokes
LONGEST = 0.75  # longest drawing by the picture's shorter side; a sheet's outline is longer
CLOSE = 5  # cells: gaps up to this width between a stroke's two edges are filled
LIKELY = 0.6  # likeness that a single new drawing exceeds; a drawing that is held may fall below
CHANGE_US = 500_000  # time constant with which changes of brightness decay
DARKER = 0.24  # least contrast with the background of a travelling drawing's strokes
CONTRAST = 0.2  # change in log intensity per event

Found = tuple[list[Seen], list[Seen]]  # drawings, the likeliest first: trembling in one place, and travelling


class EventMap:
    """Event counts in a sensor's cells [H, W] of `cell` x `cell` pixels; an OFF event counts as `off`. `events` holds
    the counts at the last update, with decay time `memory_us`; newer events are `fresh` and join at the next update.
    """

    def __init__(self, sensor: SensorSize, side: int = MAP_SIDE, memory_us: int = MEMORY_US, off: int = 1) -> None:
        self.memory_us, self.off = memory_us, off
        self.cell = -(-max(sensor.width, sensor.height) // side)
        self.shape = (-(-sensor.height // self.cell), -(-sensor.width // self.cell))
        self.white = WHITE_HZ * (memory_us / 1e6) * self.cell**2  # decayed event count of a white cell
        self.events = np.zeros(self.shape, np.float32)
        self.fresh = np.zeros(self.shape, np.int32)

    def count(self, events: Events, begin: int, span_us: int) -> int:
        """Count events from index `begin` to the end of its `span_us` interval; return the index of the next event."""
        return kernels.compiled("roi").gather(events, begin, span_us, self.cell, self.off, self.fresh)

    def update(self, passed_us: int) -> Floats:
        """Let the map decay by the time since the last update, add the newer events, and return it."""
        self.events = (self.events * self._left(passed_us) + self.fresh).astype(np.float32)
        self.fresh[:] = 0
        return self.events

    def _left(self, passed_us: int) -> np.float32:
        return np.float32(np.exp(-passed_us / self.memory_us))

    def bright(self, events: Events, level: float, passed_us: int) -> Times:
        """Return times [N] of events in cells above `level` (a share of white), `passed_us` after the last update."""
        counts = self.events[events["y"] // self.cell, events["x"] // self.cell] * self._left(passed_us)
        return events["t"][np.abs(counts) > level * self.white]

    def picture(self, events: Floats) -> NDArray[np.uint8]:
        """Return a map as a grey picture uint8 [H, W], white where the event rate reaches WHITE_HZ."""
        return (events * (255 / self.white)).clip(0, 255).astype(np.uint8)

    def near(self, drawing: Drawing) -> NDArray[np.bool_]:
        """Return a mask [H, W] of cells near a drawing's strokes; its box is in sensor pixels, its ink in cells."""
        top, left = (round(v / self.cell) for v in (drawing.top, drawing.left))
        height, width = drawing.ink.shape
        strokes = np.zeros(self.shape, np.uint8)
        part = strokes[top : top + height, left : left + width]
        part[:] = drawing.ink[: part.shape[0], : part.shape[1]] > 0
        reach = max(1, round(BESIDE * max(height, width)))
        return cv2.dilate(strokes, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0


class EventTracker:
    """Tracks drawings in packets of a `sensor`; returns their events on `places` sensors of `size` stacked vertically.

    Without `places`, the single likeliest drawing is tracked. `drawn`: search for travelling drawings, too. A search
    comes before the first event of each interval of SEARCH_US; packet borders do not matter.
    """

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int = 0, *, drawn: bool = False) -> None:
        self._map = EventMap(sensor)
        changes = [EventMap(sensor, SEARCH_SIDE, CHANGE_US, off=-1)] * drawn
        self._maps = (self._map, EventMap(sensor, off=-1), *changes)
        self.interval: int | None = None  # of the newest events, in SEARCH_US
        self.search_us = 0  # time of the last search
        self._emulator = DrawingEmulator(size, places or 1)
        self.size, self.tall = size, self._emulator.sensor
        self.tracks = Tracks(places) if places else Tracks(1, LIKELY)
        self._going = [Tracks(places) for _ in range(2 * drawn)]  # travelling drawings: darker, and lighter ones
        self.kept = np.zeros(self._map.shape, np.uint8)  # bit n: the cell is near place n's strokes
        self.seen, self._light = 0, self._lit()  # last step of the saccade path, and the light that it moves

    def stretches(self, events: Events) -> Iterator[Stretch]:
        """Yield for each stretch of a packet its events in the windows, times of missed events (in active cells while
        nothing is tracked), and its last time. Tracks change between two stretches only.
        """
        begin = 0
        while begin < len(events):
            t_us = int(events["t"][begin])
            if self.interval is not None and t_us // SEARCH_US != self.interval:
                yield events[:0], NO_TIMES, t_us
                self._search(self.interval, t_us)
            self.interval = t_us // SEARCH_US
            end = max(one.count(events, begin, SEARCH_US) for one in self._maps)
            those, begin = events[begin:end], end
            if self.tracks.ids.any():
                yield self._shown(those), NO_TIMES, int(those["t"][-1])
            else:
                missed = self._map.bright(those, LEVELS[0], self._passed_us(self.interval))
                yield events[:0], missed, int(those["t"][-1])

    def _search(self, ended: int, now_us: int) -> None:
        """Search what came until the end of interval `ended`; `now_us`: time of the first event after it."""
        passed_us, self.search_us = self._passed_us(ended), (ended + 1) * SEARCH_US
        self._follow(self.find(*(one.update(passed_us) for one in self._maps)), now_us)

    def _passed_us(self, interval: int) -> int:
        """Return the time by which the maps decay from the last search to the end of an interval."""
        return max(SEARCH_US, (interval + 1) * SEARCH_US - self.search_us)  # the clock may have restarted

    def find(self, *maps: Floats) -> Found:
        """Search maps [H, W] of events, and of brightness changes, for drawings."""
        still, signed, *changes = maps
        picture = cv2.morphologyEx(self._map.picture(still), cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        found = distinct(dark(np.asarray(255 - picture, np.uint8), LEVELS, LONGEST), alone=self.tracks.alone)
        trembling = [Seen(one.drawing(self._map.cell)) for one in _balanced(found, still, signed)]
        if not changes:
            return trembling, []
        light = np.exp((-1) ** self._turn * CONTRAST / self._maps[-1].cell ** 2 * changes[0])
        found = distinct(dark(np.minimum(255 * light, 255).astype(np.uint8), (DARKER,)), MOST)
        return trembling, [Seen(one.drawing(self._maps[-1].cell)) for one in found]

    @property
    def _turn(self) -> int:
        """0 if this search looks for travelling drawings in what became darker, 1 for lighter."""
        return self.search_us // SEARCH_US % 2

    def _follow(self, found: Found, now_us: int) -> None:
        """Update the tracks by the result of a search; `now_us`: time of the event at which it is used."""
        still, travelling = found
        if self._going:
            self._going[self._turn].update(travelling, self.search_us)
        both = [seen for one in self._going for seen in one.gone(self.search_us)]
        going = [both[n] for n in likeliest(boxes_of(both), [seen.drawing.likeness for seen in both], MOST)]
        free = overlap(boxes_of(still), boxes_of(going)).max(1, initial=0) < CROSSED
        shown = [*going, *compress(still, free)]
        ids, drawn = self.tracks.ids.copy(), self._drawn()
        for place, index in enumerate(self.tracks.update(shown, self.search_us).tolist()):
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


def _balanced(found: list[Candidate], events: Floats, signed: Floats) -> list[Candidate]:
    """Return candidates rated also by how much of their `events` [H, W] cancels where OFF counts -1 (`signed`)."""
    rated, tilt = list[Candidate](), signed.sum() / max(1.0, events.sum())  # of the camera, or of its light
    for one in found:
        box = one.around()
        strokes = one.strokes(box) > 0
        rest = abs((signed[box] - tilt * events[box])[strokes].sum()) / max(1.0, events[box][strokes].sum())
        rated.append(one._replace(likeness=one.likeness * max(0.0, 1 - float(rest))))
    return sorted(rated, key=lambda one: -one.likeness)
