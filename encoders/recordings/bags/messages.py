"""ROS messages with events: their types, their serialised fields, and the codings of their events."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, unwrap
from spikesight.encoders.recordings.columns import sensor
from spikesight.encoders.recordings.format import Decode, NoEventsKnown, shown
from spikesight.encoders.recordings.prophesee import Evt3

PACKET = (
    "Header header", "uint32 height", "uint32 width", "uint64 seq", "uint64 time_base", "string encoding",
    "bool is_bigendian", "uint8[] events",
)  # fmt: skip
ARRAY = ("Header header", "uint32 height", "uint32 width", "Event[] events")
EVENT = ("uint16 x", "uint16 y", "time ts", "bool polarity")
TYPES = {
    "event_camera_msgs/EventPacket": PACKET,
    "event_array_msgs/EventArray": PACKET,  # the former name, until 2022
    "dvs_msgs/EventArray": ARRAY,
    "prophesee_event_msgs/EventArray": ARRAY,
}
ZSTD = b"\x28\xb5\x2f\xfd"  # first bytes of a compressed message


@dataclass(frozen=True)
class Topic:
    """Name, message type as `package/Type`, message definition ("" if unknown), and whether messages are CDR."""

    name: str
    type: str
    definition: str
    cdr: bool  # ROS 2's serialisation, with alignment; ROS 1's has no padding


@dataclass(frozen=True)
class Packet:
    """The events of a message: bytes uint8 [n], their decoder, and the sensor."""

    size: SensorSize | None
    data: NDArray[np.uint8]
    decode: Decode


class Fields:
    """Reads the fields of a message one by one. Raises struct.error if the message is too short."""

    def __init__(self, data: bytes, cdr: bool) -> None:
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
        return bytes(self.take(self.number("I"))).rstrip(b"\0").decode("latin-1")


class Messages:
    """Converts the messages of one topic, in order, to packets. Raises NoEventsKnown for unknown fields."""

    def __init__(self, topic: Topic) -> None:
        self._topic, self._fields = topic, TYPES[topic.type]
        found = definitions(topic.definition)
        for name, fields in (("", self._fields), *([("Event", EVENT)] if self._fields is ARRAY else [])):
            if found and found.get(name) != fields:
                raise NoEventsKnown(f"its {topic.type} has other fields than those known here: {', '.join(fields)}")
        evt3, packed = Evt3(), Packed()
        self._codecs: dict[str, Callable[[int], Decode]] = {
            "evt3": lambda _: evt3, "libcaer": Libcaer, "libcaer_cmp": packed.anew, "mono": Mono
        }  # fmt: skip

    def __call__(self, data: bytes) -> Packet:
        """Convert a message. Raises struct.error if it is cut short."""
        fields = Fields(data, self._topic.cdr)
        for kind in "II" if self._topic.cdr else "III":  # the header: time, in ROS 1 preceded by a sequence number
            fields.number(kind)
        fields.text()
        height, width = fields.number("I"), fields.number("I")
        size = sensor(width, height)
        if self._fields is ARRAY:
            return Packet(size, *stamped(fields))
        fields.number("Q")
        base, encoding = fields.number("Q"), fields.text()
        if encoding not in self._codecs:
            known = ", ".join(self._codecs)
            raise NoEventsKnown(f"its events are coded as '{shown(encoding)}', which is not known here ({known} are)")
        if fields.number("B"):
            raise NoEventsKnown("its events are big-endian")
        events = np.frombuffer(fields.take(fields.number("I")), np.uint8)
        record = 2 if encoding in ("evt3", "libcaer_cmp") else 8
        return Packet(size, events[: len(events) // record * record], self._codecs[encoding](base))


def definitions(text: str) -> dict[str, tuple[str, ...]]:
    """Parse a definition: fields of the message ("") and of nested types by name, without packages."""
    found = {}
    for part in re.split(r"^=+\n", text, flags=re.MULTILINE) if text.strip() else []:
        name = re.match(r"MSG: .*/(\w+)\s", part)
        fields = re.findall(r"^[ \t]*(?:\w+/)*([A-Za-z]\w*(?:\[\])?)[ \t]+(\w+)[ \t]*(?:#.*)?$", part, re.MULTILINE)
        found[name[1] if name else ""] = tuple(f"{'time' if kind == 'Time' else kind} {name}" for kind, name in fields)
    return found


def stamped(fields: Fields) -> tuple[NDArray[np.uint8], Decode]:
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

    def decode(data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        table = data[: length * len(out)].view(record)
        t = table["s"] * np.int64(1_000_000) + table["ns"] // 1000
        return put(out, t, table["x"], table["y"], table["p"]), length * len(table)

    return data, decode


def put(out: Events, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> int:
    """Write events to the start of `out`; return their number."""
    out = out[: len(t)]
    out["t"], out["x"], out["y"], out["p"] = t, x, y, p
    return len(out)


class Libcaer:
    """Decodes two uint32 an event: polarity (1), y (2), x (17); 31 bits of microseconds after `base` (nanoseconds)."""

    def __init__(self, base: int) -> None:
        self._base, self._high = base // 1000, -1

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        words = data[: 8 * len(out)].view("<u4")
        word, low = words[::2], words[1::2]
        t = unwrap((low & 0x7FFFFFFF).astype(np.int64), 31, self._high)
        self._high = int(t[-1]) if len(t) else self._high
        n = put(out, t + np.int64(self._base), word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1)
        return n, 8 * n


class Mono:
    """Decodes uint64 events: polarity (63), y (48), x (32), nanoseconds after `base` (0)."""

    def __init__(self, base: int) -> None:
        self._base = base

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        words = data[: 8 * len(out)].view("<u4")
        ns, word = words[::2].astype(np.uint64) + np.uint64(self._base), words[1::2]
        n = put(out, ns // 1000, word & 0xFFFF, word >> 16 & 0x7FFF, word >> 31)
        return n, 8 * n


class Packed:
    """Decodes libcaer_cmp: EVT3 with columns and rows swapped and other kinds of words; `base` in nanoseconds. Times of
    each packet start at 0; the column carries over from packet to packet.
    """

    KINDS = np.array([8, 6, 0, 2, 3, 5, *[15] * 10], "<u2") << 12
    """EVT3's kind for each kind here: high and low time, column, row with polarity, base row, eight rows; none."""

    def __init__(self) -> None:
        self._evt3, self._base = Evt3(), 0

    def anew(self, base: int) -> Decode:
        self._base = base // 1000
        self._evt3.state[[0, 1, 5]] = 0, 0, 1
        return self

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        words = data.view("<u2")
        n, used = self._evt3((self.KINDS[words >> 12] | words & 0xFFF).view(np.uint8), out)
        x = out["x"][:n].copy()
        out["x"][:n], out["y"][:n] = out["y"][:n], x
        out["t"][:n] += np.int64(self._base)
        return n, used
