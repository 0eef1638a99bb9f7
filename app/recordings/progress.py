"""A bar for what takes long: events so far, and how many a second, on a terminal."""

from collections.abc import Iterable, Iterator

from tqdm import tqdm

from spikesight.encoders.events import Events


def watched(packets: Iterable[Events], what: str) -> Iterator[Events]:
    """The packets, counted on standard error while they are drawn; silent where that is no terminal."""
    with tqdm(desc=what, unit=" events", unit_scale=True, leave=False, mininterval=0.5, disable=None) as bar:
        for packet in packets:
            bar.update(len(packet))
            yield packet
