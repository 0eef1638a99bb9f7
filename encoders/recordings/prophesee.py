"""Prophesee's raw formats, EVT 2.0, 2.1 and 3.0, and DAT: headers and decoders; EVT 3.0 is also written.

Bit layouts follow Prophesee's published format descriptions. Time bases wrap (34 bits in EVT2, 24 in EVT3, 32 in DAT)
and are unwrapped; a smaller step back is left to the sanitiser.
"""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import MAX_SIDE, Events, SensorSize
from spikesight.encoders.native.build import call
from spikesight.encoders.recordings.format import Decode, Opened, Parts, RecordingError, text_header, word_chunks
from spikesight.encoders.recordings.text import layout_of

SENSORS = {  # by the plugin or system name, for headers without geometry
    "genx320": SensorSize(320, 320),
    "gen31": SensorSize(640, 480),
    "gen3": SensorSize(640, 480),
    "gen41": SensorSize(1280, 720),
    "gen4": SensorSize(1280, 720),
    "imx636": SensorSize(1280, 720),
    "imx646": SensorSize(1280, 720),
}
MOST_WRAPS = 1 << 20  # most wraps of EVT3's clock without an event: months
RECORDS = {"evt2": 4, "evt21": 8, "evt3": 2, "dat": 8}  # bytes of a record, in the kernel's order
STATE = np.dtype("i8, i8, u4, u4, u4, u1, u1", align=True)  # what a decoder keeps, in the kernel's order
STATE.names = ("high", "ahead", "low", "row", "column", "polarity", "has_row")
SAMPLE_BYTES = 8192  # bytes of data by which the encoding is recognised
ATIS = SensorSize(304, 240)  # sensor of DAT version 1 files
Words = NDArray[np.unsignedinteger]


# ----------------------------------------------------------------------------------------------------------- decoders


class WordDecoder:
    """A Decode of one of RECORDS, by native/kernels/words.h.

    evt2    uint32: kind (28), low time (22), x (11), y (0); kind 0 OFF, 1 ON, 8 the upper 28 bits of time
    evt21   uint64: the same, and one bit for each of 32 pixels (0); `swapped`, in "legacy" files, the other half first
    evt3    uint16, each setting row, time or base column, or giving an event or a vector of events
    dat     two uint32: time; x (0), y (14), polarity (28)
    """

    def __init__(self, name: str, *, swapped: bool = False) -> None:
        self.kind, self.record = list(RECORDS).index(name), RECORDS[name]
        self.swapped = swapped
        self.state, self._used = np.zeros(1, STATE), np.zeros(1, np.int64)
        self.state["high"] = -1

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        if self.swapped:
            data = np.ascontiguousarray(data.view("<u4").reshape(-1, 2)[:, ::-1])
        n_words = data.nbytes // self.record
        n = call("words_decoded", self.kind, self.state, data, n_words, out, len(out), self._used)
        return n, self.record * int(self._used[0])


def dat_of_version_1() -> Decode:
    """Return a Decode of the ATIS's records: x (0), y (9), polarity (17)."""
    decode = WordDecoder("dat")

    def widened(data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        words = data[: 8 * len(out)].view("<u4").copy()
        x, y, p = words[1::2] & 0x1FF, words[1::2] >> 9 & 0xFF, words[1::2] >> 17 & 1
        words[1::2] = p << 28 | y << 14 | x
        return decode(words.view(np.uint8), out)

    return widened


# ------------------------------------------------------------------------------------------------------------ headers


def open_raw(path: Path) -> Opened:
    """Open an EVT 2.0, 2.1 or 3.0 file; the encoding is told by the header or, failing that, by the words."""
    with path.open("rb") as file:
        header = _header(file)
        start = file.tell()
        sample = file.read(SAMPLE_BYTES)
    notes: list[str] = []
    name = _encoding(header)
    if name is None:
        name = _told_by_words(sample)
        notes.append(f"the header names no encoding; read as {name} by its words")
    if name not in RECORDS:
        raise RecordingError("the header names no encoding that is known here (EVT 2.0, 2.1 and 3.0 are)")
    decode = WordDecoder(name, swapped=name == "evt21" and "legacy" in header)
    return Opened(_geometry(header), word_chunks(path, start, decode.record, decode, notes), notes)


def _header(file: BinaryIO) -> str:
    """Return the header in lower case; leave the file at the first byte after it."""
    return "\n".join(text_header(file, "% ", "%end")).lower()


def fits(name: str) -> Callable[[bytes, int], bool]:
    """Return `Format.fits` for one of Prophesee's formats; a file of theirs that names no format counts as dat."""

    def fitting(head: bytes, _size: int) -> bool:
        if not head.startswith(b"%") or layout_of(head):  # a layout means rows of text below a comment
            return False
        return (file_format(head) or "dat") == name

    return fitting


def file_format(head: bytes) -> str | None:
    """Return dat, evt2, evt21 or evt3, judged by the head of a file that begins with %; None otherwise."""
    file = io.BytesIO(head)
    header = _header(file)
    data = file.read()
    named = _encoding(header)
    if named or (len(data) > 1 and data[1] == 8) or re.search(r"^% version \d", header, re.MULTILINE):
        return named or "dat"
    return _told_by_words(data)


def _encoding(header: str) -> str | None:
    for pattern, name in ((r"evt ?3", "evt3"), (r"evt ?2\.?1", "evt21"), (r"evt ?2", "evt2")):
        if re.search(rf"^% (format )?{pattern}\b", header, re.MULTILINE):
            return name
    return None


def _told_by_words(data: bytes) -> str | None:
    """Return the encoding in which time words are frequent and increase steadily; None if there is none."""
    for name, kind, top, bits, step in (("evt2", "<u4", 28, 28, 1 << 14), ("evt3", "<u2", 12, 12, 1)):
        size = np.dtype(kind).itemsize
        words = np.frombuffer(data[: len(data) // size * size], kind).astype(np.int64)
        times = words[words >> top == 8] & (1 << bits) - 1
        steps = np.diff(times) % (1 << bits)
        if len(times) > 1 and len(words) < 2000 * len(times) and float((steps <= step).mean()) > 0.95:
            return name
    return None


def _geometry(header: str) -> SensorSize | None:
    """Return the sensor by `geometry 640x480`, `width=640;height=480`, Width and Height lines, or a sensor's name."""
    width = re.search(r"^% width (\d+)|width=(\d+)", header, re.MULTILINE)
    height = re.search(r"^% height (\d+)|height=(\d+)", header, re.MULTILINE)
    pair = re.search(r"^% geometry (\d+)x(\d+)", header, re.MULTILINE)
    if pair is None and width and height:
        found = (int(width.group(1) or width.group(2)), int(height.group(1) or height.group(2)))
    elif pair is not None:
        found = (int(pair.group(1)), int(pair.group(2)))
    else:
        return next((size for name, size in SENSORS.items() if name in header), None)
    return SensorSize(*found) if all(1 <= side <= MAX_SIDE for side in found) else None


def open_dat(path: Path) -> Opened:
    """Open a DAT file: text header, two bytes with kind and size of the records, records of 8 bytes."""
    with path.open("rb") as file:
        header = _header(file)
        kind = file.read(2)
        start = file.tell()
        sample = np.frombuffer(file.read(8 * 4096), np.uint8)
    version = re.search(r"^% version (\d+)", header, re.MULTILINE)
    if len(kind) < 2 or kind[1] != 8:
        if version is None:
            raise RecordingError("its header names no encoding: add the line '% evt 2.0', '% evt 2.1' or '% evt 3.0'")
        raise RecordingError("it has no 8-byte events")
    notes: list[str] = []
    if version is None:
        words = sample[: len(sample) // 8 * 8].view("<u4")[1::2]
        first = bool((words < 1 << 18).all())
        notes.append(f"the header names no version; read as DAT version {1 if first else 2}")
    else:
        first = int(version.group(1)) < 2
    size = _geometry(header) or (ATIS if first else None)
    begin = re.search(r"^% t0 (\d{1,15})$", header, re.MULTILINE)  # the start of times in faery's files
    chunks = word_chunks(path, start, 8, dat_of_version_1() if first else WordDecoder("dat"), notes)
    return Opened(size, _later(chunks, int(begin.group(1))) if begin else chunks, notes)


def _later(chunks: Iterator[Events], us: int) -> Iterator[Events]:
    for events in chunks:
        events["t"] += us
        yield events


# ------------------------------------------------------------------------------------------------------------ writing


def evt3_words(events: Events) -> Words:
    """Encode events as uint16 words: row and time words where they change, single events and no vectors.

    Several programs misread vectors that stand alone; all programs read single events.
    """
    t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
    words = np.stack([0x8000 | t >> 12 & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x], axis=1)
    wanted = np.ones(words.shape, bool)
    wanted[1:, :3] = np.diff(np.stack([t >> 12, t, y], axis=1), axis=0) != 0
    return words[wanted].astype("<u2")


def write_evt3(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write EVT 3.0 such that all readers get the same events. Raises RecordingError for a gap of months.

    Between events, each wrap of the clock is written as its last and first time word. Readers count wraps by these;
    several only count a step from the very end of the clock to its beginning.
    """
    header = (
        f"% evt 3.0\n% format EVT3;height={size.height};width={size.width}\n"
        f"% geometry {size}\n% integrator_name spikesight\n% end\n"
    )
    last = -1
    with path.open("wb") as file:
        file.write(header.encode())
        for part in parts:
            for events in np.split(part, np.flatnonzero(np.diff(part["t"] >> 24)) + 1):
                first = int(events["t"][0])
                wraps = (first >> 24) - (last >> 24) if last >= 0 else 0
                if wraps > MOST_WRAPS:
                    raise RecordingError(f"EVT 3.0 cannot hold a gap of {(first - last) / 8.64e10:.0f} days")
                file.write(np.tile(np.array([0x8FFF, 0x8000], "<u2"), wraps).tobytes())
                file.write(evt3_words(events).tobytes())
                last = int(events["t"][-1])
            file.flush()  # what has come is kept, whatever ends the process
