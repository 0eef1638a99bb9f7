"""emulate: which images are taken, by which names, and a video's frames in their time."""

import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings.emulate import MOTION_SETS, Picture, chosen, pictures, video_events
from spikesight.encoders.emulator.motions import MOTIONS
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.emulator.saccades import Saccades, saccades
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording


def many(**of: int) -> list[Picture]:
    return [
        Picture(np.zeros((2, 2), np.uint8), label, f"{label}{n}") for label, count in of.items() for n in range(count)
    ]


def names(count: int, **of: int) -> str:
    return " ".join(picture.name for picture in chosen(iter(many(**of)), count))


def test_so_many_pictures_are_as_many_of_each_class() -> None:
    assert names(0, a=3, b=1) == "a0 a1 a2 b0"
    assert names(4, a=3, b=3) == "a0 b0 a1 b1"
    assert names(5, a=3, b=3) == "a0 b0 a1 b1 a2"
    assert names(4, a=3, b=1) == "a0 b0 a1 a2"
    assert names(1, b=1, a=1) == "a0"
    assert names(9, a=1, b=2) == "a0 b0 b1"


def test_of_a_class_no_more_are_held_than_can_be_taken() -> None:
    read: list[weakref.ref[Picture]] = []

    def source() -> Iterator[Picture]:
        for n in range(9):
            picture = Picture(np.zeros((2, 2), np.uint8), "a", f"a{n}")
            read.append(weakref.ref(picture))
            yield picture

    taken = chosen(source(), 2)
    assert next(taken).name == "a0"
    pictures = [reference() for reference in read]
    assert [picture.name for picture in pictures[:-1] if picture] == ["a0", "a1"], "the last is the loop's own"


def mnist(folder: Path, part: str, labels: list[int]) -> None:
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 8:20, 10:14] = 250
    (folder / f"{part}-images-idx3-ubyte").write_bytes(
        struct.pack(">IIII", 0x803, len(labels), 28, 28) + images.tobytes()
    )
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + bytes(labels))


def test_training_images_come_first_and_two_sets_do_not_share_names(tmp_path: Path) -> None:
    mnist(tmp_path, "t10k", [3, 4])
    assert [(one.label, one.name) for one in pictures(tmp_path)] == [("3", "00001"), ("4", "00002")]
    mnist(tmp_path, "train", [5])
    found = [(one.label, one.name) for one in pictures(tmp_path)]
    assert found == [("5", "train-00001"), ("3", "t10k-00001"), ("4", "t10k-00002")]


def test_the_words_of_the_command_are_those_of_the_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mnist(tmp_path, "train", [5, 6])
    out = tmp_path / "out"
    flags = ["--threshold", "0.2", "--noise", "3", "--light", "--seed", "7", "--size", "40x36", "--format", "npz"]
    assert main(["emulate", str(tmp_path), str(out), *flags]) == 0
    count = sum(len(read_recording(path).events) for path in out.glob("*/*.npz"))
    assert capsys.readouterr().out == f"{out}: 2 recordings of 40x36 pixels, {count / 2:,.0f} events each\n"
    movement = Saccades(threshold_on=0.2, threshold_off=0.2, noise_hz=3.0, inverted=False)
    for index, picture in enumerate(list(pictures(tmp_path))):
        found = read_recording(out / picture.label / f"{picture.name}.npz")
        assert found.size == SensorSize(40, 36)
        expected = saccades(picture.grey, SensorSize(40, 36), movement=movement, seed=7 + index)
        assert np.array_equal(found.events, expected)


@pytest.mark.parametrize("kind", MOTION_SETS)
def test_recordings_of_motions_are_numbered_from_their_seed(
    kind: str, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, maker = MOTION_SETS[kind]
    monkeypatch.setitem(MOTION_SETS, kind, (prefix, lambda *a, **k: maker(*a, **k, duration_ms=60)))
    assert main(["emulate", kind, str(tmp_path / "out"), "--count", "2", "--seed", "3", "--size", "16x12"]) == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == sorted(MOTIONS)
    files = sorted(path.name for path in (tmp_path / "out" / "left").iterdir())
    assert files == [f"{prefix}00003.npz", f"{prefix}00004.npz"]
    n = len(list((tmp_path / "out").glob("*/*")))
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: {n} recordings of {len(MOTIONS)} motions, 16x12 pixels\n"


def test_recordings_are_counted_with_their_events_and_pictures_that_give_none_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist(tmp_path, "train", [5, 6])
    path, out = tmp_path / "train-images-idx3-ubyte", tmp_path / "out"
    path.write_bytes(path.read_bytes()[: 16 + 784] + bytes(784))
    assert main(["emulate", str(tmp_path), str(out), "--format", "npz", "--noise", "0"]) == 0
    n = len(read_recording(out / "5" / "00001.npz").events)
    assert capsys.readouterr().out.splitlines() == [
        "warning: 6/00002 gives no events",
        f"{out}: 1 recordings of 34x34 pixels, {n:,} events each",
    ]


class Film:
    """What OpenCV reads a video with, of so many grey levels."""

    def __init__(self, *greys: int) -> None:
        self.greys, self.released = list(greys), False

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.greys:
            return False, None
        return True, np.full((12, 16, 3), self.greys.pop(0), np.uint8)

    def release(self) -> None:
        self.released = True


def test_frames_come_in_the_videos_time() -> None:
    camera, film = Emulator(SensorSize(8, 6), PixelModel(leak_hz=0)), Film(50, 200, 50, 50)
    found = list(video_events(film, camera, 25.0))  # type: ignore[arg-type]
    assert film.released
    assert [len(part) > 0 for part in found] == [False, True, True, False]
    assert 0 < found[1]["t"][0] < found[1]["t"][-1] <= 40_000 < found[2]["t"][0]
    assert camera.state is not None
    assert camera.state.t_us == 120_000
    assert found[1]["p"].all()
    assert not found[2]["p"].any()


def test_a_video_keeps_its_size_and_takes_its_flags(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for k in range(6):
        frame = np.full((48, 64, 3), 40, np.uint8)
        frame[:, 8 * k : 8 * k + 12] = 220
        writer.write(frame)
    writer.release()
    counts = {}
    for name, flags in {"plain": [], "dull": ["--threshold", "0.6"], "noisy": ["--noise", "50"]}.items():
        assert main(["emulate", str(path), str(tmp_path / f"{name}.npz"), *flags]) == 0
        counts[name] = len(read_recording(tmp_path / f"{name}.npz").events)
    assert counts["dull"] < 0.6 * counts["plain"] < 0.6 * counts["noisy"]
    assert main(["emulate", str(path), str(tmp_path / "small.npz"), "--size", "32x24"]) == 0
    assert read_recording(tmp_path / "small.npz").size == SensorSize(32, 24)
