"""Rows of text: csv, and the .txt files of v2e, E2VID and the RPG data sets."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, find_columns, order_of, sensor
from spikesight.encoders.recordings.format import HEAD_BYTES, CutShort, Opened, Parts, RecordingError

READ_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"
BLANK = " "
TRUTH = {"true": "1", "false": "0"}


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
        return "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return cell.lower() in TRUTH


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
    order = "txyp" if layout.places else ""
    whole = False
    for rows in _rows(path, layout, notes):
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
        cells = _cells(file.readline(HEAD_BYTES), layout)
    return "." in cells[layout.places.get("t", order.index("t"))]


def _cells(line: bytes, layout: Layout) -> list[str]:
    """Split a line; no cells if it is empty or a comment."""
    text = line.decode("latin-1").strip()
    if not text or text[0] in "#%":
        return []
    return [cell.strip().strip('"') for cell in text.split(None if layout.delimiter == BLANK else layout.delimiter)]


def _rows(path: Path, layout: Layout, notes: list[str]) -> Iterator[NDArray[np.float64]]:
    """Yield numbers [n, 4] of about READ_BYTES at a time. An unterminated last line may be incomplete."""
    line, rest, ended = 1, b"", False
    with path.open("rb") as file:
        line += file.read(layout.start).count(b"\n")
        while not ended:
            piece = file.read(READ_BYTES)
            ended = not piece
            held = rest + piece
            cut = len(held) if ended else held.rfind(b"\n") + 1
            if len(held) - cut > READ_BYTES:
                raise RecordingError("a line of it has no end")
            block, rest = held[:cut], held[cut:]
            try:
                rows = _numbers(block, layout)
            except ValueError:
                good = _good_lines(block, layout)
                if not ended or b"\n" in block[len(good) :]:
                    where = line + good.count(b"\n")
                    raise RecordingError(f"line {where} is no row of {layout.cells} numbers") from None
                notes.append(CutShort("the last line is cut short"))
                rows = _numbers(good, layout)
            line += block.count(b"\n")
            if len(rows):
                yield rows


def _numbers(block: bytes, layout: Layout) -> NDArray[np.float64]:
    """Parse whole lines, float64 [n, 4]. Raises ValueError if one is no row of numbers."""
    first = next((cells for line in io.BytesIO(block) if (cells := _cells(line, layout))), None)
    if first is None:
        return np.empty((0, 4))
    places = [layout.places.get(key, column) for column, key in enumerate("txyp")]
    words = dict.fromkeys(places[3:], _word)
    rows = np.loadtxt(
        io.StringIO(block.decode("latin-1")),
        delimiter=None if layout.delimiter == BLANK else layout.delimiter,
        comments="%" if b"%" in block else "#",
        converters=words if first[places[3] :][:1] and first[places[3]].lower() in TRUTH else None,  # type: ignore[arg-type]
        usecols=places if layout.cells > 4 else None,
        quotechar='"',
        ndmin=2,
    )
    if not bool(np.isfinite(rows).all()) or rows.shape[1] != 4:
        raise ValueError("a number is not finite")
    return rows if layout.cells > 4 else rows[:, places]


def _word(cell: str) -> float:
    """Return the number that a cell, or its True or False, stands for."""
    return float(TRUTH.get(cell.strip().lower(), cell))


def _good_lines(block: bytes, layout: Layout) -> bytes:
    """Return the lines before the first that is no row of numbers."""
    at = 0
    for line in block.splitlines(keepends=True):
        cells = _cells(line, layout)
        wrong = len(cells) < layout.cells or layout.cells == 4 < len(cells)
        if cells and (wrong or not all(_number(cells[layout.places.get(key, n)]) for n, key in enumerate("txyp"))):
            break
        at += len(line)
    return block[:at]


def write_csv(path: Path, parts: Parts, size: SensorSize) -> None:  # noqa: ARG001
    """Write the header t,x,y,p, then a row for each event; p is 0 or 1."""
    with path.open("wb") as file:
        file.write(b"t,x,y,p\n")
        for events in parts:
            for begin in range(0, len(events), ROWS):
                table = np.stack([events[name][begin : begin + ROWS] for name in "txyp"], axis=1).tolist()
                file.write("".join(f"{t},{x},{y},{p}\n" for t, x, y, p in table).encode())
            file.flush()  # what has come is kept, whatever ends the process
