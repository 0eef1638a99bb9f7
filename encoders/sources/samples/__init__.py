"""Shipped recordings for trying without a camera, EVT 3.0 files in this folder, by the names in its index.

Wherever a recording is read, one of these names stands for its file (`recordings.format.path_of`).
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from spikesight.encoders.events import Events
from spikesight.encoders.packets import pack
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import SAMPLES


@dataclass(frozen=True)
class Shipped:
    """A shipped recording: name, sensor size in pixels, label and duration."""

    name: str
    width: int
    height: int
    label: str
    duration_us: int


@lru_cache(maxsize=1)
def listing() -> tuple[Shipped, ...]:
    """Return the shipped samples; () if the folder has no index."""
    index = SAMPLES / "index.json"
    if not index.is_file():
        return ()
    return tuple(Shipped(**entry) for entry in json.loads(index.read_text()))


def names() -> tuple[str, ...]:
    """Return the names that `t64_of` and `events_of` accept."""
    return tuple(sample.name for sample in listing())


def t64_of(name: str) -> bytes:
    """Return a sample's events in the t64 layout, 13 bytes each. Raises ValueError for an unknown name."""
    return pack(events_of(name), "t64")


def events_of(name: str) -> Events:
    """Return the EVENTS of a sample. Raises ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"no recording {name!r} is shipped: there are {', '.join(names())}")
    return read_recording(SAMPLES / f"{name}.raw").events
