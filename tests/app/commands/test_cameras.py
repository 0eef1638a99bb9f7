"""`spikesight cameras`: the list for people and for programs, and the exit code."""

import json

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import cameras
from spikesight.encoders.sources.devices import Plugged


@pytest.mark.parametrize(
    "found", [[], [Plugged("prophesee:7", "EVK4", "neuromorphic-drivers"), Plugged("webcam:0", "Lid", "webcam")]]
)
def test_what_is_plugged_in_and_what_could_not_be_asked(
    found: list[Plugged], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cameras, "plugged_in", lambda: (found, ["a driver is missing"]))
    assert main(["cameras"]) == (0 if found else 1)
    *lines, note = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [[one.source, one.name, f"({one.driver})"] for one in found]
    assert note == "note: a driver is missing"
    assert main(["cameras", "--json"]) == (0 if found else 1)
    answer = {"cameras": [one._asdict() for one in found], "remarks": ["a driver is missing"]}
    assert json.loads(capsys.readouterr().out) == answer
