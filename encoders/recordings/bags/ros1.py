"""Read the messages of a ROS 1 bag, version 2.0 (https://wiki.ros.org/Bags/Format/2.0), from front to back.

So a bag without its index, from an interrupted recording, can be read as far as it goes.
"""

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.bags.messages import Topic
from spikesight.encoders.recordings.bags.packed import CUT_SHORT, unpacked
from spikesight.encoders.recordings.format import LONGEST_HEADER, RecordingError

MARK = b"#ROSBAG V2.0\n"
MESSAGE, CHUNK, CONNECTION = b"\x02", b"\x05", b"\x07"
SENSELESS = "a record makes no sense; what follows it is lost"
Header = dict[bytes, bytes]


def messages(path: Path, wanted: Callable[[Topic], bool], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Yield messages of the wanted topics. Raises RecordingError for another version or an unknown codec."""
    topics: dict[bytes, Topic | None] = {}
    with path.open("rb") as file:
        if file.read(len(MARK)) != MARK:
            raise RecordingError("it is a bag of another version than 2.0")
        for header, data in _all(file, notes):
            number = header.get(b"conn", b"")
            if header[b"op"] == CONNECTION and number not in topics:
                topic = _topic(header, _fields(data))
                topics[number] = topic if wanted(topic) else None
            elif header[b"op"] == MESSAGE and (topic := topics.get(number)):
                yield topic, data


def _topic(header: Header, more: Header) -> Topic:
    name, kind, definition = header.get(b"topic", b""), more.get(b"type", b""), more.get(b"message_definition", b"")
    return Topic(*(text.decode("latin-1") for text in (name, kind, definition)), cdr=False)


def _all(file: BinaryIO, notes: list[str]) -> Iterator[tuple[Header, bytes]]:
    """Yield records, including those inside chunks."""
    for header, data in _records(file, notes):
        if header[b"op"] != CHUNK:
            yield header, data
            continue
        (size,) = struct.unpack("<I", header.get(b"size", b"")[:4].ljust(4, b"\0"))
        chunk = unpacked(header.get(b"compression", b"none").decode("latin-1"), data, size, notes)
        yield from _records(io.BytesIO(chunk), notes)


def _records(file: BinaryIO, notes: list[str]) -> Iterator[tuple[Header, bytes]]:
    """Yield records of a file or chunk: header and data, each with length prefix; incomplete ones only of chunks."""
    while prefix := file.read(4):
        length = int.from_bytes(prefix, "little")
        header = file.read(min(length, LONGEST_HEADER))
        size = file.read(4)
        n = int.from_bytes(size, "little")
        data = file.read(n) if n <= LARGEST_PACKET else b""
        fields = _fields(header)
        senseless = length > LONGEST_HEADER or n > LARGEST_PACKET or (b"op" not in fields and len(size) == 4)
        if senseless or len(size) < 4 or len(data) < n:
            fault = SENSELESS if senseless else CUT_SHORT
            notes += [] if fault in notes else [fault]
            if fields.get(b"op") == CHUNK and not senseless:
                yield fields, data
            return
        yield fields, data


def _fields(data: bytes) -> Header:
    """Parse `name=value` fields with length prefix, as many as there are."""
    found: Header = {}
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        name, _, value = data[at + 4 : at + 4 + length].partition(b"=")
        found[name] = value
        at += 4 + length
    return found
