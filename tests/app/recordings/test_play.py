"""play: pictures in characters, what is asked for, and a camera that nobody comes to."""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings import play
from spikesight.app.recordings.play import SHADES, interval, picture
from spikesight.app.recordings.virtual_camera import Delivery
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
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
    many = picture(at([0] * 50, [0] * 50, [1] * 50), four, 4, 2)
    assert many.startswith(f"{GREEN}@{END}")


@pytest.mark.parametrize(
    ("room", "size", "columns", "lines"),
    [
        ((200, 100), SENSOR, 40, 15),
        ((40, 15), SENSOR, 40, 15),
        ((20, 100), SENSOR, 20, 7),
        ((200, 6), SENSOR, 16, 6),
        ((0, 0), SENSOR, 2, 1),
        ((80, 24), SensorSize(34, 34), 34, 17),
        ((80, 24), SensorSize(640, 480), 64, 24),
    ],
)
def test_a_picture_fits_the_room(room: tuple[int, int], size: SensorSize, columns: int, lines: int) -> None:
    rows = picture(at([], [], []), size, *room).split("\n")
    assert (len(rows), {len(row) for row in rows}) == (lines, {columns})


def test_events_out_of_order_are_shown_as_well() -> None:
    events = make_events([9, 0, 5], [0, 1, 2], [0, 0, 0], [1, 1, 1])
    assert picture(events, SensorSize(4, 2), 4, 1).count(GREEN) == 3


def test_intervals() -> None:
    assert interval("1:0.5") == (1.0, 0.5)
    for wrong in ("1", "1:", ":1", "a:b", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="is no interval"):
            interval(wrong)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    write_recording(path, make_events(np.arange(0, 300_000, 100), [1] * 3000, [2] * 3000, [1] * 3000), SENSOR)
    return path


@pytest.mark.parametrize("wrong", [["--speed", "0"], ["--speed", "-1"], ["--packet", "0"], ["--burst", "0"]])
def test_what_cannot_be_played(recording: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    assert main(["play", str(recording), *wrong]) == 2
    assert "must be above 0" in capsys.readouterr().err


def test_a_camera_that_nobody_comes_to(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", str(recording), "--to", f"dv://127.0.0.1:{free_port()}", "--wait", "0"]) == 1
    assert "nobody connected within 0 s" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("lively", [False, True])
def test_a_line_a_second_or_a_picture_a_frame(lively: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the recording's own pace: the clock is the test's."""
    now = [50.0]
    out = Terminal() if lively else io.StringIO()
    monkeypatch.setattr(play.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(play.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(sys, "stdout", out)
    deliveries = [Delivery(0.03 * n, at([n % 40], [3], [1])) for n in range(1, 71)]
    deliveries.insert(5, Delivery(0.15, None, connected=False))
    assert play._show(deliveries, SENSOR) == 0
    lines = [line for line in out.getvalue().splitlines() if " s  " in line or line.endswith(" events")]
    assert lines[-1] == "70 events"
    if lively:
        assert len(lines) == 36
        assert lines[0].endswith("0.06 s  2 events")
        assert out.getvalue().count("\x1b[H\x1b[J") == 35
    else:
        assert lines == ["    1.02 s  34 events", "    2.04 s  68 events", "70 events"]
    assert now[0] == pytest.approx(50 + (2.1 if lively else 2.04))
    assert play._show(deliveries[:1], SENSOR) == 0
    rest = out.getvalue().splitlines()[len(out.getvalue().splitlines()) - (16 if lively else 1) :]
    assert rest[-1] == "1 events"
    assert sum(GREEN in line for line in rest) == lively, "what is left is shown at the end"
