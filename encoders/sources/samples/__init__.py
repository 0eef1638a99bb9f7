"""Shipped recordings to try without a camera: read from this folder by the names in its index."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from spikesight.encoders.events import Events
from spikesight.encoders.packets import WireDecoder

SAMPLES = Path(__file__).parent


@dataclass(frozen=True)
class Shipped:
    """One recording: its name, its sensor in pixels, what it shows and how long."""

    name: str
    width: int
    height: int
    label: str
    duration_us: int


@lru_cache(maxsize=1)
def listing() -> tuple[Shipped, ...]:
    """The shipped samples; none where the folder has no index."""
    index = SAMPLES / "index.json"
    if not index.is_file():
        return ()
    return tuple(Shipped(**entry) for entry in json.loads(index.read_text()))


def names() -> tuple[str, ...]:
    """Names of the samples that `t64_of` and `events_of` take."""
    return tuple(sample.name for sample in listing())


def t64_of(name: str) -> bytes:
    """One recording's events in the t64 layout, 13 bytes each."""
    if name not in names():
        raise ValueError(f"no recording {name!r} is shipped: there are {', '.join(names())}")
    return (SAMPLES / f"{name}.t64").read_bytes()


def events_of(name: str) -> Events:
    """The EVENTS of a sample."""
    return WireDecoder("t64").decode([t64_of(name)], 0)
