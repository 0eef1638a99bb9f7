"""`spikesight info`: summarise recordings."""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spikesight.app.recordings.progress import watched
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.recordings.format import RecordingError, topic_of

DESCRIPTION = """What is in recordings of events: format, sensor, number, span, rate, polarity, and what is wrong.

Files are read a few megabytes at a time, whatever their length.
"""


@dataclass(frozen=True)
class Summary:
    """Statistics of one recording; times in microseconds."""

    file: str
    format: str
    bytes: int
    width: int
    height: int
    events: int
    first_us: int
    last_us: int
    on: int
    busiest_per_s: float  # events a second in the busiest 10 ms
    truncated: bool  # the file ends before its recording did, as far as its format can tell
    warnings: tuple[str, ...]

    def text(self) -> str:
        """Return the summary as a few lines of text."""
        seconds = (self.last_us - self.first_us) / 1e6
        rate = self.events / seconds if seconds else 0.0
        lines = [
            f"{self.file}: {self.format}, {SensorSize(self.width, self.height)} pixels, {self.bytes:,} bytes",
            f"  events    {self.events:,}, {100 * self.on / self.events:.1f} % ON",
            f"  span      {seconds:.6g} s, from {self.first_us:,} to {self.last_us:,} us",
            f"  rate      {rate:,.0f} events/s; in the busiest 10 ms {self.busiest_per_s:,.0f}",
        ]
        return "\n".join([*lines, *(f"  warning   {warning}" for warning in self.warnings)])


def summarise(path: Path) -> Summary:
    """Read a file once and return its summary. Raises RecordingError."""
    opened = RecordingReader(path)
    n = on = last = busiest = 0
    first: int | None = None
    for packet in watched(opened.packets(10_000), path.name):
        first = int(packet["t"][0]) if first is None else first
        last = int(packet["t"][-1])
        n += len(packet)
        on += int(np.count_nonzero(packet["p"]))
        busiest = max(busiest, len(packet))
    if first is None:
        raise RecordingError(f"there are no events in {path}")
    where = str(path), opened.format, topic_of(opened.path)[0].stat().st_size, opened.size.width, opened.size.height
    return Summary(*where, n, first, last, on, busiest * 100.0, opened.truncated, opened.warnings())


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a file")


def run(args: argparse.Namespace) -> int:
    """Print a summary of each file; return 2 if any could not be read."""
    failed = 0
    for path in args.files:
        try:
            summary = summarise(path)
        except RecordingError as error:
            print(error)
            failed = 2
            continue
        print(json.dumps(asdict(summary)) if args.json else summary.text())
    return failed
