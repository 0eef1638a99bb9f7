"""One source of whatever kind: its queue, restarts, losses and reconnection, with a scripted driver."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.sources.address import Address, SourceLost
from spikesight.encoders.sources.source import Source
from tests.support.inputs.sources import Script, packet
from tests.support.waiting import PATIENCE_S, until


def run(*scripts: Script, kind: str = "udp", **options: Any) -> tuple[Source, list[Events]]:
    waiting = list(scripts)

    def open_driver(_: Address) -> Script:
        if not waiting:
            raise SourceLost("nobody there")
        return waiting.pop(0)

    options.setdefault("back_off_s", (0.001,))
    source = Source(Address(kind, kind), open_driver, **options)
    with source:
        found = [part for part in source.packets(2.0) if part is not None]
    return source, found


def test_packets_come_in_order_and_the_end_is_told() -> None:
    script = Script([packet(0), None, packet(100)])
    source, found = run(script)
    assert [int(part["t"][0]) for part in found] == [0, 100]
    assert not source.running
    assert source.read(0.01) is None
    assert script.closed == 1
    assert source.n_events == 20


def test_the_oldest_go_when_nobody_reads() -> None:
    script = Script([packet(k * 100) for k in range(50)])
    source = Source(Address("udp", "udp"), lambda _: script, max_packets=5)
    source._thread.join(PATIENCE_S)
    assert source.n_dropped == 45 * 10
    assert [int(part["t"][0]) for part in source.packets(0) if part is not None] == [4500, 4600, 4700, 4800, 4900]
    source.close()
    small = Source(Address("udp", "udp"), lambda _: Script([packet(k * 100) for k in range(9)]), max_events=25)
    small._thread.join(2)
    assert (len(list(small.packets(0))), small.n_dropped) == (2, 70)


def test_who_is_late_reads_all_that_waits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.encoders.sources.source.MAX_JOINED", 45)
    source = Source(Address("udp", "udp"), lambda _: Script([packet(k * 100) for k in range(8)]))
    source._thread.join(PATIENCE_S)
    first, second = source.read_waiting(0), source.read_waiting(0)
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (50, 30), "no more than asked for, and a packet"
    assert first["t"].tolist() == sorted(first["t"])
    assert int(second["t"][0]) == 500
    assert source.read_waiting(0) is None
    source.close()


def test_bad_events_and_restarts_are_counted() -> None:
    source, found = run(Script([packet(1_000_000), packet(999_995), packet(5), packet(20, x=99)]))
    assert [int(part["t"][0]) for part in found] == [1_000_000, 1_000_009, 5]
    assert (source.n_outside, source.n_backward, source.n_restarts) == (10, 2, 1)


def test_a_lost_device_is_opened_again() -> None:
    first, second = Script([packet(0), SourceLost("unplugged")]), Script([packet(0), packet(50)])
    source, found = run(first, second)
    assert len(found) == 3
    assert source.n_reopened == 1
    assert first.closed >= 1


def test_a_file_is_not_opened_again_and_a_defect_is_told() -> None:
    source, found = run(Script([packet(0), OSError("disk gone")]), Script([packet(5)]), kind="file")
    assert len(found) == 1
    assert source.fault == "disk gone"
    source, _ = run(Script([ZeroDivisionError("oh")]))
    assert source.fault is not None
    assert "ZeroDivisionError" in source.fault


def test_another_sensor_after_reconnection_ends_it() -> None:
    source, _ = run(Script([SourceLost("x")]), Script([packet(0)], SensorSize(9, 9)))
    assert source.fault == "the sensor is 9x9 now, it was 34x30"


def test_close_interrupts_the_wait_to_reconnect() -> None:
    source = Source(Address("udp", "udp"), _failing_second_time(), back_off_s=(600.0,))
    until(lambda: source.fault is not None, "it does not wait to reconnect")
    begin = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - begin < PATIENCE_S
    assert not source._thread.is_alive()


def _failing_second_time() -> Callable[[Address], Script]:
    scripts = [Script([SourceLost("gone")])]
    return lambda _: scripts.pop() if scripts else (_ for _ in ()).throw(SourceLost("still gone"))


def test_reading_and_closing_from_two_threads() -> None:
    script = Script([None] * 100_000)
    source = Source(Address("udp", "udp"), lambda _: script)
    reader = threading.Thread(target=lambda: list(source.packets(5.0)))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
