"""Several windows at once: every track is a small sensor of its own, and these lie one below the other as one.

So one binner cuts all of them into steps, and one packet of events holds what is seen through all of them. `ids` names
the track in each place, 0 for none; a bin has what held when it closed.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.dvs import Bin, DvsEncoder, StreamBinner
from spikesight.encoders.events import EVENTS, Events, SensorSize, empty_events, joined
from spikesight.encoders.preprocess.drawing import Drawing, Floats, Pieces
from spikesight.encoders.preprocess.values import Values, array, part, time_us, under
from spikesight.encoders.roi.candidates import dark, distinct, in_picture
from spikesight.encoders.roi.event_tracker import LEVELS, LONGEST, EventSearch
from spikesight.encoders.roi.frame_tracker import LONGEST_US, STEP_US, DrawingEmulator
from spikesight.encoders.roi.tracks import Tracks
from spikesight.encoders.roi.window import SHARE

MOST = 8  # windows: a bit each


def tall(size: SensorSize, places: int) -> SensorSize:
    """Sensors of one size, one below the other. Raises EventsError for more than a sensor may have."""
    return SensorSize(size.width, places * size.height)


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
        self.tracks.update(in_picture(image), t_us, since_us=start)
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


class EventWindows(EventSearch[list[Drawing]]):
    """Packets of a `sensor` in, events of `places` sensors of `size` out: what happens near each track's strokes."""

    window = None

    def __init__(self, sensor: SensorSize, size: SensorSize, places: int) -> None:
        super().__init__(sensor)
        self.size, self.tall, self.tracks = size, tall(size, places), Tracks(places)
        self._kept = np.zeros(self._map.shape, np.uint8)  # cells near the strokes of each track, a bit each

    def find(self, events: Floats) -> Pieces[list[Drawing]]:
        """Search a map [H, W] of events for candidates, in pieces."""
        found = yield from dark(self._dark(events), LEVELS, LONGEST)
        return [one.drawing().scaled(self._map.cell) for one in distinct(found)]

    def _empty(self) -> bool:
        return not self.tracks.ids.any()

    def _anew(self) -> None:
        self.tracks.begin()

    def _found(self, found: list[Drawing], now_us: int) -> None:
        shown = self.tracks.update(found, self._search_us, since_us=now_us)
        for place, index in enumerate(shown.tolist()):
            bit = np.uint8(1 << place)
            if index >= 0 or not self.tracks.ids[place]:
                self._kept &= ~bit
            if index >= 0:
                self._kept |= bit * self._map.near(found[index])

    def _cropped(self, events: Events) -> Events:
        if self._empty():
            return events[:0]
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
        return {"kept": self._kept.copy()} | super().state() | under("tracks", self.tracks.state())

    def restore(self, values: Values) -> None:
        """Go on from the state of windows of the same sensor. Raises ValueError."""
        super().restore(values)
        self.tracks.restore(part("tracks", values))
        kept = array(values["kept"], self._map.shape, np.uint8, 0, 255)
        if (kept & ~np.uint8(sum(1 << int(place) for place in np.flatnonzero(self.tracks.ids)))).any():
            raise ValueError("cells are kept for windows that are not there")
        self._kept = kept
