"""`spikesight predict` and `evaluate`: lines for people, JSON for programs, broken files told apart, other cameras."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

import spikesight
from spikesight.app.cli import main
from spikesight.app.commands.predict import _line
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.checkpoint import save
from spikesight.models.novelty.conformal import Commitment
from spikesight.models.novelty.profile import Profile
from tests.app.conftest import Ask
from tests.support.inputs.data_sets import write_takes
from tests.support.inputs.samples import seven, some_events, turns
from tests.support.models import EVENT_CONTRACT, PREDICTION, kept, promising, tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """It commits at nearly every step, and has bins of 1 to 10 ms."""
    return str(kept(tmp_path_factory.mktemp("model"), promising(replace(EVENT_CONTRACT, shortest_bin_us=1000))))


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_takes(tmp_path_factory.mktemp("takes"), ["take.npz"], 1.0) / "take.npz")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    cv2.imwrite(str(tmp_path / "digit.png"), seven())
    return str(tmp_path / "digit.png")


def answers(ask: Ask, *words: str) -> list[dict]:
    """What programs read."""
    return [json.loads(line) for line in ask("predict", "--json", *words).out.splitlines()]


def test_one_line_a_file_and_every_step_on_request(model: str, take: str, picture: str, ask: Ask) -> None:
    lines = ask("predict", "--model", model, picture, take).out.splitlines()
    assert lines[0].startswith(f"{picture}: ")
    assert lines[1].startswith(f"{take}: ")
    assert len(ask("predict", "--model", model, "--steps", picture).out.splitlines()) >= 10


def test_no_more_is_read_once_nobody_reads_answers(model: str, picture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    monkeypatch.setattr("sys.stderr", said := io.StringIO())
    monkeypatch.setattr(said, "close", lambda: None)
    assert main(["predict", "--model", model, picture, picture]) == 1
    assert said.getvalue() == ""


def test_broken_files_do_not_stop_the_others(model: str, picture: str, tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "empty.bin").write_bytes(b"")
    bad = [str(tmp_path / "broken.png"), str(tmp_path / "empty.bin"), "nowhere.jpg"]
    captured = ask("predict", "--json", "--model", model, *bad, picture, code=2)
    answer = json.loads(captured.out)
    assert answer["file"] == picture
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert [line.count(name) for line, name in zip(captured.err.splitlines(), bad, strict=True)] == [1, 1, 1]


def test_without_a_shipped_model_one_must_be_named(monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr("spikesight.models.shipped.shipped", dict)
    assert "name a checkpoint folder with --model" in ask("predict", "none.png", code=2).err


def test_a_commitment_stops_only_when_a_rate_is_given(model: str, take: str, ask: Ask) -> None:
    (whole,) = answers(ask, "--model", model, "--steps", take)
    (early,) = answers(ask, "--model", model, "--steps", take, "--error-rate", "0.5")
    assert early["commitment"]["label"] is not None
    assert early["step"] < whole["step"]
    assert early["steps"] == whole["steps"][: len(early["steps"])]
    assert [step["step"] for step in whole["steps"]][:3] == [1, 2, 3]
    assert early["spikes"] < whole["spikes"]


def test_costs_are_those_of_all_steps(model: str, take: str, ask: Ask) -> None:
    (answer,) = answers(ask, "--model", model, take)
    steps = spikesight.load(model).steps(take)
    assert answer["spikes"] == sum(step.spikes for step in steps)
    assert answer["synops"] == sum(step.synops for step in steps)
    names = "file label top1 objects in_distribution commitment probabilities step spikes synops segments"
    assert sorted(answer) == sorted(names.split())


def test_a_view_is_answered_as_in_python_and_evaluated(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "3").mkdir()
    path = tmp_path / "3" / "view.npz"
    write_recording(path, some_events(9_000, size=(160, 120)), SensorSize(160, 120))
    (answer,) = answers(ask, "--model", "nmnist", str(path))
    assert answer["label"] == spikesight.load("nmnist").predict(path).label
    assert isinstance(answer["objects"], list)
    ask("evaluate", "nmnist", tmp_path)


def test_what_happened_when_in_a_long_recording_is_told(tmp_path: Path, ask: Ask) -> None:
    path = str(tmp_path / "turns.npz")
    spikesight.write_recording(path, turns(["digit-3", "digit-7"], 6), (34, 34))  # two seconds of each
    (answer,) = answers(ask, "--model", "nmnist", path)
    three, seven = answer["segments"]
    assert (three["label"], seven["label"]) == ("3", "7")
    assert 0 <= three["start_us"] < 400_000
    assert abs(three["end_us"] - 1_900_000) < 700_000, "about when the digits change"
    assert three["end_us"] == seven["start_us"]
    t = spikesight.read(path).events["t"]
    assert abs(seven["end_us"] - (t[-1] - t[0])) < 31_000
    assert [s._asdict() for s in spikesight.load("nmnist").segments(path)] == answer["segments"]
    last, *lines = ask("predict", "--model", "nmnist", path).out.splitlines()
    assert last.startswith(f"{path}: 7 (")
    assert [line.split(": ")[1][0] for line in lines] == ["3", "7"]
    assert lines[0].endswith(f" to {three['end_us'] / 1e6:.2f} s: 3 ({three['confidence']:.1%})")


def test_a_recording_of_one_sample_and_a_picture_are_one_line(picture: str, tmp_path: Path, ask: Ask) -> None:
    one = tmp_path / "one.npz"
    spikesight.write_recording(one, turns(["digit-3"], 1), (34, 34))
    assert len(ask("predict", "--model", "nmnist", one, picture).out.splitlines()) == 2
    recorded, seen = answers(ask, "--model", "nmnist", str(one), picture)
    assert [segment["label"] for segment in recorded["segments"]] == ["3"]
    assert seen["segments"] == []


@pytest.mark.parametrize(
    ("changes", "task", "words"),
    [
        (
            {"label": "one", "commitment": Commitment("two", ("two",), 0.01, False, 5)},
            "classification",
            "one (75.0%) after step 4, committed to two, 120 spikes",
        ),
        ({"label": "unknown"}, "classification", "unknown (best guess: one) after"),
        ({"label": "unknown", "n_events": 0}, "detection", "unknown (nothing is in view) after"),
        ({"label": "nothing"}, "classification", "nothing after"),
    ],
)
def test_words_for_an_answer(changes: dict, task: str, words: str) -> None:
    classifier = tiny(replace(EVENT_CONTRACT, task=task))
    assert _line(Path("f"), replace(PREDICTION, top1="one", **changes), classifier).startswith(f"f: {words}")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(kept(tmp_path_factory.mktemp("model") / "tiny"))


def test_a_folder_in_json_files_and_a_table(evaluated: str, tmp_path: Path, ask: Ask) -> None:
    day = str(write_takes(tmp_path / "day", ["one-1.npz", "two-1.npz", "stranger-1.npz"], 0.4))
    out, said = ask("evaluate", evaluated, day, "--json", "--to", tmp_path)
    found = json.loads(out)
    assert {"accuracy", "correct", "count", "interval"} == set(found["right"]) == set(found["best_guess"])
    assert set(found["per_class"]) == {"one", "two"}
    assert found["unknown"]["classes"] == ["stranger"]
    assert found["right"]["count"] == 2
    assert "layout flat" in said
    head, *rows = csv.reader((tmp_path / "confusion.csv").read_text().splitlines())
    assert head == ["truth", "zero", "one", "two", "unknown", "nothing"]
    assert [[int(v) for v in row[1:]] for row in rows] == found["confusion"]
    assert sum(map(sum, found["confusion"])) == found["right"]["count"]
    assert json.loads((tmp_path / "evaluation.json").read_text())["right"] == found["right"]
    out = ask("evaluate", evaluated, day).out
    for words in ("best guess right", "all  ", "  one", "calibration error", "not a class: 1 of stranger"):
        assert words in out
    assert f"{found['right']['correct']} of {found['right']['count']}" in out


def test_every_bad_file_is_listed_and_may_be_left_out(evaluated: str, tmp_path: Path, ask: Ask) -> None:
    write_takes(tmp_path, ["one-1.npz", "one-2.npz", "two-1.npz", "two-2.npz"], 0.4)
    (tmp_path / "one-2.npz").write_bytes(b"")
    (tmp_path / "two-2.npz").write_bytes(b"PK not a zip")
    said = ask("evaluate", evaluated, tmp_path, code=2).err
    assert all(words in said for words in ("2 faults", "one-2.npz", "two-2.npz", "--skip-bad"))
    out, said = ask("evaluate", evaluated, tmp_path, "--json", "--skip-bad")
    assert json.loads(out)["right"]["count"] == 2
    assert "2 files left out" in said


ANYTHING, FEW = (0.0, 0.5, 1.0), (0.01, 0.02, 0.03)
COMMANDS = {
    "predict": ["predict", "one-1.npz", "--model", "MODEL"],
    "evaluate": ["evaluate", "MODEL", "."],
    "webcam": ["webcam", "--source", "one-1.npz", "--model", "MODEL", "--no-window"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_other_cameras_told(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    (tmp_path / "takes").mkdir()
    write_takes(tmp_path / "takes", ["one-1.npz", "two-1.npz"], 0.6)
    classifier = tiny()
    for name, rate in (("own", (0.01, 0.02, 1e6)), ("other", FEW)):
        card = replace(classifier.card, profile=Profile(rate, ANYTHING, ANYTHING))
        save(tmp_path / name, classifier.network, card)
    monkeypatch.chdir(tmp_path / "takes")
    for name, told in (("own", False), ("other", True)):
        said = ask(*(word.replace("MODEL", f"../{name}") for word in COMMANDS[command])).err
        assert ("times the events that this model learnt from" in said) == told
