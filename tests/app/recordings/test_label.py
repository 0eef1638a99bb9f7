"""`spikesight label`: pieces by hand, by flags and by asking, with nothing lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.training.data.folders import read_folder
from tests.support.inputs.samples import with_silence


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    span_us, silence_us = (2_000_000, 8_000_000), (6_000_000, 7_500_000)
    return with_silence(tmp_path / "walk.raw", SensorSize(32, 20), span_us, silence_us, 4000)


def between(path: Path, begin_s: float, end_s: float) -> np.ndarray:
    events = read_recording(path).events
    t = events["t"] - events["t"][0]
    return events[(t >= begin_s * 1e6) & (t < end_s * 1e6)]


def test_marks_become_recordings_of_a_folder_to_train_on(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "gestures"
    words = ["--mark", "0.5-1.25=wave", "--mark", " 2-3 = big clap ", "--mark", "3.25=wave"]
    assert main(["label", str(walk), *words, "--to", str(to)]) == 0
    files = {"wave/walk-0.5-1.25": (0.5, 1.25), "big clap/walk-2-3": (2, 3), "wave/walk-3.25-4.25": (3.25, 4.25)}
    for line, (name, cut) in zip(capsys.readouterr().out.splitlines(), files.items(), strict=True):
        path = to / f"{name}.raw"
        assert line == f"{path}: {len(between(walk, *cut)):,} events"
        recording = read_recording(path)
        np.testing.assert_array_equal(recording.events, between(walk, *cut))
        assert recording.size == SensorSize(32, 20)
    assert read_folder(to).labels == ("big clap", "wave")


@pytest.mark.parametrize("name", ["nameless", "only_read.npy"])
def test_of_a_file_whose_name_says_no_format_to_write_the_pieces_are_aedat_4(
    name: str, walk: Path, tmp_path: Path
) -> None:
    if name.endswith(".npy"):
        np.save(tmp_path / name, read_recording(walk).events)
    else:
        shutil.copy(walk, tmp_path / name)
    assert main(["label", str(tmp_path / name), "--mark", "1-2=a", "--to", str(tmp_path / "to")]) == 0
    piece = tmp_path / f"to/a/{name.removesuffix('.npy')}-1-2.aedat4"
    np.testing.assert_array_equal(read_recording(piece).events, between(walk, 1, 2))


def test_a_mark_without_events_costs_no_other(walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mark", "6.1-6.2=a", "--mark", "1-2=b", "--mark", "90-91=b", "--to", str(tmp_path)]
    assert main(["label", str(walk), *words]) == 2
    assert f"no events of {walk} in 6.1-6.2=a, 90-91=b" in capsys.readouterr().err
    np.testing.assert_array_equal(read_recording(tmp_path / "b/walk-1-2.raw").events, between(walk, 1, 2))


@pytest.mark.parametrize(
    ("typed", "files"),
    [
        (["0-0.5", "what", "1-2=wave", "2-3=oops", "undo", "9-8=wave", "list", "write"], ["wave/walk-1-2.raw"]),
        (["list", "undo", "1-2=wave", "list"], ["wave/walk-1-2.raw"]),  # and the end of what is typed
        (["1-2=wave", "quit"], []),
    ],
)
def test_marks_are_asked_for(
    typed: list[str], files: list[str], walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = iter(typed)

    def asked(_: str) -> str:
        word = next(words, None)
        if word is None:
            raise EOFError
        return word

    monkeypatch.setattr("builtins.input", asked)
    assert main(["label", str(walk), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert [str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.raw")] == files
    answers = {"9-8=wave": "must begin at 0", "2-3=oops": "forgotten: 2-3=oops", "1-2=wave": "marked: 1-2=wave"}
    answers |= {"0-0.5": f"0.00 s, {len(between(walk, 0, 0.125))} events"}
    assert all(answer in said for word, answer in answers.items() if word in typed)
    assert said.count("there are no marks") == (2 if typed[0] == "list" else 0)
