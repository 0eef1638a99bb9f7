"""`spikesight predict`: one line a file, broken files told apart, JSON for programs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import spikesight
from spikesight.app.cli import main
from spikesight.app.commands.predict import _cost, _label, _line
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.sources import samples
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.service.stream.messages import EVENTS_T64, PacketDecoder
from tests.support.inputs.data_sets import write_takes
from tests.support.models import PREDICTION, promising


@pytest.fixture
def model(tmp_path: Path) -> str:
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1,), (4,), in_channels=2, classes=2))
    contract = Contract("events", 2, 34, 34, 10, "binary", 34, 34, 31_000, still="digit", shortest_bin_us=1000)
    save(tmp_path / "model", network, Card(contract, ("cat", "dog")))
    return str(tmp_path / "model")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    image = np.zeros((28, 28), np.uint8)
    image[5:23, 12:16] = 255
    cv2.imwrite(str(tmp_path / "digit.png"), image)
    return str(tmp_path / "digit.png")


def test_one_line_a_file_and_every_step_on_request(
    model: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", model, picture]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{picture}: ")
    assert main(["predict", "--model", model, "--steps", picture]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 10


def test_broken_files_do_not_stop_the_others(
    model: str, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    empty = tmp_path / "empty.bin"
    empty.write_bytes(b"")
    assert main(["predict", "--json", "--model", model, str(broken), str(empty), picture, "nowhere.jpg"]) == 2
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["file"] == picture
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert len(captured.err.splitlines()) == 3
    assert "Traceback" not in captured.err


def test_what_is_odd_about_a_recording_is_label(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_takes(tmp_path / "takes", ["cat.npz"], 0.2) / "cat.npz"
    monkeypatch.setattr(RecordingReader, "warnings", lambda _: ("it is cut off", "and old"))
    assert main(["predict", "--model", model, str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: ")
    assert [line for line in err.splitlines() if line.startswith(str(path))] == [
        f"{path}: it is cut off",
        f"{path}: and old",
    ]


def test_without_a_shipped_model_one_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spikesight.models.shipped.shipped", dict)
    assert main(["predict", "none.png"]) == 2
    assert "name a checkpoint folder with --model" in capsys.readouterr().err


def test_an_unknown_model_is_one_sentence(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", "nothing", picture]) == 2
    assert "no model 'nothing'" in capsys.readouterr().err


def test_another_bin_gives_more_steps_and_one_outside_of_the_range_is_refused(
    model: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", model, "--json", picture]) == 0
    coarse = json.loads(capsys.readouterr().out)
    assert main(["predict", "--model", model, "--json", "--bin-ms", "5", picture]) == 0
    fine = json.loads(capsys.readouterr().out)
    assert fine["step"] == pytest.approx(coarse["step"] * 31 / 5, abs=6.2)
    assert main(["predict", "--model", model, "--bin-ms", "40", picture]) != 0
    assert "whole milliseconds from 1 to 31" in capsys.readouterr().err


@pytest.fixture(scope="module")
def committing(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model that commits at nearly every step, and a recording for it."""
    folder, classifier = tmp_path_factory.mktemp("committing"), promising()
    save(folder / "model", classifier.network, classifier.card)
    write_takes(folder, ["take.npz"], 1.0)
    return str(folder / "model"), str(folder / "take.npz")


def test_a_commitment_stops_only_when_a_rate_is_given(
    committing: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*words: str) -> dict:
        assert main(["predict", "--model", committing[0], "--json", "--steps", committing[1], *words]) == 0
        return json.loads(capsys.readouterr().out)

    whole, early = asked(), asked("--error-rate", "0.5")
    assert early["committed"] is not None
    assert early["step"] < whole["step"]
    assert early["steps"] == whole["steps"][: len(early["steps"])]
    assert [step["step"] for step in whole["steps"]][:3] == [1, 2, 3]
    assert early["spikes"] < whole["spikes"]
    for rate in ("0", "1", "-1", "nan"):
        assert main(["predict", "--model", committing[0], "--error-rate", rate, committing[1]]) == 2
        assert "--error-rate must lie between 0 and 1" in capsys.readouterr().err


def test_costs_are_those_of_all_steps(committing: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    model, take = committing
    assert main(["predict", "--model", model, "--json", take]) == 0
    told = json.loads(capsys.readouterr().out)
    steps = spikesight.load(model).steps(take)
    assert told["spikes"] == sum(step.spikes for step in steps)
    assert told["synops"] == sum(step.synops for step in steps)
    assert set(told) == {
        "file", "label", "known", "committed", "set", "risk", "probabilities", "step", "spikes", "synops", "segments",
    }  # fmt: skip


def digits_in_turn(path: Path, *names: str) -> str:
    """A recording of two seconds of each sample."""
    parts, begin_us = [], 0
    for name in names:
        for _ in range(6):
            part = PacketDecoder().decode(EVENTS_T64, samples.t64_of(name), 0)
            part["t"] += begin_us - part["t"][0]
            begin_us = int(part["t"][-1]) + 2000
            parts.append(part)
    spikesight.write_recording(path, parts, (34, 34))
    return str(path)


def test_what_happened_when_in_a_long_recording_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = digits_in_turn(tmp_path / "turns.npz", "digit-3", "digit-7")
    assert main(["predict", "--model", "nmnist", "--json", path]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [segment["label"] for segment in told["segments"]] == ["3", "7"]
    three, seven = told["segments"]
    assert 0 <= three["start_us"] < 400_000
    assert abs(three["end_us"] - 1_900_000) < 700_000, "about when the digits change"
    assert three["end_us"] == seven["start_us"]
    events = spikesight.read(path).events
    assert abs(seven["end_us"] - (events["t"][-1] - events["t"][0])) < 31_000
    assert all(segment["confidence"] > 0.5 for segment in told["segments"])
    assert [s._asdict() for s in spikesight.load("nmnist").segments(path)] == told["segments"]
    assert main(["predict", "--model", "nmnist", path]) == 0
    last, *lines = capsys.readouterr().out.splitlines()
    assert last.startswith(f"{path}: 7 (")
    assert len(lines) == 2
    assert all(line.startswith("  ") for line in lines)
    assert lines[0].endswith(f" to {three['end_us'] / 1e6:.2f} s: 3 ({three['confidence']:.1%})")


def test_a_recording_of_one_sample_and_a_picture_are_one_line(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one.npz"
    spikesight.write_recording(one, PacketDecoder().decode(EVENTS_T64, samples.t64_of("digit-3"), 0), (34, 34))
    assert main(["predict", "--model", "nmnist", str(one), picture]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["predict", "--model", "nmnist", "--json", str(one), picture]) == 0
    recorded, seen = map(json.loads, capsys.readouterr().out.splitlines())
    assert [segment["label"] for segment in recorded["segments"]] == ["3"]
    assert seen["segments"] == []


def test_words_for_an_answer() -> None:
    labels = ("a", "b")
    assert _label(PREDICTION, labels, "") == "b (75.0%)"
    assert _label(replace(PREDICTION, label="unknown"), labels, "") == "unknown (nearest: b)"
    assert _label(replace(PREDICTION, label="nothing"), labels, "") == "nothing"
    assert _label(replace(PREDICTION, label="nothing"), labels, "drawing") == "nothing (no drawing is in view)"
    assert _label(replace(PREDICTION, label="unknown"), labels, "drawing") == "unknown (nearest: b)"
    busy = replace(PREDICTION, label="unknown", n_events=0)
    assert _label(busy, labels, "drawing") == "unknown (no drawing is in view)", "though much moves"
    assert _cost(PREDICTION, "direct") == "120 spikes in it"
    assert _cost(PREDICTION, "ann") == "3.00 M multiply-adds in it, no spikes"
    classifier = promising()
    held = _line(Path("f"), replace(PREDICTION, committed="two"), classifier)
    assert held == "f: b (nearest: one) after step 4, committed to two, 120 spikes in it"


@pytest.mark.parametrize("words", ["it is damaged", "cannot read a.raw: it is damaged"])
def test_a_file_is_named_once(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise ValueError(words)
        yield

    monkeypatch.setattr("spikesight.app.commands.predict._answers", refuse)
    assert main(["predict", "a.raw"]) == 2
    assert capsys.readouterr().err == (words if "a.raw" in words else f"a.raw: {words}") + "\n"
