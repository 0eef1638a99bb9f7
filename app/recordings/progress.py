"""Progress and warnings on standard error: a bar with the events so far and their rate."""

import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from spikesight.encoders.events import Events


def watched(packets: Iterable[Events], what: str) -> Iterator[Events]:
    """Yield the packets, showing their progress on standard error if that is a terminal."""
    with tqdm(desc=what, unit=" events", unit_scale=True, leave=False, mininterval=0.5, disable=None) as bar:
        for packet in packets:
            bar.update(len(packet))
            yield packet


def warn(text: str) -> None:
    """Print a warning."""
    print(f"warning: {text}", file=sys.stderr)
