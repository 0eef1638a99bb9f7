"""`spikesight cameras`: the list for people and for programs, and the exit code."""

import json

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import cameras
from spikesight.encoders.sources.plugged import Plugged

TWO = [Plugged("usb:7", "EVK4", "EventCV"), Plugged("webcam:0", "Lid", "webcam")]


def test_two_cameras_and_a_remark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cameras, "plugged_in", lambda: (TWO, ["a driver is missing"]))
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "usb:7                    EVK4 (EventCV)",
        "webcam:0                 Lid (webcam)",
        "note: a driver is missing",
    ]
    assert main(["cameras", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "cameras": [
            {"source": "usb:7", "name": "EVK4", "driver": "EventCV"},
            {"source": "webcam:0", "name": "Lid", "driver": "webcam"},
        ],
        "remarks": ["a driver is missing"],
    }


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_none_is_exit_1(flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cameras, "plugged_in", lambda: ([], ["none is seen"]))
    assert main(["cameras", *flags]) == 1
    assert "none is seen" in capsys.readouterr().out
