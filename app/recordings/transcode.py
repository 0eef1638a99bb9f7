"""`spikesight transcode`: convert a recording from one format to another."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from spikesight.app.recordings.progress import new_format, warn, watched
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import WRITABLE, RecordingReader, write_recording
from spikesight.encoders.words import counted

DESCRIPTION = f"""Convert a recording of events; the formats are told by the file's content and by the new file's name.

  spikesight transcode in.raw out.aedat4
  spikesight transcode in.aedat4 out.csv --start 0.5 --seconds 2 --zero

Formats: {", ".join(WRITABLE)}.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.add_argument("--format", choices=WRITABLE, help="the new file's format, if its name does not tell")
    parser.add_argument("--size", type=SensorSize.parse, help="WIDTHxHEIGHT, if the old file does not tell")
    parser.add_argument("--start", type=float, default=0.0, help="seconds to leave out at the beginning")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="seconds to keep")
    parser.add_argument("--zero", action="store_true", help="let the times begin at 0")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Convert the recording to the format of the new file; return the exit code."""
    name = new_format(args)
    reader = RecordingReader(args.source, args.size)
    parts = cut(watched(reader.packets(100_000), args.source.name), args.start, args.seconds, zero=args.zero)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    n = write_recording(args.target, parts, reader.size, name, warn=warn)
    for warning in reader.warnings():
        warn(warning)
    print(f"{args.target}: {counted(n, 'event')}, {name}, {counted(args.target.stat().st_size, 'byte')}")
    return 0


def cut(parts: Iterable[Events], start_s: float, seconds: float, *, zero: bool = False) -> Iterator[Events]:
    """Yield the events from `start_s` after the first event on, for `seconds`; `zero`: with times from 0."""
    first: int | None = None
    begin = round(start_s * 1e6)
    end = begin + round(min(seconds, 1e12) * 1e6)
    for part in parts:
        first = int(part["t"][0]) if first is None else first
        since = part["t"] - first
        kept = part[(since >= begin) & (since < end)]
        if zero:
            kept = kept.copy()
            kept["t"] -= first + begin
        yield kept
        if int(since[-1]) >= end:
            return
