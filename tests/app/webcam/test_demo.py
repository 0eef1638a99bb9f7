"""`spikesight webcam`: every kind of source, lines or a window, and what crosses."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.app import cli
from spikesight.app.webcam import demo as webcam
from spikesight.app.webcam.counting import Counting
from spikesight.app.webcam.demo import Demo, NoDisplay, Window, line_of
from spikesight.encoders.sources.chunks import Chunk, Source, open_source
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.service.sinks.delivery import message_of
from spikesight.service.sinks.report import Report
from tests.support.models import IMAGE_CONTRACT, kept, tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return kept(tmp_path / "tiny")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mjpeg"
    frames = [np.roll(np.kron(np.eye(2), np.full((48, 64), 200)), 3 * n, 1).astype(np.uint8) for n in range(20)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def run(*words: str) -> int:
    return cli.main(["webcam", *words])


def lines_of(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """What the command prints without a window."""
    assert run("--source", *map(str, words), "--no-window") == 0
    return capsys.readouterr().out.splitlines()


def test_a_video_is_predicted(model: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(capsys, video, "--model", model)
    assert len(lines) > 20
    assert all(" events " in line and line.endswith(" ms") for line in lines)


def test_predictions_are_sent(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every, changes = tmp_path / "every.jsonl", tmp_path / "changes.jsonl"
    lines_of(capsys, "digit-3", "--model", model, "--to", f"file:{every}", "--every-step")
    lines_of(capsys, "digit-3", "--model", model, "--to", f"file:{changes}")
    steps = [json.loads(line) for line in every.read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    sent = [json.loads(line)["label"] for line in changes.read_text().splitlines()] if changes.exists() else []
    assert sent == [label for label, _ in itertools.groupby(["", *(step["label"] for step in steps)])][1:]
    assert {message["source"] for message in steps} == {"digit-3"}


def test_a_sample_gives_the_classifiers_own_steps(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, source = lines_of(capsys, "digit-3", "--model", model), open_source("digit-3")
    assert source.sensor is not None
    events = np.concatenate([chunk.packet for chunk in source.chunks if chunk.packet is not None])
    own = Classifier.load(model).predict_events(events, source.sensor)
    assert min(len(own), len(lines)) >= 30
    for line, prediction in zip(lines, own):
        assert line.rsplit("spikes", 1)[0] == line_of(prediction).rsplit("spikes", 1)[0]


@pytest.mark.usefixtures("dummy_display")
def test_a_window_shows_pictures_until_the_source_ends(
    model: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = iter([["less events"], ["reset"], ["pause"], ["pause"], ["more events"]])
    shown, show = [], Window.show
    monkeypatch.setattr(Window, "actions", lambda _: next(pressed, []))
    monkeypatch.setattr(Window, "show", lambda self, picture: (shown.append(picture), show(self, picture)))
    monkeypatch.setattr(webcam, "LAST_S", 0.05)
    assert run("--source", str(video), "--model", str(model)) == 0
    assert len(shown) >= 2
    assert all(picture.shape == shown[0].shape for picture in shown)


@pytest.mark.usefixtures("dummy_display")
def test_a_window_scales_its_picture_names_its_keys_and_is_closed() -> None:
    with Window("Spikesight: digit-3") as window:
        window.show(np.zeros((60, 80, 3), np.uint8))
        pygame = window.pygame
        assert pygame.display.get_caption()[0] == "Spikesight: digit-3"
        assert window.screen is not None
        assert window.screen.get_size() == (80, 60)
        for text, key in ((" ", pygame.K_SPACE), ("Q", pygame.K_q), ("x", pygame.K_x), ("", pygame.K_ESCAPE)):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, unicode=text, key=key))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert window.actions() == ["pause", "quit", "quit", "quit"]
        window.screen = smaller = pygame.display.set_mode((40, 30), pygame.RESIZABLE)
        window.show(np.full((60, 80, 3), (200, 0, 5), np.uint8))
        assert smaller.get_at((20, 15))[:3] == (200, 0, 5)
    assert not pygame.display.get_init()


def test_a_window_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(NoDisplay, match=r"pip install 'spikesight\[webcam\]'"):
        Window("Spikesight")


def test_a_model_of_images_sees_frames(video: Path) -> None:
    demo = Demo(tiny(IMAGE_CONTRACT, "pixels"), open_source(str(video)))
    assert [p for chunk in demo.source.chunks for p in demo.process(chunk)]
    assert demo.picture().shape[2] == 3


def crossing(frames: int) -> Iterator[Chunk]:
    """A seven that goes from the left to the right."""
    for n in range(frames):
        picture = np.full((240, 320), 225, np.uint8)
        x = 40 + 4 * n
        cv2.polylines(picture, [np.array([[x, 70], [x + 70, 70], [x + 30, 170]])], False, 40, 12)
        yield Chunk(n * 33_333, frame=np.repeat(picture[..., None], 3, 2))


def test_what_crosses_is_counted_and_sent(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []
    demo = Demo(
        Classifier.load(find("nmnist")),
        Source("clip", crossing(50), live=False),
        objects=4,
        counting=Counting.of("line:160,240,160,0"),
        report=Report(sent.append, "clip", every_step=False),
    )
    webcam.run_without_window(demo, 9)
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["label"], record["crossed"], record["count"]) == ("7", "forward", 1)
    told = [one for one in sent if {"source": "clip", "model": "nmnist", **record}.items() <= one.items()]
    assert len(told) == 1
    for message in map(message_of, sent):
        assert json.loads(message.body)["id"] == message.id, "by which receivers know a second copy"
    shown = [one["objects"] for one in sent if one.get("objects")]
    assert {one["label"] for objects in shown for one in objects} == {"7"}
    assert demo.picture().shape[2] == 3
