"""MCAP files (https://mcap.dev/spec) through the library `mcap` (extra `ros`): read from front to back, and written."""

import importlib
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.events import SensorSize
from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.bags.messages import PACKET, Topic
from spikesight.encoders.recordings.bags.packed import CUT_SHORT, unpacked
from spikesight.encoders.recordings.format import NoEventsKnown, Parts, RecordingError
from spikesight.encoders.recordings.prophesee.writer import EVT3, encoded

PACKET_US = 10_000  # time span of a message that is written
LAST_US = 1_000_000 << 31  # first time beyond ROS 2's 31 bits of seconds
FRAME = b"event_camera\0"
RULE = "\n" + "=" * 80 + "\n"
DEFINITION = (
    "\n".join(PACKET).replace("Header", "std_msgs/Header")
    + f"{RULE}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id"
    + f"{RULE}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"mcap.{module}")
    except ImportError as error:
        raise NoEventsKnown("MCAP files need mcap: pip install 'spikesight[ros]'") from error


def messages(path: Path, wanted: Callable[[Topic], bool], notes: list[str]) -> Iterator[tuple[Topic, bytes]]:
    """Yield messages of the wanted topics. Raises RecordingError for an unknown codec."""
    schemas: dict[int, Any] = {}
    topics: dict[int, Topic | None] = {}
    with path.open("rb") as file:
        for record in _records(file, notes):
            match type(record).__name__:
                case "Schema":
                    schemas[record.id] = record
                case "Channel" if record.id not in topics:
                    topic = _topic(record, schemas.get(record.schema_id))
                    topics[record.id] = topic if wanted(topic) else None
                case "Message" if topic := topics.get(record.channel_id):
                    yield topic, record.data


def _topic(channel: Any, schema: Any) -> Topic:
    kind = schema.name.replace("/msg/", "/") if schema else ""
    definition = schema.data.decode("latin-1") if schema and schema.encoding in ("ros1msg", "ros2msg") else ""
    return Topic(channel.topic, kind, definition, channel.message_encoding != "ros1")


def _records(file: Any, notes: list[str]) -> Iterator[Any]:
    """Yield records, including those inside chunks, as far as the file is intact."""
    reader, exceptions = _library("stream_reader").StreamReader, _library("exceptions")
    try:
        for record in reader(file, emit_chunks=True, record_size_limit=LARGEST_PACKET).records:
            if type(record).__name__ != "Chunk":
                yield record
                continue
            data = unpacked(record.compression, record.data, record.uncompressed_size, notes)
            try:
                yield from reader(io.BytesIO(data), skip_magic=True, record_size_limit=len(data)).records
            except exceptions.EndOfFile:
                continue
    except exceptions.EndOfFile:
        notes.append(CUT_SHORT)
    except (exceptions.McapError, struct.error, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        notes.append(f"{CUT_SHORT} or damaged; what follows is lost")


def write_mcap(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write EventPackets of ROS 2 in EVT3, one for each 10 ms, on `/event_camera/events`, in LZ4 chunks."""
    library = _library("writer")
    with path.open("wb") as file:
        writer = library.Writer(file, compression=library.CompressionType.LZ4)
        writer.start(profile="ros2", library="spikesight")
        schema = writer.register_schema("event_camera_msgs/msg/EventPacket", "ros2msg", DEFINITION.encode())
        metadata = {"offered_qos_profiles": ""}
        channel = writer.register_channel("/event_camera/events", "cdr", schema, metadata)
        cuts = ((part, np.flatnonzero(np.diff(part["t"] // PACKET_US)) + 1) for part in parts)
        pieces = (piece for part, at in cuts for piece in np.split(part, at))
        for number, (events, data) in enumerate(encoded(pieces, EVT3)):
            t = int(events["t"][-1])
            if t >= LAST_US:
                raise RecordingError("ROS counts 31 bits of seconds, to 2038; let the times begin at 0 (--zero)")
            message = _message(t, size, number, data)
            writer.add_message(channel, 1000 * t, message, 1000 * t, number)
        writer.finish()


def _message(t: int, size: SensorSize, number: int, data: bytes) -> bytes:
    """Return an EventPacket in CDR; EVT3 needs no time base."""
    seconds, us = divmod(t, 1_000_000)
    head = seconds, 1000 * us, len(FRAME), FRAME, size.height, size.width, number, 0, 5, b"evt3", False, len(data)
    return b"\0\1\0\0" + struct.pack("<iII13s3xII4xQQI5s?2xI", *head) + data
