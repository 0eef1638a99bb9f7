"""Files of N-MNIST (Orchard et al. 2015): five bytes an event, big-endian, no header."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.recordings.format import Opened, as_decoder, word_chunks


@dataclass
class Nmnist:
    """Decodes 40-bit events: column, row, polarity (highest bit) and 23 bits of time, big-endian.

    A record with row 240 is not an event: it means that the clock has wrapped and advances by 2^13 us.
    """

    ahead: int = 0

    def events(self, data: NDArray[np.uint8]) -> Events:
        """Decode bytes that are complete records."""
        records = data.reshape(-1, 5).astype(np.int64)
        t = (records[:, 2] & 0x7F) << 16 | records[:, 3] << 8 | records[:, 4]
        marks = records[:, 1] == 240
        if not marks.any():
            return make_events(t + self.ahead, records[:, 0], records[:, 1], records[:, 2] >> 7)
        ahead = self.ahead + (np.cumsum(marks) << 13)
        self.ahead = int(ahead[-1])
        return make_events(t + ahead, records[:, 0], records[:, 1], records[:, 2] >> 7)[~marks]


TEXT = bytes((9, 10, 13, *range(32, 127)))  # a file of only these bytes is text, not events


def open_nmnist(path: Path) -> Opened:
    """Open a .bin file of N-MNIST or N-Caltech101, which names no sensor."""
    notes: list[str] = []
    return Opened(None, word_chunks(path, 0, 5, as_decoder(Nmnist().events, 5), notes), notes)


def looks_like_nmnist(head: bytes, size: int) -> bool:
    """Return whether a file looks like N-MNIST, which has no mark: whole records whose times hardly ever fall."""
    records = np.frombuffer(head[: len(head) // 5 * 5], np.uint8)
    if size < 5 or len(records) < 5 or bool((records == records[0]).all()) or not head.translate(None, TEXT):
        return False
    if len(records) > 5 and bool((records.reshape(-1, 5) == records[:5]).all()):
        return False
    t = Nmnist().events(records)["t"]
    return size % 5 == 0 if len(t) < 2 else bool((np.diff(t) >= 0).mean() > 0.99)
