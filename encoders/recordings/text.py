"""Rows of text: csv, and the .txt files of v2e, E2VID and the RPG data sets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, find_columns, order_of, sensor
from spikesight.encoders.recordings.format import HEAD_BYTES, Opened, Parts, RecordingError

READ_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"
BLANK = " "


@dataclass(frozen=True)
class Layout:
    """The layout of a text file: where rows begin, the delimiter, and what the cells are."""

    start: int
    delimiter: str
    cells: int
    places: dict[str, int] = field(default_factory=dict)  # indices of t, x, y and p; empty if only values tell
    unit: str | None = None
    size: SensorSize | None = None


def fits(head: bytes, _size: int) -> bool:
    """Return whether a file looks like rows of events, possibly below comments (`Format.fits`)."""
    return layout_of(head) is not None


def layout_of(head: bytes) -> Layout | None:
    """Recognise the layout by the first kilobytes of a file; None if they are not rows of events.

    A line of names may come first, also as a comment. E2VID's files begin with width and height.
    """
    start, named, size = 3 if head.startswith(BOM) else 0, None, None
    for raw in head[start:].splitlines(keepends=True):
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            return None
        text = line.lstrip("#% ")
        delimiter = next((mark for mark in ",;\t" if mark in text), BLANK)
        cells = [cell.strip() for cell in text.split(None if delimiter == BLANK else delimiter)]
        found = find_columns(cells)
        if found is not None:
            named = Layout(0, delimiter, len(cells), found.places, found.unit, found.size)
        elif line and line[0] not in "#%":
            if size is None and named is None and len(cells) == 2 and all(map(str.isdecimal, cells)):
                size = sensor(*map(int, cells))
            elif named is not None:
                return Layout(start, delimiter, named.cells, named.places, named.unit, named.size)
            elif len(cells) >= 4 and all(map(_number, cells)):
                return Layout(start, delimiter, len(cells), size=size)
            else:
                return None
        start += len(raw)
    return named and Layout(start, named.delimiter, named.cells, named.places, named.unit, named.size)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.lower() in ("true", "false")
    return True


def open_csv(path: Path) -> Opened:
    """Open rows of t, x, y and p, separated by commas, semicolons, tabs or blanks; names or values tell the order."""
    with path.open("rb") as file:
        layout = layout_of(file.read(HEAD_BYTES))
    if layout is None:
        raise RecordingError("its first line names no columns t, x, y and p, and is no row of four numbers")
    if not layout.places and layout.cells != 4:
        raise RecordingError(f"its rows have {layout.cells} cells, and no line on top that names them")
    notes: list[str] = []
    return Opened(layout.size, events_of(_parts(path, layout, notes), layout.unit, notes), notes)


def _parts(path: Path, layout: Layout, notes: list[str]) -> Iterator[Part]:
    columns = np.full(layout.cells, -1, np.int64)
    for column, key in enumerate("txyp"):
        columns[layout.places.get(key, column)] = column
    order = "txyp" if layout.places else ""
    whole = False
    for rows in _rows(path, layout, columns, notes):
        if not order:
            order = order_of(rows)
        t, *others = (rows[:, order.index(key)] for key in "txyp")
        if not whole and bool((t % 1 == 0).all()):
            whole = layout.unit is None and not _dotted(path, layout, order)
        yield dict(zip("txyp", (t.astype(np.int64) if whole else t, *others)))


def _dotted(path: Path, layout: Layout, order: str) -> bool:
    """Return whether times are written with a decimal point, such as 1000.0."""
    with path.open("rb") as file:
        file.seek(layout.start)
        line = file.readline(HEAD_BYTES).decode("latin-1")
    cells = line.split(None if layout.delimiter == BLANK else layout.delimiter)
    return "." in cells[layout.places.get("t", order.index("t"))]


def _rows(path: Path, layout: Layout, columns: NDArray[np.int64], notes: list[str]) -> Iterator[NDArray[np.float64]]:
    """Yield numbers [n, 4], at most ROWS at a time. An unterminated last line may be incomplete."""
    loop = kernels.compiled("text").rows
    line, rest, ended = 1, b"", False
    with path.open("rb") as file:
        line += file.read(layout.start).count(b"\n")
        while not ended:
            piece = file.read(READ_BYTES)
            ended = not piece
            held = rest + piece
            cut = held.rfind(b"\n") + 1
            if ended and held:
                held, cut = held + b"\n", len(held) + 1
            elif len(held) - cut > READ_BYTES:
                raise RecordingError("a line of it has no end")
            data, rest = np.frombuffer(bytearray(held[:cut]), np.uint8), held[cut:]
            while len(data):
                out = np.empty((ROWS, 4))
                n, used, wrong = loop(data, ord(layout.delimiter), columns, out)
                line += int(np.count_nonzero(data[:used] == 10))
                data = data[used:]
                if n:
                    yield out[:n]
                if wrong and ended:
                    notes.append("the last line is cut short")
                    return
                if wrong:
                    raise RecordingError(f"line {line} is no row of {layout.cells} numbers")


def write_csv(path: Path, parts: Parts, size: SensorSize) -> None:  # noqa: ARG001
    """Write the header t,x,y,p, then a row for each event; p is 0 or 1."""
    with path.open("wb") as file:
        file.write(b"t,x,y,p\n")
        for events in parts:
            for begin in range(0, len(events), ROWS):
                table = np.stack([events[name][begin : begin + ROWS] for name in "txyp"], axis=1).tolist()
                file.write("".join(f"{t},{x},{y},{p}\n" for t, x, y, p in table).encode())
