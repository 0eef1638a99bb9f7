"""Several windows at once: every track is a small sensor of its own, and these lie one below the other as one.

So one binner cuts all of them into steps, and one packet of events holds what is seen through all of them. `ids` names
the track in each place, 0 for none; a bin has what held when it closed.
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

MOST = 8  # windows: a bit each; and what goes somewhere, found in a search
CHANGE_US = 500_000  # time constant with which it is forgotten how light or dark it became
DARKER = 0.24  # than its ground: what may be strokes of what goes somewhere
CONTRAST = 0.2  # how much lighter it becomes by an event, in log intensity


class WindowsBinner(StreamBinner):
    """Bins of the windows' sensors, one below the other, each with what the windows held when it closed."""

    def __init__(self, tracks: Tracks, encoder: DvsEncoder, shown: int) -> None:
        super().__init__(encoder, shown=shown)
        self._tracks = tracks

    def _close(self, bins: list[Bin]) -> None:
        super()._close(bins)
        bins[-1] = replace(bins[-1], held=self._tracks.at(bins[-1].end_us))


class FrameWindows:
    """Frames in, events of `places` sensors of `size` out: each drawing is averaged, and moved as by saccades."""

    def __init__(self, size: SensorSize, places: int) -> None:
        self.size, self.tracks = size, Tracks(places)
        self._emulator = DrawingEmulator(size, places)
        self.tall = self._emulator.sensor
        self._t_us: int | None = None

    def retune(self, threshold: float | None, noise_hz: float | None) -> None:
        """Other pixels from the next frame on (`DrawingEmulator.retune`)."""
        self._emulator.retune(threshold, noise_hz)

    def look(self, image: NDArray[np.uint8], t_us: int) -> tuple[NDArray[np.bool_], int]:
        """Take a frame uint8 [H, W, 3] or [H, W]; whether each place shows something else, and since when."""
        start, self._t_us = self._t_us, t_us
        if start is None or not 0 < t_us - start <= LONGEST_US:
            self.tracks.forget()
            self._emulator.pixels.state, start = None, t_us - STEP_US
        before = self.tracks.ids.copy()
        self.tracks.update([Seen.of(one) for one in in_picture(image)], t_us, since_us=start)
        return self.tracks.ids != before, start

    def push(self, image: NDArray[np.uint8], t_us: int) -> Events:
        """The events since the frame before this one; none where nothing is tracked."""
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
        """The state that is carried from frame to frame; the pixels' settings apart."""
        values: Values = {"t_us": self._t_us}
        return values | under("tracks", self.tracks.state()) | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Go on from the state of windows of the same size and pixels. Raises ValueError."""
        t_us = values["t_us"]
        self._t_us = None if t_us is None else time_us(t_us)
        self.tracks.restore(part("tracks", values))
        self._emulator.pixels.restore(part("pixels", values))


class Candidates(NamedTuple):
    """Of a search, the likeliest first."""

    still: list[Seen]
    going: list[Seen]


class EventWindows(EventSearch[Candidates]):
    """Packets of a `sensor` in, events of `places` sensors of `size` out.

    What trembles is found in where events were lately; those near its strokes are kept. What goes somewhere leaves a
    trail there, and no events along its way: with `drawn` it is found in how much lighter or darker it became, one of
    them in each search, and shown as what is drawn in frames. It moves as events come, at the first of each step of
    its path.
    """

    window = None

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int, drawn: bool = True) -> None:
        self._change = EventMap(sensor, SEARCH_SIDE, CHANGE_US, off=-1)
        super().__init__(sensor, *[self._change] * drawn, steps=SEARCH_STEPS if drawn else 1)
        self._going = Tracks(places), Tracks(places)  # what became darker, and lighter
        self._emulator = DrawingEmulator(size, places)
        self.size, self.tall, self.tracks = size, self._emulator.sensor, Tracks(places)
        self._kept = np.zeros(self._map.shape, np.uint8)  # cells near the strokes of what trembles, a bit each
        self._seen, self._light = 0, self._lit()  # the step of the path, and what is moved on it

    def find(self, *maps: Floats) -> Pieces[Candidates]:
        """Search maps [H, W] of events, and of how much lighter it became, for candidates, in pieces."""
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
        """What candidates look like, found in cells of so many pixels."""
        seen = list[Seen]()
        for one in distinct(found, most):
            yield
            seen.append(Seen.of(one.drawing().scaled(cell)))
        return seen

    @property
    def _turn(self) -> int:
        """Whether what became darker is searched, or lighter."""
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
        """Which places show what goes somewhere."""
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
        """What is near the strokes of each window, in its sensor's pixels."""
        boxes, side = self.tracks.boxes, min(self.size.width, self.size.height)
        sides = np.maximum(boxes[:, 2:].max(1), 1.0) / SHARE
        corners = boxes[:, :2] + (boxes[:, 2:] - sides[:, None]) / 2
        size = self.size.width, self.size.height
        beside = (self.size.width - side) // 2, (self.size.height - side) // 2
        out = np.empty(len(events) * int(np.count_nonzero(self.tracks.ids)), EVENTS)
        share_out = kernels.compiled("roi").share_out
        return out[: share_out(events, self._kept, self._map.cell, corners, side / sides, *beside, *size, out)]

    def state(self) -> Values:
        """The state that is carried from packet to packet."""
        values: Values = {"kept": self._kept.copy(), "seen": self._seen} | super().state()
        for name, one in self._all.items():
            values |= under(name, one.state())
        return values | under("pixels", self._emulator.pixels.carried())

    def restore(self, values: Values) -> None:
        """Go on from the state of windows of the same sensor. Raises ValueError."""
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
