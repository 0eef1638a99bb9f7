"""What commands that read or write recordings share: a bar on standard error, warnings, the new file's format."""

import argparse
import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from spikesight.encoders.events import Events
from spikesight.encoders.recordings.files import format_of
from spikesight.encoders.recordings.format import RecordingError


def watched(packets: Iterable[Events], what: str) -> Iterator[Events]:
    """Yield the packets, showing their progress on standard error if that is a terminal."""
    with tqdm(desc=what, unit=" events", unit_scale=True, leave=False, mininterval=0.5, disable=None) as bar:
        for packet in packets:
            bar.update(len(packet))
            yield packet


def warn(text: str) -> None:
    """Print a warning."""
    print(f"warning: {text}", file=sys.stderr)


def new_format(args: argparse.Namespace) -> str:
    """Return the format of the file to write. Raises RecordingError if it exists and may not be replaced (--force)."""
    if args.target.exists() and not args.force:
        raise RecordingError(f"{args.target} exists; add --force to write over it")
    return args.format or format_of(args.target)
