"""record: what is said while it goes on, and the signal that ends it."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.app.cli import main
from spikesight.app.recordings import record
from spikesight.app.recordings.record import judged
from spikesight.encoders.events import Events, make_events


def test_a_termination_ends_a_recording_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), record._terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before, "the caller's own, again"
    went: list[Any] = []

    def elsewhere() -> None:
        with record._terminable():
            went.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert went == [before], "only the main thread may ask for signals"


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_each_fault_is_said_once_and_looked_for_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    seconds, pushed, lost = iter([0.9, 1.0, 1.9, 2.0, 3.5]), list[int](), list[int]()
    quality: Any = SimpleNamespace(seconds=0.0)

    def push(packet: Events) -> None:
        pushed.append(len(packet))
        quality.seconds = next(seconds)

    def faults(n_dropped: int) -> Iterator[tuple[str, str]]:
        lost.append(n_dropped)
        yield "hot", f"hot pixels, {n_dropped}"
        if quality.seconds >= 2:
            yield "lamp", "a lamp flickers"

    quality.push, quality.faults = push, faults
    parts = [at(*range(n)) for n in (1, 2, 3, 4, 5)]
    assert list(judged(iter(parts), quality, lambda: 10 * len(pushed))) == parts
    assert (pushed, lost) == ([1, 2, 3, 4, 5], [20, 40, 50])
    assert capsys.readouterr().err.splitlines() == ["after 1 s: hot pixels, 20", "after 2 s: a lamp flickers"]


def test_flags_reach_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    class Quiet:
        """A source with nothing wrong about it."""

        size, fault, n_dropped, n_outside = "40x30", "", 0, 0

        def __enter__(self) -> "Quiet":
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("left")

    def write(path: Path, packets: Iterator[Events], size: str, name: str, warn: Any) -> int:
        asked.extend((path, sum(map(len, packets)), size, name))
        warn("cut off")
        return 7

    monkeypatch.setattr(record, "open_source", lambda *words, **how: asked.append((words, how)) or Quiet())
    monkeypatch.setattr(record, "Quality", lambda size: SimpleNamespace(rate=1234.5, busiest=12, size=size))
    monkeypatch.setattr(record, "pieces", lambda _, seconds: asked.append(seconds) or [at(1, 2)])
    monkeypatch.setattr(record, "judged", lambda packets, _, n_dropped: (asked.append(n_dropped()), packets)[1])
    monkeypatch.setattr(record, "write_recording", write)
    target = tmp_path / "a.dat"
    assert main(["record", "usb:", str(target), "--seconds", "3", "--wait", "2"]) == 0
    opened = ("usb:",), {"wait_s": 2.0, "max_packets": 2**20}
    assert asked == [opened, 3.0, 0, target, 2, "40x30", "dat", "left"]
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{target}: 7 events, dat", "1,234 events/s, in the busiest 10 ms 1,200"]
    assert err.splitlines() == ["recording usb:, 40x30 pixels; Ctrl-C ends it", "warning: cut off"]
