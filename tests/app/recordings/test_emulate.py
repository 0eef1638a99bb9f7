"""`spikesight emulate`: which images are taken, by which names, and a video's frames in their time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import spikesight
from corpora import draw_samples
from spikesight.app.cli import main
from spikesight.app.recordings.emulate import pictures
from spikesight.encoders.emulator.saccades import Saccades, saccades
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording


def written(root: Path) -> dict[str, Path]:
    """Every file of two folders by its name without the root."""
    return {str(path.relative_to(root)): path for path in sorted(root.glob("*/*"))}


def test_pictures_in_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, out = np.random.default_rng(0), tmp_path / "out"
    for label in ("cat", "dog"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for k in range(3):
            cv2.imwrite(str(tmp_path / "in" / label / f"{k}.png"), rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    (tmp_path / "in" / "dog" / "broken.png").write_bytes(b"no")
    (tmp_path / "in" / "dog" / "empty.png").touch()
    assert main(["emulate", str(tmp_path / "in"), str(out), "--size", "64x48", "--format", "npz"]) == 0
    assert list(written(out)) == [f"{label}/{k}.npz" for label in ("cat", "dog") for k in range(3)]
    assert read_recording(out / "cat" / "0.npz").size == SensorSize(64, 48)
    said = capsys.readouterr()
    assert "broken.png is no image" in said.err
    assert "empty.png is no image" in said.err
    assert "6 recordings of 64x48 pixels" in said.out


@pytest.mark.parametrize("form", ["ink", "ink among white", "light"])
def test_drawn_digits_are_labelled_as_their_uploads(form: str, tmp_path: Path) -> None:
    model, place = spikesight.load("nmnist"), tmp_path / "in"
    for name in draw_samples.DIGITS:
        picture = draw_samples.digit(name) if form == "light" else 255 - draw_samples.digit(name)
        if form == "ink among white":
            picture = np.pad(picture, ((20, 180), (90, 160)), constant_values=255)
        (place / name).mkdir(parents=True)
        cv2.imwrite(str(place / name / "a.png"), picture)
    assert main(["emulate", str(place), str(tmp_path / "out")]) == 0
    for name in draw_samples.DIGITS:
        seen = model.predict(tmp_path / "out" / name / "a.npz")
        assert seen.label == model.predict(place / name / "a.png").label == name


@pytest.mark.parametrize("size", [[], ["--size", "128x128"]])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_what_surrounds_a_picture_continues_it(grey: int, size: list[str], tmp_path: Path) -> None:
    """So an even page, of whatever grey, has no frame that moves; nor has a slope an edge across it."""
    (tmp_path / "in" / "page").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "page" / "even.png"), np.full((60, 90), grey, np.uint8))
    slope = np.tile(np.linspace(40, 80, 90).astype(np.uint8), (60, 1))
    cv2.imwrite(str(tmp_path / "in" / "page" / "slope.png"), slope)
    assert main(["emulate", str(tmp_path / "in"), str(tmp_path / "out"), *size]) == 0
    for path in written(tmp_path / "out").values():
        found = read_recording(path)
        assert len(found.events) < 0.3 * found.size.width * found.size.height, "noise, and hot pixels"


def test_flags_are_those_of_the_camera_and_what_gives_no_events_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, grey = tmp_path / "out", np.zeros((28, 28), np.uint8)
    for label in ("5", "6", "7"):
        (tmp_path / "in" / label).mkdir(parents=True)
        grey[8:20, 10:14] = 0 if label == "7" else 250
        cv2.imwrite(str(tmp_path / "in" / label / "a.png"), grey)
    flags = ["--threshold", "0.2", "--noise", "0", "--seed", "7", "--size", "40x36", "--format", "npz"]
    assert main(["emulate", str(tmp_path / "in"), str(out), *flags]) == 0
    recordings = {name: read_recording(path) for name, path in written(out).items()}
    mean = sum(len(found.events) for found in recordings.values()) / 2
    last = f"{out}: 2 recordings of 40x36 pixels, {mean:,.0f} events each"
    said = capsys.readouterr()
    assert (said.err, said.out) == ("warning: 7/a gives no events\n", last + "\n")
    movement = Saccades(threshold_on=0.2, threshold_off=0.2, noise_hz=0.0, inverted=True)
    for index, picture in enumerate(list(pictures(tmp_path / "in"))[:2]):
        expected = saccades(picture.grey, SensorSize(40, 36), movement=movement, seed=7 + index)
        found = recordings[f"{picture.label}/{picture.name}.npz"]
        assert found.size == SensorSize(40, 36)
        assert np.array_equal(found.events, expected)


def video(path: Path, width: int, height: int) -> Path:
    """Six frames of a bar on its way from the left, 25 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for k in range(6):
        frame = np.full((height, width, 3), 40, np.uint8)
        frame[:, 8 * k : 8 * k + 12] = 220
        writer.write(frame)
    writer.release()
    return path


def test_a_video_keeps_its_size_and_takes_its_flags(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", 64, 48)
    made = {}
    flags = {"plain": [], "dull": ["--threshold", "0.6"], "noisy": ["--noise", "50"], "small": ["--size", "32x24"]}
    for name, words in flags.items():
        assert main(["emulate", str(path), str(tmp_path / f"{name}.npz"), *words]) == 0
        made[name] = read_recording(tmp_path / f"{name}.npz")
    assert main(["emulate", str(path), str(tmp_path / "plain.npz")]) == 2, "nothing is written over unasked"
    assert main(["emulate", str(path), str(tmp_path / "plain.npz"), "--force"]) == 0
    assert len(made["dull"].events) < 0.6 * len(made["plain"].events) < 0.6 * len(made["noisy"].events)
    assert (made["plain"].size, made["small"].size) == (SensorSize(64, 48), SensorSize(32, 24))
    t = made["plain"].events["t"]
    assert 0 < t[0] < 40_000, "between the first two frames"
    assert 160_000 < t[-1] <= 200_000, "up to the sixth"
