"""`spikesight record`: record a live source into a file."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spikesight.app.recordings.progress import new_format, warn
from spikesight.encoders.events import Events
from spikesight.encoders.recordings.files import WRITABLE, write_recording
from spikesight.encoders.sources.source import Source, open_source
from spikesight.encoders.words import counted

DESCRIPTION = """Record a live source of events into a file, until Ctrl-C, SIGTERM, the terminal's end or --seconds.

Lost events are counted. A full disk ends it; what came before is kept, except in .npz and .h5.

  spikesight record prophesee walk.raw
  spikesight record "udp://127.0.0.1:3333?format=aestream&size=640x480" walk.aedat4 --seconds 10
  spikesight record webcam:0 me.h5

Sources: prophesee, inivation, dv://host:port, udp://host:port?format=..&size=WxH, webcam:0, file:PATH, or a shipped
sample such as digit-3.
"""
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # the last: the terminal, or the connection to it, has gone
NEVER_FULL = 1 << 20  # packets: a recording should not drop old packets for new ones; events are limited anyway


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="one of the sources above")
    parser.add_argument("target", type=Path, metavar="FILE", help="its suffix names the format")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--format", choices=WRITABLE, help="the file's format, if its name does not tell")
    parser.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait so long for the source to appear")
    parser.add_argument("--force", action="store_true", help="write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Record until the source ends, the time is up or the user stops; return the exit code."""
    name = new_format(args)
    opened = open_source(args.source, wait_s=args.wait, max_packets=NEVER_FULL)
    with _signals() as stopped, opened as source:
        print(f"recording {args.source}, {source.size} pixels; Ctrl-C ends it", file=sys.stderr)
        packets = steady_packets(source, args.seconds, stopped=lambda: bool(stopped))
        n = write_recording(args.target, packets, source.size, name, warn=warn, keep=True)
    if stopped:
        print("stopped", file=sys.stderr)
    for label, count in (("dropped", source.n_dropped), ("off the sensor", source.counters.n_outside)):
        if count:
            warn(f"{counted(count, 'event')} {label}")
    if source.fault:
        print(f"the source ended: {source.fault}", file=sys.stderr)
    print(f"{args.target}: {counted(n, 'event')}, {name}")
    return 0


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Yield a list to which the first of ENDING is added, so that no packet is lost on its way to the file.

    A second signal interrupts; those that are ignored (nohup) stay so.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield came
        return

    def handle(number: int, _: object) -> None:
        came.append(number)
        signal.signal(number, signal.default_int_handler)

    heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def steady_packets(
    source: Source,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Events]:
    """Yield packets for `seconds`, until `stopped`, or until the source ends; times are shifted after a clock reset, so
    never fall.
    """
    end = clock() + seconds
    newest = shift = 0
    waiting = False
    for packet in source.packets():
        if stopped() or clock() >= end:
            return
        if packet is None and source.fault and not waiting:
            print(f"waiting for the source: {source.fault}", file=sys.stderr)
        waiting = packet is None and bool(source.fault)
        if packet is None:
            continue
        for part in np.split(packet, np.flatnonzero(np.diff(packet["t"]) < 0) + 1):  # where time steps back
            shift = max(shift, newest - int(part["t"][0]))
            moved = part.copy()
            moved["t"] += shift
            newest = int(moved["t"][-1])
            yield moved
