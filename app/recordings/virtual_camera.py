"""Play a recording as a camera would: each packet at its time, with faults of real cameras on request."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from spikesight.app.recordings.sinks import Sink
from spikesight.encoders.events import Events


@dataclass(frozen=True)
class Faults:
    """Faults to simulate; times in seconds of the recording, 0 or empty means none."""

    burst: int = 1  # number of packets that are held back and sent together
    jitter_ms: float = 0.0  # greatest random delay of a packet; the order is kept
    gaps_s: tuple[tuple[float, float], ...] = ()  # (from, length): events are lost
    disconnect_s: tuple[tuple[float, float], ...] = ()  # (from, length): the connection is closed and opened again
    clock_reset_s: float = 0.0  # when the camera's clock restarts at 0


@dataclass(frozen=True)
class Delivery:
    """An action at `at_s` seconds after the start: send events, or (None) close or open the connection."""

    at_s: float
    events: Events | None
    connected: bool = True


def schedule(packets: Iterable[Events], faults: Faults, *, speed: float = 1.0, seed: int = 0) -> Iterator[Delivery]:
    """Yield when each packet is sent: at the time of its last event, changed by faults. Needs no clock or socket."""
    chance = random.Random(seed)
    origin: int | None = None
    held: list[Events] = []
    latest = at_s = 0.0
    down = False
    for packet in packets:
        origin = int(packet["t"][0]) if origin is None else origin
        at_s = (int(packet["t"][-1]) - origin) / 1e6
        cut = _within(at_s, faults.disconnect_s)
        if cut != down:
            down = cut
            latest = max(latest, at_s / speed)
            yield Delivery(latest, None, connected=not down)
        if cut or _within(at_s, faults.gaps_s):
            continue
        held.append(_reset(packet, origin, faults.clock_reset_s))
        if len(held) < faults.burst:
            continue
        latest = max(latest, at_s / speed + chance.uniform(0, faults.jitter_ms) / 1e3)
        for one in held:
            yield Delivery(latest, one)
        held = []
    for one in held:
        yield Delivery(max(latest, at_s / speed), one)


def _within(at_s: float, spans_s: tuple[tuple[float, float], ...]) -> bool:
    return any(begin <= at_s < begin + length for begin, length in spans_s)


def _reset(packet: Events, origin: int, clock_reset_s: float) -> Events:
    reset_us = origin + round(clock_reset_s * 1e6)
    if not clock_reset_s or int(packet["t"][0]) < reset_us:
        return packet
    moved = packet.copy()
    moved["t"] -= reset_us
    return moved


def play(
    sink: Sink,
    deliveries: Iterable[Delivery],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Carry out a schedule in real time. Tests replace `clock` and `sleep`."""
    begin = clock()
    for delivery in deliveries:
        sleep(max(0.0, begin + delivery.at_s - clock()))
        if delivery.events is None:
            sink.connect(connected=delivery.connected)
        else:
            sink.send(delivery.events)
