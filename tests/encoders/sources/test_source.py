"""One source of whatever kind: its queue, restarts, losses and reconnection, with a scripted driver."""

from typing import Any

import pytest

from spikesight.encoders.events import Counters, Events
from spikesight.encoders.sources import source as module
from spikesight.encoders.sources.address import Address, SourceLost
from spikesight.encoders.sources.source import Source
from tests.support.inputs.sources import Script, packet
from tests.support.waiting import until


def opener(*answers: Script | Exception) -> module.OpenDriver:
    """Opens these scripts one after the other, or fails; after them nobody is there."""
    waiting = list(answers)

    def open_driver(_: Address) -> Script:
        answer = waiting.pop(0) if waiting else SourceLost("nobody there")
        if isinstance(answer, Exception):
            raise answer
        return answer

    return open_driver


def run(*answers: Script | Exception, kind: str = "udp", **options: Any) -> tuple[Source, list[Events]]:
    with Source(Address(kind, kind), opener(*answers), **{"back_off_s": (0.001,), **options}) as source:
        found = [part for part in source.packets(2.0) if part is not None]
    return source, found


def queued(sizes: list[int], **limits: int) -> Source:
    """A source whose driver has given packets of these sizes and ended."""
    script = Script([packet(1000 * k, n) for k, n in enumerate(sizes)])
    source = Source(Address("udp", "udp"), opener(script), **limits)  # type: ignore[arg-type]
    until(lambda: script.closed)
    return source


def firsts(parts: Any) -> list[int]:
    return [int(part["t"][0]) for part in parts if part is not None]


def test_packets_come_in_order_and_the_end_is_told() -> None:
    script = Script([packet(0), None, packet(100)])
    source, found = run(script)
    assert firsts(found) == [0, 100]
    assert (source.running, source.read(0.01), script.closed, source.n_events) == (False, None, 1, 20)


@pytest.mark.parametrize(
    ("sizes", "limits", "held", "dropped"),
    [
        ([1] * 4, {"max_packets": 4}, [0, 1000, 2000, 3000], 0),
        ([1] * 5, {"max_packets": 4}, [1000, 2000, 3000, 4000], 1),
        ([10, 10], {"max_events": 20}, [0, 1000], 0),
        ([10, 11], {"max_events": 20}, [1000], 10),
        ([50], {"max_events": 20}, [0], 0),  # the newest stays, however large
        ([0, 3, 0], {}, [1000], 0),  # nothing is no packet
    ],
)
def test_the_oldest_go_when_nobody_reads(
    sizes: list[int], limits: dict[str, int], held: list[int], dropped: int
) -> None:
    source = queued(sizes, **limits)
    assert firsts(source.packets(0)) == held
    assert (source.n_dropped, source.n_events) == (dropped, sum(sizes))
    assert not source.running


def test_bad_events_and_restarts_are_counted() -> None:
    source, found = run(Script([packet(1_000_000), packet(999_995), packet(5), packet(20, x=99)]))
    assert firsts(found) == [1_000_000, 1_000_009, 5]
    assert source.counters == Counters(10, 2, 1)


def test_a_lost_device_is_opened_again_until_it_is_there() -> None:
    first, second = Script([packet(0), SourceLost("unplugged")]), Script([packet(0), packet(50)])
    source, found = run(first, SourceLost("a"), ValueError("b"), OSError("c"), second)
    assert (len(found), source.n_reopened, source.fault) == (3, 1, None)
    assert first.closed


def test_close_interrupts_the_wait_to_reconnect() -> None:
    script = Script([SourceLost("gone")])
    source = Source(Address("udp", "udp"), opener(script), back_off_s=(600.0,))
    until(lambda: source.fault is not None, "it does not wait to reconnect")
    source.close()
    source.close()
    until(lambda: not source.running)
