"""Read one topic's events of a bag as a recording."""

import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

from spikesight.encoders.events import Events
from spikesight.encoders.recordings.bags.messages import TYPES, Messages, Packet, Topic
from spikesight.encoders.recordings.format import (
    NoEventsKnown,
    Opened,
    Pieces,
    RecordingError,
    decoded,
    shown,
    topic_of,
)

Container = Callable[[Path, Callable[[Topic], bool], list[str]], Iterator[tuple[Topic, bytes]]]
"""Reader of a file (path, wanted, notes): yields (topic, message) in order; `wanted` is asked once for each topic."""

MOST_NAMED = 8  # topics listed in a message


def opener(container: Container) -> Callable[[Path], Opened]:
    """Return the `open` function of a kind of bag; its path may name a topic (`format.topic_of`)."""

    def open_bag(path: Path) -> Opened:
        file, named = topic_of(path)
        with closing(_packets(container, file, named, [])) as packets:
            first = next(packets, None)
        notes: list[str] = []

        def read(at_once: int) -> Iterator[Events]:
            found = ((packet.data, packet.decode) for packet in _packets(container, file, named, notes))
            return decoded(found, at_once // 4)

        return Opened(first.size if first else None, Pieces(read, file.stat().st_size), notes)

    return open_bag


def _packets(container: Container, file: Path, named: str, notes: list[str]) -> Generator[Packet]:
    """Yield the packets of the named topic, or else of the first. Raises RecordingError if there is none."""
    types: dict[str, str] = {}
    others: dict[str, None] = {}
    taken, decode, damaged = "", None, 0

    def wanted(topic: Topic) -> bool:
        types[topic.name] = topic.type
        return topic.type in TYPES

    for topic, data in container(file, wanted, notes):
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
        found = _listed([f"{name} ({kind})" for name, kind in types.items()]) or "nothing"
        nothing = f"it holds no messages with events ({', '.join(TYPES)}), but {found}"
        if others:
            nothing = f"it holds no events of {named}, but of {_listed(others)}"
        raise RecordingError("; ".join([nothing, *notes])) if notes else NoEventsKnown(nothing)
    if others and not named:
        name = shown(next(iter(others))).strip("/")
        notes.append(f"it holds events of {_listed(others)} too: read them as {file.name}#/{name}")
    if damaged:
        notes.append(f"{damaged} messages that make no sense were left out")


def _listed(names: "list[str] | dict[str, None]") -> str:
    more = len(names) - MOST_NAMED
    return ", ".join([shown(name) for name in names][:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
