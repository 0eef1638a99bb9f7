"""What is said meanwhile on standard error: a bar of events so far and how many a second, and warnings."""

import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from spikesight.encoders.events import Events


def watched(packets: Iterable[Events], what: str) -> Iterator[Events]:
    """The packets, counted on standard error while they are drawn; silent where that is no terminal."""
    with tqdm(desc=what, unit=" events", unit_scale=True, leave=False, mininterval=0.5, disable=None) as bar:
        for packet in packets:
            bar.update(len(packet))
            yield packet


def warn(text: str) -> None:
    """Say what is not as it should be."""
    print(f"warning: {text}", file=sys.stderr)
