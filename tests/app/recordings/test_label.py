"""`spikesight label`: pieces by hand, by flags and by asking, with nothing lost."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings.label import Mark, _suffix, asked, mark, stretch
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
    words = ["--mark", "0.5-1.25=wave", "--mark", "2-3=big clap", "--mark", "3.25-3.5=wave"]
    assert main(["label", str(walk), *words, "--to", str(to)]) == 0
    files = {"wave/walk-0.5-1.25": (0.5, 1.25), "big clap/walk-2-3": (2, 3), "wave/walk-3.25-3.5": (3.25, 3.5)}
    said = capsys.readouterr().out.splitlines()
    for line, (name, cut) in zip(said, files.items(), strict=True):
        path = to / f"{name}.raw"
        assert line == f"{path}: {len(between(walk, *cut)):,} events"
        recording = read_recording(path)
        np.testing.assert_array_equal(recording.events, between(walk, *cut))
        assert recording.size == SensorSize(32, 20)
    assert read_folder(to).labels == ("big clap", "wave")


def test_marks_are_asked_for(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = iter(["0-0.5", "what", "1-2=wave", "2-3=oops", "undo", "9-8=wave", "list", "write"])
    monkeypatch.setattr("builtins.input", lambda _: next(words))
    assert main(["label", str(walk), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "forgotten: 2-3=oops" in said
    assert "must begin at 0" in said
    assert f"0.00 s, {len(between(walk, 0, 0.125))} events" in said
    files = [str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.raw")]
    assert files == ["wave/walk-1-2.raw"]


def test_quitting_writes_nothing(walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = iter(["1-2=wave", "quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(words))
    assert main(["label", str(walk), "--to", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mark", ["1-2", "wave", "2-1=wave", "1-2=../x", "1-2=", "nan-2=x", "1-2=.x"])
def test_what_is_no_mark_is_refused(walk: Path, tmp_path: Path, mark: str) -> None:
    with pytest.raises(SystemExit):
        main(["label", str(walk), "--mark", mark, "--to", str(tmp_path / "out")])


def test_a_stretch_without_events_is_a_sentence(walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label", str(walk), "--mark", "4.2-5.2=wave", "--to", str(tmp_path / "out")]) == 2
    assert "no events between 4.2 s and 5.2 s" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stretch_and_a_mark() -> None:
    assert (stretch("1.2-3.4"), stretch("3"), stretch("0")) == ((1.2, 3.4), (3.0, 4.0), (0.0, 1.0))
    for text in ("2-2", "-1", "1e9", "x", "1-x"):
        with pytest.raises(ValueError, match="is no stretch"):
            stretch(text)
    assert mark(" 1-2 = wave ") == Mark(1.0, 2.0, "wave")
    assert str(Mark(1.0, 2.5, "wave")) == "1-2.5=wave"


def test_the_end_of_what_is_typed_writes_the_marks(
    walk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = iter(["list", "undo", "1-2=wave", "list"])

    def typed(_: str) -> str:
        word = next(words, None)
        if word is None:
            raise EOFError
        return word

    monkeypatch.setattr("builtins.input", typed)
    assert asked(walk, SensorSize(32, 20)) == [Mark(1.0, 2.0, "wave")]
    _, *said = capsys.readouterr().out.splitlines()
    assert said == ["there are no marks", "there are no marks", "marked: 1-2=wave", "1-2=wave"]
    assert (_suffix(Path("a.RAW")), _suffix(Path("a.bag")), _suffix(Path("a"))) == (".raw", ".aedat4", ".aedat4")
