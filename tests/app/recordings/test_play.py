"""`spikesight play`: pictures in characters, a line a second, and what is sent to whom."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings import play
from spikesight.app.recordings.play import SHADES, picture
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources.source import open_source
from tests.support.serving.servers import free_port

SENSOR = SensorSize(40, 30)
RED, GREEN, END = "\x1b[31m", "\x1b[32m", "\x1b[0m"


def at(x: list[int], y: list[int], p: list[int]) -> Events:
    return make_events(np.arange(len(x)), x, y, p)


def test_more_events_are_darker_and_the_majority_gives_the_colour() -> None:
    four = SensorSize(4, 4)
    text = picture(at([0, 0, 1, 1, 1, 2, 2, 3], [0, 1, 0, 1, 1, 2, 3, 3], [1, 1, 0, 0, 1, 0, 1, 0]), four, 4, 2)
    assert text.splitlines() == [
        f"{GREEN}{SHADES[2]}{END}{RED}{SHADES[3]}{END}  ",
        f"  {SHADES[2]}{RED}{SHADES[1]}{END}",
    ]
    assert picture(at([0] * 50, [0] * 50, [1] * 50), four, 4, 2).startswith(f"{GREEN}@{END}")


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    path, n = tmp_path / "a.npz", 2100
    events = make_events(np.arange(n) * 1000, np.arange(n) % 40, np.full(n, 3), np.ones(n))
    write_recording(path, events, SENSOR)
    return path, events


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("lively", [False, True])
def test_a_line_a_second_or_a_picture_a_frame_in_the_recordings_time(
    lively: bool, recording: tuple[Path, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, out = [50.0], Terminal() if lively else io.StringIO()
    monkeypatch.setattr(play.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(play.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["play", str(recording[0]), "--speed", "0.5", "--loop", "2"]) == 0
    lines = [line for line in out.getvalue().splitlines() if line.endswith(" events")]
    assert lines[-1] == "4,200 events", "two rounds"
    if lively:
        assert out.getvalue().count("\x1b[H\x1b[J") == pytest.approx(8.4 / 0.04, rel=0.1)
        assert GREEN in out.getvalue()
    else:
        assert [float(line.split()[0]) for line in lines[:-1]] == pytest.approx(range(1, 9), abs=0.3)
    assert now[0] == pytest.approx(50 + (8.4 if lively else 8), abs=0.3)


def test_to_udp(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    path, events = recording
    address = f"udp://127.0.0.1:{free_port()}?format=aestream&size=40x30"
    with open_source(address) as source:
        assert main(["play", str(path), "--to", address, "--speed", "50"]) == 0
        found: list[Events] = []
        while sum(map(len, found)) < len(events) and (packet := source.read(5.0)) is not None:
            found.append(packet)
    assert np.array_equal(np.concatenate(found), events)
    assert "2,100 events sent" in capsys.readouterr().out


def test_a_camera_that_nobody_comes_to(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--to", f"dv://127.0.0.1:{free_port()}", "--wait", "0"]
    assert main(["play", str(recording[0]), *words]) == 1
    assert "nobody connected within 0 s" in capsys.readouterr().err
