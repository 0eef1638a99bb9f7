"""Bags with events, written by the library rosbags, and the encodings of events that cameras' drivers put in them."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.prophesee import evt3_words
from tests.support.inputs.samples import DAVIS

PACKET = """std_msgs/Header header
uint32 height  # of the sensor
uint32 width
uint64 seq
uint64 time_base

string encoding
bool is_bigendian
uint8[] events
"""
ARRAY = "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events\n"
EVENT = {
    1: "uint16 x\nuint16 y\ntime ts\nbool polarity\n",
    2: "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity\n",
}
PACKETS, ARRAYS = "event_camera_msgs/msg/EventPacket", "dvs_msgs/msg/EventArray"


@dataclass
class Of:
    """What one topic holds: events in `encoding` ("": as an array of stamped events), or messages of another kind."""

    events: list[Events] = field(default_factory=list)
    encoding: str = "evt3"
    base: int = 0
    texts: int = 0  # messages of std_msgs/String
    big: bool = False


def bag(path: Path, topics: dict[str, Of], *, size: SensorSize = DAVIS) -> Path:
    """A bag of the kind of its suffix."""
    pytest.importorskip("rosbags")
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    ros = 1 if path.suffix == ".bag" else 2
    store = get_typestore(Stores.ROS1_NOETIC if ros == 1 else Stores.ROS2_HUMBLE)
    for text, name in ((EVENT[ros], "dvs_msgs/msg/Event"), (ARRAY, ARRAYS), (PACKET, PACKETS)):
        store.register(get_types_from_msg(text, name))
    writer, folder = _writer(path, ros)
    writer.open()
    serialize = store.serialize_ros1 if ros == 1 else store.serialize_cdr
    rows = []
    for name, of in topics.items():
        messages = _messages(store, of, size, ros)
        kind = messages[0][1] if messages else "std_msgs/msg/String"
        connection = writer.add_connection(name, kind, typestore=store)
        rows += [(t, connection, bytes(serialize(message, kind))) for t, kind, message in messages]
    for t, connection, data in sorted(rows, key=lambda row: row[0]):
        writer.write(connection, t, data)
    writer.close()
    if ros == 2:
        shutil.move(next(folder.glob(f"*{path.suffix}")), path)
        shutil.rmtree(folder)
    return path


def _writer(path: Path, ros: int) -> tuple[Any, Path]:
    if ros == 1:
        from rosbags.rosbag1 import Writer

        return Writer(path), path
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2

    folder = path.with_suffix(".folder")
    plugin = StoragePlugin.SQLITE3 if path.suffix == ".db3" else StoragePlugin.MCAP
    return Writer2(folder, version=9, storage_plugin=plugin), folder


def _messages(store: Any, of: Of, size: SensorSize, ros: int) -> list[tuple[int, str, Any]]:
    """When it was recorded in nanoseconds, type and message."""
    types, found = store.types, []
    time = types["builtin_interfaces/msg/Time"]

    def header(t_us: int) -> Any:
        stamp = time(t_us // 1_000_000, t_us % 1_000_000 * 1000)
        number = {"seq": 0} if ros == 1 else {}
        return types["std_msgs/msg/Header"](**number, stamp=stamp, frame_id="camera_1")

    for number in range(of.texts):
        kind = "std_msgs/msg/String"
        found.append((number, kind, types[kind]("hello")))
    for number, events in enumerate(of.events):
        last = int(events["t"][-1])
        if of.encoding:
            kind = PACKETS
            data = np.frombuffer(encode(events, of.encoding, of.base), np.uint8)
            parts = [header(last), size.height, size.width, number, of.base, of.encoding, of.big, data]
            parts += [0] * (len(types[kind].__dataclass_fields__) - len(parts) - 1)
            message = types[kind](*parts)
        else:
            kind, one = ARRAYS, types["dvs_msgs/msg/Event"]
            rows = [one(x, y, time(t // 10**6, t % 10**6 * 1000), p) for t, x, y, p in events.tolist()]
            message = types[kind](header(last), size.height, size.width, rows)
        found.append((10_000_000 * number, kind, message))
    return found


def encode(events: Events, encoding: str, base: int) -> bytes:
    """Events as a driver codes them; `base` is the packet's, in nanoseconds."""
    t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
    match encoding:
        case "libcaer":
            words = np.stack([x << 17 | y << 2 | p << 1 | 1, (t - base // 1000) & 0x7FFFFFFF], 1)
            return words.astype("<u4").tobytes()
        case "mono":
            return np.stack([t * 1000 - base, x | y << 16 | p << 31], 1).astype("<u4").tobytes()
        case "libcaer_cmp":
            t = t - base // 1000
            words = np.stack([t >> 12, 1 << 12 | t & 0xFFF, 2 << 12 | x, 3 << 12 | p << 11 | y], 1)
            return words.astype("<u2").tobytes()
    return evt3_words(events).tobytes()
