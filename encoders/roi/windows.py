"""Several windows at once: each track is seen by a small sensor of its own, and these are stacked vertically into one.

So one binner bins all windows, and one packet holds the events of all. `ids` is the track in each place, 0 for none; a
bin carries the content of the places at the time it closed.
"""

from dataclasses import replace
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner
from spikesight.encoders.events import EVENTS, Events, SensorSize, empty_events, joined
from spikesight.encoders.preprocess.drawing import SEARCH_SIDE, Floats, Pieces
from spikesight.encoders.preprocess.values import Values, array, part, time_us, under
from spikesight.encoders.roi.candidates import MOST as MOST_STILL
from spikesight.encoders.roi.candidates import Candidate, dark, distinct, in_picture, likeliest, overlap
from spikesight.encoders.roi.event_map import EventMap
from spikesight.encoders.roi.event_tracker import FAINT, LEVELS, LONGEST, SEARCH_STEPS, SEARCH_US, EventSearch
from spikesight.encoders.roi.frame_tracker import LONGEST_US, STEP_US, DrawingEmulator
from spikesight.encoders.roi.tracks import CROSSED, Seen, Tracks, boxes_of
from spikesight.encoders.roi.window import SHARE

MOST = 8  # windows (one bit each); also travelling drawings that a search returns
CHANGE_US = 500_000  # time constant with which changes of brightness decay
DARKER = 0.24  # least contrast with the background of a travelling drawing's strokes
CONTRAST = 0.2  # change in log intensity per event


class WindowsBinner(StreamBinner):
    """A binner for the stacked sensors of several windows; each bin carries the places' content when it closed."""

    def __init__(self, tracks: Tracks, encoder: DvsEncoder, shown: int) -> None:
        super().__init__(encoder, shown=shown)
        self._tracks = tracks

    def _close(self, bins: list[Bin]) -> None:
        super()._close(bins)
        bins[-1] = replace(bins[-1], held=self._tracks.at(bins[-1].end_us))


class FrameWindows:
    """Tracks up to `places` drawings in frames; returns emulated events of each, averaged and moved by saccades."""

    def __init__(self, size: SensorSize, places: int) -> None:
        self.size, self.tracks = size, Tracks(places)
        self._emulator = DrawingEmulator(size, places)
        self.tall = self._emulator.sensor
        self._t_us: int | None = None

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Change pixel parameters from the next frame on (`DrawingEmulator.retune`)."""
        self._emulator.retune(threshold, noise_hz)

    def look(self, image: NDArray[np.uint8], t_us: int) -> tuple[NDArray[np.bool_], int]:
        """Track drawings in a frame uint8 [H, W, 3] or [H, W]; return which places [N] changed, and from when on."""
        start, self._t_us = self._t_us, t_us
        if start is None or not 0 < t_us - start <= LONGEST_US:
            self.tracks.forget()
            self._emulator.pixels.state, start = None, t_us - STEP_US
        before = self.tracks.ids.copy()
        self.tracks.update([Seen.of(one) for one in in_picture(image)], t_us, since_us=start)
        return self.tracks.ids != before, start

    def push(self, image: NDArray[np.uint8], t_us: int) -> Events:
        """Add a frame; return the events since the frame before it, none while nothing is tracked."""
        changed, start = self.look(image, t_us)
        if not self.tracks.ids.any():
            self._emulator.pixels.state = None
            return empty_events()
        light, parts = self._emulator.light(self.tracks.drawings), [empty_events()]
        for place in np.flatnonzero(changed):
            rows = slice(place * self.size.height, (place + 1) * self.size.height)
            self._emulator.pixels.restart(rows, self._emulator.view(light, start))
        for t in (np.arange(start // STEP_US + 1, t_us // STEP_US + 1) * STEP_US).tolist():
            parts.append(self._emulator.pixels.push(self._emulator.view(light, t), t))
        return joined(parts)

    def state(self) -> Values:
        """Return the state that is carried from frame to frame, without the pixel parameters."""
        values: Values = {"t_us": self._t_us}
        return values | under("tracks", self.tracks.state()) | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Continue from the state of windows of the same size and pixels. Raises ValueError if a value is invalid."""
        t_us = values["t_us"]
        self._t_us = None if t_us is None else time_us(t_us)
        self.tracks.restore(part("tracks", values))
        self._emulator.pixels.restore(part("pixels", values))


class Candidates(NamedTuple):
    """Drawings that a search found, the likeliest first: trembling in one place (`still`), or travelling (`going`)."""

    still: list[Seen]
    going: list[Seen]


class EventWindows(EventSearch[Candidates]):
    """Tracks up to `places` drawings in packets of a `sensor`; returns their events on stacked sensors of `size`.

    A trembling drawing is found in the map of recent events, and events near its strokes are kept. A travelling drawing
    leaves a trail in that map, and its strokes along the path fire no events. With `drawn`, it is found in a map of
    brightness changes instead (searches alternate between darker and lighter) and shown like a drawing in frames: moved
    by saccades, at the first event of each step of the saccade path.
    """

    window = None

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int, drawn: bool = True) -> None:
        self._change = EventMap(sensor, SEARCH_SIDE, CHANGE_US, off=-1)
        super().__init__(sensor, *[self._change] * drawn, steps=SEARCH_STEPS if drawn else 1)
        self._going = Tracks(places), Tracks(places)  # travelling drawings: darker, and lighter ones
        self._emulator = DrawingEmulator(size, places)
        self.size, self.tall, self.tracks = size, self._emulator.sensor, Tracks(places)
        self._kept = np.zeros(self._map.shape, np.uint8)  # bit n: the cell is near place n's strokes
        self._seen, self._light = 0, self._lit()  # last step of the saccade path, and the light that it moves

    def find(self, *maps: Floats) -> Pieces[Candidates]:
        """Search maps [H, W] of events, and of brightness changes, for drawings, yielding between pieces of work."""
        still, *changes = maps
        found = yield from dark(self._dark(still), LEVELS, LONGEST, FAINT if changes else None)
        trembling, going = (yield from self._seen_in(found, MOST_STILL, self._map.cell)), list[Seen]()
        for change in changes:
            light = np.exp(CONTRAST / self._change.cell**2 * (change if self._turn == 0 else -change))
            found = yield from dark(np.minimum(255 * light, 255).astype(np.uint8), (DARKER,))
            going = yield from self._seen_in(found, MOST, self._change.cell)
        return Candidates(trembling, going)

    @staticmethod
    def _seen_in(found: list[Candidate], most: int, cell: int) -> Pieces[list[Seen]]:
        """Return up to `most` distinct candidates, scaled from map cells of `cell` pixels to the sensor's pixels."""
        seen = list[Seen]()
        for one in distinct(found, most):
            yield
            seen.append(Seen.of(one.drawing().scaled(cell)))
        return seen

    @property
    def _turn(self) -> int:
        """0 if this search looks for travelling drawings in what became darker, 1 for lighter."""
        return self._search_us // SEARCH_US % 2

    def _empty(self) -> bool:
        return not self.tracks.ids.any()

    def _anew(self) -> None:
        self.tracks.begin()

    def _found(self, found: Candidates, now_us: int) -> None:
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
        for place in np.flatnonzero((self.tracks.ids != before[0]) | (self._drawn() != before[1])):
            rows = slice(place * self.size.height, (place + 1) * self.size.height)
            self._emulator.pixels.restart(rows, self._emulator.view(self._light, now_us))

    def _drawn(self) -> NDArray[np.bool_]:
        """Return which places [N] show a travelling drawing."""
        return self.tracks.going & (self.tracks.ids > 0)

    def _lit(self) -> Floats:
        return self._emulator.light(self.tracks.drawings * self._drawn()[:, None, None])

    def _cropped(self, events: Events) -> Events:
        if self._empty():
            return events[:0]
        kept, steps = self._shared_out(events), events["t"] // STEP_US
        begins = np.flatnonzero(steps != np.append(self._seen, steps[:-1])) if self._drawn().any() else steps[:0]
        self._seen, times = int(steps[-1]), events["t"][begins]
        parts = np.split(kept, np.searchsorted(kept["t"], times))
        for n, t_us in enumerate((times // STEP_US * STEP_US).tolist()):
            moved = self._emulator.pixels.push(self._emulator.view(self._light, t_us), t_us)
            moved["t"] = times[n]
            parts[n] = joined([parts[n], moved])
        return joined(parts)

    def _shared_out(self, events: Events) -> Events:
        """Return the events near the strokes of each window, mapped to the pixels of the window's sensor."""
        boxes, side = self.tracks.boxes, min(self.size.width, self.size.height)
        sides = np.maximum(boxes[:, 2:].max(1), 1.0) / SHARE
        corners = boxes[:, :2] + (boxes[:, 2:] - sides[:, None]) / 2
        size = self.size.width, self.size.height
        beside = (self.size.width - side) // 2, (self.size.height - side) // 2
        out = np.empty(len(events) * int(np.count_nonzero(self.tracks.ids)), EVENTS)
        share_out = kernels.compiled("roi").share_out
        return out[: share_out(events, self._kept, self._map.cell, corners, side / sides, *beside, *size, out)]

    def state(self) -> Values:
        """Return the state that is carried from packet to packet, by name."""
        values: Values = {"kept": self._kept.copy(), "seen": self._seen} | super().state()
        for name, one in self._all.items():
            values |= under(name, one.state())
        return values | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Continue from the state of windows of the same sensor. Raises ValueError if a value is invalid."""
        super().restore(values)
        for name, one in self._all.items():
            one.restore(part(name, values))
        self._emulator.pixels.restore(part("pixels", values))
        kept = array(values["kept"], self._map.shape, np.uint8, 0, 255)
        if (kept & ~np.uint8(sum(1 << int(place) for place in np.flatnonzero(self.tracks.ids)))).any():
            raise ValueError("cells are kept for windows that are not there")
        self._kept = kept
        self._seen, self._light = time_us(values["seen"]), self._lit()

    @property
    def _all(self) -> dict[str, Tracks]:
        return {"tracks": self.tracks, "darker": self._going[0], "lighter": self._going[1]}
