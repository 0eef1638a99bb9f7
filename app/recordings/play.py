"""`spikesight play`: play a recording as a network camera."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from spikesight.app.recordings.sinks import DvSink, open_sink, wait_until
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.sources.file import looped
from spikesight.training.progress import say

DESCRIPTION = """Play a recording of events in its own time, as a camera on the network would send it.

  spikesight play FILE --to dv://127.0.0.1:7777           as a network camera (TCP, for DV and dv-processing too)
  spikesight play FILE --to udp://127.0.0.1:3333?format=aestream --loop 0
"""
GAP_US = 10_000  # pause between two rounds of a loop


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE")
    add("--to", required=True, metavar="ADDRESS", help="dv://host:port, dv+unix:///path, udp://host:port?format=t64")
    add("--speed", type=float, default=1.0, help="2 is twice as fast (default: 1)")
    add("--loop", type=int, default=1, metavar="N", help="play N times; 0 is for ever (default: 1)")
    add("--packet", type=float, default=5.0, metavar="MS", help="length of a packet (default: 5)")
    add("--wait", type=float, default=30.0, metavar="S", help="wait for a receiver over TCP (default: 30)")


def run(args: argparse.Namespace) -> int:
    """Play until the recording ends; return the exit code."""
    if args.speed <= 0 or args.packet <= 0:
        raise ValueError("--speed and --packet must be above 0")
    size = RecordingReader(args.file).size

    def packets() -> Iterator[Events]:
        return RecordingReader(args.file, size).packets(round(args.packet * 1000))

    rounds = args.loop if args.loop > 0 else float("inf")
    due = timed(looped(packets, rounds, GAP_US), args.speed)
    return _send(args, size, due)


def timed(packets: Iterable[Events], speed: float = 1.0) -> Iterator[tuple[float, Events]]:
    """Yield each packet with the time at which it is due, that of its last event: seconds from the first event on."""
    first_us: int | None = None
    for packet in packets:
        first_us = int(packet["t"][0]) if first_us is None else first_us
        yield (int(packet["t"][-1]) - first_us) / 1e6 / speed, packet


def _send(args: argparse.Namespace, size: SensorSize, due: Iterable[tuple[float, Events]]) -> int:
    sink = open_sink(args.to, size)
    with closing(sink):
        say(f"{args.file}, {size} pixels, to {args.to}")
        if isinstance(sink, DvSink) and not wait_until(lambda: sink.n_clients > 0, args.wait):
            print(f"nobody connected within {args.wait:g} s", file=sys.stderr)
            return 1
        begin = time.monotonic()
        for at_s, events in due:
            time.sleep(max(0.0, begin + at_s - time.monotonic()))
            sink.send(events)
    missed = f", {sink.n_missed:,} while nobody was connected" if sink.n_missed else ""
    print(f"{sink.n_sent:,} events sent, {sink.n_dropped:,} dropped for a slow receiver{missed}")
    return 0
