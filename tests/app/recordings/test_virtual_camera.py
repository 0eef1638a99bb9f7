"""virtual_camera: what is sent when, with the faults of real cameras on request."""

import numpy as np

from spikesight.app.recordings.virtual_camera import Delivery, Faults, VirtualCamera, looped, schedule
from spikesight.encoders.events import Events, make_events
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


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_jitter_is_up_to_so_many_milliseconds() -> None:
    found = schedule([at(n * 1_000_000) for n in range(60)], Faults(jitter_ms=30))
    late_ms = [1000 * (delivery.at_s - n) for n, delivery in enumerate(found)]
    assert min(late_ms) >= 0
    assert 27 < max(late_ms) <= 30


def test_faults_begin_at_their_time_and_end_before_their_length() -> None:
    parts = [at(1_000_000), at(1_125_000), at(1_250_000), at(1_375_000), at(1_500_000)]
    gap = list(schedule(parts, Faults(gaps_s=((0.125, 0.25),))))
    assert times(gap) == [0.0, 0.375, 0.5]
    cut = list(schedule(parts, Faults(disconnect_s=((0.125, 0.25),)), speed=2))
    assert [(one.at_s, one.events is None, one.connected) for one in cut] == [
        (0.0, False, True),
        (0.0625, True, False),
        (0.1875, True, True),
        (0.1875, False, True),
        (0.25, False, True),
    ]


def test_what_is_held_for_a_burst_leaves_with_its_last_packet_or_at_the_end() -> None:
    parts = [at(0), at(100_000), at(200_000), at(300_000), at(400_000)]
    assert times(list(schedule(parts, Faults(burst=2)))) == [0.1, 0.1, 0.3, 0.3, 0.4]
    late = list(schedule(parts, Faults(jitter_ms=1000), seed=1))
    assert all(0 <= one.at_s - 0.1 * n <= 1.0 for n, one in enumerate(late))
    assert max(one.at_s - 0.1 * n for n, one in enumerate(late)) > 0.1


def test_a_clock_begins_anew_with_the_packet_at_its_time() -> None:
    parts = [at(5_000_000), at(5_099_999), at(5_100_000), at(5_200_000)]
    kept = parts[2].copy()
    found = sent(list(schedule(parts, Faults(clock_reset_s=0.1))))["t"].tolist()
    assert found == [5_000_000, 5_099_999, 0, 100_000]
    assert np.array_equal(parts[2], kept)
    assert sent(list(schedule(parts, Faults())))["t"].tolist() == [5_000_000, 5_099_999, 5_100_000, 5_200_000]


def test_each_round_begins_ten_milliseconds_after_the_one_before() -> None:
    found = np.concatenate(list(looped(lambda: [at(7, 8), at(20)], 3)))["t"].tolist()
    assert found == [7, 8, 20, 10_020, 10_021, 10_033, 20_033, 20_034, 20_046]
    assert list(looped(lambda: [at(7)], 0)) == []


def test_what_is_late_is_sent_at_once() -> None:
    clock = iter([0.0, 0.5, 3.0, 2.0])
    sent_at: list[int] = []

    class Nowhere:
        n_sent = n_dropped = n_missed = 0

        def send(self, events: Events) -> None:
            sent_at.append(len(events))

        def connect(self, *, connected: bool) -> None:
            raise AssertionError(connected)

        def close(self) -> None:
            pass

    waited: list[float] = []
    camera = VirtualCamera(Nowhere(), clock=lambda: next(clock), sleep=waited.append)
    camera.play([Delivery(1.0, at(1)), Delivery(1.5, at(2, 3)), Delivery(2.0, at(4))])
    assert waited == [0.5, 0.0, 0.0]
    assert sent_at == [1, 2, 1]
