"""Windows of long recordings: count events over time, choose a suitable length, cut windows in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikesight.encoders.events import Events, SensorSize, empty_events
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.recordings.format import RecordingError
from spikesight.training.data.sets import DataError, WindowShape

SLOT_US = 10_000  # events are counted in slots of this length
PACKET_US = 100_000  # a long recording is read in pieces of this length
LARGEST_SIDE = 64  # of the network's input, pixels
SHORTEST_BIN_US, LONGEST_BIN_US = 30_000, 100_000
REST = 0.05  # of a window: a shorter rest after the last window adds no further one
STEPS = 10  # bins of a window
CLIP_BIN_US, LONGEST_CLIP_US = 200_000, 5_000_000
CLIPS = 5  # recordings a class or more: short recordings are samples as a whole
FULL = 0.3  # wanted events in a bin for each pixel of the input: N-MNIST's bins of 31 ms have 0.35


@dataclass(frozen=True)
class Scan:
    """A recording's sensor size, time of its first event, and event counts in slots of 10 ms, int64 [slots]."""

    sensor: SensorSize
    first_us: int
    counts: np.ndarray
    remarks: tuple[str, ...] = ()  # of its reader, about damage

    @property
    def length_us(self) -> int:
        return len(self.counts) * SLOT_US

    @property
    def n_events(self) -> int:
        return int(self.counts.sum())

    def count_between(self, begin_us: int, end_us: int) -> int:
        """Return about how many events lie in [begin, end), microseconds from the recording's first event."""
        return int(self.counts[begin_us // SLOT_US : -(-end_us // SLOT_US)].sum())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn errors in reading a recording into a DataError that names it."""
    try:
        yield
    except (RecordingError, ValueError, OSError) as error:
        raise DataError(f"{path.parent.name}/{path.name} cannot be read: {error}") from None


def scan(path: Path) -> Scan:
    """Read a recording once and summarise it. Raises DataError, which names it."""
    counts, first = np.zeros(0, np.int64), 0
    with naming(path):
        reader = RecordingReader(path)
        for packet in reader.packets(PACKET_US):
            first = first if len(counts) else int(packet["t"][0])
            found = np.bincount((packet["t"] - first) // SLOT_US, minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
    return Scan(reader.size, first, counts, reader.warnings())


def median_slot_events(scans: Sequence[Scan]) -> float:
    """Return the median number of events in a slot, over slots that hold any."""
    return float(np.median(np.concatenate([s.counts[s.counts > 0] for s in scans])))


def suitable_window(scans: Sequence[Scan], fewest: int) -> WindowShape:
    """Return the window that suits recordings; `fewest`: recordings of the smallest class.

    If recordings are short and each class has several, each is one sample: bins of at most 200 ms cover the median
    length. Otherwise a window is ten bins of 30 to 100 ms, such that a bin has about 0.3 events for each pixel of the
    input. It is cropped to what moves, since an object may be elsewhere another day.
    """
    length, (height, width) = float(np.median([s.length_us for s in scans])), _input_size(scans[0].sensor)
    if fewest >= CLIPS and length <= LONGEST_CLIP_US:
        return clip_window(length, scans[0].sensor)
    wanted = FULL * height * width / median_slot_events(scans) * SLOT_US
    bin_us = float(np.clip(wanted, SHORTEST_BIN_US, LONGEST_BIN_US))
    return WindowShape(STEPS, round(bin_us / 1_000) * 1_000, height, width, crop="object")


def clip_window(length_us: float, sensor: SensorSize) -> WindowShape:
    """Return the window that covers a recording of this length: ten bins, or as many as make bins of 200 ms at most."""
    steps = max(STEPS, -(-int(length_us) // CLIP_BIN_US))
    return WindowShape(steps, max(1_000, round(length_us / steps / 1_000) * 1_000), *_input_size(sensor))


def _input_size(sensor: SensorSize) -> tuple[int, int]:
    """Return the (height, width) of a network's input for this sensor, LARGEST_SIDE at most."""
    scale = min(1.0, LARGEST_SIDE / max(sensor.width, sensor.height))
    return max(1, round(sensor.height * scale)), max(1, round(sensor.width * scale))


def window_starts(begin_us: int, end_us: int, length_us: int, hop_us: int) -> list[int]:
    """Return start times of windows that cover [begin, end) evenly, at most `hop_us` apart; a remainder shorter than
    REST of a window adds none.

    >>> window_starts(0, 1000, 300, 300)
    [0, 233, 467, 700]
    >>> window_starts(0, 310, 300, 300)
    [0]
    """
    room = max(0, end_us - begin_us - length_us)
    count = 1 + max(0, -(-(room - round(REST * length_us)) // hop_us))
    return [begin_us + round(room * n / max(1, count - 1)) for n in range(count)]


def cut_windows(path: Path, begins: Sequence[int], length_us: int) -> Iterator[tuple[Events, SensorSize]]:
    """Yield (events, sensor size) of the windows that begin at `begins`: ascending, microseconds from the first event.

    Times in each window begin at 0. Only one window and one packet of the file are in memory. Raises DataError, which
    names the file.
    """
    with naming(path):
        reader = RecordingReader(path)
        packets, held, first, more = reader.packets(PACKET_US), empty_events(), None, True
        for begin in begins:
            while more and (first is None or not len(held) or held["t"][-1] < first + begin + length_us):
                packet = next(packets, None)
                more = packet is not None
                if packet is not None:
                    first = int(packet["t"][0]) if first is None else first
                    if packet["t"][-1] >= first + begin:
                        held = np.concatenate([held, packet])
            start = (first or 0) + begin
            low, high = np.searchsorted(held["t"], [start, start + length_us])
            held = held[low:]
            window = held[: high - low].copy()
            window["t"] -= start
            yield window, reader.size
