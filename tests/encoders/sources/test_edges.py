"""Sources at their edges: options, looping, playing at a pace, what a queue holds, and how long is waited."""

from pathlib import Path

import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import source as module
from spikesight.encoders.sources.address import Address, SourceEnded, SourceError, SourceLost
from spikesight.encoders.sources.file import FileDriver
from spikesight.encoders.sources.source import Source, open_source, parse
from tests.support.inputs.sources import SENSOR, Script, packet
from tests.support.waiting import PATIENCE_S


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_options_have_a_lowest_value() -> None:
    address = parse("file:x?speed=0&rate=2.5&bad=x&low=-1&none=nan")
    assert address.number("speed", 1.0) == 0.0
    assert address.number("rate", 1.0, 2.5) == 2.5
    assert address.number("unsaid", 7.0, 9.0) == 7.0
    for name, lowest, least in (("rate", 2.6, "2.6"), ("bad", 0.0, "0"), ("low", 0.0, "0"), ("none", 0.0, "0")):
        with pytest.raises(SourceError, match=rf"{name}=\S+ in '.*' must be a number of at least {least}"):
            address.number(name, 1.0, lowest)
    assert Address("x", "udp").size() is None
    assert Address("x", "udp", options={"size": ""}).size() is None
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        Address("x", "udp", options={"size": "5"}).size()


def driver(tmp_path: Path, options: str, *t: int) -> tuple[FileDriver, list[float], list[float]]:
    """A file's driver, on a clock that sleep moves; the clock and the sleeps."""
    path = tmp_path / "a.npz"
    write_recording(path, at(*t), SensorSize(4, 4))
    now, slept = [10.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    return FileDriver(parse(f"file:{path}{options}"), lambda: now[0], sleep), now, slept


def rest(made: FileDriver, timeout_s: float = 100.0) -> list[list[int]]:
    found: list[list[int]] = []
    while True:
        try:
            part = made.read(timeout_s)
        except SourceEnded:
            return found
        if part is not None:
            found.append(part["t"].tolist())


def test_a_file_waits_for_the_end_of_each_packet(tmp_path: Path) -> None:
    made, now, slept = driver(tmp_path, "", 1000, 3_000, 6_001, 11_000)
    assert rest(made) == [[1000, 3_000], [6_001], [11_000]], "packets of 5 ms"
    assert slept == [0.002, 0.003001, 0.004999]
    assert now[0] == pytest.approx(10.01)


def test_a_read_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    made, _, slept = driver(tmp_path, "", 0, 1, 100_000)
    assert made.read(1.0) is not None
    assert made.read(0.06) is None
    assert made.read(0.039999) is not None, "what is left is no longer than the time"
    assert slept == [0.000001, 0.06, 0.039999]


def test_as_fast_as_it_can_and_twice_as_fast(tmp_path: Path) -> None:
    made, _, slept = driver(tmp_path, "?speed=0", 0, 50_000)
    assert rest(made) == [[0], [50_000]]
    assert slept == []
    made, _, slept = driver(tmp_path, "?speed=2", 0, 50_000)
    assert rest(made) == [[0], [50_000]]
    assert slept == [0.025]


def test_a_round_goes_on_a_packet_after_the_one_before(tmp_path: Path) -> None:
    made, _, _ = driver(tmp_path, "?speed=0&loop=1&packet_ms=2", 7_000, 9_000)
    found = [part["t"].tolist() for part in (made.read(1.0) for _ in range(5)) if part is not None]
    assert found == [[7_000], [9_000], [11_000], [13_000], [15_000]]
    made.close()
    with pytest.raises(SourceEnded):
        made.read(1.0)
    once, _, _ = driver(tmp_path, "?speed=0&loop=0", 1)
    assert rest(once) == [[1]]


def test_packets_have_a_shortest(tmp_path: Path) -> None:
    assert rest(driver(tmp_path, "?speed=0&packet_ms=0.1", 0, 99, 100)[0]) == [[0, 99], [100]]
    with pytest.raises(SourceError, match="packet_ms"):
        driver(tmp_path, "?packet_ms=0.09", 0)


def queued(sizes: list[int], **limits: int) -> Source:
    """A source whose driver has given packets of these sizes and ended."""
    script = Script([packet(1000 * k, n) for k, n in enumerate(sizes)])
    source = Source(Address("udp", "udp"), lambda _: script, **limits)  # type: ignore[arg-type]
    source._thread.join(PATIENCE_S)
    return source


def held(source: Source) -> int:
    """Packets that wait to be read."""
    return len(list(source.packets(0)))


def test_a_queue_holds_so_many_packets_and_so_many_events() -> None:
    assert (held(queued([1] * 4, max_packets=4)), queued([1] * 5, max_packets=4).n_dropped) == (4, 1)
    assert queued([10, 10], max_events=20).n_dropped == 0
    over = queued([10, 11], max_events=20)
    assert (held(over), over.n_dropped, over.n_events) == (1, 10, 21)
    assert held(queued([50], max_events=20)) == 1, "the newest stays, however large"
    assert held(queued([0, 3, 0])) == 1, "nothing is no packet"
    source = queued([10, 10, 10], max_events=20)
    assert source._thread.daemon, "it holds no process that ends"
    assert source.read(0) is not None
    assert source.running
    assert source.read(0) is not None
    assert not source.running


def test_waits_between_two_openings_grow_and_then_stay() -> None:
    waits: list[float] = []
    answers = [Script([]), SourceLost("a"), ValueError("b"), OSError("c"), SourceLost("d"), Script([])]

    def open_driver(_: Address) -> Script:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Stop:
        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            return False

    source = Source(Address("udp", "udp"), open_driver, back_off_s=(0.1, 0.2, 0.4))
    source._thread.join(PATIENCE_S)
    source._stop = Stop()  # type: ignore[assignment]
    assert source._reopen()
    assert waits == [0.1, 0.2, 0.4, 0.4, 0.4]
    assert (source.n_reopened, source.fault) == (1, None)


def test_a_source_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tries = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: now.__setitem__(0, round(now[0] + seconds, 6)))

    def nobody(_: Address) -> Script:
        tries.append(now[0])
        raise SourceLost("nobody there")

    with pytest.raises(SourceError, match="nobody there"):
        open_source("webcam:0", drivers={"webcam": nobody}, wait_s=1.0)
    assert tries == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    tries.clear()
    with pytest.raises(SourceError):
        open_source("webcam:0", drivers={"webcam": nobody})
    assert len(tries) == 1
    with open_source("webcam:0", drivers={"webcam": lambda _: Script([packet(0)])}) as source:
        assert source.size == SENSOR
