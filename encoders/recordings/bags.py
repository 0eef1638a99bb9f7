"""Bags of robots: ROS 1 (.bag), ROS 2 (.db3) and MCAP files of messages, of which event messages are read. ROS is not
needed. Files are read from front to back, without their index, so that what an interrupted recording left can be read.
"""

import io
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, empty_events, joined, make_events, unwrap
from spikesight.encoders.recordings.columns import sensor
from spikesight.encoders.recordings.format import (
    LARGEST_PACKET,
    CutShort,
    NoEventsKnown,
    Opened,
    Pieces,
    RecordingError,
    batched,
    decoded,
    shown,
    topic_of,
    unpacked,
)
from spikesight.encoders.recordings.prophesee import WordDecoder

PACKETS = ("event_camera_msgs/EventPacket", "event_array_msgs/EventArray")  # the second: the former name, until 2022
ARRAYS = ("dvs_msgs/EventArray", "prophesee_event_msgs/EventArray")
TYPES = (*PACKETS, *ARRAYS)
KINDS = np.array([8, 6, 0, 2, 3, 5, *[15] * 10], "<u2") << 12
"""EVT3's kind by that of libcaer_cmp: high and low time, column, row with polarity, base row, eight rows; none."""

ZSTD = b"\x28\xb5\x2f\xfd"  # first bytes of a compressed message
LONGEST_HEADER = 1 << 16  # bytes of a record's header in ROS 1
MOST_NAMED = 8  # topics listed in a message
CUT_SHORT = CutShort("the file is cut short")
DAMAGED = "a damaged chunk of messages was left out"
SENSELESS = CutShort("a record makes no sense; what follows it is lost")


class Topic(NamedTuple):
    """Name, message type as `package/Type`, and whether messages are CDR."""

    name: str
    type: str
    cdr: bool  # ROS 2's serialisation, with alignment; ROS 1's has no padding


Words = NDArray[np.uint8]
Packet = tuple[SensorSize | None, Events]
"""The sensor and the events of a message."""

Container = Callable[[Path, list[Topic], list[str]], Iterator[tuple[Topic, bytes]]]
"""Reader of a file (path, topics, notes): yields the messages of TYPES in order, and adds all topics to `topics`.

Raises RecordingError for what is no such file, or is packed by an unknown codec.
"""


def opener(container: Container) -> Callable[[Path], Opened]:
    """Return the `open` function of a kind of bag; its path may name a topic (`format.topic_of`)."""

    def open_bag(path: Path) -> Opened:
        file, named = topic_of(path)
        with closing(_packets(container, file, named, [])) as packets:
            first = next(packets, None)
        notes: list[str] = []

        def read(at_once: int) -> Iterator[Events]:
            return batched((events for _, events in _packets(container, file, named, notes)), at_once // 4)

        return Opened(first[0] if first else None, Pieces(read, file.stat().st_size), notes)

    return open_bag


def _packets(container: Container, file: Path, named: str, notes: list[str]) -> Generator[Packet]:
    """Yield the packets of the named topic, or else of the first. Raises RecordingError if there is none."""
    topics: list[Topic] = []
    others: dict[str, None] = {}
    taken, decode, damaged = "", None, 0
    for topic, data in container(file, topics, notes):
        if decode is None and named.strip("/") in ("", topic.name.strip("/")):
            taken, decode = topic.name, Messages(topic)
        if decode is None or topic.name != taken:
            others[topic.name] = None
            continue
        try:
            packet = decode(data)
        except struct.error:
            damaged += 1
            continue
        yield packet
    if decode is None:
        found = _listed([f"{topic.name} ({topic.type})" for topic in topics]) or "nothing"
        nothing = f"it holds no messages with events ({', '.join(TYPES)}), but {found}"
        if others:
            nothing = f"it holds no events of {named}, but of {_listed(others)}"
        raise RecordingError("; ".join([nothing, *notes])) if notes else NoEventsKnown(nothing)
    if others and not named:
        name = shown(next(iter(others))).strip("/")
        notes.append(f"it holds events of {_listed(others)} too: read them as {file.name}#/{name}")
    if damaged:
        notes.append(f"{damaged} messages that make no sense were left out")


def _listed(names: list[str] | dict[str, None]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join([shown(name) for name in names][:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------------------------------------------------- containers


def _note(notes: list[str], fault: str) -> None:
    notes += [] if fault in notes else [fault]


def _chunk(codec: str, data: bytes, size: int, notes: list[str]) -> io.BytesIO:
    """Decompress a chunk of messages to the `size` that it claims; fewer bytes, and a note, if it is damaged."""
    try:
        found = unpacked(codec, data, min(size, LARGEST_PACKET))
    except (RecordingError, MemoryError):
        raise
    except Exception:  # each library raises its own types
        found = b""
    if len(found) < size:
        _note(notes, DAMAGED)
    return io.BytesIO(found)


def ros1(path: Path, topics: list[Topic], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Read a ROS 1 bag, version 2.0 (https://wiki.ros.org/Bags/Format/2.0), see Container."""
    known: dict[bytes, Topic] = {}
    with path.open("rb") as file:
        if file.read(13) != b"#ROSBAG V2.0\n":
            raise RecordingError("it is a bag of another version than 2.0")
        for header, data in _ros1_records(file, notes):
            number = header.get(b"conn", b"")
            if header[b"op"] == b"\x07" and number not in known:
                found = header | _ros1_fields(data)
                name, kind = (found.get(key, b"").decode("latin-1") for key in (b"topic", b"type"))
                known[number] = Topic(name, kind, cdr=False)
                topics.append(known[number])
            elif header[b"op"] == b"\x02" and number in known and known[number].type in TYPES:
                yield known[number], data


def _ros1_records(file: BinaryIO, notes: list[str], inside: bool = False) -> Iterator[tuple[dict[bytes, bytes], bytes]]:
    """Yield header and data of records, each with length prefix, also of those inside chunks, which hold no chunks."""
    while prefix := file.read(4):
        length = int.from_bytes(prefix, "little")
        header = file.read(min(length, LONGEST_HEADER))
        size = file.read(4)
        n = int.from_bytes(size, "little")
        data = file.read(n) if n <= LARGEST_PACKET else b""
        fields = _ros1_fields(header)
        if length > LONGEST_HEADER or n > LARGEST_PACKET or (b"op" not in fields and len(size) == 4):
            _note(notes, SENSELESS)
            return
        cut = len(size) < 4 or len(data) < n
        if cut:
            _note(notes, CUT_SHORT)
        if fields.get(b"op") == b"\x05" and not inside:
            whole = int.from_bytes(fields.get(b"size", b"")[:4], "little")
            codec = fields.get(b"compression", b"none").decode("latin-1")
            yield from _ros1_records(_chunk(codec, data, whole, notes), notes, inside=True)
        elif not cut:
            yield fields, data
        if cut:
            return


def _ros1_fields(data: bytes) -> dict[bytes, bytes]:
    """Parse `name=value` fields with length prefix, as many as there are."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        name, _, value = data[at + 4 : at + 4 + length].partition(b"=")
        found[name] = value
        at += 4 + length
    return found


def mcap(path: Path, topics: list[Topic], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Read an MCAP file (https://mcap.dev/spec), see Container."""
    types: dict[int, str] = {}
    known: dict[int, Topic] = {}
    with path.open("rb") as file:
        file.seek(8)
        for op, data in _mcap_records(file, notes):
            fields = Fields(data)
            number = fields.number("H")
            if op == 3:
                types[number] = fields.text().replace("/msg/", "/")
            elif op == 4 and number not in known:
                kind = types.get(fields.number("H"), "")
                known[number] = Topic(fields.text(), kind, fields.text() != "ros1")
                topics.append(known[number])
            elif op == 5 and number in known and known[number].type in TYPES:
                yield known[number], data[22:]


def _mcap_records(file: BinaryIO, notes: list[str], inside: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and data of schemas (3), channels (4) and messages (5), also of those inside chunks (6)."""
    while True:
        head = file.read(9)
        op, n = struct.unpack("<BQ", head) if len(head) == 9 else (0, 0)
        if op in (2, 15) or (inside and not head):  # the footer, or the end of the data
            return
        data = file.read(n) if n <= LARGEST_PACKET else b""
        cut = not op or len(data) < n
        if cut:
            _note(notes, CUT_SHORT)
        if op == 6 and not inside and len(data) > 40:
            fields = Fields(data)
            fields.take(16)
            size, _, codec = fields.number("Q"), fields.number("I"), fields.text()
            yield from _mcap_records(_chunk(codec, data[fields.at + 8 :], size, notes), notes, inside=True)
        elif op in (3, 4, 5) and not cut:
            yield op, data
        if cut:
            return


SETTINGS = ("trusted_schema=0", "query_only=1", "cell_size_check=1", "mmap_size=0", "temp_store=2", "writable_schema=1")
"""Pragmas; the last lets a truncated file be read as far as it goes, although nothing is written."""


def sqlite(path: Path, topics: list[Topic], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Read an older ROS 2 bag, a SQLite file with the tables `topics` and `messages`, see Container.

    The file may be hostile, and a schema can make SQLite do a lot. So the file is opened read-only and without its
    journal, its schema is not trusted, and both must be plain tables.
    """
    import sqlite3

    journal = path.with_name(f"{path.name}-wal")
    if journal.is_file() and journal.stat().st_size:
        notes.append(f"{journal.name} is not read: `sqlite3 {path.name} 'PRAGMA wal_checkpoint'` adds it to the bag")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_PACKET)
        try:
            for setting in SETTINGS:
                base.execute(f"PRAGMA {setting}")
            plain = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
            tables = {name for (name,) in base.execute(plain)}
            if not {"topics", "messages"} <= tables:
                lacks = "it is a SQLite file but no ROS 2 bag: it lacks topics and messages"
                raise NoEventsKnown("; ".join([lacks, *notes]))
            rows = base.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise RecordingError(f"its tables cannot be read ({shown(error)})") from error
        known = {
            n: Topic(str(name), str(kind).replace("/msg/", "/"), True) for n, name, kind, form in rows if form == "cdr"
        }
        topics += known.values()
        numbers = ",".join(str(n) for n, topic in known.items() if topic.type in TYPES and isinstance(n, int))
        left = path.stat().st_size
        try:
            rows = base.execute(f"SELECT topic_id, data FROM messages NOT INDEXED WHERE topic_id IN ({numbers})")
            for number, data in rows:
                left -= len(data) if isinstance(data, bytes) else 8
                if left < 0:
                    notes.append("its messages are longer than the file; what follows is lost")
                    return
                if isinstance(data, bytes):
                    yield known[number], data
        except sqlite3.Error as error:
            notes.append(CutShort(f"it is damaged or cut short; what follows is lost ({shown(error)})"))


# ------------------------------------------------------------------------------------------------------------ messages


class Fields:
    """Reads fields one by one, of a message or of MCAP's records. Raises struct.error if there are too few bytes."""

    def __init__(self, data: bytes, cdr: bool = False) -> None:
        self.data, self.cdr, self.at = memoryview(data), cdr, 4 if cdr else 0
        if data[:4] == ZSTD:
            raise NoEventsKnown("its messages are packed one by one: unpack the bag with `ros2 bag convert`")
        if cdr and data[:2] != b"\0\1":
            raise NoEventsKnown("its messages are not little-endian CDR")

    def number(self, kind: str) -> int:
        """Read an integer, given its `struct` letter; CDR aligns it to a multiple of its size."""
        size = struct.calcsize(f"<{kind}")
        self.at += -(self.at - 4) % size if self.cdr else 0
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.at)
        self.at += size
        return value

    def take(self, n: int) -> memoryview:
        """Read n bytes."""
        if n > len(self.data) - self.at:
            raise struct.error("the message is cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def text(self) -> str:
        """Read text with length prefix."""
        return bytes(self.take(self.number("I"))).rstrip(b"\0").decode("latin-1")


class Messages:
    """Converts the messages of one topic, in order, to events. Raises NoEventsKnown for other codings."""

    CODINGS = ("evt3", "libcaer", "libcaer_cmp", "mono")

    def __init__(self, topic: Topic) -> None:
        self._topic, self._decode = topic, WordDecoder("evt3")

    def __call__(self, data: bytes) -> Packet:
        """Return a message's sensor and events. Raises struct.error if it is cut short."""
        fields = Fields(data, self._topic.cdr)
        for kind in "II" if self._topic.cdr else "III":  # the header: time, in ROS 1 preceded by a sequence number
            fields.number(kind)
        fields.text()
        height, width = fields.number("I"), fields.number("I")
        size = sensor(width, height)
        if self._topic.type in ARRAYS:
            return size, stamped(fields)
        fields.number("Q")
        base, coding = fields.number("Q"), fields.text()
        if coding not in self.CODINGS:
            known = ", ".join(self.CODINGS)
            raise NoEventsKnown(f"its events are coded as '{shown(coding)}', which is not known here ({known} are)")
        if fields.number("B"):
            raise NoEventsKnown("its events are big-endian")
        words = np.frombuffer(fields.take(fields.number("I")), np.uint8)
        record = 2 if coding in ("evt3", "libcaer_cmp") else 8
        return size, getattr(self, f"_{coding}")(words[: len(words) // record * record], base)

    def _evt3(self, words: Words, _: int) -> Events:
        return joined([empty_events(), *decoded([(words, self._decode)], len(words))])

    def _libcaer(self, words: Words, base: int) -> Events:
        """Decode two uint32 an event: polarity (1), y (2), x (17); 31 bits of microseconds after `base`, in ns."""
        word, low = words.view("<u4").reshape(-1, 2).T
        t = unwrap((low & 0x7FFFFFFF).astype(np.int64), 31, -1)
        return make_events(t + base // 1000, word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1)

    def _mono(self, words: Words, base: int) -> Events:
        """Decode uint64 events: polarity (63), y (48), x (32), nanoseconds after `base`."""
        ns, word = words.view("<u4").reshape(-1, 2).T
        t = (ns.astype(np.int64) + base) // 1000
        return make_events(t, word & 0xFFFF, word >> 16 & 0x7FFF, word >> 31)

    def _libcaer_cmp(self, words: Words, base: int) -> Events:
        """Decode EVT3 with columns and rows swapped and other kinds of words. Times of each message start at 0; the
        column carries over from message to message.
        """
        state = self._decode.state
        state["high"], state["low"], state["has_row"] = 0, 0, 1
        coded = words.view("<u2")
        events = self._evt3((KINDS[coded >> 12] | coded & 0xFFF).view(np.uint8), 0)
        return make_events(events["t"] + base // 1000, events["y"], events["x"], events["p"])


def stamped(fields: Fields) -> Events:
    """Read an array of events with seconds and nanoseconds each: 13 bytes in ROS 1; in CDR 16, except the first.

    In CDR, x and y of the first event lie two bytes later, since the fields after them are aligned to four bytes.
    """
    n = fields.number("I")
    if not fields.cdr:
        offsets, length = [0, 2, 4, 8, 12], 13
        data = np.frombuffer(fields.take(13 * n), np.uint8)
    else:
        offsets, length = [0, 2, 6, 10, 14], 16
        given = np.frombuffer(fields.take(max(0, 16 * n - 3)), np.uint8)
        data = np.zeros(16 * n, np.uint8)
        data[2 : 2 + len(given)] = given
        data[:4] = data[2:6]
    names, kinds = ["x", "y", "s", "ns", "p"], ["<u2", "<u2", "<i4", "<u4", "u1"]
    record = np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": length})  # type: ignore[call-overload]
    table = data.view(record)
    t = table["s"] * np.int64(1_000_000) + table["ns"] // 1000
    return make_events(t, table["x"], table["y"], table["p"])
