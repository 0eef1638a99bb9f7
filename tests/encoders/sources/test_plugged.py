"""Cameras that are plugged in: what stand-in drivers see, and what is said where there is none."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikesight.encoders.sources import plugged
from spikesight.encoders.sources.plugged import Plugged, plugged_in
from spikesight.encoders.sources.source import parse


def eventcv(*serials: str) -> SimpleNamespace:
    def list_cameras() -> list[dict[str, str]]:
        if not serials:
            warnings.warn("udev rules are missing", RuntimeWarning, stacklevel=2)
        return [{"serial": serial, "name": "EVK4", "kind": "prophesee_evk4"} for serial in serials]

    return SimpleNamespace(list_cameras=list_cameras)


def dv(*names: str) -> SimpleNamespace:
    return SimpleNamespace(io=SimpleNamespace(camera=SimpleNamespace(discover=lambda: list(names))))


@pytest.fixture(autouse=True)
def webcams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, index in ((0, "0"), (1, "1"), (2, "0")):
        folder = tmp_path / f"video{number}"
        folder.mkdir()
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text(f"Webcam {number}\n")
    monkeypatch.setattr(plugged, "VIDEO_DEVICES", str(tmp_path))


def test_every_driver_is_asked_and_every_string_opens_a_source() -> None:
    found, remarks = plugged_in({"eventcv": eventcv("7", "9"), "dv_processing": dv("DVXplorer_DXA00080")})
    assert found == [
        Plugged("webcam:0", "Webcam 0", "webcam"),
        Plugged("webcam:2", "Webcam 2", "webcam"),
        Plugged("usb:7", "EVK4", "EventCV"),
        Plugged("usb:9", "EVK4", "EventCV"),
        Plugged("inivation", "DVXplorer_DXA00080", "dv-processing"),
    ]
    assert not remarks
    assert [parse(camera.source).kind for camera in found] == ["webcam", "webcam", "usb", "usb", "inivation"]


def test_without_an_event_camera_the_way_out_is_said() -> None:
    found, remarks = plugged_in({"eventcv": eventcv(), "dv_processing": dv()})
    assert {camera.driver for camera in found} == {"webcam"}
    assert remarks[0].startswith("No event camera found. Plugged in?")
    assert remarks[1] == "udev rules are missing"
