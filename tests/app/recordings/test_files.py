"""`spikesight info`, `transcode` and `record`: what is in a file, cut out of it, and written from a source."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings import record
from spikesight.app.recordings.record import steady_packets
from spikesight.app.recordings.transcode import cut
from spikesight.encoders.events import Counters, Events, SensorSize, make_events
from spikesight.encoders.packets import pack
from spikesight.encoders.recordings.files import read_recording, write_recording
from tests.app.conftest import Ask
from tests.support.inputs.samples import at
from tests.support.processes import ROOT
from tests.support.serving.servers import free_port
from tests.support.waiting import until

SENSOR = SensorSize(40, 30)
TIMES = [5, 100_005, 499_999 + 5, 500_000 + 5, 1_500_004, 1_500_005]


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    t = 5_000_000 + np.arange(0, 300_000, 100)
    events = make_events(t, np.arange(3000) % 40, np.arange(3000) % 30, np.arange(3000) % 3 == 0)
    path = tmp_path / "a.raw"
    write_recording(path, events, SENSOR)
    return path, events


def test_info(recording: tuple[Path, Events], ask: Ask) -> None:
    path, _ = recording
    text = ask("info", path).out
    for words in ("evt3, 40x30 pixels", "3,000, 33.3 % ON", "0.2999 s", f"{3000 / 0.2999:,.0f} events/s", "10,000"):
        assert words in text
    first, second = ask("info", path.with_name("none"), path, "--json", code=2).out.splitlines()
    assert "no such file" in first, "the others are read all the same"
    found = json.loads(second)
    assert (found["events"], found["on"], found["first_us"], found["last_us"]) == (3000, 1000, 5_000_000, 5_299_900)
    assert (found["format"], found["width"], found["height"]) == ("evt3", 40, 30)
    assert (found["bytes"], found["busiest_per_s"]) == (path.stat().st_size, 10_000)
    assert not found["truncated"]
    path.write_bytes(path.read_bytes()[:-1])
    cut, sample = ask("info", path, "--json").out, ask("info", "digit-3").out
    assert json.loads(cut)["truncated"]
    assert "cut short" in cut
    assert "digit-3: evt3, 34x34 pixels" in sample


def test_transcode(recording: tuple[Path, Events]) -> None:
    path, events = recording
    for suffix in (".aedat4", ".csv", ".npz", ".h5", ".evt3"):
        target = path.with_suffix(suffix)
        assert main(["transcode", str(path), str(target)]) == 0
        assert np.array_equal(read_recording(target).events, events)
    target = path.parent / "folder of its own" / "cut.txt"
    words = ["transcode", str(path), str(target), "--zero", "--start", "0.1", "--seconds", "0.05"]
    assert main(words) == 0
    kept = read_recording(target).events
    assert kept["t"].tolist() == list(range(0, 50_000, 100))


@pytest.mark.parametrize("pieces", [1, 3, 6])
def test_from_the_first_event_on_and_the_end_is_left_out(pieces: int) -> None:
    def times(start: float, seconds: float, zero: bool = False) -> list[int]:
        def parts() -> Iterator[Events]:
            yield from np.array_split(at(*TIMES), pieces)
            assert seconds > 2, "nothing is read behind the end"

        return [int(t) for part in cut(parts(), start, seconds, zero=zero) for t in part["t"]]

    assert times(0.0, float("inf")) == TIMES
    assert times(0.5, 1.0) == TIMES[3:5]
    assert times(0.5, 1.0, zero=True) == [0, 999_999]
    assert times(0.0, 0.1, zero=True) == [0]
    assert times(9.0, 3.0) == []
    part = at(*TIMES)
    list(cut([part], 0.0, 9.0, zero=True))
    assert part["t"].tolist() == TIMES, "what is given is not changed"


@pytest.mark.parametrize("command", ["record", "transcode"])
def test_a_file_that_is_there_stays_unless_it_is_forced(command: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.npz", tmp_path / "new.aedat4"
    write_recording(old, at(1, 2, 3), SENSOR)
    source = f"file:{old}?speed=0" if command == "record" else str(old)
    new.write_bytes(b"precious")
    assert main([command, source, str(new)]) == 2
    assert new.read_bytes() == b"precious"
    assert main([command, source, str(new), "--force"]) == 0
    assert read_recording(new).events["t"].tolist() == [1, 2, 3]
    other = tmp_path / "named"
    assert main([command, source, str(other)]) == 2, "its name tells no format"
    assert main([command, source, str(other), "--format", "csv"]) == 0
    assert other.read_text().startswith("t,x,y,p\n")


class Unplugged:
    """A source that gives two packets and is gone, or is stopped; it has lost some events."""

    size, fault, n_dropped, counters = SENSOR, "the device has gone", 1234, Counters(5)
    settings: ClassVar[dict[str, str]] = {"serial": "1"}

    def __init__(self, *parts: Events | None, stopped: bool = False) -> None:
        self.parts, self.stopped = parts, stopped

    def __enter__(self) -> "Unplugged":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def packets(self) -> Iterator[Events | None]:
        yield from self.parts
        if self.stopped:
            signal.raise_signal(signal.SIGINT)
            yield at(30_100)


@pytest.fixture
def signals() -> Iterator[None]:
    """Signals end a process, also where the tests themselves run in the background and ignore some."""
    handlers: dict[int, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    handlers[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("stopped", [False, True])
def test_losses_are_told(stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    source, target = Unplugged(at(100, 5_100), None, at(20_100, 20_100, 20_100), stopped=stopped), tmp_path / "a.npz"
    monkeypatch.setattr(record, "open_source", lambda *_, **__: source)
    out, err = ask("record", "prophesee", target)
    assert err.splitlines() == [
        "recording prophesee, 40x30 pixels; Ctrl-C ends it",
        "waiting for the source: the device has gone",
        *(["stopped"] if stopped else []),
        "warning: 1,234 events dropped",
        "warning: 5 events off the sensor",
        "the source ended: the device has gone",
    ]
    assert out == f"{target}: 5 events, npz\n"


def test_what_came_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    source, target = Unplugged(at(100, 200), at(300), at(1 << 45)), tmp_path / "a.raw"
    monkeypatch.setattr(record, "open_source", lambda *_, **__: source)
    assert "what came before is kept" in ask("record", "prophesee", target, code=2).err
    assert read_recording(target).events["t"].tolist() == [100, 200, 300]
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_a_sample_is_recorded_by_its_name(tmp_path: Path) -> None:
    assert main(["record", "digit-3?speed=0", str(tmp_path / "a.npz")]) == 0
    recorded, sample = read_recording(tmp_path / "a.npz"), read_recording("digit-3")
    assert np.array_equal(recorded.events, sample.events)
    assert recorded.size == sample.size


def recorded(*parts: Events | None, seconds: float = 60.0, now: list[float] | None = None) -> list[int]:
    times = iter(now or [0.0] * 100)
    found = list(steady_packets(Unplugged(*parts), seconds, clock=lambda: next(times)))  # type: ignore[arg-type]
    return np.concatenate([at(), *found])["t"].tolist()


def test_a_clock_that_restarts_goes_on_in_the_file() -> None:
    assert recorded(at(100, 200), None, at(5, 6), at(7)) == [100, 200, 200, 201, 202]
    assert recorded(at(100), at(100)) == [100, 100]
    assert recorded(at(50, 5)) == [50, 50]
    assert recorded(at(1, 5, 5, 2, 3, 0)) == [1, 5, 5, 5, 6, 6]
    assert recorded(at(-5, 10)) == [0, 15]


def test_a_terminated_recording_keeps_what_has_come(tmp_path: Path) -> None:
    target, part, port = tmp_path / "some.csv", tmp_path / ".some.part.csv", free_port()
    command = [sys.executable, "-m", "spikesight", "record", f"udp://127.0.0.1:{port}?format=t64&size={SENSOR}"]
    events = make_events(range(3000), [1] * 3000, [2] * 3000, [1, 0] * 1500)
    with subprocess.Popen([*command, str(target)], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "recording udp" in process.stderr.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(pack(events, "t64"), ("127.0.0.1", port))
        try:
            until(lambda: part.exists() and part.stat().st_size > 8 * len(events))
        finally:
            process.terminate()
        assert process.wait(60) == 0
    assert np.array_equal(read_recording(target).events, events)
