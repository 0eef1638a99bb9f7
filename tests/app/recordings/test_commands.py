"""info, transcode, play, record, emulate: the commands on files, and their mistakes."""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings import record
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.packets import pack
from spikesight.encoders.recordings.files import read_recording, write_recording
from tests.support.processes import ROOT
from tests.support.waiting import until

SENSOR = SensorSize(40, 30)


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    t = 5_000_000 + np.arange(0, 300_000, 100)
    events = make_events(t, np.arange(3000) % 40, np.arange(3000) % 30, np.arange(3000) % 3 == 0)
    path = tmp_path / "a.raw"
    write_recording(path, events, SENSOR)
    return path, events


def test_info(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = recording
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "evt2, 40x30 pixels" in text
    assert "3,000, 33.3 % ON" in text
    assert "0.2999 s" in text
    assert main(["info", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["first_us"], found["last_us"]) == (3000, 5_000_000, 5_299_900)
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["info", str(path)]) == 0
    assert "cut short" in capsys.readouterr().out
    assert main(["info", str(path), str(path.with_name("none"))]) == 2
    assert "no such file" in capsys.readouterr().out


def test_transcode(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    path, events = recording
    for suffix in (".aedat4", ".csv", ".npz", ".h5", ".dat", ".evt3", ".evt21"):
        target = path.with_suffix(suffix)
        assert main(["transcode", str(path), str(target)]) == 0
        assert np.array_equal(read_recording(target).events, events)
    target = path.with_suffix(".bin")
    words = ["convert-events", str(path), str(target), "--zero", "--start", "0.1", "--seconds", "0.05"]
    assert main(words) == 0
    kept = read_recording(target).events
    assert kept["t"].tolist() == list(range(0, 50_000, 100))
    assert main(words) == 2
    assert "add --force" in capsys.readouterr().err
    assert main([*words, "--force", "--filter", "on"]) == 0
    assert read_recording(target).events["p"].all()
    assert main(["transcode", str(path), str(path.with_suffix(".aedat2")), "--filter", "blur"]) == 2
    assert main(["transcode", str(path), str(path.with_suffix(".what"))]) == 2


def test_an_old_file_stays_until_the_new_one_is_whole(recording: tuple[Path, Events]) -> None:
    path, events = recording
    target = path.with_suffix(".bin")
    target.write_bytes(b"precious")
    assert main(["transcode", str(path), str(target), "--force", "--size", "400x300"]) == 2
    assert target.read_bytes() == b"precious"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.bin", "a.raw"]
    assert len(events)


def test_play_prints_lines_without_a_terminal(
    recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = recording
    assert main(["play", str(path), "--speed", "20", "--loop", "8"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "24,000 events"
    assert main(["play", str(path), "--speed", "0"]) == 2
    assert main(["play", str(path), "--to", "nowhere"]) == 2
    with pytest.raises(SystemExit):
        main(["play", str(path), "--gap", "soon"])


def test_play_to_udp(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    path, events = recording
    address = "udp://127.0.0.1:47113?format=t32&size=40x30"
    from spikesight.encoders.sources.source import open_source

    with open_source(address) as source:
        assert main(["play", str(path), "--to", address, "--speed", "10"]) == 0
        found: list[Events] = []
        while sum(map(len, found)) < len(events) and (packet := source.read(5.0)) is not None:
            found.append(packet)
    assert np.array_equal(np.concatenate(found), events)
    assert "3,000 events sent" in capsys.readouterr().out


def test_record(recording: tuple[Path, Events], capsys: pytest.CaptureFixture[str]) -> None:
    path, events = recording
    target = path.with_name("b.aedat4")
    assert main(["record", f"file:{path}?speed=0", str(target)]) == 0
    assert np.array_equal(read_recording(target).events, events)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"{target}: 3,000 events, aedat4"
    assert err.splitlines()[0] == f"recording file:{path}?speed=0, 40x30 pixels; Ctrl-C ends it"
    assert main(["record", f"file:{path}", str(target)]) == 2
    assert main(["record", "nothing", str(path.with_name("c.dat"))]) == 2
    assert "is no source" in capsys.readouterr().err


class Unplugged:
    """A source that gives two packets and is gone; it has lost some events."""

    size, fault, n_dropped, n_outside = SENSOR, "the device has gone", 1234, 5

    def __init__(self, stopped: bool = False) -> None:
        self.stopped = stopped

    def __enter__(self) -> "Unplugged":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def packets(self) -> Iterator[Events | None]:
        yield make_events([100, 5_100], [1, 2], [1, 2], [1, 0])
        yield None
        yield make_events([20_100] * 3, [1, 2, 3], [1, 2, 3], [1, 0, 1])
        if self.stopped:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stopped", [False, True])
def test_what_was_lost_and_why_it_ended_are_said(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(record, "open_source", lambda *a, **k: asked.append((a, k)) or Unplugged(stopped))
    target = tmp_path / "a.npz"
    assert main(["record", "usb:", str(target), "--wait", "2.5"]) == 0
    out, err = capsys.readouterr()
    assert asked == [(("usb:",), {"wait_s": 2.5, "max_packets": record.NEVER_FULL})]
    assert err.splitlines() == [
        "recording usb:, 40x30 pixels; Ctrl-C ends it",
        *(["stopped"] if stopped else []),
        "warning: 1,234 events dropped",
        "warning: 5 events off the sensor",
        "the source ended: the device has gone",
    ]
    assert out.splitlines() == [f"{target}: 5 events, npz", "250 events/s, in the busiest 10 ms 300"]
    assert main(["record", "usb:", str(target)]) == 2
    assert "add --force to write over it" in capsys.readouterr().err
    assert main(["record", "usb:", str(target), "--force", "--format", "csv"]) == 0
    assert target.read_text().count("\n") >= 5


def test_a_terminated_recording_keeps_what_has_come(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target, part = tmp_path / "some.dat", tmp_path / ".some.part.dat"
    address = f"udp://127.0.0.1:{port}?format=t64&size={SENSOR}"
    command = [sys.executable, "-m", "spikesight", "record", address]
    events = make_events(range(3000), [1] * 3000, [2] * 3000, [1, 0] * 1500)
    with subprocess.Popen([*command, str(target)], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "recording udp" in process.stderr.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(pack(events, "t64"), ("127.0.0.1", port))
        until(lambda: part.exists() and part.stat().st_size >= 8 * len(events))
        process.terminate()
        assert process.wait(60) == 0
    assert np.array_equal(read_recording(target).events, events)


def test_emulate_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for k in range(3):
            cv2.imwrite(str(tmp_path / "in" / label / f"{k}.png"), rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    (tmp_path / "in" / "dog" / "broken.png").write_bytes(b"no")
    out = tmp_path / "out"
    assert main(["emulate", str(tmp_path / "in"), str(out), "--size", "64x48", "--format", "npz", "--count", "4"]) == 0
    assert sorted(str(p.relative_to(out)) for p in out.glob("*/*")) == [
        "cat/0.npz",
        "cat/1.npz",
        "dog/0.npz",
        "dog/1.npz",
    ]
    assert read_recording(out / "cat" / "0.npz").size == SensorSize(64, 48)
    assert "4 recordings of 64x48 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("movement", ["saccades", "smooth"])
def test_emulate_mnist(tmp_path: Path, movement: str) -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    images[:, 8:20, 10:14] = 250
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 4, 28, 28) + images.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 4) + bytes([1, 7, 1, 1]))
    assert main(["emulate", str(folder), str(tmp_path / "out"), "--movement", movement]) == 0
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").glob("*/*"))
    assert files == ["1/00001.bin", "1/00003.bin", "1/00004.bin", "7/00002.bin"]
    found = read_recording(tmp_path / "out" / files[0])
    assert found.format == "nmnist"
    assert 500 < len(found.events) < 9000


def test_emulate_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert main(["emulate", str(tmp_path), str(tmp_path / "o")]) == 2
    assert "there are no images" in capsys.readouterr().err
    (tmp_path / "x.mp4").write_bytes(b"no video")
    assert main(["emulate", str(tmp_path / "x.mp4"), str(tmp_path / "o.h5")]) == 2


def test_what_is_wrong_is_said_while_it_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    t = np.sort(random.integers(0, 2_500_000, 50_000))
    x, y = random.integers(0, 40, 50_000), random.integers(0, 30, 50_000)
    x[::5], y[::5] = 7, 11
    path = tmp_path / "a.npz"
    write_recording(path, make_events(t, x, y, random.random(50_000) < 0.5), SENSOR)
    assert main(["record", f"file:{path}?speed=0", str(tmp_path / "b.raw")]) == 0
    said = capsys.readouterr()
    assert "after 1 s: 1 hot pixels give 20% of the events" in said.err
    assert said.err.count("hot pixels") == 1
    assert "20,00" in said.out.splitlines()[-1]
