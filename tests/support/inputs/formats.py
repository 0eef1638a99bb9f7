"""Recordings in every format, also in those that are read and not written: what their makers' programs would write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.aedat import CHIPS, PACKET_HEADER
from spikesight.encoders.recordings.files import FORMATS, write_recording
from tests.support.inputs.bags import Of, bag
from tests.support.inputs.samples import DAVIS, random_events

SIZES = {"nmnist": SensorSize(34, 34), "csv": DAVIS, "aedat1": SensorSize(128, 128)}
Columns = tuple[NDArray[np.int64], ...]


def columns_of(events: Events) -> Columns:
    """The columns t, x, y and p."""
    return tuple(events[name].astype(np.int64) for name in "txyp")


def nmnist_records(events: Events) -> NDArray[np.uint8]:
    """N-MNIST's five bytes an event [n, 5]: x, y, polarity bit and 23 bits of time."""
    t, x, y, p = columns_of(events)
    return np.stack([x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF], axis=1).astype(np.uint8)


def aedat1(events: Events, _: SensorSize) -> bytes:
    t, x, y, p = columns_of(events)
    records = np.zeros(len(t), [("address", ">u2"), ("t", ">u4")])
    records["address"], records["t"] = 127 - y << 8 | 127 - x << 1 | p ^ 1, t
    return b"#!AER-DAT1.0\r\n# a DVS128\r\n" + records.tobytes()


def aedat2(events: Events, size: SensorSize) -> bytes:
    """As jAER writes it of a DVS128 or DAVIS."""
    t, x, y, p = columns_of(events)
    name = {CHIPS["davis240"]: "Davis240C", CHIPS["davis346"]: "Davis346B"}.get(size)
    chip = size if name else CHIPS["dvs128"]
    x, y = chip.width - 1 - x, chip.height - 1 - y
    address = y << 22 | x << 12 | p << 11 if name else y << 8 | x << 1 | p ^ 1
    kind = f"chips.davis.{name}" if name else "chip.retina.DVS128"
    head = f"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: a.{kind}\r\n# End of ASCII Header\r\n"
    return head.encode() + np.stack([address, t], axis=1).astype(">u4").tobytes()


def aedat3(events: Events, size: SensorSize) -> bytes:
    t, x, y, p = columns_of(events)
    name = next(name for name, chip in CHIPS.items() if chip == size)
    out = f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: {name.upper()}\r\n#!END-HEADER\r\n".encode()
    pairs = np.stack([x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF], axis=1).astype("<u4")
    for part in np.split(np.arange(len(t)), np.flatnonzero(np.diff(t >> 31)) + 1):
        n = len(part)
        out += PACKET_HEADER.pack(1, 0, 8, 4, int(t[part[0]] >> 31), n, n, n) + pairs[part].tobytes()
    return out


def evt2_words(events: Events, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of EVT 2.0 or, with halves swapped, 2.1; a time word wherever the upper bits change."""
    t, _, y, p = columns_of(events)
    changes = np.flatnonzero(np.diff(t >> 6, prepend=-1))
    times = 8 << 28 | t[changes] >> 6 & 0x0FFFFFFF
    return np.insert(columns | p << 28 | (t & 0x3F) << 22 | y, changes, times)


def prophesee(version: str, name: str, words: NDArray[Any], size: SensorSize) -> bytes:
    """A header and words."""
    return f"% evt {version}\n% format {name}\n% geometry {size}\n% end\n".encode() + words.tobytes()


def evt2(events: Events, size: SensorSize) -> bytes:
    return prophesee("2.0", "EVT2", evt2_words(events, columns_of(events)[1] << 11).astype("<u4"), size)


def evt21(events: Events, size: SensorSize) -> bytes:
    """One word an event, its halves as cameras write them."""
    _, x, _, _ = columns_of(events)
    words = evt2_words(events, (x & ~31) << 11 | np.int64(1) << (x & 31) + 32)
    return prophesee("2.1", "EVT21;endianness=legacy", words.astype("<u8"), size)


def dat(events: Events, size: SensorSize) -> bytes:
    t, x, y, p = columns_of(events)
    head = f"% Data file containing CD events.\n% Version 2\n% Height {size.height}\n% Width {size.width}\n"
    pairs = np.stack([t & 0xFFFFFFFF, p << 28 | y << 14 | x], axis=1).astype("<u4")
    return head.encode() + bytes([0x0C, 8]) + pairs.tobytes()


OTHERS: dict[str, Callable[[Events, SensorSize], bytes]] = {
    "aedat1": aedat1, "aedat2": aedat2, "aedat3": aedat3, "evt2": evt2, "evt21": evt21, "dat": dat,
    "nmnist": lambda events, _: nmnist_records(events).tobytes(),
}  # fmt: skip
"""What writes the content of a file in each format that is read and not written, and that no library writes."""


def write(path: Path, events: Events, size: SensorSize, name: str) -> Path:
    """A recording of these events in the format `name`."""
    if name in OTHERS:
        path.write_bytes(OTHERS[name](events, size))
    elif name == "es":
        faery = pytest.importorskip("faery")
        table: Any = np.empty(len(events), faery.EVENTS_DTYPE)
        table["t"], table["x"], table["y"], table["on"] = (events[key] for key in "txyp")
        faery.events_stream_from_array(table, (size.width, size.height)).to_file(path, zero_t0=False)
    elif name in ("mcap", "bag", "db3"):
        made = bag(path.with_name(f"{path.stem}.{name}"), {"/events": Of(np.array_split(events, 40))}, size=size)
        made.replace(path)
    elif name == "npy":
        np.save(path, events)
    elif name == "mat":
        keys = {"ts": "t", "x": "x", "y": "y", "pol": "p"}
        columns = {key: events[own].astype(int) for key, own in keys.items()}
        savemat(path, columns | {"y": 179 - columns["y"]})
    else:
        write_recording(path, events, size, name)
    return path


def written(folder: Path, name: str, n: int = 3000, **options: int) -> tuple[Path, Events, SensorSize]:
    """A recording of random events in the format `name`: its path, its events and its sensor."""
    size = SIZES.get(name, DAVIS)
    events = random_events(n, size, **options)
    return write(folder / f"recording{FORMATS[name].suffixes[0]}", events, size, name), events, size
