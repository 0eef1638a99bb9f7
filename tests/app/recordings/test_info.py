"""`spikesight info`: every number of a recording, in JSON and in words."""

import json
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.recordings.info import summarise
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three events in 10 ms, then one in each of two further ones; two of the five are ON."""
    events = make_events([1000, 2000, 10_999, 11_000, 21_500], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [1, 0, 0, 1, 0])
    write_recording(tmp_path / "a.npz", [events], SensorSize(40, 30), "npz")
    return tmp_path / "a.npz"


def test_numbers(path: Path) -> None:
    found = summarise(path)
    assert (found.format, found.width, found.height, found.bytes) == ("npz", 40, 30, path.stat().st_size)
    assert (found.events, found.on, found.first_us, found.last_us) == (5, 2, 1000, 21_500)
    assert found.seconds == pytest.approx(0.0205)
    assert found.busiest_per_s == 300.0


def test_one_that_cannot_be_read_does_not_stop_the_others(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tmp_path / "none.raw"), str(path), "--json"]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert "none.raw" in first
    assert json.loads(second)["events"] == 5
    assert main(["info", str(path)]) == 0
