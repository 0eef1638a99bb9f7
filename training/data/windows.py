"""Windows of long recordings: how many events lie where, what length suits, and the windows cut in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikesight.encoders.events import Events, SensorSize, empty_events
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.recordings.format import RecordingError
from spikesight.training.data.sets import DataError, Window

SLOT_US = 10_000  # events are counted in slots of this length
PACKET_US = 100_000  # a long recording is read in pieces of this length
LARGEST_SIDE = 64  # pixels of the network's input, for sensors that say nothing else
SHORTEST_BIN_US, LONGEST_BIN_US = 30_000, 100_000
REST = 0.05  # of a window: so little behind the last one makes no other
STEPS = 10  # bins of a window
CLIP_BIN_US, LONGEST_CLIP_US = 200_000, 5_000_000
CLIPS = 5  # recordings of a class, from which on short ones are samples as they are
FULL = 0.3  # events of a bin for each pixel of the input: N-MNIST's bins of 31 ms have 0.35


@dataclass(frozen=True)
class Scan:
    """One pass over a recording: its sensor, its clock's begin, and its events in slots of 10 ms, int64 [slots]."""

    sensor: SensorSize
    first_us: int
    counts: np.ndarray

    @property
    def length_us(self) -> int:
        return len(self.counts) * SLOT_US

    @property
    def n_events(self) -> int:
        return int(self.counts.sum())

    def between(self, begin_us: int, end_us: int) -> int:
        """About how many events lie in [begin, end), counted from the recording's first event."""
        return int(self.counts[begin_us // SLOT_US : -(-end_us // SLOT_US)].sum())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What goes wrong with a recording is a DataError that names it."""
    try:
        yield
    except (RecordingError, ValueError, OSError) as error:
        raise DataError(f"{path.parent.name}/{path.name} cannot be read: {error}") from None


def scan(path: Path) -> Scan:
    """Read a recording once. Raises DataError, which names it."""
    counts, first = np.zeros(0, np.int64), 0
    with _naming(path):
        reader = RecordingReader(path)
        for packet in reader.packets(PACKET_US):
            first = first if len(counts) else int(packet["t"][0])
            found = np.bincount((packet["t"] - first) // SLOT_US, minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
    return Scan(reader.size, first, counts)


def busy(scans: Sequence[Scan]) -> float:
    """Events of a slot, the median over those with any."""
    return float(np.median(np.concatenate([s.counts[s.counts > 0] for s in scans])))


def suits(scans: Sequence[Scan], fewest: int) -> Window:
    """The window that suits recordings, of which the class with the fewest has `fewest`.

    Many short ones are samples as they are: bins of at most 200 ms over the median length. Of long ones windows are
    cut: ten bins of 30 to 100 ms, so long that a bin has about 0.3 events for each pixel of the network's input. These
    are cropped to what moves, for a thing is elsewhere another day.
    """
    sensor = scans[0].sensor
    scale = min(1.0, LARGEST_SIDE / max(sensor.width, sensor.height))
    height, width = (max(1, round(side * scale)) for side in (sensor.height, sensor.width))
    length = float(np.median([s.length_us for s in scans]))
    if fewest >= CLIPS and length <= LONGEST_CLIP_US:
        steps = max(STEPS, -(-int(length) // CLIP_BIN_US))
        return Window(steps, max(1_000, round(length / steps / 1_000) * 1_000), height, width)
    wanted = FULL * height * width / busy(scans) * SLOT_US
    bin_us = float(np.clip(wanted, SHORTEST_BIN_US, LONGEST_BIN_US))
    return Window(STEPS, round(bin_us / 1_000) * 1_000, height, width, crop="object")


def starts(begin_us: int, end_us: int, length_us: int, hop_us: int) -> list[int]:
    """Where windows begin that cover [begin, end), evenly, at most `hop_us` apart; what is REST of a window longer than
    those before adds none.

    >>> starts(0, 1000, 300, 300)
    [0, 233, 467, 700]
    >>> starts(0, 310, 300, 300)
    [0]
    """
    room = max(0, end_us - begin_us - length_us)
    count = 1 + max(0, -(-(room - round(REST * length_us)) // hop_us))
    return [begin_us + round(room * n / max(1, count - 1)) for n in range(count)]


def cut(path: Path, begins: Sequence[int], length_us: int) -> Iterator[tuple[Events, SensorSize]]:
    """The windows of a recording that begin at `begins` (ascending, in microseconds from its first event).

    Times begin at 0 with each window. Only the events of one window and a piece of the file are in memory. Raises
    DataError, which names the file.
    """
    with _naming(path):
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
