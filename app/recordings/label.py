"""`spikesight label`: cut a long recording into labelled recordings by hand."""

import argparse
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from spikesight.app.recordings.play import picture
from spikesight.app.recordings.progress import warn
from spikesight.app.recordings.transcode import cut
from spikesight.encoders.events import Events, SensorSize, empty_events
from spikesight.encoders.recordings.files import FORMATS, WRITABLE, RecordingReader, write_recording
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.sources.settings import copy_settings

DESCRIPTION = """Cut a recording into named pieces, each a recording of its own, without loss: in the same format, or in
AEDAT 4 where that can only be read.

  spikesight label walk.raw --mark 1.2-3.4=wave --mark 5-8=clap --to gestures
                                              gestures/wave/walk-1.2-3.4.raw, gestures/clap/walk-5-8.raw
  spikesight label walk.raw --to gestures     asks: look at a stretch, give it a name, write

Times are seconds from the recording's first event. Asked for a word, these answer:
  3             show the second from 3 s on          3-4.5        show a stretch
  3-4.5=wave    mark it                              undo         forget the last mark
  list          the marks so far                     write, quit  write the marks and stop; stop

`train-dvs --data gestures` takes the folder."""

PACKET_US = 20_000
HELP = "3, 3-4.5, 3-4.5=wave, undo, list, write or quit"


@dataclass(frozen=True)
class Mark:
    """An interval in seconds from the first event, and its class."""

    begin_s: float
    end_s: float
    label: str

    def __str__(self) -> str:
        return f"{self.begin_s:g}-{self.end_s:g}={self.label}"


def stretch(text: str) -> tuple[float, float]:
    """Parse an interval: `1.2-3.4` -> (1.2, 3.4); `3` -> (3.0, 4.0). Raises ArgumentTypeError."""
    begin, dash, end = text.partition("-")
    try:
        found = float(begin), float(end) if dash else float(begin) + 1
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is no stretch; write FROM-TO in seconds, for example 1.2-3.4") from None
    if not 0 <= found[0] < found[1] < 1e9:
        raise ArgumentTypeError(f"'{text}' is no stretch: it must begin at 0 or later and end after it begins")
    return found


def mark(text: str) -> Mark:
    """Parse a mark: `1.2-3.4=wave` -> Mark. Raises ArgumentTypeError."""
    place, equals, label = (part.strip() for part in text.partition("="))
    if not equals or not label or label.startswith(".") or any(c in label for c in "/\\\0"):
        raise ArgumentTypeError(f"'{text}' is no mark; write FROM-TO=CLASS, for example 1.2-3.4=wave")
    return Mark(*stretch(place), label)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording in any format")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="pieces go to FOLDER/<class>/")
    help = "seconds and name of a piece; repeat (without: asked for)"
    parser.add_argument("--mark", type=mark, action="append", default=[], metavar="FROM-TO=CLASS", help=help)


def run(args: argparse.Namespace) -> int:
    """Write the marks that were given as flags, or ask for them; return the exit code."""
    size = RecordingReader(args.file).size
    marks = args.mark or ask_marks(args.file, size)
    for path, count in write(args.file, size, marks, args.to):
        print(f"{path}: {count:,} events")
    return 0


def interval_events(file: Path, size: SensorSize, begin_s: float, end_s: float) -> Iterator[Events]:
    """Yield the events of an interval, in packets; times stay those of the recording."""
    return filter(len, cut(RecordingReader(file, size).packets(PACKET_US), begin_s, end_s - begin_s))


def write(file: Path, size: SensorSize, marks: Sequence[Mark], to: Path) -> Iterator[tuple[Path, int]]:
    """Write each mark to <to>/<class>/<name>-<from>-<to>, in the format of the file's name if writable, else AEDAT 4.

    Yields each path and its number of events. Raises RecordingError for marks without events, after the others.
    """
    suffix, empty = file.suffix.lower(), []
    if not any(suffix in FORMATS[name].suffixes for name in WRITABLE):
        suffix = ".aedat4"
    for one in marks:
        path = to / one.label / f"{file.stem}-{one.begin_s:g}-{one.end_s:g}{suffix}"
        pieces = interval_events(file, size, one.begin_s, one.end_s)
        if (head := next(pieces, None)) is None:
            empty.append(str(one))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        count = write_recording(path, chain([head], pieces), size, warn=warn)
        copy_settings(file, path)
        yield path, count
    if empty:
        raise RecordingError(f"there are no events of {file} in {', '.join(empty)}")


def ask_marks(file: Path, size: SensorSize) -> list[Mark]:
    """Ask for marks in the terminal, line by line; return them."""
    marks: list[Mark] = []
    print(f"{file}, {size} pixels: {HELP}")
    while True:
        try:
            word = input("> ").strip()
        except EOFError:
            return marks
        if word in ("quit", "q"):
            return []
        if word in ("write", "w"):
            return marks
        try:
            _answer(word, marks, file, size)
        except (ArgumentTypeError, ValueError, OSError) as error:
            print(error)


def _answer(word: str, marks: list[Mark], file: Path, size: SensorSize) -> None:
    if word == "undo":
        print(f"forgotten: {marks.pop()}" if marks else "there are no marks")
    elif word == "list":
        print("\n".join(map(str, marks)) or "there are no marks")
    elif "=" in word:
        marks.append(mark(word))
        print(f"marked: {marks[-1]}")
    elif word[:1].isdigit():
        _show(file, size, *stretch(word))
    else:
        print(HELP)


PICTURES = 4  # pictures shown of an interval


def _show(file: Path, size: SensorSize, begin_s: float, end_s: float) -> None:
    """Print an interval as a few pictures made of characters."""
    step = (end_s - begin_s) / PICTURES
    for n in range(PICTURES):
        start = begin_s + n * step
        found = np.concatenate([empty_events(), *interval_events(file, size, start, start + step)])
        print(f"{start:.2f} s, {len(found):,} events")
        if len(found):
            print(picture(found, size, 72, 18))
