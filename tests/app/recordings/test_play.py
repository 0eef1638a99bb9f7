"""`spikesight play`: what is sent to whom."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources.source import open_source
from tests.support.serving.servers import free_port

SENSOR = SensorSize(40, 30)


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    path, n = tmp_path / "a.npz", 2100
    events = make_events(np.arange(n) * 1000, np.arange(n) % 40, np.full(n, 3), np.ones(n))
    write_recording(path, events, SENSOR)
    return path, events


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
