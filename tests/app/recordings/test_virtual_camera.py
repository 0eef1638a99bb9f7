"""virtual_camera: what is sent when, with the faults of real cameras on request."""

import numpy as np

from app.recordings.virtual_camera import Delivery, Faults, VirtualCamera, looped, schedule
from encoders.events import Events
from tests.support.inputs.sources import packets


def times(deliveries: list[Delivery]) -> list[float]:
    return [round(delivery.at_s, 6) for delivery in deliveries]


def sent(deliveries: list[Delivery]) -> Events:
    return np.concatenate([delivery.events for delivery in deliveries if delivery.events is not None])


def test_without_faults_a_packet_leaves_at_its_last_event() -> None:
    found = list(schedule(packets(), Faults()))
    assert times(found)[:3] == [0.009, 0.019, 0.029]
    assert times(list(schedule(packets(), Faults(), speed=2)))[:2] == [0.0045, 0.0095]
    assert np.array_equal(sent(found), np.concatenate(packets()))


def test_bursts_lose_nothing() -> None:
    found = list(schedule(packets(), Faults(burst=6)))
    assert np.array_equal(sent(found), np.concatenate(packets()))
    assert len(set(times(found))) == 4


def test_jitter_keeps_the_order_and_is_seeded() -> None:
    found = list(schedule(packets(), Faults(jitter_ms=30), seed=3))
    assert times(found) == sorted(times(found))
    assert times(found) != times(list(schedule(packets(), Faults())))
    assert times(found) == times(list(schedule(packets(), Faults(jitter_ms=30), seed=3)))


def test_gaps_and_disconnections_lose_their_events() -> None:
    found = list(schedule(packets(), Faults(gaps_s=((0.05, 0.04),), disconnect_s=((0.15, 0.02),))))
    kept = sent(found)["t"]
    assert len(kept) == 200 - 40 - 20
    links = [delivery.connected for delivery in found if delivery.events is None]
    assert links == [False, True]


def test_a_clock_reset() -> None:
    t = sent(list(schedule(packets(), Faults(clock_reset_s=0.1))))["t"]
    back = np.flatnonzero(np.diff(t) < 0)
    assert len(back) == 1
    assert int(t[back[0] + 1]) == 0


def test_loops_go_on() -> None:
    t = np.concatenate(list(looped(lambda: packets(3), 3)))["t"]
    assert len(t) == 90
    assert (np.diff(t) > 0).all()


def test_the_camera_waits_for_the_time() -> None:
    now = 0.0
    log: list[tuple[float, int | bool]] = []

    class Sink:
        n_sent = n_dropped = n_missed = 0

        def send(self, events: Events) -> None:
            log.append((round(now, 6), len(events)))

        def connect(self, *, connected: bool) -> None:
            log.append((round(now, 6), connected))

        def close(self) -> None:
            log.append((now, -1))

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with VirtualCamera(Sink(), clock=lambda: now, sleep=sleep) as camera:
        camera.play(schedule(packets(4), Faults(disconnect_s=((0.01, 0.015),))))
    assert log == [(0.009, 10), (0.019, False), (0.029, True), (0.029, 10), (0.039, 10), (0.039, -1)]
