"""What is sent when, with the faults of real cameras on request."""

from typing import Any

import numpy as np

from spikesight.app.recordings.virtual_camera import Delivery, Faults, play, schedule
from spikesight.encoders.events import Events
from tests.support.inputs.samples import at
from tests.support.inputs.sources import packets


def times(parts: list[Events], faults: Faults, **words: Any) -> list[float]:
    return [round(delivery.at_s, 6) for delivery in schedule(parts, faults, **words)]


def sent(parts: list[Events], faults: Faults) -> Events:
    return np.concatenate([one.events for one in schedule(parts, faults) if one.events is not None])


def test_without_faults_a_packet_leaves_at_its_last_event() -> None:
    assert times(packets(), Faults())[:3] == [0.009, 0.019, 0.029]
    assert times(packets(), Faults(), speed=2)[:2] == [0.0045, 0.0095]
    assert np.array_equal(sent(packets(), Faults()), np.concatenate(packets()))


def test_what_is_held_for_a_burst_leaves_with_its_last_packet_or_at_the_end() -> None:
    parts = [at(0), at(100_000), at(200_000), at(300_000), at(400_000)]
    assert times(parts, Faults(burst=2)) == [0.1, 0.1, 0.3, 0.3, 0.4]
    assert np.array_equal(sent(packets(), Faults(burst=6)), np.concatenate(packets()))


def test_jitter_is_up_to_so_many_milliseconds_keeps_the_order_and_is_seeded() -> None:
    parts = [at(n * 1_000_000) for n in range(60)]
    late_ms = [1000 * (at_s - n) for n, at_s in enumerate(times(parts, Faults(jitter_ms=30)))]
    assert min(late_ms) >= 0
    assert 27 < max(late_ms) <= 30
    found = times(packets(), Faults(jitter_ms=30), seed=3)
    assert found == sorted(found) == times(packets(), Faults(jitter_ms=30), seed=3)
    assert found != times(packets(), Faults(jitter_ms=30), seed=4)


def test_faults_begin_at_their_time_end_before_their_length_and_lose_their_events() -> None:
    parts = [at(1_000_000), at(1_125_000), at(1_250_000), at(1_375_000), at(1_500_000)]
    assert times(parts, Faults(gaps_s=((0.125, 0.25),))) == [0.0, 0.375, 0.5]
    cut = list(schedule(parts, Faults(disconnect_s=((0.125, 0.25),)), speed=2))
    assert [(one.at_s, one.events is None, one.connected) for one in cut] == [
        (0.0, False, True),
        (0.0625, True, False),
        (0.1875, True, True),
        (0.1875, False, True),
        (0.25, False, True),
    ]


def test_a_clock_begins_anew_with_the_packet_at_its_time() -> None:
    parts = [at(5_000_000), at(5_099_999), at(5_100_000), at(5_200_000)]
    assert sent(parts, Faults(clock_reset_s=0.1))["t"].tolist() == [5_000_000, 5_099_999, 0, 100_000]
    assert sent(parts, Faults())["t"].tolist() == [5_000_000, 5_099_999, 5_100_000, 5_200_000], "nothing is changed"


def played(deliveries: list[Delivery], *clock: float) -> tuple[list[int | bool], list[float]]:
    """What reached the sink, and how long was waited for each."""
    log, waited, now = list[int | bool](), list[float](), iter(clock)

    class Sink:
        def send(self, events: Events) -> None:
            log.append(len(events))

        def connect(self, *, connected: bool) -> None:
            log.append(connected)

    sink: Any = Sink()
    play(sink, deliveries, clock=lambda: next(now), sleep=waited.append)
    return log, waited


def test_all_is_sent_in_its_time_and_what_is_late_at_once() -> None:
    deliveries = [Delivery(1.0, at(1)), Delivery(1.25, None, connected=False), Delivery(1.5, at(2, 3)),
                  Delivery(2.0, None), Delivery(2.0, at(4, 5, 6))]  # fmt: skip
    log, waited = played(deliveries, 10.0, 10.5, 11.0, 13.0, 11.5, 12.0)
    assert log == [1, False, 2, True, 3]
    assert waited == [0.5, 0.25, 0.0, 0.5, 0.0]
